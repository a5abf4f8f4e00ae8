"""The tap on a same-dialect stream: the provider's bytes pass untouched, while what matters is noticed.

The tap passes whole frames on and keeps a broken tail back. What a frame means is the dialect's business: its
`inspect` is called with every frame that could matter, and updates the tap's notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from busbar.protocols.errors import ErrorReport
from busbar.protocols.framing.sse import SseEvent, SseSplitter, decode_frame
from busbar.protocols.framing.tap_notes import TapNotes, is_object

_ENDS = (b"}\n\n", b"}\r\n\r\n")
"""How a frame ends whose JSON was not cut off."""
_DONE = b"[DONE]"
_QUOTE = 0x22
_ENDS_TEXT = re.compile(rb'["\\\x00-\x1f]')
"""What a piece of text has, as JSON, only at its end, unless it is odd."""

TRIES_MAX = 64
"""So often it is looked how the next frames may be: those of some providers are never alike."""


class SseTap(TapNotes):
    """A `StreamPipe` for dialects that stream by server-sent events.

    `inspect(tap, event)` is the dialect's: it sets `content`, `ended`, `usage` and `error`. `write_error` writes the
    dialect's native mid-stream error. `complete_at_eof(tap)` may set `ended` where the dialect's providers are known
    to omit the terminal event after a complete answer. `only_content(frame)` knows at a glance the frames that say
    nothing new once content was seen; it may overlook some. `said` is what stands before the text in those frames:
    one that differs from such a frame in this text alone is not looked at further.
    """

    __slots__ = ("_complete_at_eof", "_inspect", "_only_content", "_said", "_splitter", *("_head", "_tail", "_tries"))

    def __init__(
        self,
        inspect: Callable[[SseTap, SseEvent], None],
        write_error: Callable[[ErrorReport], bytes],
        complete_at_eof: Callable[[SseTap], bool] = lambda tap: False,
        only_content: Callable[[bytes], bool] = lambda frame: False,
        said: bytes = b"",
    ) -> None:
        super().__init__(write_error)
        self._splitter = SseSplitter()
        self._inspect = inspect
        self._only_content = only_content
        self._complete_at_eof = complete_at_eof
        self._said = said
        self._head: bytes | None = None
        self._tail = b""
        """A frame in which there was nothing to look at, up to its text and from there on."""
        self._tries = TRIES_MAX if said else 0

    def feed(self, data: bytes) -> bytes:
        """Whole frames out, as they came. Raises `FrameTooLarge`."""
        head, tail = self._head, self._tail
        if (
            head is not None
            and data.startswith(head)
            and data.endswith(tail)
            and len(head) + len(tail) <= len(data)
            and not self._splitter.rest
            and _ENDS_TEXT.search(data, len(head), len(data) - len(tail)) is None
        ):
            return data
        frames = self._splitter.feed(data)
        for at, frame in enumerate(frames):
            if not self._is_plain(frame):
                self._head = None
                return b"".join([*frames[:at], *self._readable(frames[at:])])
        if frames and self._tries:
            self._tries -= 1
            self._remember(frames[-1])
        return b"".join(frames)

    def _remember(self, frame: bytes) -> None:
        """How a frame looks that is plain: the next may be like it."""
        begin = frame.find(self._said) + len(self._said)
        end = _ENDS_TEXT.search(frame, begin)
        if begin < len(self._said) or end is None or frame[end.start()] != _QUOTE:
            self._head = None
        else:
            self._head, self._tail = frame[:begin], frame[end.start() :]

    def close(self) -> bytes:
        """Passes a last frame on that lacks only its blank line, if it is the one that completes the answer."""
        rest = self._splitter.rest
        had_error = self.error is not None
        passed = self._readable([rest]) if rest and not self.ended else [rest]
        if self._told and not had_error:
            self._told += b"\n\n"
        if not self.ended and self._complete_at_eof(self):
            self.ended = True
        return b"".join(passed) if self.ended else b""

    def _is_plain(self, frame: bytes) -> bool:
        """Whether there is nothing to look at: what the model says passes unparsed."""
        return self.content and self.error is None and self._only_content(frame) and frame.endswith(_ENDS)

    def _readable(self, frames: list[bytes]) -> list[bytes]:
        """What of the frames passes: all that can be read, up to an error. What came with that is told with it (some
        say twice that they failed), but for the mark of a good end."""
        passed: list[bytes] = []
        told: list[bytes] = []
        for frame in frames if self.error is None else ():
            event = None if self._is_plain(frame) else decode_frame(frame)
            if event is not None:
                done = event.data.strip() == _DONE
                if not done and not is_object(event.data):
                    self.malformed += 1
                    continue
                if told and done:
                    continue
                self._inspect(self, event)
            (passed if self.error is None else told).append(frame)
        if told:
            self._told = b"".join(told)
        return passed
