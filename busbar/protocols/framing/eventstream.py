"""AWS eventstream (`application/vnd.amazon.eventstream`): binary messages with typed headers and two checksums.

    total length   4    of the whole message, all numbers big-endian
    headers length 4
    prelude CRC    4    CRC-32 of the eight bytes before
    headers        …    name length 1, name, type 1, value
    payload        …
    message CRC    4    CRC-32 of everything before

Two floors, as for server-sent events. `EventStreamSplitter` cuts the bytes into messages and checks both checksums,
at any split of the input; `EventStreamDecoder` stands on it and gives `EventStreamMessage`s. Fact: the Smithy
specification, "Amazon Event Stream Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct

from busbar.protocols.framing import FRAME_BYTES_MAX, CorruptFrame, FrameTooLarge
from busbar.protocols.framing.eventstream_headers import HeaderValue, decode_headers, encode_headers

PRELUDE_BYTES = 12
"""Where the headers begin."""
_CRC_BYTES = 4
_MESSAGE_BYTES_MIN = PRELUDE_BYTES + _CRC_BYTES
_HEADER_BLOCKS_KEPT = 256
"""Streams repeat a handful of header blocks; the decoded ones are kept, at most so many."""

_prelude = struct.Struct(">III")
_lengths = struct.Struct(">II")
_number = struct.Struct(">I")


class EventStreamMessage(Struct, frozen=True):
    """One message. `headers` is shared between messages: it is not to be changed."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


class EventStreamSplitter:
    """Cuts a byte stream into messages whose checksums are right. Keeps at most one unfinished message."""

    __slots__ = ("_bound_bytes", "_rest", "_wanted_bytes")

    def __init__(self, bound_bytes: int = FRAME_BYTES_MAX) -> None:
        self._rest = bytearray()
        self._wanted_bytes = PRELUDE_BYTES
        """Nothing can be said before so many bytes are there."""
        self._bound_bytes = bound_bytes

    @property
    def rest(self) -> bytes:
        """The bytes of the message that has not ended yet."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` ends, whole.

        Raises `CorruptFrame` for a message whose checksums or lengths are wrong, and `FrameTooLarge`; but first gives
        the good messages before it: then the next call raises.
        """
        if self._rest or len(data) < self._wanted_bytes:
            self._rest += data
            if len(self._rest) < self._wanted_bytes:
                return []
            buffer = bytes(self._rest)
        else:
            buffer = data
        messages: list[bytes] = []
        start = 0
        self._wanted_bytes = PRELUDE_BYTES
        try:
            while start < len(buffer) and (end := self._end(buffer, start)) is not None:
                messages.append(_checked(buffer[start:end]))
                start = end
        except (CorruptFrame, FrameTooLarge):
            self._wanted_bytes = 0
            if not messages:
                raise
        finally:
            self._rest = bytearray(buffer[start:]) if start < len(buffer) else bytearray()
        return messages

    def _end(self, buffer: bytes, start: int) -> int | None:
        """Where the message ends that begins at `start`, or None while it has not ended."""
        if len(buffer) - start < PRELUDE_BYTES:
            return None
        total, headers, checksum = _prelude.unpack_from(buffer, start)
        if crc32(buffer[start : start + 8]) != checksum:
            raise CorruptFrame("the checksum of a message's prelude is wrong")
        if total > self._bound_bytes:
            raise FrameTooLarge(self._bound_bytes)
        if total < _MESSAGE_BYTES_MIN + headers:
            raise CorruptFrame("a message is shorter than its headers")
        end: int = start + total
        if len(buffer) < end:
            self._wanted_bytes = total
            return None
        return end


class EventStreamDecoder:
    """Bytes in, messages out."""

    __slots__ = ("_splitter",)

    def __init__(self, bound_bytes: int = FRAME_BYTES_MAX) -> None:
        self._splitter = EventStreamSplitter(bound_bytes)

    def feed(self, data: bytes) -> list[EventStreamMessage]:
        """The messages that `data` completes. Raises `CorruptFrame`, `FrameTooLarge`."""
        return [decode_message(frame) for frame in self._splitter.feed(data)]


def decode_message(frame: bytes) -> EventStreamMessage:
    """A message that a splitter cut. Raises `CorruptFrame` when its headers are not well formed."""
    headers_end = PRELUDE_BYTES + _number.unpack_from(frame, 4)[0]
    return EventStreamMessage(_headers_of(frame[PRELUDE_BYTES:headers_end]), frame[headers_end:-_CRC_BYTES])


def encode_message(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """A message with valid checksums. Raises ValueError for a header that has no place."""
    return frame_of(encode_headers(headers), payload)


def frame_of(headers: bytes, payload: bytes) -> bytes:
    """A message of headers that are encoded already."""
    lengths = _lengths.pack(_MESSAGE_BYTES_MIN + len(headers) + len(payload), len(headers))
    body = b"%b%b%b%b" % (lengths, _number.pack(crc32(lengths)), headers, payload)
    return body + _number.pack(crc32(body))


@lru_cache(maxsize=_HEADER_BLOCKS_KEPT)
def _headers_of(block: bytes) -> Mapping[str, HeaderValue]:
    return decode_headers(block)


def _checked(frame: bytes) -> bytes:
    if crc32(frame[:-_CRC_BYTES]) != _number.unpack_from(frame, len(frame) - _CRC_BYTES)[0]:
        raise CorruptFrame("the checksum of a message is wrong")
    return frame


def messages_as_values(data: bytes) -> list[Any]:
    """A whole stream as values that can be shown and compared: each message's headers, and its payload decoded where
    it is JSON. Raises `BrokenFraming`, also for an unfinished message at the end."""
    splitter = EventStreamSplitter()
    frames = splitter.feed(data)
    if splitter.rest:
        raise CorruptFrame("the last message is not whole")
    return [_value(decode_message(frame)) for frame in frames]


def _value(message: EventStreamMessage) -> dict[str, Any]:
    try:
        payload = msgspec.json.decode(message.payload)
    except (msgspec.DecodeError, UnicodeError):
        payload = message.payload.hex()
    return {"headers": {name: str(value) for name, value in message.headers.items()}, "payload": payload}
