"""Errors of the Responses dialect: reading those of OpenAI and of others who speak it, writing our own.

HTTP errors have Chat Completions' envelope. A response that fails later says so itself: `status: "failed"` and
`error: {code, message}`, whole or as the event `response.failed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from busbar.protocols.error_body import decode_error, signal_of
from busbar.protocols.errors import ErrorAnswer, ErrorKind, ErrorReport, answer_headers
from busbar.protocols.failures import FailureSignal
from busbar.protocols.ids import mint_id
from busbar.protocols.protocol import Hop
from busbar.protocols.responses.words import REQUEST_ID
from busbar.protocols.retry_after import RETRY_AFTER_SECS_MAX, retry_after_secs


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> FailureSignal:
    """The signal of an answer with an error status. Never raises; what is not understood gives an empty message."""
    value = decode_error(body)
    said = signal_of(value)
    wait = retry_after_secs(headers, said.message, now)
    return msgspec.structs.replace(
        said, status=status, retry_after_secs=_stated_wait(value, now) if wait is None else wait
    )


def error_in_answer(response: Mapping[str, Any]) -> FailureSignal | None:
    """The error of a response that came with a 200, or None where there is none.

    A code that is an HTTP status is taken for the one that the answer should have had; a failure that calls itself
    `invalid_request_error` would have been a 400.
    """
    error = response.get("error")
    if not error and response.get("status") != "failed":
        return None
    return signal_of_error(error)


def signal_of_error(error: Any) -> FailureSignal:
    """The signal of an error object inside a 200, whatever it is."""
    said = signal_of({"error": error}) if error else FailureSignal()
    stated = said.code if said.code is not None and _is_status(said.code) else None
    status = int(stated) if stated is not None else 400 if said.type == _INVALID else None
    wait = retry_after_secs({}, said.message, 0)
    return msgspec.structs.replace(
        said, message=said.message or "The response failed.", status=status, retry_after_secs=wait
    )


def _is_status(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isdigit() and code[0] in "45"


def _stated_wait(document: Any, now: float) -> float | None:
    """Plan limits name their end in the body only: `resets_in_seconds`, `resets_at`."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return None
    seconds, at = error.get("resets_in_seconds"), error.get("resets_at")
    if isinstance(seconds, int | float):
        wait = float(seconds)
    elif isinstance(at, int | float):
        wait = at - now
    else:
        return None
    return min(max(wait, 0.0), RETRY_AFTER_SECS_MAX)


_INVALID = "invalid_request_error"
_TABLE: Mapping[ErrorKind, tuple[int, str, str | None, str]] = {
    ErrorKind.BAD_REQUEST: (400, _INVALID, None, "invalid_prompt"),
    ErrorKind.UNAUTHENTICATED: (401, _INVALID, "invalid_api_key", "server_error"),
    ErrorKind.FORBIDDEN: (403, "permission_error", None, "server_error"),
    ErrorKind.NOT_FOUND: (404, _INVALID, "model_not_found", "invalid_prompt"),
    ErrorKind.TOO_LARGE: (413, _INVALID, "request_too_large", "invalid_prompt"),
    ErrorKind.CONTEXT_LENGTH: (400, _INVALID, "context_length_exceeded", "context_length_exceeded"),
    ErrorKind.BUDGET: (402, "insufficient_quota", "insufficient_quota", "insufficient_quota"),
    ErrorKind.RATE_LIMITED: (429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded"),
    ErrorKind.UPSTREAM: (502, "server_error", None, "server_error"),
    ErrorKind.EXHAUSTED: (503, "service_unavailable_error", "server_is_overloaded", "server_is_overloaded"),
    ErrorKind.OVERLOADED: (503, "service_unavailable_error", "server_is_overloaded", "server_is_overloaded"),
    ErrorKind.TIMEOUT: (504, "server_error", "timeout", "server_error"),
}
"""Status, type and code of an HTTP error, and the code of a response that failed: OpenAI's words where it has any,
and for the last one those that Codex acts on."""


def write_error(report: ErrorReport, hop: Hop) -> ErrorAnswer:
    """`report` in this dialect, with the headers that its SDKs obey."""
    status, kind, code, _ = _TABLE[report.kind]
    error: dict[str, Any] = {
        "message": report.message,
        "type": report.type or kind,
        "param": report.param,
        "code": report.code or code,
    }
    if report.quota is not None:
        error["quota"] = report.quota
    headers = {**answer_headers(report), "x-request-id": mint_id(REQUEST_ID, hop.nonce)}
    return ErrorAnswer(status=report.status or status, headers=headers, body=msgspec.json.encode({"error": error}))


def failed_error(report: ErrorReport) -> dict[str, str]:
    """The `error` of a response that failed by what `report` tells."""
    return {"code": report.code or _TABLE[report.kind][3], "message": report.message}
