"""The tap on a same-dialect stream of AWS eventstream messages.

As `SseTap`: whole messages pass as they came, their checksums are checked, and a broken tail is kept back. What a
message means is the dialect's business.
"""

from __future__ import annotations

from collections.abc import Callable

from busbar.protocols.errors import ErrorReport
from busbar.protocols.framing.eventstream import EventStreamMessage, EventStreamSplitter, decode_message
from busbar.protocols.framing.tap_notes import TapNotes, is_object

_CRC_BYTES = 4
_CLOSING = ord("}")
"""The last byte of a payload that was not cut off."""


class EventStreamTap(TapNotes):
    """A `StreamPipe` for dialects that stream by eventstream messages.

    `inspect(tap, message)` is the dialect's: it sets `content`, `finished`, `ended`, `usage` and `error`.
    `only_content(frame)` knows at a glance the messages that say nothing new once content was seen; it may overlook
    some. `write_error` writes the dialect's native mid-stream error. `complete_at_eof(tap)` may set `ended` where the
    dialect's providers are known to omit the terminal event after a complete answer.
    """

    __slots__ = ("_complete_at_eof", "_inspect", "_only_content", "_splitter")

    def __init__(
        self,
        inspect: Callable[[EventStreamTap, EventStreamMessage], None],
        only_content: Callable[[bytes], bool],
        write_error: Callable[[ErrorReport], bytes],
        complete_at_eof: Callable[[EventStreamTap], bool] = lambda tap: False,
    ) -> None:
        super().__init__(write_error)
        self._splitter = EventStreamSplitter()
        self._inspect = inspect
        self._only_content = only_content
        self._complete_at_eof = complete_at_eof

    def feed(self, data: bytes) -> bytes:
        """Whole messages out, as they came; nothing after the end. Raises `CorruptFrame`, `FrameTooLarge`."""
        passed: list[bytes] = []
        for frame in self._splitter.feed(data) if not self.ended else ():
            if self.ended or self.error is not None:
                break
            if self._passes(frame):
                passed.append(frame)
        return b"".join(passed)

    def close(self) -> bytes:
        """A message without its end is never passed on, and the answer that it belongs to is not whole."""
        if not self.ended and not self._splitter.rest and self._complete_at_eof(self):
            self.ended = True
        return b""

    def _passes(self, frame: bytes) -> bool:
        """Looks at a message where it has to. What cannot be read does not pass, and neither does an error."""
        if self.content and self._only_content(frame) and frame[-_CRC_BYTES - 1] == _CLOSING:
            return True
        message = decode_message(frame)
        if message.payload and message.headers.get(":message-type") == "event" and not is_object(message.payload):
            self.malformed += 1
            return False
        self._inspect(self, message)
        if self.error is not None:
            self._told = frame
        return self.error is None
