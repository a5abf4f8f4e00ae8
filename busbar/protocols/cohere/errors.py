"""Errors, both ways: what a provider's error says and means, and what a caller is told.

The envelope is `{"message", "id"}`, newer ones with `error_type`. Facts: the API's page of errors, and real answers
for the messages that flip the meaning of a status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from busbar.protocols.cohere.words import uuid_of
from busbar.protocols.error_body import decode_error, signal_of, word
from busbar.protocols.errors import ErrorAnswer, ErrorKind, ErrorReport, answer_headers
from busbar.protocols.failures import (
    CONTEXT_LENGTH_STATUSES,
    DialectKnowledge,
    FailureClass,
    FailureSignal,
    TextRule,
)
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.protocol import Headers, Hop
from busbar.protocols.retry_after import retry_after_secs

_TOO_LONG_TYPE = "TOO_MANY_TOKENS"

MONTHLY_LIMIT_HEADERS = ("x-endpoint-monthly-call-limit", "x-trial-endpoint-call-limit")
"""Sent to those who call with a trial key."""


def _text(pattern: str, kind: FailureClass, *statuses: int) -> TextRule:
    return TextRule(pattern=re.compile(pattern, re.IGNORECASE), kind=kind, statuses=frozenset(statuses))


KNOWLEDGE = DialectKnowledge(
    texts=(
        # A prompt over the limit, an answer over the model's, a size over the limit: all begin with these words.
        _text(r"too many tokens", FailureClass.CONTEXT_LENGTH, 400, 422),
        TextRule(re.compile(""), FailureClass.CONTEXT_LENGTH, CONTEXT_LENGTH_STATUSES, frozenset({_TOO_LONG_TYPE})),
        # A trial key's month is over: nothing that a minute's wait would mend.
        _text(r"trial key.*\blimited to \d+ api calls ?/ ?month", FailureClass.BILLING, 429),
        # The same words are a 422 where the answer is whole, and an error without a status inside of a stream.
        _text(r"no valid response generated|all generated tool calls were hallucinated", FailureClass.CLIENT_ERROR),
    ),
    words={"TIMEOUT": FailureClass.TIMEOUT},
)

_STATUSES: Mapping[ErrorKind, int] = {
    ErrorKind.BAD_REQUEST: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.CONTEXT_LENGTH: 400,
    ErrorKind.BUDGET: 402,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.UPSTREAM: 502,
    ErrorKind.EXHAUSTED: 503,
    ErrorKind.OVERLOADED: 503,
    ErrorKind.TIMEOUT: 504,
}

_TOO_LONG = "too many tokens"
"""By these words clients of this dialect know that they must shorten the conversation."""

_encode = msgspec.json.Encoder().encode


def read_error(status: int, headers: Headers, body: bytes, now: float) -> FailureSignal:
    """What an error answer says. Never raises, whatever the body is. Whoever finds a body too large finds the prompt
    too long: a 413 comes from a server before the API, and names no type of its own."""
    value = decode_error(body)
    said = signal_of(value)
    kind = said.type
    if kind is None and isinstance(value, dict):
        kind = word(value.get("error_type"))
    if kind is None and status == 413:
        kind = _TOO_LONG_TYPE
    return msgspec.structs.replace(
        said, status=status, type=kind, retry_after_secs=retry_after_secs(headers, said.message, now)
    )


def failed_answer(finish_reason: str, error: Any) -> FailureSignal:
    """The failure of an answer that ends with `ERROR` or `TIMEOUT`, in a stream or whole."""
    message = error if isinstance(error, str) else signal_of(error).message
    return FailureSignal(type=finish_reason, message=message or "the generation failed")


def write_error(report: ErrorReport, hop: Hop) -> ErrorAnswer:
    """The native error answer, with an id in header and body."""
    request_id = uuid_of(hop.nonce)
    headers = {**answer_headers(report), "x-request-id": request_id}
    body = _encode({"id": request_id, "message": _message(report)})
    return ErrorAnswer(status=report.status or _STATUSES[report.kind], headers=headers, body=body)


def write_stream_error(report: ErrorReport, usage: Mapping[str, Any] | None = None) -> bytes:
    """The event by which a stream says that it failed; the connection is closed after it. `usage` so far, which this
    dialect states only at the end."""
    delta = {"finish_reason": "ERROR", "usage": usage or {}, "error": _message(report)}
    return encode_event(_encode({"type": "message-end", "delta": delta}), "message-end")


def _message(report: ErrorReport) -> str:
    """The message; it names the field, as this dialect has no place for it apart."""
    message = report.message
    if report.param and report.param not in message:
        message = f"{report.param}: {message}"
    if report.kind is ErrorKind.CONTEXT_LENGTH and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"
    return message
