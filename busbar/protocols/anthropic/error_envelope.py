"""What an error body says, in whatever envelope it came.

The dialect's own is `{"type": "error", "error": {type, message, details?: {error_code}}, "request_id"}`. Providers
that speak the dialect, and the proxies in front of them, send others; all that are known are read here.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from busbar.protocols.failures import FailureSignal

MESSAGE_CHARS_MAX = 2000
"""A message is cut here; no provider's is nearly as long, and a page of HTML is."""

_decode = msgspec.json.Decoder().decode
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def read_envelope(body: bytes) -> FailureSignal:
    """Code, type, message and param of an error body, without a status. Never raises."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return signal_of(_decode(text))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return FailureSignal(message=_bounded(_title_or_text(text)))


def signal_of(value: Any) -> FailureSignal:
    """The signal of a decoded error. Never raises, whatever the value is."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return FailureSignal(message=_bounded(value))
    if not isinstance(value, dict):
        return FailureSignal()
    error = value.get("error")
    if isinstance(error, dict):
        return _of_object(error)
    if isinstance(error, str):
        return FailureSignal(code=_word(value.get("code")), message=_bounded(error))
    if isinstance(base := value.get("base_resp"), dict):
        return FailureSignal(code=_word(base.get("status_code")), message=_text(base.get("status_msg")))
    errors = value.get("errors")
    if isinstance(errors, list) and errors:
        return signal_of(errors[0])
    return _of_object(value)


def _of_object(error: dict[str, Any]) -> FailureSignal:
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    kind = _word(error.get("type"))
    return FailureSignal(
        code=_word(code) or _word(error.get("code")) or _word(error.get("reason")),
        type=None if kind == "error" else kind,
        message=_message(error),
        param=_word(error.get("param")),
    )


def _message(error: dict[str, Any]) -> str:
    for key in ("message", "Message", "detail", "msg", "error_description"):
        value = error.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            value = value.get("message") or value.get("msg")
        if isinstance(value, str) and value:
            return _bounded(value)
    return ""


def _word(value: Any) -> str | None:
    """A code or type as text: providers spell the same code as a number and as a text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)[:MESSAGE_CHARS_MAX] or None


def _text(value: Any) -> str:
    return _bounded(value) if isinstance(value, str) else ""


def _title_or_text(text: str) -> str:
    if not text.startswith("<"):
        return text
    found = _TITLE.search(text)
    return " ".join(found.group(1).split()) if found else ""


def _bounded(text: str) -> str:
    return text[:MESSAGE_CHARS_MAX]
