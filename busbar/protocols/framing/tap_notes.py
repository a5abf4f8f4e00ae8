"""What a tap knows of the stream that passes it, whatever the framing."""

from __future__ import annotations

from collections.abc import Callable

from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.usage import Usage


class TapNotes:
    """The notes of a `StreamPipe` that passes the provider's bytes on. `write_error` writes the dialect's native
    mid-stream error."""

    __slots__ = ("_write_error", "content", "ended", "error", "finished", "usage")

    def __init__(self, write_error: Callable[[ErrorReport], bytes]) -> None:
        self._write_error = write_error
        self.content = False
        self.finished = False
        """A reason to stop was seen: the answer's content is complete."""
        self.ended = False
        self.usage: Usage | None = None
        self.error: FailureSignal | None = None

    def break_off(self, report: ErrorReport) -> bytes:
        return b"" if self.error is not None else self._write_error(report)
