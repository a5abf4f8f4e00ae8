"""How the frames of a stream become bytes: server-sent events, one JSON array, or AWS eventstream messages.

A dialect says what its frames are (`dialect.Frame`); the request says in which framing they go out. The eventstream
encoding follows the Smithy specification of `application/vnd.amazon.eventstream`: big-endian lengths, string headers
(type 7), CRC-32 of the prelude and of the whole message.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from .dialect import JSON, Frame

_STRING = 7
"""The eventstream header type of a string."""


class Framing(Protocol):
    """One way of writing a stream."""

    media_type: str

    def encode(self, frames: Sequence[Frame], newline: str = "\n") -> list[bytes]:
        """The stream in the pieces it is written in, one for each frame."""

    def error(self, envelope: JSON) -> bytes:
        """The body of an error that is answered instead of a stream."""


class ServerSentEvents:
    """`event:` and `data:` lines."""

    media_type = "text/event-stream; charset=utf-8"

    def encode(self, frames: Sequence[Frame], newline: str = "\n") -> list[bytes]:
        return [frame.encode(newline) for frame in frames]

    def error(self, envelope: JSON) -> bytes:
        return msgspec.json.encode(envelope)


class JsonArray:
    """One array, an element for each frame: Gemini without `alt=sse`. Errors are a list of one, too."""

    media_type = "application/json; charset=UTF-8"

    def encode(self, frames: Sequence[Frame], newline: str = "\n") -> list[bytes]:
        elements = [_payload(frame) for frame in frames]
        separator = f"{newline},{newline}".encode()
        pieces = [(separator if at else b"[") + element for at, element in enumerate(elements)]
        return [*pieces[:-1], pieces[-1] + f"{newline}]{newline}".encode()] if pieces else [b"[]"]

    def error(self, envelope: JSON) -> bytes:
        return msgspec.json.encode([envelope])


class EventStream:
    """AWS eventstream messages. A frame whose event is named `…Exception` is a message of type exception."""

    media_type = "application/vnd.amazon.eventstream"

    def encode(self, frames: Sequence[Frame], newline: str = "\n") -> list[bytes]:
        return [message(_headers(frame.event or ""), _payload(frame)) for frame in frames]

    def error(self, envelope: JSON) -> bytes:
        return msgspec.json.encode(envelope)


SSE = ServerSentEvents()
JSON_ARRAY = JsonArray()
EVENT_STREAM = EventStream()


def framing(dialect: str, query: Mapping[str, str]) -> Framing:
    """The framing in which `dialect` streams its answer to a request with this query."""
    if dialect == "bedrock":
        return EVENT_STREAM
    return JSON_ARRAY if dialect == "gemini" and query.get("alt") != "sse" else SSE


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One eventstream message."""
    named = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(named) + len(payload), len(named))
    checked = prelude + struct.pack(">I", zlib.crc32(prelude)) + named + payload
    return checked + struct.pack(">I", zlib.crc32(checked))


def _header(name: str, value: str) -> bytes:
    text = value.encode()
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(text)) + text


def _headers(event: str) -> dict[str, str]:
    kind = "exception" if event.endswith("Exception") else "event"
    return {f":{kind}-type": event, ":content-type": "application/json", ":message-type": kind}


def _payload(frame: Frame) -> bytes:
    return frame.data.encode() if isinstance(frame.data, str) else msgspec.json.encode(frame.data)
