"""What an error body says, in whatever envelope it came: the dialects' own, their clones', routers' and web servers'.

{"error": {message, type, code, param, details?, metadata?}}    OpenAI, Anthropic, Gemini and most clones
{"error": "text", code?, type?}                                 Hugging Face, xAI
{message, code?, type? | reason?}                               flat: Mistral, Novita, SiliconFlow
{"detail": "text" | {…} | [{loc, msg}, …]}                      FastAPI
{"errors": [{code, message}, …]}                                Cloudflare
{"base_resp": {status_code, status_msg}}                        MiniMax
[{"error": …}]                                                  Gemini's OpenAI endpoint
text, HTML, nothing
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.failures import FailureSignal

MESSAGE_CHARS_MAX = 4000
"""A longer message is cut: it goes into logs and answers, and a page of HTML is no message."""

_GENERIC_MESSAGES = frozenset({"Provider returned error", "Upstream error"})
"""What routers say when the provider's own words are in `metadata.raw`."""

_MESSAGE_KEYS = ("message", "msg", "Message", "error_description")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def decode_error(body: bytes) -> Any:
    """The body's JSON value, the first of a list; else its text, or the title of its HTML. Never raises."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return text if not text.startswith("<") else _title(text)
    while isinstance(value, list) and value:
        value = value[0]
    return value


def signal_of(value: Any) -> FailureSignal:
    """Code, type, message and param of a decoded error, without a status. Never raises, whatever `value` is."""
    if not isinstance(value, dict):
        return FailureSignal(message=_text(value) if isinstance(value, str) else "")
    for key, read in _ENVELOPES:
        inner = value.get(key)
        if inner:
            return read(value, inner)
    return _of_object(value)


def word(value: Any) -> str | None:
    """A code or type as text: providers spell the same code as a number and as a text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)[:MESSAGE_CHARS_MAX] or None


def _of_error(envelope: Mapping[str, Any], error: Any) -> FailureSignal:
    if isinstance(error, dict):
        return _of_object(error)
    return FailureSignal(code=word(envelope.get("code")), type=_kind(envelope), message=_text(error))


def _of_base_resp(envelope: Mapping[str, Any], base: Any) -> FailureSignal:
    if not isinstance(base, dict):
        return _of_object(envelope)
    return FailureSignal(code=word(base.get("status_code")), message=_text(base.get("status_msg")))


def _of_detail(_: Mapping[str, Any], detail: Any) -> FailureSignal:
    if isinstance(detail, dict):
        return signal_of(detail) if detail.get("error") else _of_object(detail)
    if isinstance(detail, list):
        found = [item for item in detail if isinstance(item, dict)]
        texts = [f"{'.'.join(map(str, item.get('loc') or ()))}: {_text(item.get('msg'))}" for item in found]
        return FailureSignal(message="; ".join(texts)[:MESSAGE_CHARS_MAX])
    return FailureSignal(message=_text(detail))


def _of_errors(_: Mapping[str, Any], errors: Any) -> FailureSignal:
    first = errors[0] if isinstance(errors, list) else errors
    return _of_object(first) if isinstance(first, dict) else FailureSignal(message=_text(first))


_ENVELOPES: tuple[tuple[str, Callable[[Mapping[str, Any], Any], FailureSignal]], ...] = (
    ("error", _of_error),
    ("base_resp", _of_base_resp),
    ("message", lambda envelope, _: _of_object(envelope)),
    ("detail", _of_detail),
    ("errors", _of_errors),
)


def _of_object(error: Mapping[str, Any]) -> FailureSignal:
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    message = next((said for key in _MESSAGE_KEYS if (said := error.get(key))), "")
    return FailureSignal(
        code=word(code) or word(error.get("code")) or word(error.get("error_code")),  # the last is Databricks'
        type=_kind(error),
        message=_own_words(_text(message), error.get("metadata")),
        param=word(error.get("param")),
    )


def _kind(error: Mapping[str, Any]) -> str | None:
    """The structured type; OpenRouter tells in `metadata` what limit was met, and that it was moderation."""
    metadata = error.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    named = (
        error.get("type"),
        error.get("status"),
        error.get("reason"),
        error.get("error_type"),
    )  # the last is TGI's
    said = (*named, metadata.get("limit_source"))
    kind = next((kind for kind in said if kind and isinstance(kind, str) and kind != "error"), None)
    return "moderation" if kind is None and metadata.get("reasons") else kind


def _own_words(message: str, metadata: Any) -> str:
    """A router's message, with the provider's own behind it: often JSON in a string."""
    raw = metadata.get("raw") if isinstance(metadata, dict) and message in _GENERIC_MESSAGES else None
    if not raw:
        return message
    inner = signal_of(decode_error(raw.encode("utf-8", "replace")) if isinstance(raw, str) else raw).message
    return f"{message}: {inner or _text(raw)}"[:MESSAGE_CHARS_MAX]


def _text(value: Any) -> str:
    """A message as text; where a provider puts an object there, its message, or else all of it."""
    if isinstance(value, dict):
        value = value.get("message") or value.get("msg") or value.get("detail") or value
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else _encode(value).decode()
    return text[:MESSAGE_CHARS_MAX]


def _title(html: str) -> str:
    found = _TITLE.search(html)
    return " ".join(found.group(1).split()) if found else ""
