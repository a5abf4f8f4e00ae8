"""The tap on a stream that stays in this dialect.

The provider's frames pass as they came. Where the caller wants an array and the provider speaks server-sent events
(or the other way round), the JSON inside passes as it came, and only what stands around it changes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.framing.json_array import JsonArrayWriter
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.gemini.errors import error_in_answer, write_error_document
from busbar.protocols.gemini.response import blocked
from busbar.protocols.gemini.stream_frames import Frame, Frames
from busbar.protocols.gemini.stream_read import candidate_index
from busbar.protocols.gemini.stream_write import ARRAY
from busbar.protocols.gemini.usage import read_usage
from busbar.protocols.gemini.words import is_stop_word
from busbar.protocols.meter import Marks
from busbar.protocols.usage import Usage, merged

MARKS = Marks(
    event=b'"parts"',
    texts=(b"text",),
    call=b'"functionCall"',
    call_tokens=20,
    signature=b"thoughtSignature",
    signature_bytes=110,
    signature_token_bytes=6,
)
"""By which a stream is metered that was cut, or states no usage."""


_TAGS = frozenset({"text", "thought", "thoughtSignature", "thought_signature"})
_MATTERS = (b'"finishReason"', b'"usageMetadata"', b'"error"', b'"promptFeedback"')
"""What makes a chunk worth parsing once content was seen."""
_decode = msgspec.json.Decoder().decode


class GeminiTap:
    """A `StreamPipe`. An answer is whole (`ended`) when the connection ends after every candidate said why it
    stopped."""

    __slots__ = (
        *("_array", "_finished", "_frames", "_seen", "_told"),
        *("content", "ended", "error", "malformed", "usage"),
    )

    def __init__(self, framing: str = "") -> None:
        self._frames = Frames()
        self._array = JsonArrayWriter() if framing == ARRAY else None
        self._seen: set[int] = set()
        self._finished: set[int] = set()
        self._told: Frame | None = None
        """The provider's own error, kept back until `break_off`."""
        self.malformed = 0
        self.content = False
        self.ended = False
        self.usage: Usage | None = None
        self.error: FailureSignal | None = None

    @property
    def finished(self) -> bool:
        """Every candidate that was seen has stated a reason to stop."""
        return bool(self._seen) and self._seen == self._finished

    def feed(self, data: bytes) -> bytes:
        """Raises `FrameTooLarge`."""
        return self._passed(self._readable(self._frames.feed(data)))

    def close(self) -> bytes:
        """Passes a last frame on that lacks only its blank line, if it completes the answer."""
        frames = self._readable(self._frames.close())
        self.ended = self.finished and self.error is None
        return self._passed(frames) + self._closing() if self.ended else b""

    def break_off(self, report: ErrorReport) -> bytes:
        told, self._told = self._told, None
        if self.error is None:
            return self._framed(write_error_document(report)) + self._closing()
        return self._passed([told] if told is not None else []) + self._closing()

    def _readable(self, frames: list[Frame]) -> list[Frame]:
        """What of the frames passes: all that can be read, up to an error."""
        passed = []
        for frame in frames:
            if self.error is not None:
                break
            if not self._look(frame):
                self.malformed += 1
            elif self.error is not None:
                self._told = frame
            else:
                passed.append(frame)
        return passed

    def _closing(self) -> bytes:
        return b"" if self._array is None else self._array.close()

    def _passed(self, frames: list[Frame]) -> bytes:
        out = []
        for frame in frames:
            if self._array is None and frame.wire:
                out.append(frame.wire)
            elif frame.data is not None:
                out.append(self._framed(frame.data))
        return b"".join(out)

    def _framed(self, data: bytes) -> bytes:
        if self._array is not None:
            return self._array.element(data)
        if b"\n" in data or b"\r" in data:
            try:
                data = msgspec.json.format(data, indent=-1)
            except msgspec.DecodeError:
                return b""  # no JSON, and no frame could hold it
        return encode_event(data)

    def _look(self, frame: Frame) -> bool:
        """False: it cannot be read, and the caller's SDK would break on it."""
        data = frame.data
        if data is None:
            return True
        if self.content and data.endswith(b"}") and not any(word in data for word in _MATTERS):
            return True
        try:
            document = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if not isinstance(document, dict):
            return False
        candidates = document.get("candidates")
        for entry in candidates if isinstance(candidates, list) else ():
            if isinstance(entry, dict):
                self._look_at(entry)
        if blocked(document) is not None:
            self._seen.add(0)
            self._finished.add(0)
        usage = document.get("usageMetadata")
        if isinstance(usage, dict):
            self.usage = merged(self.usage, read_usage(usage))
        self.error = error_in_answer(document)
        return True

    def _look_at(self, entry: dict[str, Any]) -> None:
        index = candidate_index(entry)
        self._seen.add(index)
        if is_stop_word(entry.get("finishReason")):
            self._finished.add(index)
        content = entry.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if not self.content and isinstance(parts, list):
            self.content = any(_says_something(part) for part in parts)


def _says_something(part: Any) -> bool:
    return isinstance(part, dict) and (bool(part.get("text")) or not part.keys() <= _TAGS)


def stream_tap(framing: str = "") -> GeminiTap:
    return GeminiTap(framing)
