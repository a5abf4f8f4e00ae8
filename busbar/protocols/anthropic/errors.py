"""Errors, both ways: what a provider's error says and means, and what a caller is told.

Facts: the API's error reference (types by status, `details.error_code`), and real answers for the messages that
flip the meaning of a status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from busbar.protocols.anthropic.words import REQUEST_ID
from busbar.protocols.error_body import decode_error, signal_of
from busbar.protocols.errors import ErrorAnswer, ErrorKind, ErrorReport, answer_headers
from busbar.protocols.failures import (
    CONTEXT_LENGTH_STATUSES,
    CONTEXT_LENGTH_TEXT,
    DialectKnowledge,
    FailureClass,
    FailureSignal,
    TextRule,
)
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ids import mint_id
from busbar.protocols.protocol import Headers, Hop
from busbar.protocols.retry_after import RETRY_AFTER_SECS_MAX, retry_after_secs

_IN_STREAM = frozenset({0})
"""No HTTP status: a rule with these statuses speaks only for error events inside a stream, which have none."""

KNOWLEDGE = DialectKnowledge(
    texts=(
        TextRule(
            re.compile(r"credit balance is too low|reached your specified (\w+ )?API usage limits", re.IGNORECASE),
            FailureClass.BILLING,
        ),
        TextRule(re.compile(r"you will regain access on \d{4}-", re.IGNORECASE), FailureClass.BILLING),
        TextRule(
            CONTEXT_LENGTH_TEXT,
            FailureClass.CONTEXT_LENGTH,
            CONTEXT_LENGTH_STATUSES,
            frozenset({"invalid_request_error"}),
        ),
        TextRule(re.compile(""), FailureClass.CLIENT_ERROR, _IN_STREAM, frozenset({"invalid_request_error"})),
    ),
    words={
        "enforced_spend_limit_reached": FailureClass.BILLING,
        "contract_spend_limit_reached": FailureClass.BILLING,
        "linked_organization_spend_limit_reached": FailureClass.BILLING,
        "linked_organization_billing_unavailable": FailureClass.BILLING,
        "billing_error": FailureClass.BILLING,
        "organization_on_hold": FailureClass.AUTH,
        "cmek_key_disabled": FailureClass.AUTH,
        "cmek_key_network_blocked": FailureClass.AUTH,
        "authentication_error": FailureClass.AUTH,
        "permission_error": FailureClass.AUTH,
        "ramp_limit_exceeded": FailureClass.RATE_LIMIT,
        "rate_limit_error": FailureClass.RATE_LIMIT,
        "cmek_key_unreachable": FailureClass.OVERLOADED,
        "cmek_context_unavailable": FailureClass.OVERLOADED,
        "compaction_unavailable": FailureClass.OVERLOADED,
        "overloaded_error": FailureClass.OVERLOADED,
        "timeout_error": FailureClass.TIMEOUT,
        "request_too_large": FailureClass.CONTEXT_LENGTH,
        "request_body_too_large_after_decoding": FailureClass.CONTEXT_LENGTH,
        "not_found_error": FailureClass.CLIENT_ERROR,
        "conflict_error": FailureClass.CLIENT_ERROR,
    },
)
"""`invalid_request_error` and `api_error` are not among the words: providers send them with any status, and the
status says more."""

_ANSWERS: Mapping[ErrorKind, tuple[int, str]] = {
    ErrorKind.BAD_REQUEST: (400, "invalid_request_error"),
    ErrorKind.UNAUTHENTICATED: (401, "authentication_error"),
    ErrorKind.FORBIDDEN: (403, "permission_error"),
    ErrorKind.NOT_FOUND: (404, "not_found_error"),
    ErrorKind.TOO_LARGE: (413, "request_too_large"),
    ErrorKind.CONTEXT_LENGTH: (400, "invalid_request_error"),
    ErrorKind.BUDGET: (402, "billing_error"),
    ErrorKind.RATE_LIMITED: (429, "rate_limit_error"),
    ErrorKind.UPSTREAM: (502, "api_error"),
    ErrorKind.EXHAUSTED: (529, "overloaded_error"),
    ErrorKind.OVERLOADED: (529, "overloaded_error"),
    ErrorKind.TIMEOUT: (504, "timeout_error"),
}

_TOO_LONG = "prompt is too long"
"""By these words clients of this dialect know that they must shorten the conversation."""

_REGAIN = re.compile(r"regain access on (\d{4}-\d{2}-\d{2})(?: at (\d{2}:\d{2}) UTC)?", re.IGNORECASE)

_encode = msgspec.json.Encoder().encode


def read_error(status: int, headers: Headers, body: bytes, now: float) -> FailureSignal:
    """What an error answer says. Never raises. A 413 from a server before the API names no type of its own."""
    said = signal_of(decode_error(body))
    wait = retry_after_secs(headers, said.message, now)
    return msgspec.structs.replace(
        said,
        status=status,
        type="request_too_large" if status == 413 and said.type is None else said.type,
        retry_after_secs=_until_access(said.message, now) if wait is None else wait,
    )


def write_error(report: ErrorReport, hop: Hop) -> ErrorAnswer:
    """The native error answer, with a request id in header and body."""
    status, _ = _ANSWERS[report.kind]
    request_id = mint_id(REQUEST_ID, hop.nonce)
    headers = {**answer_headers(report), "request-id": request_id}
    body = {"type": "error", "error": _error(report), "request_id": request_id}
    return ErrorAnswer(status=report.status or status, headers=headers, body=_encode(body))


def write_stream_error(report: ErrorReport) -> bytes:
    """The native error event, after which the stream is closed without `message_stop`."""
    return encode_event(_encode({"type": "error", "error": _error(report)}), "error")


def _error(report: ErrorReport) -> dict[str, Any]:
    _, kind = _ANSWERS[report.kind]
    error: dict[str, Any] = {"type": report.type or kind, "message": _message(report)}
    if report.code is not None:
        error["details"] = {"error_code": report.code}
    if report.quota is not None:  # not among the details: the SDK takes those for a type of Anthropic's own
        error["quota"] = report.quota
    return error


def _message(report: ErrorReport) -> str:
    """The message; it names the field, as this dialect has no place for it apart."""
    message = report.message
    if report.kind is ErrorKind.CONTEXT_LENGTH and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"
    if report.param and report.param not in message:
        message = f"{report.param}: {message}"
    return message


def _until_access(message: str, now: float) -> float | None:
    """Seconds until the day that a spend limit's message names, within a day; midnight UTC where it has no time."""
    found = _REGAIN.search(message)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{found.group(1)}T{found.group(2) or '00:00'}").replace(tzinfo=UTC)
    except ValueError:
        return None
    return min(max(moment.timestamp() - now, 0.0), RETRY_AFTER_SECS_MAX)
