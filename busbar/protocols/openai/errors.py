"""Errors of the Chat Completions dialect: reading those of OpenAI and its clones, writing our own.

OpenAI's envelope is `{"error": {message, type, param, code}}`. The clones' variants are all read: an error that is a
string, a code that is a number, an envelope without `error`, `detail`, `errors[]`, an array of one, plain text,
HTML, nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.errors import ErrorAnswer, ErrorKind, ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ids import mint_id
from busbar.protocols.openai.words import REQUEST_ID
from busbar.protocols.protocol import Hop
from busbar.protocols.retry_after import RETRY_AFTER_SECS_MAX, retry_after_secs

MESSAGE_CHARS_MAX = 4000
"""A longer message is cut: it goes into logs and answers."""

_GENERIC_MESSAGES = frozenset({"Provider returned error", "Upstream error"})
"""What routers say when the provider's own words are in `metadata.raw`."""


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> FailureSignal:
    """The signal of an answer with an error status. Never raises; what is not understood gives an empty message."""
    document = _decode(body)
    fields = _read_envelope(document) if isinstance(document, dict) else {"message": _as_text(document)}
    message = fields.get("message") or ""
    wait = retry_after_secs(headers, message, now)
    return FailureSignal(
        status=status,
        code=fields.get("code"),
        type=fields.get("type"),
        message=message,
        param=fields.get("param"),
        retry_after_secs=_stated_wait(document, now) if wait is None else wait,
    )


def error_in_answer(document: Mapping[str, Any]) -> FailureSignal | None:
    """The error inside a 200 answer or a stream's chunk, or None where there is none.

    The status that such an error names as its code is taken for the status that the answer should have had; one that
    calls itself `invalid_request_error` would have been a 400.
    """
    error = document.get("error")
    failed = document.get("success") is False and document.get("errors")
    minimax = document.get("base_resp")
    fields: dict[str, str | None]
    if isinstance(minimax, dict) and minimax.get("status_code"):
        fields = {"code": str(minimax["status_code"]), "message": _as_text(minimax.get("status_msg"))}
    elif error or failed:
        fields = _read_envelope({key: value for key, value in document.items() if value is not None})
    else:
        return None
    stated = error if isinstance(error, dict) else {}
    status = next(
        (found for key in ("status_code", "status", "code") if (found := _http_status(stated.get(key)))), None
    )
    if status is None and fields.get("type") == "invalid_request_error":
        status = 400
    message = fields.get("message") or ""
    return FailureSignal(
        status=status,
        code=fields.get("code"),
        type=fields.get("type"),
        message=message,
        param=fields.get("param"),
        retry_after_secs=retry_after_secs({}, message, 0),
    )


def _http_status(value: Any) -> int | None:
    text = value if isinstance(value, str) else str(value) if type(value) is int else ""
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() and text[0] in "45" else None


