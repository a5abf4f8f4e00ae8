"""Errors: Google's envelope (`google.rpc.Status` as JSON) read, and ours written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from busbar.protocols.error_body import decode_error, signal_of, word
from busbar.protocols.errors import ErrorAnswer, ErrorKind, ErrorReport, Quota, answer_headers
from busbar.protocols.failures import FailureSignal
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.gemini.words import REQUEST_ID
from busbar.protocols.ids import mint_id
from busbar.protocols.protocol import Hop
from busbar.protocols.retry_after import RETRY_AFTER_SECS_MAX, retry_after_secs

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s\Z")
_PER_DAY = re.compile(r"PerDay|Daily", re.IGNORECASE)
_DETAILS_MAX = 32


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> FailureSignal:
    """The signal of an answer with an error status. Never raises; what is not understood gives an empty message.

    `code` is the reason of the ErrorInfo where there is one, `type` the status' word. No header says when to come
    back: a quota per day says midnight, the RetryInfo or the message anything else.
    """
    value = decode_error(body)
    said = _signal(value)
    wait = _stated_wait(value, now)
    if wait is None:
        wait = retry_after_secs(headers, said.message, now)
    return msgspec.structs.replace(said, status=status, retry_after_secs=wait)


def error_in_answer(document: Mapping[str, Any]) -> FailureSignal | None:
    """The error inside a 200 answer or a stream's chunk, or None. Its code is the status it would have had."""
    error = document.get("error")
    if not error:
        return None
    said = _signal(document)
    stated = error.get("code") if isinstance(error, dict) else None
    status = stated if type(stated) is int and 400 <= stated <= 599 else None
    wait = _stated_wait(document, None)
    if wait is None:
        wait = retry_after_secs({}, said.message, 0)
    return msgspec.structs.replace(said, status=status, retry_after_secs=wait)


def _signal(value: Any) -> FailureSignal:
    said = signal_of(value)
    reason = next((word(detail.get("reason")) for detail in _details(value) if detail.get("reason")), None)
    return said if reason is None else msgspec.structs.replace(said, code=reason)


def _details(value: Any) -> Iterator[Mapping[str, Any]]:
    error = value.get("error") if isinstance(value, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    if isinstance(details, list):
        yield from (detail for detail in details[:_DETAILS_MAX] if isinstance(detail, dict))


def _stated_wait(value: Any, now: float | None) -> float | None:
    delay: float | None = None
    for detail in _details(value):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            quota = violation.get("quotaId") if isinstance(violation, dict) else None
            if now is not None and isinstance(quota, str) and _PER_DAY.search(quota):
                return _until_midnight(now)
        found = _DURATION.match(stated) if isinstance(stated := detail.get("retryDelay"), str) else None
        if found is not None:
            delay = min(float(found[1]), RETRY_AFTER_SECS_MAX)
    return delay


def _until_midnight(now: float) -> float:
    """Seconds until the next midnight in California, when quotas per day begin anew."""
    moment = datetime.fromtimestamp(now, UTC)
    local = moment - timedelta(hours=7 if _is_summer(moment) else 8)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - local).total_seconds()


def _is_summer(moment: datetime) -> bool:
    """Daylight saving time in California: from the second Sunday in March to the first in November, at 2:00."""
    begins = _sunday(moment.year, 3, 2) + timedelta(hours=10)
    ends = _sunday(moment.year, 11, 1) + timedelta(hours=9)
    return begins <= moment < ends


def _sunday(year: int, month: int, nth: int) -> datetime:
    first = datetime(year, month, 1, tzinfo=UTC)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))


_TABLE: Mapping[ErrorKind, tuple[int, str]] = {
    ErrorKind.BAD_REQUEST: (400, "INVALID_ARGUMENT"),
    ErrorKind.UNAUTHENTICATED: (400, "INVALID_ARGUMENT"),
    ErrorKind.FORBIDDEN: (403, "PERMISSION_DENIED"),
    ErrorKind.NOT_FOUND: (404, "NOT_FOUND"),
    ErrorKind.TOO_LARGE: (413, "INVALID_ARGUMENT"),
    ErrorKind.CONTEXT_LENGTH: (400, "INVALID_ARGUMENT"),
    ErrorKind.BUDGET: (402, "RESOURCE_EXHAUSTED"),
    ErrorKind.RATE_LIMITED: (429, "RESOURCE_EXHAUSTED"),
    ErrorKind.UPSTREAM: (502, "INTERNAL"),
    ErrorKind.EXHAUSTED: (503, "UNAVAILABLE"),
    ErrorKind.OVERLOADED: (503, "UNAVAILABLE"),
    ErrorKind.TIMEOUT: (504, "DEADLINE_EXCEEDED"),
}
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
_QUOTA_IDS = {"minute": "PerMinute", "daily": "PerDay", "monthly": "PerMonth", "total": "Total"}
"""How Google's own quotas end. Its command line waits for one `PerMinute`, and not for one `PerDay`."""
_TOO_LONG = "The input token count exceeds the maximum number of tokens allowed."
"""By this text, and by nothing else, callers of this dialect know that a prompt does not fit."""


def write_error(report: ErrorReport, hop: Hop) -> ErrorAnswer:
    """`report` in this dialect."""
    headers = {**answer_headers(report), "x-request-id": mint_id(REQUEST_ID, hop.nonce)}
    status = report.status or _TABLE[report.kind][0]
    return ErrorAnswer(status=status, headers=headers, body=write_error_document(report))


def write_stream_error(report: ErrorReport) -> bytes:
    """The frame by which a stream says that it broke."""
    return encode_event(write_error_document(report))


def write_error_document(report: ErrorReport) -> bytes:
    status, kind = _TABLE[report.kind]
    message = report.message
    if report.kind is ErrorKind.CONTEXT_LENGTH and "input token count" not in message.lower():
        message = f"{_TOO_LONG} {message}".strip()
    error: dict[str, Any] = {"code": report.status or status, "message": message, "status": report.type or kind}
    if details := _written_details(report):
        error["details"] = details
    return msgspec.json.encode({"error": error})


def _written_details(report: ErrorReport) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = []
    reason = report.code or ("API_KEY_INVALID" if report.kind is ErrorKind.UNAUTHENTICATED else None)
    if reason is not None:
        details.append({"@type": _ERROR_INFO, "reason": reason, "domain": "googleapis.com"})
    if report.quota is not None:
        details.append({"@type": _QUOTA_FAILURE, "violations": [_violation(report.quota)]})
    if report.retry_after_secs is not None:
        delay = answer_headers(report)["retry-after"]
        details.append({"@type": _RETRY_INFO, "retryDelay": f"{delay}s"})
    return details


def _violation(quota: Quota) -> dict[str, Any]:
    """The fields of `google.rpc.QuotaFailure.Violation`; whole numbers are texts in it."""
    return {
        "subject": quota.scope,
        "quotaMetric": quota.unit,
        "quotaId": f"{quota.unit.capitalize()}{_QUOTA_IDS[quota.period]}",
        "quotaValue": str(quota.limit),
    }
