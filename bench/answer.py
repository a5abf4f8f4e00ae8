"""Reads HTTP/1.1 answers, at any split of the bytes: what the load generator needs and no more."""

from __future__ import annotations

HEAD_MAX_BYTES = 64 * 1024
_END_OF_HEAD = b"\r\n\r\n"


class BrokenAnswer(Exception):
    """Not an answer that this reader knows; says why."""


class AnswerReader:
    """Takes bytes until one answer is complete. Bodies have a content-length or come in chunks, without trailers."""

    __slots__ = ("_head_read", "_left", "_rest", "body", "closes", "status")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """For the next answer."""
        self.status = 0
        self.body = bytearray()
        self.closes = False
        """Whether the server closes the connection after this answer."""
        self._head_read = False
        self._left: int | None = None
        self._rest = bytearray()

    def feed(self, data: bytes) -> bool:
        """True when the answer is complete. Raises `BrokenAnswer`."""
        self._rest += data
        if not self._head_read:
            end = self._rest.find(_END_OF_HEAD)
            if end < 0:
                if len(self._rest) > HEAD_MAX_BYTES:
                    raise BrokenAnswer("endless head")
                return False
            self._read_head(bytes(self._rest[:end]))
            del self._rest[: end + len(_END_OF_HEAD)]
        return self._read_chunks() if self._left is None else self._read_rest()

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        words = first.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise BrokenAnswer("not HTTP/1.1")
        self.status = int(words[1])
        self._head_read = True
        headers = {name.lower(): value.strip().lower() for name, _, value in (line.partition(b":") for line in lines)}
        self.closes = headers.get(b"connection") == b"close"
        if headers.get(b"transfer-encoding") == b"chunked":
            self._left = None
        elif (length := headers.get(b"content-length", b"")).isdigit():
            self._left = int(length)
        else:
            raise BrokenAnswer("neither content-length nor chunked")

    def _read_rest(self) -> bool:
        assert self._left is not None
        if len(self._rest) > self._left:
            raise BrokenAnswer("bytes after the answer")
        self._left -= len(self._rest)
        self.body += self._rest
        self._rest.clear()
        return self._left == 0

    def _read_chunks(self) -> bool:
        rest, at, last = self._rest, 0, False
        while not last and (end_of_line := rest.find(b"\r\n", at)) >= 0:
            try:
                size = int(rest[at:end_of_line].partition(b";")[0], 16)
            except ValueError:
                raise BrokenAnswer("not the size of a chunk") from None
            end = end_of_line + 2 + size
            if len(rest) < end + 2:
                break
            if rest[end : end + 2] != b"\r\n":
                raise BrokenAnswer("a chunk without an end")
            self.body += rest[end_of_line + 2 : end]
            at, last = end + 2, size == 0
        del rest[:at]
        if last and rest:
            raise BrokenAnswer("bytes after the answer")
        return last
