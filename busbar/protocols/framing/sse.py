"""Server-sent events, as the WHATWG HTML standard defines them (§9.2.6, interpreting an event stream).

Two floors. `SseSplitter` finds where frames end, on bytes: `\\n\\n`, `\\r\\n\\r\\n`, `\\r\\r` and mixtures, at any
split of the input. `SseDecoder` stands on it and gives `SseEvent`s: several `data:` lines join with a line feed,
comments are skipped, one byte order mark at the start is skipped. UTF-8 is never cut, because only whole frames are
looked at.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from busbar.protocols.framing import FRAME_BYTES_MAX, FrameTooLarge

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n|\r\n\n|\r\n\r(?!\n)|\n\r(?!\n)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_LONGEST_BOUNDARY = 4
_LF, _CR = b"\n\r"
"""As numbers: `in` finds a byte eight times as fast as a text of one byte."""


class SseEvent(Struct, frozen=True, gc=False):
    """One event. `event` is empty where the frame named none; `data` is the joined data lines, undecoded."""

    event: str
    data: bytes


class SseSplitter:
    """Cuts a byte stream after each blank line. Keeps at most one unfinished frame."""

    __slots__ = ("_bound_bytes", "_rest", "_searched")

    def __init__(self, bound_bytes: int = FRAME_BYTES_MAX) -> None:
        self._rest = b""
        self._searched = 0
        self._bound_bytes = bound_bytes

    @property
    def rest(self) -> bytes:
        """The bytes of the frame that has not ended yet."""
        return self._rest

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` ends, each with its boundary; joined with `rest` they are the input, unchanged.

        A carriage return at the very end of the input may be the first half of a line ending, so a frame that ends
        in one waits for the next byte. Raises `FrameTooLarge` when an unfinished frame outgrows its bound.
        """
        if not self._rest and _is_one_frame(data):
            return [data]
        pieces = self.feed_pieces(data)
        if pieces is not None:
            return [piece + b"\n\n" for piece in pieces]
        frames = self._cut(self._rest + data)
        self._check()
        return frames

    def feed_pieces(self, data: bytes) -> list[bytes] | None:
        """The same without the boundaries, where they are two line feeds. None: nothing was taken, as there are
        carriage returns, and `feed` has to."""
        if _CR in data or _CR in self._rest:
            return None
        buffer = self._rest + data if self._rest else data
        *pieces, self._rest = buffer.split(b"\n\n")
        self._searched = max(0, len(self._rest) - _LONGEST_BOUNDARY)
        self._check()
        return pieces

    def _check(self) -> None:
        if len(self._rest) > self._bound_bytes:
            raise FrameTooLarge(self._bound_bytes)

    def _cut(self, buffer: bytes) -> list[bytes]:
        """For streams with carriage returns: Google's, and hardly any other."""
        frames: list[bytes] = []
        start = 0
        search_from = self._searched
        while (end := buffer.find(b"\r\n\r\n", search_from)) >= 0:  # frames of one line, as Google sends them
            line = buffer[start:end]
            if _CR in line or _LF in line:
                break
            frames.append(line + b"\r\n\r\n")
            start = search_from = end + 4
        while (found := _BOUNDARY.search(buffer, search_from)) is not None:
            end = found.end()
            if buffer[end - 1] == 0x0D and end == len(buffer):
                break
            frames.append(buffer[start:end])
            start = search_from = end
        self._rest = buffer[start:]
        self._searched = max(0, len(self._rest) - _LONGEST_BOUNDARY)
        return frames


def _is_one_frame(data: bytes) -> bool:
    """Of one or two lines, with line feeds: what a network chunk most often is. False where a closer look is due."""
    last = len(data) - 2
    end_of_line = data.find(b"\n")
    if 0 < end_of_line < last:
        end_of_line += 1
        if data[end_of_line] == _LF:
            return False
        end_of_line = data.find(b"\n", end_of_line)
    return end_of_line == last > 0 and data[-1] == _LF and _CR not in data


class SseDecoder:
    """Bytes in, events out. Frames that hold no data (comments, keep-alives) give no event."""

    __slots__ = ("_first", "_head", "_name", "_splitter")

    def __init__(self, bound_bytes: int = FRAME_BYTES_MAX) -> None:
        self._splitter = SseSplitter(bound_bytes)
        self._first = True
        self._head, self._name = b"event: ", ""
        """The last event's first line, and the name in it: most events of a stream have the same."""

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that `data` completes. Raises `FrameTooLarge`."""
        pieces = self._splitter.feed_pieces(data)
        frames = self._splitter.feed(data) if pieces is None else pieces
        if self._first and frames:
            frames[0] = frames[0].removeprefix(_BOM)
            self._first = False
        decode = decode_frame if pieces is None else self._decode_piece
        return [event for frame in frames if (event := decode(frame)) is not None]

    def _decode_piece(self, piece: bytes) -> SseEvent | None:
        """A frame without its boundary and without carriage returns."""
        head, found, data = piece.partition(b"\ndata: ")
        if not found:
            if piece.startswith(b"data: ") and len(piece) > 6 and _LF not in piece:
                return SseEvent("", piece[6:])
            return _decode_lines(piece)
        if _LF in data or not data:
            return _decode_lines(piece)
        if head != self._head:
            if _LF in head or not head.startswith(b"event: "):
                return _decode_lines(piece)
            self._head, self._name = head, head[7:].decode("utf-8", "replace")
        return SseEvent(self._name, data)

    def close(self) -> list[SseEvent]:
        """The connection ended. A last frame without its blank line is given when its lines are whole.

        The standard drops such a frame; providers are known to omit the last blank line, and a frame cut in the
        middle of its JSON is found out by whoever parses it.
        """
        rest = self._splitter.rest
        if not rest:
            return []
        event = decode_frame(rest.removeprefix(_BOM) if self._first else rest)
        return [] if event is None else [event]


def decode_frame(frame: bytes) -> SseEvent | None:
    """One frame as an event, or None when it holds no data."""
    return _decode_plain(frame) or _decode_lines(frame)


def _decode_plain(frame: bytes) -> SseEvent | None:
    """A frame of the form in which providers write nearly all: at most an `event: ` line, then one `data: ` line."""
    if frame[-2:] == b"\n\n":
        end = -2
    elif frame[-4:] == b"\r\n\r\n":
        end = -4
    else:
        return None
    if frame[:6] == b"data: ":
        name, data = b"", frame[6:end]
    elif frame[:7] == b"event: ":
        name, _, data = frame[7:end].partition(b"\ndata: ")
    else:
        return None
    if not data or _LF in data or _CR in data or _LF in name or _CR in name:
        return None
    return SseEvent(name.decode("utf-8", "replace") if name else "", data)


def _decode_lines(frame: bytes) -> SseEvent | None:
    name = b""
    lines: list[bytes] = []
    for line in _LINE_END.split(frame):
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
    if not lines:
        return None
    return SseEvent(name.decode("utf-8", "replace"), b"\n".join(lines) if len(lines) > 1 else lines[0])


def encode_event(data: bytes, event: str = "") -> bytes:
    """One frame. `data` must not contain a line end: JSON as msgspec writes it never does."""
    if event:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"data: %b\n\n" % data


def events_as_values(data: bytes) -> list[Any]:
    """A whole stream as values that can be shown and compared: the name and the data of each event, JSON decoded."""
    decoder = SseDecoder()
    events = decoder.feed(data) + decoder.close()
    return [{"event": event.event, "data": _value(event.data)} for event in events]


def _value(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        return data.decode("utf-8", "replace")
