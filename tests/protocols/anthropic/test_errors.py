"""Errors: recorded and documented answers are judged, and ours are native."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.anthropic.errors import write_stream_error
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import ErrorRules, FailureClass, FailureSignal, classify
from busbar.protocols.ir import Errored
from busbar.protocols.protocol import Hop
from tests.recordings import Recording, recordings, with_error

NOW = datetime(2026, 8, 31, 22, 0, tzinfo=UTC).timestamp()

REVIEWED = {
    147: FailureClass.AUTH,
    148: FailureClass.CLIENT_ERROR,
    149: FailureClass.AUTH,
    150: FailureClass.BILLING,
    151: FailureClass.CONTEXT_LENGTH,
    152: FailureClass.CLIENT_ERROR,
    153: FailureClass.CLIENT_ERROR,
    154: FailureClass.RATE_LIMIT,
    155: FailureClass.SERVER_ERROR,
    156: FailureClass.OVERLOADED,
    157: FailureClass.CLIENT_ERROR,
    158: FailureClass.CLIENT_ERROR,
    159: FailureClass.CLIENT_ERROR,
    160: FailureClass.RATE_LIMIT,
    161: FailureClass.CLIENT_ERROR,
    162: FailureClass.OVERLOADED,
    163: FailureClass.CLIENT_ERROR,
    164: FailureClass.CLIENT_ERROR,
    165: FailureClass.CLIENT_ERROR,
}
"""Number of the recording → its class, decided by reading each body."""


def judged(status: int, body: object, headers: dict[str, str] | None = None) -> FailureClass:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return classify(PROTOCOL.read_error(status, headers or {}, raw, NOW), PROTOCOL.knowledge, ErrorRules())


def envelope(kind: str, message: str = "Something.", code: str | None = None) -> dict[str, object]:
    error: dict[str, object] = {"type": kind, "message": message}
    if code is not None:
        error["details"] = {"error_code": code}
    return {"type": "error", "error": error, "request_id": "req_1"}


@pytest.mark.parametrize("recording", recordings("anthropic", with_error))
def test_recorded_error_has_its_reviewed_class(recording: Recording) -> None:
    answer = recording.response
    signal = PROTOCOL.read_error(answer.status, answer.headers, answer.wire, NOW)
    assert signal.status == answer.status
    assert signal.message
    assert classify(signal, PROTOCOL.knowledge, ErrorRules()) is REVIEWED[recording.number]


@pytest.mark.parametrize("recording", recordings("anthropic", lambda r: r.number in (17, 38)))
def test_recorded_error_inside_a_stream_is_overloaded(recording: Recording) -> None:
    reader = PROTOCOL.stream_reader()
    last = reader.feed(recording.response.wire)[-1].events[-1]
    assert isinstance(last, Errored)
    assert last.signal == FailureSignal(type="overloaded_error", message="Overloaded")
    assert classify(last.signal, PROTOCOL.knowledge, ErrorRules()) is FailureClass.OVERLOADED


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, envelope("invalid_request_error"), FailureClass.CLIENT_ERROR),
        (
            400,
            envelope("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
            FailureClass.BILLING,
        ),
        (
            400,
            envelope(
                "invalid_request_error",
                "You have reached your specified API usage limits. You will regain access on 2026-09-01.",
            ),
            FailureClass.BILLING,
        ),
        (
            400,
            envelope("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2"),
            FailureClass.CONTEXT_LENGTH,
        ),
        (400, envelope("invalid_request_error", code="organization_on_hold"), FailureClass.AUTH),
        (400, envelope("invalid_request_error", code="image_dimensions_too_large"), FailureClass.CLIENT_ERROR),
        (401, envelope("authentication_error"), FailureClass.AUTH),
        (402, envelope("billing_error"), FailureClass.BILLING),
        (402, {"error": {"type": "unknown_error", "code": "invalid_request_error", "message": "Insufficient"}},
         FailureClass.BILLING),
        (403, envelope("permission_error"), FailureClass.AUTH),
        (404, envelope("not_found_error"), FailureClass.CLIENT_ERROR),
        (409, envelope("conflict_error"), FailureClass.CLIENT_ERROR),
        (413, envelope("request_too_large"), FailureClass.CONTEXT_LENGTH),
        (413, {"error": {"message": "Request exceeds the maximum size", "type": "request_too_large"}},
         FailureClass.CONTEXT_LENGTH),
        (413, b"<html><title>413 Request Entity Too Large</title></html>", FailureClass.CONTEXT_LENGTH),
        (429, envelope("rate_limit_error"), FailureClass.RATE_LIMIT),
        (429, envelope("rate_limit_error", code="ramp_limit_exceeded"), FailureClass.RATE_LIMIT),
        (429, envelope("rate_limit_error", code="enforced_spend_limit_reached"), FailureClass.BILLING),
        (429, envelope("rate_limit_error", code="contract_spend_limit_reached"), FailureClass.BILLING),
        (500, envelope("api_error"), FailureClass.SERVER_ERROR),
        (500, envelope("api_error", "prompt is too long"), FailureClass.SERVER_ERROR),
        (503, envelope("api_error", code="cmek_key_unreachable"), FailureClass.OVERLOADED),
        (504, envelope("timeout_error"), FailureClass.TIMEOUT),
        (529, envelope("overloaded_error"), FailureClass.OVERLOADED),
        (529, b"", FailureClass.OVERLOADED),
    ],
)  # fmt: skip
def test_documented_error_has_its_class(status: int, body: object, expected: FailureClass) -> None:
    assert judged(status, body) is expected


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("overloaded_error", "Overloaded", FailureClass.OVERLOADED),
        ("rate_limit_error", "Slow down.", FailureClass.RATE_LIMIT),
        ("api_error", "Internal server error", FailureClass.SERVER_ERROR),
        ("invalid_request_error", "messages: too odd", FailureClass.CLIENT_ERROR),
        ("invalid_request_error", "prompt is too long: 2 tokens > 1 maximum", FailureClass.CONTEXT_LENGTH),
    ],
)
def test_error_event_without_a_status_has_its_class(kind: str, message: str, expected: FailureClass) -> None:
    signal = FailureSignal(type=kind, message=message)
    assert classify(signal, PROTOCOL.knowledge, ErrorRules()) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"type":"error","error":{"type":"t","message":"m"}}', FailureSignal(type="t", message="m")),
        (b'{"type":"error","error":{"type":"t","message":"m","details":{"error_code":"c"}}}',
         FailureSignal(type="t", message="m", code="c")),
        (b'{"error":{"message":"m","code":429,"param":"p"}}', FailureSignal(message="m", code="429", param="p")),
        (b'{"error":"m","code":"c"}', FailureSignal(message="m", code="c")),
        (b'{"code":20012,"message":"m","data":null}', FailureSignal(message="m", code="20012")),
        (b'{"code":403,"reason":"r","message":"m"}', FailureSignal(message="m", code="403", type="r")),
        (b'{"detail":"m"}', FailureSignal(message="m")),
        (b'{"detail":[{"loc":["body"],"msg":"m"}]}', FailureSignal(message="body: m")),
        (b'{"errors":[{"code":7,"message":"m"}]}', FailureSignal(message="m", code="7")),
        (b'{"base_resp":{"status_code":1008,"status_msg":"m"}}', FailureSignal(message="m", code="1008")),
        (b'[{"error":{"message":"m"}}]', FailureSignal(message="m")),
        (b'"m"', FailureSignal(message="m")),
        (b"plain m", FailureSignal(message="plain m")),
        (b"<html><head><title>502 Bad\n Gateway</title></head></html>", FailureSignal(message="502 Bad Gateway")),
        (b"", FailureSignal()),
        (b"\xff\xfe", FailureSignal(message="\ufffd\ufffd")),
        (b"[" * 100_000, None),
    ],
)  # fmt: skip
def test_every_known_envelope_is_read(body: bytes, expected: FailureSignal | None) -> None:
    signal = PROTOCOL.read_error(418, {}, body, NOW)
    if expected is not None:
        assert signal == msgspec.structs.replace(expected, status=418)


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "type", "message", "code", "details", "errors", "base_resp", "detail"]), inner,
        max_size=4,
    ),
    max_leaves=12,
).map(msgspec.json.encode))  # fmt: skip
def test_no_body_is_too_odd_to_be_read(body: bytes) -> None:
    assert PROTOCOL.read_error(400, {}, body, NOW).status == 400
    PROTOCOL.inspect_response(body)


def test_retry_after_is_read_from_headers_and_from_the_day_that_a_limit_names() -> None:
    body = msgspec.json.encode(envelope("rate_limit_error"))
    assert PROTOCOL.read_error(429, {"retry-after": "12"}, body, NOW).retry_after_secs == 12
    limit = envelope("rate_limit_error", "Over. You will regain access on 2026-09-01 at 00:00 UTC.")
    assert PROTOCOL.read_error(429, {}, msgspec.json.encode(limit), NOW).retry_after_secs == 7200
    far = envelope("rate_limit_error", "Over. You will regain access on 2026-12-01.")
    assert PROTOCOL.read_error(429, {}, msgspec.json.encode(far), NOW).retry_after_secs == 86_400


@pytest.mark.parametrize(
    ("kind", "status", "type_"),
    [
        (ErrorKind.BAD_REQUEST, 400, "invalid_request_error"),
        (ErrorKind.UNAUTHENTICATED, 401, "authentication_error"),
        (ErrorKind.FORBIDDEN, 403, "permission_error"),
        (ErrorKind.NOT_FOUND, 404, "not_found_error"),
        (ErrorKind.TOO_LARGE, 413, "request_too_large"),
        (ErrorKind.CONTEXT_LENGTH, 400, "invalid_request_error"),
        (ErrorKind.BUDGET, 402, "billing_error"),
        (ErrorKind.RATE_LIMITED, 429, "rate_limit_error"),
        (ErrorKind.UPSTREAM, 502, "api_error"),
        (ErrorKind.EXHAUSTED, 529, "overloaded_error"),
        (ErrorKind.OVERLOADED, 529, "overloaded_error"),
        (ErrorKind.TIMEOUT, 504, "timeout_error"),
    ],
)
def test_every_kind_of_error_is_told_natively(kind: ErrorKind, status: int, type_: str) -> None:
    answer = PROTOCOL.write_error(ErrorReport(kind=kind, message="prompt is too long"), Hop(nonce="n"))
    body = msgspec.json.decode(answer.body)
    assert answer.status == status
    assert body == {
        "type": "error",
        "error": {"type": type_, "message": "prompt is too long"},
        "request_id": answer.headers["request-id"],
    }
    assert answer.headers["request-id"].startswith("req_")


def test_an_error_says_when_and_whether_to_try_again() -> None:
    report = ErrorReport(kind=ErrorKind.RATE_LIMITED, message="m", retry_after_secs=0.2, should_retry=False)
    headers = PROTOCOL.write_error(report, Hop()).headers
    assert headers["retry-after"] == "1"
    assert headers["x-should-retry"] == "false"
    assert headers["content-type"] == "application/json"
    longer = ErrorReport(kind=ErrorKind.EXHAUSTED, message="m", retry_after_secs=7.01)
    assert PROTOCOL.write_error(longer, Hop()).headers["retry-after"] == "8"
    assert "x-should-retry" not in PROTOCOL.write_error(longer, Hop()).headers


def test_a_context_error_says_the_words_that_clients_look_for() -> None:
    report = ErrorReport(kind=ErrorKind.CONTEXT_LENGTH, message="This model's maximum context length is 8 tokens.")
    error = msgspec.json.decode(PROTOCOL.write_error(report, Hop()).body)["error"]
    assert error["message"] == "prompt is too long: This model's maximum context length is 8 tokens."


def test_an_error_names_the_field_and_the_code() -> None:
    report = ErrorReport(kind=ErrorKind.BAD_REQUEST, message="expected a number", param="temperature", code="odd")
    error = msgspec.json.decode(PROTOCOL.write_error(report, Hop()).body)["error"]
    assert error == {
        "type": "invalid_request_error",
        "message": "temperature: expected a number",
        "details": {"error_code": "odd"},
    }


def test_stream_error_is_an_error_event() -> None:
    assert write_stream_error(ErrorReport(kind=ErrorKind.UPSTREAM, message="gone")) == (
        b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"gone"}}\n\n'
    )


def test_an_error_in_a_200_is_found() -> None:
    seen = PROTOCOL.inspect_response(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    assert seen.error == FailureSignal(type="overloaded_error", message="Overloaded")
    flat = PROTOCOL.inspect_response(b'{"base_resp":{"status_code":1002,"status_msg":"slow"}}')
    assert flat.error == FailureSignal(code="1002", message="slow")
    assert PROTOCOL.inspect_response(b'{"type":"message","content":[],"error":{"x":1}}').error is None