def _decode(body: bytes) -> Any:
    """JSON, or the text that it is instead; None for HTML, which says nothing that a caller could use."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return None if text.startswith("<") else text
    while isinstance(document, list) and document:
        document = document[0]
    return document


def _read_envelope(document: Mapping[str, Any]) -> dict[str, str | None]:
    """code, type, message and param, wherever they stand."""
    for key, reader in _ENVELOPES:
        value = document.get(key)
        if value:
            return reader(document, value)
    return _read_error_object(document)


def _read_error(document: Mapping[str, Any], error: Any) -> dict[str, str | None]:
    if isinstance(error, dict):
        return _read_error_object(error)
    code = document.get("code")
    return {"message": _as_text(error), "code": _word(code), "type": _word(document.get("type"))}


def _read_error_object(error: Mapping[str, Any]) -> dict[str, str | None]:
    metadata = error.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    message = _as_text(error.get("message") or error.get("msg"))
    if message in _GENERIC_MESSAGES and metadata.get("raw"):
        message = f"{message}: {_inner_message(metadata['raw'])}"
    kinds = (error.get("type"), error.get("status"), error.get("reason"), metadata.get("limit_source"))
    kind = next((kind for kind in kinds if kind and isinstance(kind, str)), None)
    if kind is None and metadata.get("reasons"):
        kind = "moderation"
    return {
        "message": message[:MESSAGE_CHARS_MAX],
        "code": _word(error.get("code")),
        "type": _word(kind),
        "param": _word(error.get("param")),
    }


def _read_detail(_: Mapping[str, Any], detail: Any) -> dict[str, str | None]:
    if isinstance(detail, dict):
        inner = detail.get("error")
        return _read_error_object(inner if isinstance(inner, dict) else {"message": inner, **detail})
    if isinstance(detail, list):  # FastAPI: [{loc, msg, type}]
        found = [item for item in detail if isinstance(item, dict)]
        texts = [f"{'.'.join(map(str, item.get('loc') or ()))}: {_as_text(item.get('msg'))}" for item in found]
        return {"message": "; ".join(texts)[:MESSAGE_CHARS_MAX]}
    return {"message": _as_text(detail)}


def _read_errors(_: Mapping[str, Any], errors: Any) -> dict[str, str | None]:
    first = errors[0] if isinstance(errors, list) else errors
    return _read_error_object(first) if isinstance(first, dict) else {"message": _as_text(first)}


_ENVELOPES: tuple[tuple[str, Callable[[Mapping[str, Any], Any], dict[str, str | None]]], ...] = (
    ("error", _read_error),
    ("message", lambda document, _: _read_error_object(document)),
    ("detail", _read_detail),
    ("errors", _read_errors),
)


def _inner_message(raw: Any) -> str:
    """The provider's words inside a router's error: often JSON in a string."""
    document = _decode(raw.encode()) if isinstance(raw, str) else raw
    if isinstance(document, dict):
        return _read_envelope(document).get("message") or _as_text(raw)
    return _as_text(document)


def _as_text(value: Any) -> str:
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:MESSAGE_CHARS_MAX]


def _word(value: Any) -> str | None:
    """A code or type as text; numbers are spelled out."""
    if isinstance(value, str):
        return value or None
    return str(value) if type(value) is int else None


def _stated_wait(document: Any, now: float) -> float | None:
    """Waits that stand in bodies only: `resets_in_seconds`, `resets_at`, and OpenRouter's rate limit headers."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return None
    wait: float | None = None
    if isinstance(error.get("resets_in_seconds"), int | float):
        wait = float(error["resets_in_seconds"])
    elif isinstance(error.get("resets_at"), int | float):
        wait = error["resets_at"] - now
    else:
        metadata = error.get("metadata")
        sent = metadata.get("headers") if isinstance(metadata, dict) else None
        reset_ms = sent.get("X-RateLimit-Reset") if isinstance(sent, dict) else None
        if isinstance(reset_ms, str) and reset_ms.isascii() and reset_ms.isdigit():
            wait = int(reset_ms[:16]) / 1000 - now
    return None if wait is None else min(max(wait, 0.0), RETRY_AFTER_SECS_MAX)


_INVALID = "invalid_request_error"
_TABLE: Mapping[ErrorKind, tuple[int, str, str | None]] = {
    ErrorKind.BAD_REQUEST: (400, _INVALID, None),
    ErrorKind.UNAUTHENTICATED: (401, _INVALID, "invalid_api_key"),
    ErrorKind.FORBIDDEN: (403, "permission_error", None),
    ErrorKind.NOT_FOUND: (404, _INVALID, "model_not_found"),
    ErrorKind.TOO_LARGE: (413, _INVALID, "request_too_large"),
    ErrorKind.CONTEXT_LENGTH: (400, _INVALID, "context_length_exceeded"),
    ErrorKind.BUDGET: (402, "insufficient_quota", "insufficient_quota"),
    ErrorKind.RATE_LIMITED: (429, "rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.UPSTREAM: (502, "server_error", None),
    ErrorKind.EXHAUSTED: (503, "service_unavailable_error", "server_is_overloaded"),
    ErrorKind.OVERLOADED: (503, "service_unavailable_error", "server_is_overloaded"),
    ErrorKind.TIMEOUT: (504, "server_error", "timeout"),
}
"""Status, type and code; the words are those that OpenAI itself uses where it has any."""


def write_error(report: ErrorReport, hop: Hop) -> ErrorAnswer:
    """`report` in this dialect, with the headers that its SDKs obey."""
    status, _, _ = _TABLE[report.kind]
    headers = {"content-type": "application/json", "x-request-id": mint_id(REQUEST_ID, hop.nonce)}
    if report.retry_after_secs is not None:
        headers["retry-after"] = str(max(1, math.ceil(report.retry_after_secs)))
    if report.should_retry is not None:
        headers["x-should-retry"] = "true" if report.should_retry else "false"
    return ErrorAnswer(status=report.status or status, headers=headers, body=_body(report))


def write_stream_error(report: ErrorReport) -> bytes:
    """The frame by which a stream says that it broke; no `[DONE]` follows it."""
    return encode_event(_body(report))


def _body(report: ErrorReport) -> bytes:
    _, kind, code = _TABLE[report.kind]
    error = {
        "message": report.message,
        "type": report.type or kind,
        "param": report.param,
        "code": report.code or code,
    }
    return msgspec.json.encode({"error": error})
