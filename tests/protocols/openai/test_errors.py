"""Errors of OpenAI and its clones: every envelope is read, every recorded one is classified."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import ErrorRules, FailureClass, FailureSignal, classify
from busbar.protocols.ir import Errored
from busbar.protocols.openai import PROTOCOL
from busbar.protocols.openai.errors import error_in_answer, write_stream_error
from busbar.protocols.protocol import Hop
from tests.recordings import Recording, recordings, with_error

NOW = 1_754_667_650.0
F = FailureClass

REVIEWED = {
    140: F.CLIENT_ERROR,  # empty messages
    141: F.AUTH,  # invalid_api_key
    142: F.AUTH,  # Azure: code "401"
    143: F.AUTH,  # DeepSeek: code invalid_request_error
    144: F.CLIENT_ERROR,  # model_not_found
    145: F.SERVER_ERROR,  # Hugging Face: HTML
    146: F.SERVER_ERROR,  # Cloudflare's 521, plain text
    147: F.CONTEXT_LENGTH,
    148: F.CONTEXT_LENGTH,  # Azure: 413, plain text
    149: F.TIMEOUT,  # Azure: 408, plain text
    150: F.SERVER_ERROR,
    151: F.RATE_LIMIT,  # OpenRouter: code 429
    152: F.CLIENT_ERROR,  # Azure: DeploymentNotFound
    153: F.SERVER_ERROR,
    154: F.RATE_LIMIT,  # Azure: RateLimitReached
    155: F.CLIENT_ERROR,
    156: F.CLIENT_ERROR,  # larger than a minute's tokens: it never fits
    157: F.CLIENT_ERROR,
    158: F.CLIENT_ERROR,
    159: F.CLIENT_ERROR,
    160: F.BILLING,  # Hugging Face: error is a string
    161: F.CLIENT_ERROR,  # Groq: model_decommissioned
    162: F.CLIENT_ERROR,
    163: F.SERVER_ERROR,  # Envoy's plain text
    164: F.CLIENT_ERROR,
    165: F.CLIENT_ERROR,  # Xiaomi: code "404"
    166: F.CLIENT_ERROR,  # OpenRouter: 403 is the provider's moderation
    167: F.CLIENT_ERROR,
    168: F.CLIENT_ERROR,  # larger than the allowance of images: limit 0
    169: F.CLIENT_ERROR,
    170: F.CLIENT_ERROR,
    171: F.AUTH,  # the account may not use the model
    172: F.CLIENT_ERROR,
    173: F.CLIENT_ERROR,  # Azure: 422 with details[]
    174: F.CLIENT_ERROR,
    175: F.CLIENT_ERROR,
    176: F.CLIENT_ERROR,
    177: F.RATE_LIMIT,  # Groq: tokens per minute, and it fits in the next
    178: F.CLIENT_ERROR,
}

INSIDE_200 = {
    4: F.CLIENT_ERROR,  # Azure: content_filter, status 400 in the body
    48: F.CLIENT_ERROR,  # DashScope: invalid_parameter_error
    53: F.CLIENT_ERROR,  # OpenRouter: code 400
    66: F.CLIENT_ERROR,  # OpenAI: invalid_request_error without a code
    89: F.CLIENT_ERROR,  # Groq: event named error, status_code 400
    132: F.SERVER_ERROR,  # OpenRouter: code 502 beside choices
}


def kind_of(signal: FailureSignal) -> FailureClass:
    return classify(signal, PROTOCOL.knowledge, ErrorRules())


def read(status: int, body: Any, headers: dict[str, str] | None = None) -> FailureSignal:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return PROTOCOL.read_error(status, headers or {}, raw, NOW)


@pytest.mark.parametrize("recording", recordings("openai", with_error))
def test_recorded_error_is_classified_as_reviewed(recording: Recording) -> None:
    response = recording.response
    headers = {key.lower(): value for key, value in response.headers.items()}
    signal = PROTOCOL.read_error(response.status, headers, response.wire, NOW)
    assert kind_of(signal) is REVIEWED[recording.number]


@pytest.mark.parametrize("recording", recordings("openai", lambda it: it.number in INSIDE_200))
def test_recorded_error_inside_a_200_is_classified_as_reviewed(recording: Recording) -> None:
    if recording.response.streamed:
        reader = PROTOCOL.stream_reader()
        chunks = reader.feed(recording.response.wire) + reader.close()
        signal = next(event.signal for chunk in chunks for event in chunk.events if isinstance(event, Errored))
    else:
        found = PROTOCOL.inspect_response(recording.response.wire).error
        assert found is not None
        signal = found
    assert kind_of(signal) is INSIDE_200[recording.number]


@pytest.mark.parametrize(
    ("body", "code", "kind", "message"),
    [
        ({"error": {"message": "no", "type": "t", "param": "p", "code": "c"}}, "c", "t", "no"),
        ({"error": {"message": "no", "type": None, "code": 429}}, "429", None, "no"),
        ({"error": "no"}, None, None, "no"),
        ({"code": "c", "error": "no"}, "c", None, "no"),
        ({"object": "error", "message": "no", "type": "t", "code": 40001}, "40001", "t", "no"),
        ({"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "no"}, "403", "NOT_ENOUGH_BALANCE", "no"),
        ({"message": {"detail": "no"}, "type": "t"}, None, "t", "no"),
        ({"detail": "no"}, None, None, "no"),
        ({"detail": [{"loc": ["body", "n"], "msg": "no", "type": "t"}]}, None, None, "body.n: no"),
        ({"detail": {"error": "no"}}, None, None, "no"),
        ({"success": False, "errors": [{"code": 7003, "message": "no"}]}, "7003", None, "no"),
        ([{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}], "400", "INVALID_ARGUMENT", "no"),
        ("no", None, None, "no"),
        (b"no\n", None, None, "no"),
        (b"<html><body>no</body></html>", None, None, ""),
        (b"<html><title>502 Bad\n Gateway</title></html>", None, None, "502 Bad Gateway"),
        (b"", None, None, ""),
        (b"\xff\xfe", None, None, "\ufffd\ufffd"),
        ([], None, None, ""),
        (7, None, None, ""),
        (
            {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":"inner"}'}}},
            "400",
            None,
            "Provider returned error: inner",
        ),
    ],
)
def test_every_envelope_is_read(body: Any, code: str | None, kind: str | None, message: str) -> None:
    signal = read(400, body)
    assert (signal.code, signal.type, signal.message) == (code, kind, message)


def test_a_deeply_nested_error_is_no_crash() -> None:
    assert read(500, b'{"error":' * 5000).status == 500


def error(message: str = "", kind: str | None = None, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, **more}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, error(kind="insufficient_quota", code="insufficient_quota"), F.BILLING),
        (429, error(code="credit_balance_exhausted"), F.BILLING),
        (429, error(code="organization_spend_limit_exceeded"), F.BILLING),
        (429, error(code="project_spend_limit_exceeded"), F.BILLING),
        (429, error(code="organization_usage_limit_exceeded"), F.BILLING),
        (429, error("Rate limit reached", "tokens", "rate_limit_exceeded"), F.RATE_LIMIT),
        (429, error(code="slow_down"), F.OVERLOADED),
        (503, error(kind="service_unavailable_error", code="server_is_overloaded"), F.OVERLOADED),
        (429, error(kind="usage_limit_reached"), F.RATE_LIMIT),
        (429, error(kind="usage_not_included"), F.BILLING),
        (400, error("Your input exceeds the context window of this model."), F.CONTEXT_LENGTH),
        (400, error("x", "invalid_request_error", "context_length_exceeded"), F.CONTEXT_LENGTH),
        (500, error("x", code="context_length_exceeded"), F.SERVER_ERROR),
        (402, error("Insufficient Balance", "unknown_error", "invalid_request_error"), F.BILLING),
        (402, error("x", code=402, metadata={"limit_source": "openrouter_in_flight_budget"}), F.RATE_LIMIT),
        (429, error("x", kind="exceeded_current_quota_error"), F.BILLING),
        (429, error("x", kind="engine_overloaded_error"), F.OVERLOADED),
        (413, error("Request too large for model `m` on tokens per minute (TPM): Limit 8", "tokens"), F.CLIENT_ERROR),
        (413, b"", F.CONTEXT_LENGTH),
        (403, {"code": "x", "error": "Your team has used all available credits or reached"}, F.BILLING),
        (400, {"code": "x", "error": "Incorrect API key provided: x***"}, F.AUTH),
        (403, error("The input (9 tokens) is longer than the model's context length (4 tokens)."), F.CONTEXT_LENGTH),
        (403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "m"}, F.BILLING),
        (403, error("m", "Forbidden", "AccountOverdueError"), F.BILLING),
        (400, error("m", "Arrearage", "Arrearage"), F.BILLING),
        (429, error("m", "TooManyRequests", "ServerOverloaded"), F.OVERLOADED),
        (429, error("System is experiencing high demand", code="429"), F.OVERLOADED),
        (498, error("Over capacity"), F.OVERLOADED),
        (422, {"detail": [{"loc": ["body"], "msg": "m"}]}, F.CLIENT_ERROR),
    ],
)
def test_known_words_and_texts(status: int, body: Any, expected: FailureClass) -> None:
    assert kind_of(read(status, body)) is expected


def test_a_provider_may_contradict_the_dialect() -> None:
    rules = ErrorRules(words={"insufficient_quota": F.RATE_LIMIT})
    assert classify(read(429, error(code="insufficient_quota")), PROTOCOL.knowledge, rules) is F.RATE_LIMIT


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, error(), 1.5),
        ({}, error("Please try again in 2.3s."), 2.3),
        ({}, error(resets_in_seconds=90), 90.0),
        ({}, error(resets_at=NOW + 60), 60.0),
        ({}, error(metadata={"headers": {"X-RateLimit-Reset": "1754667660000"}}), 10.0),
        ({}, error(), None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], body: Any, expected: float | None) -> None:
    assert read(429, body, headers).retry_after_secs == expected


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ({"error": {"code": 502, "message": "m"}}, 502, "502"),
        ({"error": "Overloaded"}, None, None),
        ({"base_resp": {"status_code": 1008, "status_msg": "m"}}, None, "1008"),
        ({"success": False, "errors": [{"code": 10000, "message": "m"}]}, None, "10000"),
    ],
)
def test_errors_inside_a_200(document: dict[str, Any], status: int | None, code: str | None) -> None:
    signal = error_in_answer(document)
    assert signal is not None
    assert (signal.status, signal.code) == (status, code)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1]", b"3", b'{"usage":3,"error":null}', b"[" * 100_000])
def test_inspection_never_raises(body: bytes) -> None:
    inspection = PROTOCOL.inspect_response(body)
    assert (inspection.usage, inspection.error) == (None, None)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (ErrorKind.BAD_REQUEST, 400, None),
        (ErrorKind.UNAUTHENTICATED, 401, "invalid_api_key"),
        (ErrorKind.BUDGET, 402, "insufficient_quota"),
        (ErrorKind.FORBIDDEN, 403, None),
        (ErrorKind.NOT_FOUND, 404, "model_not_found"),
        (ErrorKind.TOO_LARGE, 413, "request_too_large"),
        (ErrorKind.CONTEXT_LENGTH, 400, "context_length_exceeded"),
        (ErrorKind.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (ErrorKind.UPSTREAM, 502, None),
        (ErrorKind.EXHAUSTED, 503, "server_is_overloaded"),
        (ErrorKind.OVERLOADED, 503, "server_is_overloaded"),
        (ErrorKind.TIMEOUT, 504, "timeout"),
    ],
)
def test_errors_are_written_natively(kind: ErrorKind, status: int, code: str | None) -> None:
    answer = PROTOCOL.write_error(ErrorReport(kind=kind, message="no"), Hop(nonce="n"))
    written = msgspec.json.decode(answer.body)["error"]
    assert answer.status == status
    assert written["code"] == code
    assert written.keys() == {"message", "type", "param", "code"}
    assert read(status, answer.body).message == "no"


def test_every_kind_has_its_row() -> None:
    for kind in ErrorKind:
        assert PROTOCOL.write_error(ErrorReport(kind=kind, message="no"), Hop()).status >= 400


def test_the_sdk_is_told_when_to_come_back() -> None:
    report = ErrorReport(kind=ErrorKind.RATE_LIMITED, message="no", retry_after_secs=0.2, should_retry=False)
    headers = PROTOCOL.write_error(report, Hop(nonce="n")).headers
    assert headers["retry-after"] == "1"
    assert headers["x-should-retry"] == "false"
    assert headers["x-request-id"].startswith("req_")


def test_the_sdk_raises_a_mid_stream_error() -> None:
    frame = write_stream_error(ErrorReport(kind=ErrorKind.UPSTREAM, message="broke off"))
    document = msgspec.json.decode(frame.removeprefix(b"data: "))
    assert document["error"]["message"] == "broke off"
    assert b"[DONE]" not in frame
