"""How a stream of this dialect is cut: server-sent events where `alt=sse` was asked for, else one JSON array.

An error may come as bare JSON behind the last event ("When API returns an error message, it comes line by line", as
the SDK says): such a frame is a document too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.framing.json_array import JsonArraySplitter
from busbar.protocols.framing.sse import SseSplitter, decode_frame

_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_END = b"\r\n\r\n"
_DONE = b"[DONE]"
"""What clones of other dialects end with; it says nothing here."""


def stream_as_values(data: bytes) -> list[Any]:
    """A whole stream's documents, in either framing. Raises `BrokenFraming`."""
    frames = Frames()
    found = [frame.data for frame in (*frames.feed(data), *frames.close()) if frame.data is not None]
    return [_value(document) for document in found]


def _value(document: bytes) -> Any:
    try:
        return msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeError):
        return document.decode("utf-8", "replace")


class Frame:
    """`wire` is the frame as it came, empty where it was an element of an array; `data` its JSON, None for a
    comment."""

    __slots__ = ("data", "wire")

    def __init__(self, wire: bytes, data: bytes | None) -> None:
        self.wire = wire
        self.data = data


class Frames:
    """Bytes in, frames out; the first byte tells which framing it is."""

    __slots__ = ("_array", "_sse")

    def __init__(self) -> None:
        self._sse: SseSplitter | None = None
        self._array: JsonArraySplitter | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Raises `FrameTooLarge`."""
        if self._sse is None and self._array is None:
            data = data.removeprefix(_BOM).lstrip(_SPACE)
            if not data:
                return []
            if data.startswith(b"["):
                self._array = JsonArraySplitter()
            else:
                self._sse = SseSplitter()
        if self._array is not None:
            return [Frame(b"", element) for element in self._array.feed(data)]
        if self._sse is None:
            return []
        if data.endswith(_END) and not self._sse.rest and (whole := _plain(data)) is not None:
            return whole
        return [_frame(frame) for frame in self._sse.feed(data)]

    def close(self) -> list[Frame]:
        """A last frame that lacks only its blank line."""
        rest = b"" if self._sse is None else self._sse.rest
        return [_frame(rest)] if rest.strip(_SPACE) else []


def _plain(data: bytes) -> list[Frame] | None:
    """Whole events of one line each, as Google sends them: what a network chunk most often is. None for others."""
    lines = data[: -len(_END)].split(_END)
    for line in lines:
        if not line.startswith(b"data: {") or b"\n" in line or b"\r" in line:
            return None
    return [Frame(line + _END, line[6:]) for line in lines]


def _frame(wire: bytes) -> Frame:
    event = decode_frame(wire)
    if event is None:
        bare = wire.strip(_SPACE)
        return Frame(wire, bare if bare.startswith(b"{") else None)
    return Frame(wire, None if event.data.strip() == _DONE else event.data)
