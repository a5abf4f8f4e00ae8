"""Errors: recorded and documented answers are judged, and ours are native."""

from __future__ import annotations

import msgspec
import pytest
from botocore.exceptions import EventStreamError
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.bedrock import PROTOCOL
from busbar.protocols.bedrock.errors import write_stream_error
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import ErrorRules, FailureClass, FailureSignal, classify
from busbar.protocols.framing.eventstream import encode_message
from busbar.protocols.ir import Errored
from busbar.protocols.protocol import Hop
from tests.protocols.bedrock.wire import START, exception, operation, read, sdk_events
from tests.recordings import Recording, recordings, with_error

REVIEWED = {
    125: FailureClass.AUTH,
    126: FailureClass.CLIENT_ERROR,
    127: FailureClass.SERVER_ERROR,
    128: FailureClass.CONTEXT_LENGTH,
    129: FailureClass.AUTH,
    130: FailureClass.AUTH,
    131: FailureClass.SERVER_ERROR,
    132: FailureClass.CLIENT_ERROR,
    133: FailureClass.CLIENT_ERROR,
    134: FailureClass.RATE_LIMIT,
    135: FailureClass.CLIENT_ERROR,
    136: FailureClass.CLIENT_ERROR,
    137: FailureClass.CLIENT_ERROR,
    138: FailureClass.CLIENT_ERROR,
}
"""Number of the recording → its class, decided by reading each body."""


def judged(status: int, kind: str | None, message: str) -> FailureClass:
    headers = {} if kind is None else {"x-amzn-errortype": kind}
    signal = PROTOCOL.read_error(status, headers, msgspec.json.encode({"message": message}), 0)
    return classify(signal, PROTOCOL.knowledge, ErrorRules())


@pytest.mark.parametrize("recording", recordings("bedrock", with_error))
def test_recorded_error_has_its_reviewed_class(recording: Recording) -> None:
    answer = recording.response
    headers = {name.lower(): value for name, value in answer.headers.items()}
    signal = PROTOCOL.read_error(answer.status, headers, answer.wire, 0)
    assert signal.status == answer.status
    assert signal.message
    assert classify(signal, PROTOCOL.knowledge, ErrorRules()) is REVIEWED[recording.number]


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "ValidationException", "Malformed input request.", FailureClass.CLIENT_ERROR),
        (400, "ValidationException", "Input is too long for requested model.", FailureClass.CONTEXT_LENGTH),
        (400, "ValidationException", "prompt is too long: 213462 tokens > 200000", FailureClass.CONTEXT_LENGTH),
        (400, None, "Too many input tokens. Max input tokens: 8192", FailureClass.CONTEXT_LENGTH),
        (400, "ServiceQuotaExceededException", "Resubmit later.", FailureClass.RATE_LIMIT),
        (400, "ExpiredTokenException", "The security token is expired.", FailureClass.AUTH),
        (403, "AccessDeniedException", "You don't have access to the model.", FailureClass.AUTH),
        (404, "ResourceNotFoundException", "No such profile.", FailureClass.CLIENT_ERROR),
        (
            404,
            "ResourceNotFoundException",
            "Model use case details have not been submitted for this account.",
            FailureClass.AUTH,
        ),
        (408, "ModelTimeoutException", "Took too long.", FailureClass.TIMEOUT),
        (424, "ModelErrorException", "The model failed.", FailureClass.OVERLOADED),
        (429, "ThrottlingException", "Too many tokens, please wait before trying again.", FailureClass.RATE_LIMIT),
        (429, "ThrottlingException", "Too many tokens per day, please wait.", FailureClass.RATE_LIMIT),
        (429, "ModelNotReadyException", "The model is waking.", FailureClass.OVERLOADED),
        (500, "InternalServerException", "Input is too long for requested model.", FailureClass.SERVER_ERROR),
        (503, "ServiceUnavailableException", "Try again.", FailureClass.OVERLOADED),
    ],
)
def test_documented_error_has_its_class(status: int, kind: str | None, message: str, expected: FailureClass) -> None:
    assert judged(status, kind, message) is expected


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/"}, {"message": "Slow."}),
        ({}, {"__type": "com.amazon.coral.service#ThrottlingException", "Message": "Slow."}),
        ({"x-amzn-errortype": "com.amazon#ThrottlingException"}, {"message": "Slow."}),
    ],
)
def test_the_exception_is_named_in_header_or_body(headers: dict[str, str], body: dict[str, str]) -> None:
    signal = PROTOCOL.read_error(429, headers, msgspec.json.encode(body), 0)
    assert signal == FailureSignal(status=429, type="ThrottlingException", message="Slow.")


