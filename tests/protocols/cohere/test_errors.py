"""Errors: every recorded one is classified as reviewed, every envelope is read, every kind is written natively."""

from __future__ import annotations

from typing import Any

import cohere
import httpx
import msgspec
import pytest

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import ErrorRules, FailureClass, FailureSignal, classify
from busbar.protocols.ir import Errored
from busbar.protocols.protocol import Hop
from tests.protocols.cohere.wire import events_of, read
from tests.recordings import Recording, recordings, with_error

NOW = 1_754_667_650.0
F = FailureClass

REVIEWED = {
    91: F.AUTH,  # Incorrect API key provided
    92: F.CLIENT_ERROR,  # unknown field: parameter 'connectors'
    93: F.CLIENT_ERROR,  # No valid response generated
    94: F.AUTH,  # invalid api token
    95: F.CLIENT_ERROR,  # model 'bad model' not found
    96: F.CLIENT_ERROR,  # response_format is not supported by the provided model
    97: F.CLIENT_ERROR,  # logprobs is not supported
    98: F.CLIENT_ERROR,  # image content is not supported
    99: F.CONTEXT_LENGTH,  # too many tokens: size limit exceeded
    100: F.CONTEXT_LENGTH,
    101: F.CLIENT_ERROR,  # all generated tool calls were hallucinated
    102: F.CLIENT_ERROR,  # tool_choice is not supported for this model
}

INSIDE_200 = {
    34: F.CLIENT_ERROR,  # No valid response generated: a 422 where the answer is whole (93)
    37: F.CLIENT_ERROR,
    65: F.CLIENT_ERROR,  # all generated tool calls were hallucinated: a 422 where the answer is whole (101)
}


def kind_of(signal: FailureSignal) -> FailureClass:
    return classify(signal, PROTOCOL.knowledge, ErrorRules())


def signal_of(status: int, body: Any, headers: dict[str, str] | None = None) -> FailureSignal:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return PROTOCOL.read_error(status, headers or {}, raw, NOW)


@pytest.mark.parametrize("recording", recordings("cohere", with_error))
def test_recorded_error_is_classified_as_reviewed(recording: Recording) -> None:
    response = recording.response
    headers = {key.lower(): value for key, value in response.headers.items()}
    signal = PROTOCOL.read_error(response.status, headers, response.wire, NOW)
    assert kind_of(signal) is REVIEWED[recording.number]
    assert signal.message


@pytest.mark.parametrize("recording", recordings("cohere", lambda it: it.response.status == 200))
def test_recorded_error_inside_a_200_is_classified_as_reviewed(recording: Recording) -> None:
    if recording.response.streamed:
        errors = [event.signal for event in events_of(read(recording.response.wire)) if isinstance(event, Errored)]
    else:
        found = PROTOCOL.inspect_response(recording.response.wire).error
        errors = [] if found is None else [found]
    expected = INSIDE_200.get(recording.number)
    assert [kind_of(signal) for signal in errors] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"message": "no", "id": "1"}, None, "no"),
        ({"error_type": "TOO_MANY_TOKENS", "message": "no"}, "TOO_MANY_TOKENS", "no"),
        ({"data": "no"}, None, ""),
        ({"error": "no"}, None, "no"),
        ({"error": {"message": "no", "type": "t"}}, "t", "no"),
        ({"detail": "no"}, None, "no"),
        ({"detail": [{"loc": ["body", "n"], "msg": "no", "type": "t"}]}, None, "body.n: no"),
        ({"errors": [{"message": "no"}]}, None, "no"),
        ("no", None, "no"),
        (b"404 page not found\n", None, "404 page not found"),
        (b"<html><title>502 Bad\n Gateway</title></html>", None, "502 Bad Gateway"),
        (b"", None, ""),
        (b"\xff\xfe", None, "\ufffd\ufffd"),
        ([], None, ""),
        (7, None, ""),
        (b'{"message":' * 5000, None, ('{"message":' * 5000)[:4000]),
    ],
)
def test_every_envelope_is_read(body: Any, kind: str | None, message: str) -> None:
    signal = signal_of(400, body)
    assert (signal.status, signal.type, signal.message) == (400, kind, message)


