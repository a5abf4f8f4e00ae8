"""What a tap knows of the stream that passes it, whatever the framing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.usage import Usage

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_object(data: bytes) -> bool:
    """Whether it is the JSON object that every event of every dialect is."""
    try:
        _split(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


class TapNotes:
    """The notes of a `StreamPipe` that passes the provider's bytes on. `write_error` writes the dialect's native
    mid-stream error.

    The provider's own error event is kept back until `break_off`, and nothing passes after it: whoever relays the
    stream may still know somebody who goes on with it.
    """

    __slots__ = ("_told", "_write_error", "content", "ended", "error", "finished", "malformed", "usage")

    def __init__(self, write_error: Callable[[ErrorReport], bytes]) -> None:
        self._write_error = write_error
        self._told = b""
        """The provider's own error event."""
        self.content = False
        self.finished = False
        """A reason to stop was seen: the answer's content is complete."""
        self.ended = False
        self.usage: Usage | None = None
        self.error: FailureSignal | None = None
        self.malformed = 0
        """Frames that could not be read, and did not pass: the caller's SDK would break on them."""

    def break_off(self, report: ErrorReport) -> bytes:
        """Gives the provider's own error event once."""
        if self.error is None:
            return self._write_error(report)
        told, self._told = self._told, b""
        return told
