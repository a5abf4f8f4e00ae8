"""Errors, both ways: what a provider's error says and means, and what a caller is told.

An error's name is in the header `x-amzn-errortype` (`ThrottlingException:http://…`), in the body's `__type`
(`com.amazon…#ThrottlingException`), or in a stream in `:exception-type` (`throttlingException`). Facts: the API
reference, the service's own model, and real answers for the messages that flip the meaning of a status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from busbar.protocols.error_body import decode_error, signal_of, word
from busbar.protocols.errors import ErrorAnswer, ErrorKind, ErrorReport, answer_headers
from busbar.protocols.failures import (
    CONTEXT_LENGTH_STATUSES,
    DialectKnowledge,
    FailureClass,
    FailureSignal,
    TextRule,
)
from busbar.protocols.framing.eventstream import encode_message
from busbar.protocols.ids import IdStyle, mint_id
from busbar.protocols.protocol import Headers, Hop
from busbar.protocols.retry_after import retry_after_secs

ERROR_TYPE = "x-amzn-errortype"
REQUEST_ID_HEADER = "x-amzn-requestid"
DAILY_LIMIT_WAIT_SECS = 3600.0
"""A limit per day names no time at which it ends; by the hour is often enough to ask."""

_REQUEST_ID = IdStyle("")
_QUOTA_EXCEEDED = "ServiceQuotaExceededException"
_DAILY = re.compile(r"\bper day\b", re.IGNORECASE)

_WORDS: Mapping[str, FailureClass] = {
    "ThrottlingException": FailureClass.RATE_LIMIT,
    "TooManyRequestsException": FailureClass.RATE_LIMIT,
    _QUOTA_EXCEEDED: FailureClass.RATE_LIMIT,
    "ModelNotReadyException": FailureClass.OVERLOADED,
    "ModelErrorException": FailureClass.OVERLOADED,
    "ServiceUnavailableException": FailureClass.OVERLOADED,
    "ModelTimeoutException": FailureClass.TIMEOUT,
    "InternalServerException": FailureClass.SERVER_ERROR,
    "InternalFailure": FailureClass.SERVER_ERROR,
    "AccessDeniedException": FailureClass.AUTH,
    "IncompleteSignature": FailureClass.AUTH,
    "IncompleteSignatureException": FailureClass.AUTH,
    "InvalidSignatureException": FailureClass.AUTH,
    "UnrecognizedClientException": FailureClass.AUTH,
    "InvalidClientTokenId": FailureClass.AUTH,
    "ExpiredToken": FailureClass.AUTH,
    "ExpiredTokenException": FailureClass.AUTH,
    "MissingAuthenticationToken": FailureClass.AUTH,
    "MissingAuthenticationTokenException": FailureClass.AUTH,
    "OptInRequired": FailureClass.AUTH,
    "FTUFormNotFilled": FailureClass.AUTH,
    "ResourceNotFoundException": FailureClass.CLIENT_ERROR,
    "ValidationException": FailureClass.CLIENT_ERROR,
}

KNOWLEDGE = DialectKnowledge(
    texts=(
        TextRule(
            re.compile(r"too many (total text bytes|input tokens)|input is too long", re.IGNORECASE),
            FailureClass.CONTEXT_LENGTH,
            CONTEXT_LENGTH_STATUSES,
        ),
        # Amazon's own is a 400; a 402 is how we refuse a budget, for which there is no better name.
        TextRule(re.compile(""), FailureClass.BILLING, frozenset({402}), frozenset({_QUOTA_EXCEEDED})),
        TextRule(re.compile(r"use case details (have not|form)", re.IGNORECASE), FailureClass.AUTH, frozenset({404})),
    ),
    words={**_WORDS} | {name[0].lower() + name[1:]: kind for name, kind in _WORDS.items()},
)
"""Streams name the same exceptions with a small first letter. `modelStreamErrorException` is not among the words: the
status that it carries, if any, says what broke. "Too many tokens, please wait" is a throttle, and no text here."""

_ANSWERS: Mapping[ErrorKind, tuple[int, str, str]] = {
    ErrorKind.BAD_REQUEST: (400, "ValidationException", "validationException"),
    ErrorKind.UNAUTHENTICATED: (403, "AccessDeniedException", "validationException"),
    ErrorKind.FORBIDDEN: (403, "AccessDeniedException", "validationException"),
    ErrorKind.NOT_FOUND: (404, "ResourceNotFoundException", "validationException"),
    ErrorKind.TOO_LARGE: (413, "ValidationException", "validationException"),
    ErrorKind.CONTEXT_LENGTH: (400, "ValidationException", "validationException"),
    ErrorKind.BUDGET: (402, _QUOTA_EXCEEDED, "throttlingException"),
    ErrorKind.RATE_LIMITED: (429, "ThrottlingException", "throttlingException"),
    ErrorKind.UPSTREAM: (500, "InternalServerException", "modelStreamErrorException"),
    ErrorKind.EXHAUSTED: (503, "ServiceUnavailableException", "serviceUnavailableException"),
    ErrorKind.OVERLOADED: (503, "ServiceUnavailableException", "serviceUnavailableException"),
    ErrorKind.TIMEOUT: (408, "ModelTimeoutException", "modelStreamErrorException"),
}
"""Status and exception of an answer, and the exception of a stream: only five exist there."""

_TOO_LONG = "input is too long for requested model"
"""By these words clients of this dialect know that they must shorten the conversation."""

_encode = msgspec.json.Encoder().encode


def read_error(status: int, headers: Headers, body: bytes, now: float) -> FailureSignal:
    """What an error answer says. Never raises."""
    value = decode_error(body)
    said = signal_of(value)
    named = headers.get(ERROR_TYPE) or (value.get("__type") if isinstance(value, dict) else None)
    wait = retry_after_secs(headers, said.message, now)
    if wait is None and status == 429 and _DAILY.search(said.message):
        wait = DAILY_LIMIT_WAIT_SECS
    return msgspec.structs.replace(
        said,
        status=status,
        code=said.code or _original_status(value),
        type=_exception_name(named) or said.type,
        retry_after_secs=wait,
    )


def read_stream_error(headers: Mapping[str, Any], value: Any) -> FailureSignal:
    """What an exception or error message inside a stream says."""
    said = signal_of(value)
    return msgspec.structs.replace(
        said,
        code=word(headers.get(":error-code")) or said.code or _original_status(value),
        type=_exception_name(headers.get(":exception-type")) or said.type,
        message=said.message or str(headers.get(":error-message") or ""),
    )


def write_error(report: ErrorReport, hop: Hop) -> ErrorAnswer:
    """The native error answer: a message in the body, its name and the request id in headers."""
    status, kind, _ = _ANSWERS[report.kind]
    headers = {
        **answer_headers(report),
        ERROR_TYPE: report.type or kind,
        REQUEST_ID_HEADER: mint_id(_REQUEST_ID, hop.nonce),
    }
    return ErrorAnswer(status=report.status or status, headers=headers, body=_body(report))


def write_stream_error(report: ErrorReport) -> bytes:
    """The native exception message, after which the stream is closed without `messageStop` and `metadata`."""
    headers = {
        ":exception-type": _ANSWERS[report.kind][2],
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode_message(headers, _body(report))


def _body(report: ErrorReport) -> bytes:
    """The message; it names the field, as this dialect has no place for it apart."""
    message = report.message
    if report.kind is ErrorKind.CONTEXT_LENGTH and _TOO_LONG not in message.lower():
        message = f"Input is too long for requested model. {message}"
    if report.param and report.param not in message:
        message = f"{report.param}: {message}"
    return _encode({"message": message})


def _exception_name(stated: Any) -> str | None:
    """The bare name: without the URL behind a colon, and the namespace before a number sign."""
    name = word(stated)
    return None if name is None else name.rpartition("#")[2].partition(":")[0] or None


def _original_status(value: Any) -> str | None:
    """The status with which the model itself failed."""
    return word(value.get("originalStatusCode")) if isinstance(value, dict) else None
