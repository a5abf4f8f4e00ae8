"""The typed headers of AWS eventstream messages.

0 true    1 false    2 byte    3 short    4 integer    5 long    6 bytes    7 string    8 timestamp    9 UUID

Numbers are signed and big-endian; bytes and strings have a length of two bytes before them; a timestamp counts
milliseconds since 1970.
"""

from __future__ import annotations

import struct
import typing
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from busbar.protocols.framing import CorruptFrame

HeaderValue: typing.TypeAlias = str | bool | int | bytes | datetime | UUID

HEADERS_BYTES_MAX = 128 * 1024
"""All headers of a message together (the Smithy specification's bound)."""

_TRUE, _FALSE, _BYTE, _SHORT, _INTEGER, _LONG, _BYTES, _STRING, _TIMESTAMP, _UUID = range(10)
_NUMBERS: Mapping[int, struct.Struct] = {
    _BYTE: struct.Struct(">b"),
    _SHORT: struct.Struct(">h"),
    _INTEGER: struct.Struct(">i"),
    _LONG: struct.Struct(">q"),
    _TIMESTAMP: struct.Struct(">q"),
}
_length = struct.Struct(">H")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode_headers(block: bytes) -> dict[str, HeaderValue]:
    """Raises `CorruptFrame` when the block is not well formed or names a header twice."""
    if len(block) > HEADERS_BYTES_MAX:
        raise CorruptFrame("the headers of a message are too long")
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = _exactly(block, at + 1, name_end).decode()
            value, at = _decode_value(block, name_end)
            if name in headers:
                raise CorruptFrame("a message names a header twice")
            headers[name] = value
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError):
        raise CorruptFrame("the headers of a message are not well formed") from None
    return headers


def encode_headers(headers: Mapping[str, HeaderValue]) -> bytes:
    """A number takes the least type that holds it. Raises ValueError for what does not fit its header."""
    out = bytearray()
    for name, value in headers.items():
        encoded = name.encode()
        if not 0 < len(encoded) <= 255:
            raise ValueError("a header's name has 1 to 255 bytes")
        out += bytes((len(encoded),)) + encoded + _encode_value(value)
    if len(out) > HEADERS_BYTES_MAX:
        raise ValueError("the headers of a message are too long")
    return bytes(out)


def _decode_value(block: bytes, at: int) -> tuple[HeaderValue, int]:
    """The value whose type stands at `at`, and where the next header begins."""
    kind = block[at]
    at += 1
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in (_BYTES, _STRING):
        start = at + 2
        end = start + _length.unpack_from(block, at)[0]
        raw = _exactly(block, start, end)
        return raw.decode() if kind == _STRING else raw, end
    if kind == _UUID:
        return UUID(bytes=_exactly(block, at, at + 16)), at + 16
    if kind not in _NUMBERS:
        raise CorruptFrame("a header has a type that does not exist")
    number: int = _NUMBERS[kind].unpack_from(block, at)[0]
    end = at + _NUMBERS[kind].size
    return (_EPOCH + timedelta(milliseconds=number) if kind == _TIMESTAMP else number), end


def _encode_value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return bytes((_TRUE if value else _FALSE,))
        case int():
            return _encode_number(value)
        case str() | bytes():
            raw = value.encode() if isinstance(value, str) else value
            if len(raw) > 0xFFFF:
                raise ValueError("a header's value has at most 65535 bytes")
            return bytes((_STRING if isinstance(value, str) else _BYTES,)) + _length.pack(len(raw)) + raw
        case datetime():
            milliseconds = (value - _EPOCH) // timedelta(milliseconds=1)
            return bytes((_TIMESTAMP,)) + _NUMBERS[_TIMESTAMP].pack(milliseconds)
        case UUID():
            return bytes((_UUID,)) + value.bytes


def _encode_number(number: int) -> bytes:
    for kind in (_BYTE, _SHORT, _INTEGER, _LONG):
        bound = 1 << (8 * _NUMBERS[kind].size - 1)
        if -bound <= number < bound:
            return bytes((kind,)) + _NUMBERS[kind].pack(number)
    raise ValueError("a header's number has at most 64 bits")


def _exactly(block: bytes, start: int, end: int) -> bytes:
    if end > len(block):
        raise CorruptFrame("the headers of a message are not well formed")
    return block[start:end]
