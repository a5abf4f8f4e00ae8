"""What the tap on a same-dialect stream notices. Content passes unparsed once there is some."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.anthropic.errors import write_stream_error
from busbar.protocols.anthropic.usage import read_usage
from busbar.protocols.error_body import signal_of
from busbar.protocols.framing.sse import SseEvent
from busbar.protocols.framing.tap import SseTap
from busbar.protocols.meter import Marks
from busbar.protocols.usage import merged

MARKS = Marks(
    event=b'"content_block_delta"',
    texts=(b"text", b"thinking", b"partial_json"),
    call=b'"input"',
    call_tokens=35,
    signature_bytes=350,
)
"""By which a stream is metered that was cut, or states no usage."""


_decode = msgspec.json.Decoder().decode

_CONTENT = b"event: content_block_"
_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "text": "text"}
"""Deltas and block starts that say something only when this field of theirs is not empty. (A thinking block says
something by starting: its text may be withheld, and then nothing else comes for minutes.)"""
_SILENT = frozenset({"signature_delta", "citations_delta"})


def stream_tap(framing: str = "") -> SseTap:
    del framing  # there is only one
    return SseTap(_inspect, write_stream_error, only_content=_only_content)


def _only_content(frame: bytes) -> bool:
    return frame.startswith(_CONTENT)


def _inspect(tap: SseTap, event: SseEvent) -> None:
    if tap.ended or tap.error is not None:
        return
    try:
        value = _decode(event.data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    if isinstance(value, dict):
        _note(tap, value)


def _note(tap: SseTap, value: dict[str, Any]) -> None:
    match value.get("type"):
        case "content_block_delta":
            tap.content = tap.content or _says_something(value.get("delta"))
        case "content_block_start":
            tap.content = tap.content or _says_something(value.get("content_block"))
        case "message_start":
            message = value.get("message")
            if isinstance(message, dict):
                tap.content = tap.content or bool(message.get("content"))
                _see(tap, message.get("usage"), message.get("stop_reason"))
        case "message_delta":
            delta = value.get("delta")
            _see(tap, value.get("usage"), delta.get("stop_reason") if isinstance(delta, dict) else None)
        case "message_stop":
            tap.ended = True
        case "error":
            tap.error = signal_of(value)
        case _:
            pass


def _see(tap: SseTap, stated: Any, stop_reason: Any) -> None:
    tap.usage = merged(tap.usage, read_usage(stated))
    tap.finished = tap.finished or stop_reason is not None


def _says_something(block: Any) -> bool:
    if not isinstance(block, dict) or block.get("type") in _SILENT:
        return False
    field = _TEXTS.get(str(block.get("type")))
    return field is None or bool(block.get(field))
