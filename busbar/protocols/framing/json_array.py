"""A stream as one JSON array that grows: `[`, elements, `]`, as Google's APIs send it where nobody asks for SSE.

`JsonArraySplitter` finds where elements end, on bytes and at any split of them, without parsing them: an element is
given the moment its last bracket is there. `JsonArrayWriter` is the way back.
"""

from __future__ import annotations

import re

from busbar.protocols.framing import FRAME_BYTES_MAX, FrameTooLarge

_STRUCTURE = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'["\\]')
_SPACE = b" \t\r\n"
_QUOTE, _BACKSLASH, _COMMA = b'"'[0], b"\\"[0], b","[0]
_OPENS, _CLOSES = frozenset(b"[{"), frozenset(b"]}")


class NotAnArray(Exception):
    """What arrived does not begin like a JSON array."""


class JsonArraySplitter:
    """Bytes in, whole elements out (undecoded). Keeps at most one unfinished element.

    `closed`: the array has ended; what follows is ignored.
    """

    __slots__ = ("_begins", "_bound_bytes", "_depth", "_in_string", "_rest", "_searched", "closed")

    def __init__(self, bound_bytes: int = FRAME_BYTES_MAX) -> None:
        self._bound_bytes = bound_bytes
        self._rest = b""
        self._begins = 0
        self._searched = 0
        self._depth = 0
        self._in_string = False
        self.closed = False

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that `data` completes. Raises `FrameTooLarge` when an unfinished one outgrows its bound, and
        `NotAnArray`."""
        if self.closed:
            return []
        self._rest += data
        if self._depth == 0 and not self._open():
            return []
        elements = self._scan()
        self._rest = self._rest[self._begins :]
        self._searched -= self._begins
        self._begins = 0
        if len(self._rest) > self._bound_bytes:
            raise FrameTooLarge(self._bound_bytes)
        return elements

    def _open(self) -> bool:
        begun = self._rest.lstrip(_SPACE)
        if begun[:1] not in (b"", b"["):
            raise NotAnArray("a JSON array begins with [")
        self._rest = begun[1:]
        self._depth = 1 if begun else 0
        return bool(begun)

    def _scan(self) -> list[bytes]:
        """Goes on where the last scan stopped; `_begins` is where the element begins that is being read."""
        elements: list[bytes] = []
        buffer, at = self._rest, self._searched
        while not self.closed:
            if self._in_string:
                at = self._skip_string(buffer, at)
                if self._in_string:
                    break
            found = _STRUCTURE.search(buffer, at)
            if found is None:
                at = len(buffer)
                break
            at = found.end()
            self._step(buffer[at - 1], buffer, at, elements)
        self._searched = at
        return elements

    def _step(self, char: int, buffer: bytes, at: int, elements: list[bytes]) -> None:
        if char == _QUOTE:
            self._in_string = True
        elif char in _OPENS:
            self._depth += 1
        elif char == _COMMA:
            if self._depth == 1:
                self._take(buffer, at, at - 1, elements)
        elif char in _CLOSES:
            self._depth -= 1
            if self._depth == 1:
                self._take(buffer, at, at, elements)
            elif self._depth == 0:
                self._take(buffer, at, at - 1, elements)
                self.closed = True

    def _take(self, buffer: bytes, begins_next: int, ends: int, elements: list[bytes]) -> None:
        element = buffer[self._begins : ends].strip(_SPACE)
        self._begins = begins_next
        if element:
            elements.append(element)

    def _skip_string(self, buffer: bytes, at: int) -> int:
        """To the end of the string that is open. An escape at the very end waits for the byte that it escapes."""
        while (found := _IN_STRING.search(buffer, at)) is not None:
            if buffer[found.start()] == _QUOTE:
                self._in_string = False
                return found.end()
            if found.end() == len(buffer):
                return found.start()
            at = found.end() + 1
        return len(buffer)


class JsonArrayWriter:
    """Elements in, the bytes of a growing array out."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = False

    def element(self, data: bytes) -> bytes:
        """`data` is one JSON value."""
        before = b",\r\n" if self._begun else b"["
        self._begun = True
        return before + data

    def close(self) -> bytes:
        return b"]" if self._begun else b"[]"
