"""What a caller is told when there is no answer: one vocabulary, written natively by each dialect.

An `ErrorReport` says what went wrong in the words of HTTP, free of any dialect. Each dialect's `errors.py` has a
table from `ErrorKind` to its own status, type and code. Texts never speak of gateways, pools or members.
"""

from __future__ import annotations

import enum
import math
import typing
from collections.abc import Mapping

from msgspec import Struct

from busbar.protocols.failures import Failure, FailureClass


class ErrorKind(enum.Enum):
    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    """The caller's own key is missing or wrong."""
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    """The body is larger than is read."""
    CONTEXT_LENGTH = "context_length"
    BUDGET = "budget"
    RATE_LIMITED = "rate_limited"
    UPSTREAM = "upstream"
    """The answer could not be had, and it is not the caller's fault."""
    EXHAUSTED = "exhausted"
    """Nobody could be asked."""
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"


class Quota(Struct, frozen=True, kw_only=True):
    """What was used up, for programs to read. The report's message says the same in words, as not every dialect has a
    place for more than these."""

    scope: str
    """Whose it is, as the caller may know it: its key, or a group that the key belongs to."""
    unit: typing.Literal["nanodollars", "requests", "tokens"]
    period: typing.Literal["minute", "daily", "monthly", "total"]
    """`minute` is any 60 seconds; days and months are those of UTC."""
    limit: int
    used: int
    """With what other requests have reserved."""
    resets_at: int | None = None
    """Unix seconds; None: never by itself."""


class ErrorReport(Struct, frozen=True, kw_only=True):
    """What the caller is told. None means: as the dialect's table says for `kind`."""

    kind: ErrorKind
    message: str
    status: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    retry_after_secs: float | None = None
    should_retry: bool | None = None
    """Written as `x-should-retry`, which the OpenAI and Anthropic SDKs obey. None: false of a budget, else unsaid."""
    quota: Quota | None = None
    """What was used up, when `kind` is BUDGET or RATE_LIMITED."""


class ErrorAnswer(Struct, frozen=True, kw_only=True):
    """An `ErrorReport` in a dialect: what goes on the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def answer_headers(report: ErrorReport) -> dict[str, str]:
    """The headers that every dialect's error answer has: JSON, when to come back (whole seconds, rounded up, at
    least 1), and whether to."""
    headers = {"content-type": "application/json"}
    if report.retry_after_secs is not None:
        headers["retry-after"] = str(max(1, math.ceil(report.retry_after_secs)))
    should_retry = False if report.kind is ErrorKind.BUDGET and report.should_retry is None else report.should_retry
    if should_retry is not None:
        headers["x-should-retry"] = "true" if should_retry else "false"
    return headers


_KINDS: Mapping[FailureClass, ErrorKind] = {
    FailureClass.RATE_LIMIT: ErrorKind.RATE_LIMITED,
    FailureClass.OVERLOADED: ErrorKind.OVERLOADED,
    FailureClass.SERVER_ERROR: ErrorKind.UPSTREAM,
    FailureClass.TIMEOUT: ErrorKind.TIMEOUT,
    FailureClass.NETWORK: ErrorKind.UPSTREAM,
    FailureClass.AUTH: ErrorKind.UPSTREAM,
    FailureClass.BILLING: ErrorKind.UPSTREAM,
    FailureClass.CLIENT_ERROR: ErrorKind.BAD_REQUEST,
    FailureClass.CONTEXT_LENGTH: ErrorKind.CONTEXT_LENGTH,
}

_CLIENT_STATUSES: Mapping[int, ErrorKind] = {404: ErrorKind.NOT_FOUND, 413: ErrorKind.TOO_LARGE}

_OUR_WORDS: Mapping[FailureClass, str] = {
    FailureClass.NETWORK: "The model's provider could not be reached.",
    FailureClass.TIMEOUT: "The model's provider did not answer in time.",
    FailureClass.AUTH: "The model is not available at the moment.",
    FailureClass.BILLING: "The model is not available at the moment.",
}


def report_of(failure: Failure, *, retry_after_secs: float | None = None) -> ErrorReport:
    """What a caller is told of a provider's failure.

    The provider's own message crosses, except for auth and billing: those speak of an account that is not the
    caller's, and a 401 would blame the caller's key. `retry_after_secs` overrides what the provider asked for.
    """
    kind = _KINDS[failure.kind]
    signal = failure.signal
    if failure.kind in (FailureClass.AUTH, FailureClass.BILLING):
        return ErrorReport(kind=kind, message=_OUR_WORDS[failure.kind], should_retry=False)
    if failure.kind is FailureClass.CLIENT_ERROR and signal.status is not None:
        kind = _CLIENT_STATUSES.get(signal.status, kind)
    return ErrorReport(
        kind=kind,
        message=signal.message or _OUR_WORDS.get(failure.kind) or "The model's provider failed to answer.",
        param=signal.param if failure.kind is FailureClass.CLIENT_ERROR else None,
        retry_after_secs=signal.retry_after_secs if retry_after_secs is None else retry_after_secs,
    )
