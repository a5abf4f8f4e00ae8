"""What the tap on a same-dialect stream notices. Content passes unparsed once there is some."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.bedrock.errors import read_stream_error, write_stream_error
from busbar.protocols.bedrock.usage import read_usage
from busbar.protocols.error_body import decode_error
from busbar.protocols.framing.eventstream import EventStreamMessage
from busbar.protocols.framing.eventstream_tap import EventStreamTap
from busbar.protocols.meter import Marks
from busbar.protocols.usage import merged

MARKS = Marks(
    event=b"contentBlockDelta",
    texts=(b"text", b"input"),
    call=b'"toolUseId"',
    call_tokens=25,
    signature_bytes=350,
)
"""By which a stream is metered that was cut, or states no usage."""


_decode = msgspec.json.Decoder().decode

_CONTENT = (b"\x07\x00\x11contentBlockDelta", b"\x07\x00\x11contentBlockStart", b"\x07\x00\x10contentBlockStop")
"""The value of `:event-type` with its type and length: no JSON text holds such bytes."""
_HEADERS_BYTES = 160
"""The usual headers end well before."""


def stream_tap(framing: str = "") -> EventStreamTap:
    del framing  # there is only one
    return EventStreamTap(_inspect, _only_content, write_stream_error, lambda tap: tap.finished)


def _only_content(frame: bytes) -> bool:
    head = frame[:_HEADERS_BYTES]
    return any(mark in head for mark in _CONTENT)


def _inspect(tap: EventStreamTap, message: EventStreamMessage) -> None:
    if tap.error is not None:
        return
    if message.headers.get(":message-type") in ("exception", "error"):
        tap.error = read_stream_error(message.headers, decode_error(message.payload))
        return
    try:
        value = _decode(message.payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    if isinstance(value, dict):
        _note(tap, message.headers.get(":event-type"), value)


def _note(tap: EventStreamTap, kind: Any, value: dict[str, Any]) -> None:
    match kind:
        case "contentBlockDelta":
            tap.content = tap.content or _says_something(value.get("delta"))
        case "contentBlockStart":
            start = value.get("start")
            tap.content = tap.content or (isinstance(start, dict) and bool(start))
        case "messageStop":
            tap.finished = tap.finished or isinstance(value.get("stopReason"), str)
        case "metadata":
            tap.usage = merged(tap.usage, read_usage(value.get("usage")))
            tap.ended = tap.finished
        case _:
            pass


def _says_something(delta: Any) -> bool:
    """A text or its citation alone may say nothing; thinking says something by beginning."""
    if not isinstance(delta, dict) or delta.keys() == {"citation"}:
        return False
    return delta.keys() != {"text"} or bool(delta["text"])
