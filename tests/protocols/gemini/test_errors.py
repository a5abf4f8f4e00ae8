"""What a provider's error means, and how ours are told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from google.genai import errors as sdk_errors

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import ErrorRules, FailureClass, FailureSignal, classify
from busbar.protocols.gemini import PROTOCOL
from busbar.protocols.gemini.errors import error_in_answer, write_stream_error
from busbar.protocols.protocol import Hop
from tests.recordings import Recording, recordings, with_error

NOON_IN_JUNE = datetime(2026, 6, 15, 19, 0, tzinfo=UTC).timestamp()
"""Noon in California, in summer time."""

RECORDED: dict[int, FailureClass] = {
    140: FailureClass.CLIENT_ERROR,  # an invalid role; an array with a trailing comma
    141: FailureClass.CLIENT_ERROR,
    142: FailureClass.AUTH,  # 400 API_KEY_INVALID
    143: FailureClass.CONTEXT_LENGTH,
    144: FailureClass.RATE_LIMIT,
    145: FailureClass.CLIENT_ERROR,
    146: FailureClass.AUTH,
    147: FailureClass.SERVER_ERROR,
    148: FailureClass.RATE_LIMIT,
    149: FailureClass.RATE_LIMIT,
    150: FailureClass.CLIENT_ERROR,
    151: FailureClass.CLIENT_ERROR,
    152: FailureClass.CLIENT_ERROR,
    153: FailureClass.AUTH,
    154: FailureClass.SERVER_ERROR,
    155: FailureClass.OVERLOADED,
    156: FailureClass.CLIENT_ERROR,
    157: FailureClass.AUTH,
    158: FailureClass.CLIENT_ERROR,
    159: FailureClass.AUTH,
    160: FailureClass.BILLING,  # a country without a free tier
}


def classified(signal: FailureSignal) -> FailureClass:
    return classify(signal, PROTOCOL.knowledge, ErrorRules())


def read(status: int, body: Any, now: float = NOON_IN_JUNE, **headers: str) -> FailureSignal:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return PROTOCOL.read_error(status, headers, raw, now)


def status_error(code: int, status: str, message: str = "no", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def quota(quota_id: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id}]}


def info(reason: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "48s"}


@pytest.mark.parametrize("recording", recordings("gemini", with_error))
def test_recorded_errors_are_classified_as_reviewed(recording: Recording) -> None:
    answer = recording.response
    signal = PROTOCOL.read_error(answer.status, answer.headers, answer.wire, NOON_IN_JUNE)
    assert classified(signal) is RECORDED[recording.number]
    assert signal.message


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, status_error(400, "INVALID_ARGUMENT", "bad", info("API_KEY_INVALID")), FailureClass.AUTH),
        (400, status_error(400, "INVALID_ARGUMENT", "API key expired. Please renew."), FailureClass.AUTH),
        (
            400,
            status_error(
                400,
                "INVALID_ARGUMENT",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            ),
            FailureClass.CONTEXT_LENGTH,
        ),
        (400, status_error(400, "FAILED_PRECONDITION", "Please enable billing on project 1."), FailureClass.BILLING),
        (403, status_error(403, "PERMISSION_DENIED", "off", info("SERVICE_DISABLED")), FailureClass.AUTH),
        (
            403,
            status_error(403, "PERMISSION_DENIED", "You do not have permission to access the File x."),
            FailureClass.CLIENT_ERROR,
        ),
        (402, status_error(402, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), FailureClass.BILLING),
        (429, status_error(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), FailureClass.BILLING),
        (429, status_error(429, "RESOURCE_EXHAUSTED", "monthly spending cap reached"), FailureClass.BILLING),
        (429, status_error(429, "RESOURCE_EXHAUSTED", "quota x, limit: 0, model: y"), FailureClass.BILLING),
        (429, status_error(429, "RESOURCE_EXHAUSTED", "quota x, limit: 1000000"), FailureClass.RATE_LIMIT),
        (
            429,
            status_error(429, "RESOURCE_EXHAUSTED", "full", info("MODEL_CAPACITY_EXHAUSTED")),
            FailureClass.OVERLOADED,
        ),
        (404, status_error(404, "NOT_FOUND"), FailureClass.CLIENT_ERROR),
        (499, status_error(499, "CANCELLED"), FailureClass.CLIENT_ERROR),
        (500, status_error(500, "INTERNAL", "input token count exceeds the maximum"), FailureClass.SERVER_ERROR),
        (503, status_error(503, "UNAVAILABLE"), FailureClass.OVERLOADED),
        (504, status_error(504, "DEADLINE_EXCEEDED"), FailureClass.TIMEOUT),
        (429, [status_error(429, "RESOURCE_EXHAUSTED")], FailureClass.RATE_LIMIT),
        (401, {"error": "no such key"}, FailureClass.AUTH),
        (400, {"detail": [{"loc": ["body"], "msg": "wrong"}]}, FailureClass.CLIENT_ERROR),
        (502, b"<html><title>502 Bad Gateway</title></html>", FailureClass.SERVER_ERROR),
        (500, b"", FailureClass.SERVER_ERROR),
        (400, b"\xff\xfe\x00", FailureClass.CLIENT_ERROR),
        (400, {"error": {"code": 400, "details": "none", "message": {"a": 1}}}, FailureClass.CLIENT_ERROR),
        (
            400,
            {"error": {"details": [None, {"violations": [7], "reason": 3, "retryDelay": 9}]}},
            FailureClass.CLIENT_ERROR,
        ),
    ],
)
def test_errors_mean_what_the_facts_say(status: int, body: Any, expected: FailureClass) -> None:
    assert classified(read(status, body)) is expected


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (status_error(429, "RESOURCE_EXHAUSTED", "full", RETRY), {}, 48.0),
        (status_error(429, "RESOURCE_EXHAUSTED", "Please retry in 53.8s."), {}, 53.8),
        (status_error(429, "RESOURCE_EXHAUSTED", "no"), {"retry-after": "7"}, 7.0),
        (status_error(429, "RESOURCE_EXHAUSTED", "no", quota("RequestsPerDayPerModel"), RETRY), {}, 12 * 3600.0),
        (status_error(429, "RESOURCE_EXHAUSTED", "no", quota("RequestsPerMinute"), RETRY), {}, 48.0),
        (status_error(429, "RESOURCE_EXHAUSTED", "no"), {}, None),
    ],
)
def test_when_to_come_back(body: Any, headers: dict[str, str], expected: float | None) -> None:
    assert PROTOCOL.read_error(429, headers, msgspec.json.encode(body), NOON_IN_JUNE).retry_after_secs == expected


@pytest.mark.parametrize(
    ("moment", "hours"),
    [
        (datetime(2026, 1, 15, 20, 0, tzinfo=UTC), 12.0),  # noon, winter time
        (datetime(2026, 3, 8, 9, 59, tzinfo=UTC), 22 + 1 / 60),  # the minute before clocks go forward
        (datetime(2026, 11, 1, 9, 0, tzinfo=UTC), 23.0),  # clocks have just gone back
    ],
)
def test_a_quota_per_day_begins_anew_at_midnight_in_california(moment: datetime, hours: float) -> None:
    body = status_error(429, "RESOURCE_EXHAUSTED", "no", quota("GenerateRequestsPerDayPerProjectPerModel"))
    assert read(429, body, now=moment.timestamp()).retry_after_secs == pytest.approx(hours * 3600)


def test_an_error_inside_a_200_is_read_with_the_status_it_would_have_had() -> None:
    assert error_in_answer(status_error(503, "UNAVAILABLE", "overloaded")) == FailureSignal(
        status=503, code="503", type="UNAVAILABLE", message="overloaded"
    )
    assert error_in_answer({"candidates": []}) is None


TABLE = {
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


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_is_told_in_googles_envelope_as_its_sdk_reads_it(kind: ErrorKind) -> None:
    answer = PROTOCOL.write_error(ErrorReport(kind=kind, message="why"), Hop(nonce="n"))
    document = msgspec.json.decode(answer.body)
    status, word = TABLE[kind]
    assert (answer.status, document["error"]["code"], document["error"]["status"]) == (status, status, word)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    raised = sdk_errors.APIError(answer.status, document)
    assert (raised.code, raised.status, raised.message) == (status, word, document["error"]["message"])


def test_a_bad_key_is_told_as_google_tells_it() -> None:
    answer = PROTOCOL.write_error(ErrorReport(kind=ErrorKind.UNAUTHENTICATED, message="bad key"), Hop())
    assert msgspec.json.decode(answer.body) == status_error(
        400, "INVALID_ARGUMENT", "bad key", info("API_KEY_INVALID")
    )
    assert classified(read(answer.status, answer.body)) is FailureClass.AUTH


def test_a_wait_is_told_in_the_header_and_in_the_body() -> None:
    report = ErrorReport(kind=ErrorKind.RATE_LIMITED, message="slow down", retry_after_secs=1.2, should_retry=False)
    answer = PROTOCOL.write_error(report, Hop())
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("2", "false")
    assert read(answer.status, answer.body).retry_after_secs == 2.0


def test_a_prompt_that_does_not_fit_is_told_in_the_words_by_which_callers_know_it() -> None:
    answer = PROTOCOL.write_error(ErrorReport(kind=ErrorKind.CONTEXT_LENGTH, message="too long"), Hop())
    assert classified(read(answer.status, answer.body)) is FailureClass.CONTEXT_LENGTH


def test_a_stream_error_is_one_event() -> None:
    report = ErrorReport(kind=ErrorKind.OVERLOADED, message="busy")
    assert write_stream_error(report) == (b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\n\n')