def test_a_daily_limit_is_asked_again_by_the_hour() -> None:
    signal = PROTOCOL.read_error(429, {}, b'{"message":"Too many tokens per day, please wait."}', 0)
    assert signal.retry_after_secs == 3600
    signal = PROTOCOL.read_error(429, {"retry-after": "7"}, b'{"message":"Too many tokens per day."}', 0)
    assert signal.retry_after_secs == 7


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"no such model"}', "no such model"),
        (b'{"error":{"message":"m","code":7}}', "m"),
        (b'{"detail":[{"loc":["body"],"msg":"bad"}]}', "body: bad"),
        (b"<html><head><title>502 Bad Gateway</title>", "502 Bad Gateway"),
        (b"plain", "plain"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_any_envelope_is_read(body: bytes, message: str) -> None:
    assert PROTOCOL.read_error(400, {}, body, 0).message == message


@given(st.integers(400, 599), st.binary(max_size=60), st.text(max_size=20))
def test_reading_an_error_never_raises(status: int, body: bytes, kind: str) -> None:
    PROTOCOL.read_error(status, {"x-amzn-errortype": kind}, body, 0)


@pytest.mark.parametrize(
    ("data", "signal", "expected"),
    [
        (
            exception("throttlingException", message="Too many tokens, please wait before trying again."),
            FailureSignal(type="throttlingException", message="Too many tokens, please wait before trying again."),
            FailureClass.RATE_LIMIT,
        ),
        (
            exception("modelStreamErrorException", message="mid", originalStatusCode=429, originalMessage="x"),
            FailureSignal(type="modelStreamErrorException", code="429", message="mid"),
            FailureClass.RATE_LIMIT,
        ),
        (
            exception("modelStreamErrorException", message="mid"),
            FailureSignal(type="modelStreamErrorException", message="mid"),
            FailureClass.SERVER_ERROR,
        ),
        (
            exception("validationException", message="Input is too long for requested model."),
            FailureSignal(type="validationException", message="Input is too long for requested model."),
            FailureClass.CONTEXT_LENGTH,
        ),
        (
            encode_message({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "m"}, b""),
            FailureSignal(code="InternalFailure", message="m"),
            FailureClass.SERVER_ERROR,
        ),
    ],
)
def test_an_error_inside_a_stream_is_read_and_judged(
    data: bytes, signal: FailureSignal, expected: FailureClass
) -> None:
    last = read(START + data)[-1]
    assert isinstance(last, Errored)
    assert last.signal == signal
    assert classify(signal, PROTOCOL.knowledge, ErrorRules()) is expected
    tap = PROTOCOL.stream_tap()
    assert tap.feed(START + data) == START
    assert tap.error == signal
    assert tap.break_off(ErrorReport(kind=ErrorKind.UPSTREAM, message="x")) == data


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        (ErrorKind.BAD_REQUEST, 400, "ValidationException"),
        (ErrorKind.UNAUTHENTICATED, 403, "AccessDeniedException"),
        (ErrorKind.FORBIDDEN, 403, "AccessDeniedException"),
        (ErrorKind.NOT_FOUND, 404, "ResourceNotFoundException"),
        (ErrorKind.TOO_LARGE, 413, "ValidationException"),
        (ErrorKind.CONTEXT_LENGTH, 400, "ValidationException"),
        (ErrorKind.BUDGET, 402, "ServiceQuotaExceededException"),
        (ErrorKind.RATE_LIMITED, 429, "ThrottlingException"),
        (ErrorKind.UPSTREAM, 500, "InternalServerException"),
        (ErrorKind.EXHAUSTED, 503, "ServiceUnavailableException"),
        (ErrorKind.OVERLOADED, 503, "ServiceUnavailableException"),
        (ErrorKind.TIMEOUT, 408, "ModelTimeoutException"),
    ],
)
def test_every_kind_of_error_is_native(kind: ErrorKind, status: int, name: str) -> None:
    answer = PROTOCOL.write_error(ErrorReport(kind=kind, message="Oh."), Hop(nonce="n1"))
    assert answer.status == status
    raw = {"status_code": status, "headers": dict(answer.headers), "body": answer.body}
    parsed = create_parser("rest-json").parse(raw, operation("Converse").output_shape)
    assert parsed["Error"]["Code"] == name
    assert parsed["Error"]["Message"].endswith("Oh.")
    assert parsed["ResponseMetadata"]["RequestId"] == answer.headers["x-amzn-requestid"] != ""


def test_an_error_answer_says_when_to_come_back_and_which_field() -> None:
    report = ErrorReport(kind=ErrorKind.RATE_LIMITED, message="Slow.", retry_after_secs=1.2, should_retry=False)
    assert dict(PROTOCOL.write_error(report, Hop(nonce="n1")).headers).items() >= {
        ("content-type", "application/json"),
        ("retry-after", "2"),
        ("x-should-retry", "false"),
    }
    report = ErrorReport(kind=ErrorKind.BAD_REQUEST, message="expected a string", param="messages[0].role")
    answer = PROTOCOL.write_error(report, Hop())
    assert answer.body == b'{"message":"messages[0].role: expected a string"}'


def test_a_long_conversation_is_told_in_the_words_that_clients_know() -> None:
    report = ErrorReport(kind=ErrorKind.CONTEXT_LENGTH, message="At most 10 tokens.")
    answer = PROTOCOL.write_error(report, Hop())
    assert answer.body == b'{"message":"Input is too long for requested model. At most 10 tokens."}'
    signal = PROTOCOL.read_error(answer.status, answer.headers, answer.body, 0)
    assert classify(signal, PROTOCOL.knowledge, ErrorRules()) is FailureClass.CONTEXT_LENGTH


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ErrorKind.BAD_REQUEST, "validationException"),
        (ErrorKind.RATE_LIMITED, "throttlingException"),
        (ErrorKind.OVERLOADED, "serviceUnavailableException"),
        (ErrorKind.UPSTREAM, "modelStreamErrorException"),
        (ErrorKind.TIMEOUT, "modelStreamErrorException"),
    ],
)
def test_the_sdk_raises_an_error_inside_a_stream(kind: ErrorKind, name: str) -> None:
    data = START + write_stream_error(ErrorReport(kind=kind, message="Oh."))
    with pytest.raises(EventStreamError) as raised:
        sdk_events(data)
    assert raised.value.response == {"Error": {"Code": name, "Message": "Oh."}}