TRIAL = "You are using a Trial key, which is limited to"


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (400, "too many tokens: max tokens must be less than or equal to 4096", F.CONTEXT_LENGTH),
        (422, "too many tokens: size limit exceeded by 26 tokens", F.CONTEXT_LENGTH),
        (429, "too many tokens: slow down", F.RATE_LIMIT),
        (500, "too many tokens: size limit exceeded", F.SERVER_ERROR),
        (413, "", F.CONTEXT_LENGTH),
        (402, "please add a payment method", F.BILLING),
        (403, "no access", F.AUTH),
        (429, f"{TRIAL} 1000 API calls / month. You can upgrade", F.BILLING),
        (429, f"{TRIAL} 20 API calls / minute. You can upgrade", F.RATE_LIMIT),
        (498, "invalid token", F.CLIENT_ERROR),
        (499, "client closed", F.CLIENT_ERROR),
        (503, "unavailable", F.SERVER_ERROR),
    ],
)
def test_known_texts(status: int, message: str, expected: FailureClass) -> None:
    assert kind_of(signal_of(status, {"message": message})) is expected


def test_known_types() -> None:
    too_long = {"error_type": "TOO_MANY_TOKENS", "message": "no"}
    assert kind_of(signal_of(400, too_long)) is F.CONTEXT_LENGTH
    assert kind_of(signal_of(429, too_long)) is F.RATE_LIMIT
    assert kind_of(FailureSignal(type="TIMEOUT", message="the generation failed")) is F.TIMEOUT
    assert kind_of(FailureSignal(type="ERROR", message="the generation failed")) is F.SERVER_ERROR


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"retry-after": "9"}, 9.0), ({"retry-after-ms": "1500"}, 1.5), ({}, None)],
)
def test_how_long_to_wait(headers: dict[str, str], expected: float | None) -> None:
    assert signal_of(429, {"message": "no"}, headers).retry_after_secs == expected


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (ErrorKind.BAD_REQUEST, 400),
        (ErrorKind.UNAUTHENTICATED, 401),
        (ErrorKind.BUDGET, 402),
        (ErrorKind.FORBIDDEN, 403),
        (ErrorKind.NOT_FOUND, 404),
        (ErrorKind.TOO_LARGE, 413),
        (ErrorKind.CONTEXT_LENGTH, 400),
        (ErrorKind.RATE_LIMITED, 429),
        (ErrorKind.UPSTREAM, 502),
        (ErrorKind.EXHAUSTED, 503),
        (ErrorKind.OVERLOADED, 503),
        (ErrorKind.TIMEOUT, 504),
    ],
)
def test_errors_are_written_natively(kind: ErrorKind, status: int) -> None:
    answer = PROTOCOL.write_error(ErrorReport(kind=kind, message="no"), Hop(nonce="n"))
    document = msgspec.json.decode(answer.body)
    assert answer.status == status
    assert document == {
        "id": answer.headers["x-request-id"],
        "message": "too many tokens: no" if kind is ErrorKind.CONTEXT_LENGTH else "no",
    }


def test_a_field_is_named_and_a_context_error_is_known_again() -> None:
    report = ErrorReport(kind=ErrorKind.CONTEXT_LENGTH, message="prompt is too long", param="messages")
    answer = PROTOCOL.write_error(report, Hop())
    assert msgspec.json.decode(answer.body)["message"] == "too many tokens: messages: prompt is too long"
    assert kind_of(signal_of(answer.status, answer.body)) is F.CONTEXT_LENGTH


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        (ErrorKind.BAD_REQUEST, cohere.BadRequestError),
        (ErrorKind.UNAUTHENTICATED, cohere.UnauthorizedError),
        (ErrorKind.FORBIDDEN, cohere.ForbiddenError),
        (ErrorKind.NOT_FOUND, cohere.NotFoundError),
        (ErrorKind.RATE_LIMITED, cohere.TooManyRequestsError),
        (ErrorKind.EXHAUSTED, cohere.ServiceUnavailableError),
        (ErrorKind.TIMEOUT, cohere.GatewayTimeoutError),
    ],
)
def test_the_sdk_raises_its_own(kind: ErrorKind, raised: type[Exception]) -> None:
    answer = PROTOCOL.write_error(ErrorReport(kind=kind, message="no"), Hop())
    response = httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)
    transport = httpx.MockTransport(lambda request: response)
    client = cohere.ClientV2(api_key="k", base_url="http://host", httpx_client=httpx.Client(transport=transport))
    options: Any = {"max_retries": 0}
    with pytest.raises(raised, match="no"):
        client.chat(model="m", messages=[{"role": "user", "content": "x"}], request_options=options)


def test_the_sdk_is_told_when_to_come_back() -> None:
    report = ErrorReport(kind=ErrorKind.RATE_LIMITED, message="no", retry_after_secs=0.2, should_retry=False)
    headers = PROTOCOL.write_error(report, Hop(nonce="n")).headers
    assert headers["retry-after"] == "1"
    assert headers["x-should-retry"] == "false"
    assert headers["content-type"] == "application/json"
