"""What the tap on a same-dialect stream notices. Content passes unparsed once there is some."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.cohere.errors import failed_answer, write_stream_error
from busbar.protocols.cohere.usage import read_usage
from busbar.protocols.cohere.words import FAILED
from busbar.protocols.error_body import signal_of
from busbar.protocols.framing.sse import SseEvent
from busbar.protocols.framing.tap import SseTap
from busbar.protocols.meter import Marks
from busbar.protocols.usage import merged

MARKS = Marks(
    event=b'-delta"',
    texts=(b"text", b"thinking", b"tool_plan", b"arguments"),
    call=b'tool-call-start"',
    call_tokens=30,
)
"""By which a stream is metered that was cut, or states no usage."""


_decode = msgspec.json.Decoder().decode

_CONTENT = (b"event: content-", b"event: tool-", b"event: citation-")


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
        _note(tap, value, event.event)


def _note(tap: SseTap, value: dict[str, Any], name: str) -> None:
    kind = value.get("type")
    if not isinstance(kind, str) or kind == "error":
        if name == "error" or value.get("error") or value.get("message"):
            tap.error = signal_of(value)
        return
    match kind:
        case "content-start" | "content-delta":
            tap.content = tap.content or _says_something(value.get("delta"))
        case "tool-plan-delta" | "tool-call-start" | "tool-call-delta":
            tap.content = True
        case "message-end":
            _end(tap, value.get("delta"))
        case _:
            pass


def _end(tap: SseTap, delta: Any) -> None:
    if not isinstance(delta, dict):
        return
    tap.usage = merged(tap.usage, read_usage(delta.get("usage")))
    word = delta.get("finish_reason")
    if isinstance(word, str) and word in FAILED:
        tap.error = failed_answer(word, delta.get("error"))
        return
    tap.finished = tap.ended = True


def _says_something(delta: Any) -> bool:
    """A text that is not empty. A thought says something by beginning: its first word may take a while."""
    message = delta.get("message") if isinstance(delta, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, dict) and (
        content.get("type") == "thinking" or "thinking" in content or bool(content.get("text"))
    )
