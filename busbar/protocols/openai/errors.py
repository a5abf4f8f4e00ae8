"""Errors of the Chat Completions dialect: reading those of OpenAI and its clones, writing our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from busbar.protocols.error_body import decode_error, signal_of
from busbar.protocols.errors import ErrorAnswer, ErrorKind, ErrorReport, answer_headers
from busbar.protocols.failures import FailureSignal
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ids import mint_id
from busbar.protocols.openai.words import REQUEST_ID
from busbar.protocols.protocol import Hop
from busbar.protocols.retry_after import RETRY_AFTER_SECS_MAX, retry_after_secs


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> FailureSignal:
    """The signal of an answer with an error status. Never raises; what is not understood gives an empty message."""
    value = decode_error(body)
    said = signal_of(value)
    wait = retry_after_secs(headers, said.message, now)
    return msgspec.structs.replace(
        said, status=status, retry_after_secs=_stated_wait(value, now) if wait is None else wait
    )


def error_in_answer(document: Mapping[str, Any]) -> FailureSignal | None:
    """The error inside a 200 answer or a stream's chunk, or None where there is none.

    The status that such an error names as its code is taken for the status that the answer should have had; one that
    calls itself `invalid_request_error` would have been a 400.
    """
    error = document.get("error")
    failed = document.get("success") is False and document.get("errors")
    base = document.get("base_resp")
    if not (error or failed or (isinstance(base, dict) and base.get("status_code"))):
        return None
    said = signal_of(document)
    stated = error if isinstance(error, dict) else {}
    status = next(
        (found for key in ("status_code", "status", "code") if (found := _http_status(stated.get(key)))), None
    )
    if status is None and said.type == "invalid_request_error":
        status = 400
    return msgspec.structs.replace(said, status=status, retry_after_secs=retry_after_secs({}, said.message, 0))


def _http_status(value: Any) -> int | None:
    text = value if isinstance(value, str) else str(value) if type(value) is int else ""
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() and text[0] in "45" else None


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
    headers = {**answer_headers(report), "x-request-id": mint_id(REQUEST_ID, hop.nonce)}
    return ErrorAnswer(status=report.status or status, headers=headers, body=_body(report))


def write_stream_error(report: ErrorReport) -> bytes:
    """The frame by which a stream says that it broke; no `[DONE]` follows it."""
    return encode_event(_body(report))


def _body(report: ErrorReport) -> bytes:
    _, kind, code = _TABLE[report.kind]
    error: dict[str, Any] = {
        "message": report.message,
        "type": report.type or kind,
        "param": report.param,
        "code": report.code or code,
    }
    if report.quota is not None:
        error["quota"] = report.quota
    return msgspec.json.encode({"error": error})
