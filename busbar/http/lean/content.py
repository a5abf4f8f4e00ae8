"""Compressed bodies. We ask for none; some providers send them all the same."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE_BYTES_MAX = 64 << 10
"""A body is opened in pieces of at most this size, so that a small one cannot become a large one at once."""

_GZIP = 16 + zlib.MAX_WBITS
_ENCODED = frozenset({"gzip", "deflate", "br", "zstd"})


class NotDecodable(Exception):
    """The body is not what `content-encoding` says, or in an encoding that is not read here."""


class Decoder:
    """Opens one body."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding == "gzip"
        self._inflater = zlib.decompressobj(_GZIP) if self._gzip else None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises `NotDecodable`."""
        while data:
            if self._inflater is None or (self._gzip and self._inflater.eof):
                self._inflater = self._begin(data)
            try:
                piece = self._inflater.decompress(data, PIECE_BYTES_MAX)
            except zlib.error as error:
                raise NotDecodable(str(error)) from None
            if piece:
                yield piece
            data = self._inflater.unconsumed_tail
            if self._inflater.eof:
                data = self._inflater.unused_data
                if data and not self._gzip:
                    raise NotDecodable("bytes after the end")
            elif not data and len(piece) == PIECE_BYTES_MAX:
                # All input is taken, and yet there may be more to give.
                yield from self._rest()

    def close(self) -> None:
        """The body has ended. Raises `NotDecodable` where that is too early (a gzip body may end at any flush)."""
        if not self._gzip and self._inflater is not None and not self._inflater.eof:
            raise NotDecodable("the body ended too early")

    def _rest(self) -> Iterator[bytes]:
        assert self._inflater is not None
        while piece := self._inflater.decompress(b"", PIECE_BYTES_MAX):
            yield piece

    def _begin(self, data: bytes) -> zlib._Decompress:
        if self._gzip:
            return zlib.decompressobj(_GZIP)
        # RFC 9110 §8.4.1.2 wants zlib's wrapping (its first byte ends in 8); many send deflate bare.
        return zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0xF == 8 else -zlib.MAX_WBITS)


def decoder_for(encoding: str) -> Decoder | None:
    """None: the body is passed on as it is. Raises `NotDecodable`."""
    encoding = encoding.lower()
    if encoding not in _ENCODED:
        return None
    if encoding in ("br", "zstd"):
        raise NotDecodable(encoding)
    return Decoder(encoding)
