"""What errors of this dialect mean, and how ours are told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import ErrorRules, FailureClass, FailureSignal, classify
from busbar.protocols.responses import PROTOCOL
from tests.protocols.responses.wire import HOP, frame, frames_of
from tests.recordings import Recording, recordings, with_error

CLIENT = FailureClass.CLIENT_ERROR
RECORDED = {
    144: FailureClass.AUTH,
    145: CLIENT,
    146: FailureClass.SERVER_ERROR,
    147: CLIENT,
    148: CLIENT,
    149: CLIENT,
    150: CLIENT,
    151: CLIENT,
    152: CLIENT,
    153: CLIENT,
    154: CLIENT,
    155: CLIENT,
    156: CLIENT,
    157: FailureClass.CONTEXT_LENGTH,
    158: CLIENT,
    159: CLIENT,
    160: FailureClass.BILLING,
    161: CLIENT,
    162: CLIENT,
    163: FailureClass.SERVER_ERROR,
    164: CLIENT,
    165: CLIENT,
}
"""File number → what it is; decided by reading each body."""

RECORDED_STREAMS = {32: FailureClass.SERVER_ERROR, 127: FailureClass.BILLING}


def class_of(signal: FailureSignal | None) -> FailureClass:
    assert signal is not None
    return classify(signal, PROTOCOL.knowledge, ErrorRules())


@pytest.mark.parametrize("recording", recordings("responses", with_error))
def test_recorded_error_is_classified(recording: Recording) -> None:
    answer = recording.response
    signal = PROTOCOL.read_error(answer.status, answer.headers, answer.wire, 0)
    assert class_of(signal) is RECORDED[recording.number]
    assert signal.message


@pytest.mark.parametrize("recording", recordings("responses", lambda it: it.number in RECORDED_STREAMS))
def test_recorded_error_in_a_stream_is_classified(recording: Recording) -> None:
    tap = PROTOCOL.stream_tap()
    passed = tap.feed(recording.response.wire)
    assert class_of(tap.error) is RECORDED_STREAMS[recording.number]
    assert not tap.ended
    assert passed + tap.break_off(ErrorReport(kind=ErrorKind.UPSTREAM, message="again")) == recording.response.wire


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"message": "Please try again in 1.2s", "code": "rate_limit_exceeded"}}, "rate_limit"),
        (429, {"error": {"message": "no money", "type": "insufficient_quota", "code": None}}, "billing"),
        (429, {"error": {"message": "m", "code": "credit_balance_exhausted"}}, "billing"),
        (429, {"error": {"message": "m", "code": "slow_down"}}, "overloaded"),
        (429, {"error": {"message": "Request too large for m on tokens per min (TPM): Limit 1"}}, "client_error"),
        (400, {"error": {"message": "m", "code": "context_length_exceeded"}}, "context_length"),
        (401, {"error": {"message": "m", "type": "invalid_request_error", "code": None}}, "auth"),
        (402, {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}, "billing"),
        (400, {"error": "Incorrect API key provided: x"}, "auth"),
        (403, {"error": {"code": 403, "message": "m", "metadata": {"reasons": ["x"]}}}, "client_error"),
        (422, {"detail": [{"loc": ["body", "input"], "msg": "field required"}]}, "client_error"),
        (503, {"error": {"message": "m", "code": "server_is_overloaded"}}, "overloaded"),
        (400, {"code": 20012, "message": "flat"}, "client_error"),
        (500, b"<html><title>Bad Gateway</title></html>", "server_error"),
        (502, b"\xff\xfe", "server_error"),
        (413, b"", "context_length"),
    ],
)
def test_every_envelope_is_read(status: int, body: Any, kind: str) -> None:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    assert class_of(PROTOCOL.read_error(status, {}, raw, 0)).value == kind


def test_waits_are_read_from_headers_texts_and_plan_limits() -> None:
    def wait(headers: dict[str, str], **error: Any) -> float | None:
        raw = msgspec.json.encode({"error": error})
        return PROTOCOL.read_error(429, headers, raw, 1000.0).retry_after_secs

    assert wait({"retry-after-ms": "1500"}, message="m") == 1.5
    assert wait({}, message="Please try again in 7.66s") == 7.66
    assert wait({}, message="m", type="usage_limit_reached", resets_at=1060) == 60
    assert wait({}, message="m", resets_in_seconds=5) == 5
    assert wait({}, message="m") is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "rate_limit_exceeded", "message": "Please try again in 1.5s"}, "rate_limit"),
        ({"code": "server_error", "message": "m"}, "server_error"),
        ({"code": "context_length_exceeded", "message": "m"}, "context_length"),
        ({"code": "invalid_prompt", "message": "m"}, "client_error"),
        ({"code": "image_too_large", "message": "m"}, "client_error"),
        ({"code": "503", "message": "m"}, "server_error"),
        (None, "server_error"),
    ],
)
def test_a_failed_response_is_an_error(error: Any, kind: str) -> None:
    failed = {"id": "resp_1", "status": "failed", "error": error, "output": []}
    assert class_of(PROTOCOL.inspect_response(msgspec.json.encode(failed)).error).value == kind
    tap = PROTOCOL.stream_tap()
    tap.feed(frame("response.failed", response=failed))
    assert class_of(tap.error).value == kind


@pytest.mark.parametrize("shape", [{"code": "slow_down", "message": "m"}, {"error": {"code": "slow_down"}}])
def test_an_error_event_is_read_flat_and_nested(shape: dict[str, Any]) -> None:
    tap = PROTOCOL.stream_tap()
    tap.feed(frame("error", **shape, sequence_number=1))
    assert class_of(tap.error) is FailureClass.OVERLOADED


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"\xff", b'"x"'])
def test_what_is_no_answer_is_not_readable(body: bytes) -> None:
    assert not PROTOCOL.inspect_response(body).readable


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (ErrorKind.UNAUTHENTICATED, 401, "invalid_api_key"),
        (ErrorKind.FORBIDDEN, 403, None),
        (ErrorKind.NOT_FOUND, 404, "model_not_found"),
        (ErrorKind.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (ErrorKind.BUDGET, 402, "insufficient_quota"),
        (ErrorKind.CONTEXT_LENGTH, 400, "context_length_exceeded"),
        (ErrorKind.EXHAUSTED, 503, "server_is_overloaded"),
        (ErrorKind.TIMEOUT, 504, "timeout"),
    ],
)
def test_our_errors_are_native(kind: ErrorKind, status: int, code: str | None) -> None:
    report = ErrorReport(kind=kind, message="why", retry_after_secs=0.2, should_retry=False)
    answer = PROTOCOL.write_error(report, HOP)
    error = msgspec.json.decode(answer.body)["error"]
    assert (answer.status, error["code"], error["message"], error["param"]) == (status, code, "why", None)
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"].startswith("req_")


def test_every_kind_of_error_can_be_told() -> None:
    for kind in ErrorKind:
        assert PROTOCOL.write_error(ErrorReport(kind=kind, message="m"), HOP).status >= 400


def test_a_broken_stream_fails_as_the_response_that_it_was() -> None:
    tap = PROTOCOL.stream_tap()
    tap.feed(frame("response.created", response={"id": "resp_9", "model": "m", "created_at": 5}, sequence_number=0))
    tap.feed(frame("response.output_text.delta", output_index=0, content_index=0, delta="a", sequence_number=7))
    tap.feed(frame("response.output_text.delta", output_index=0, content_index=0, delta="b", sequence_number=8))
    (told,) = frames_of(tap.break_off(ErrorReport(kind=ErrorKind.RATE_LIMITED, message="slow")))
    assert (told["type"], told["sequence_number"]) == ("response.failed", 9)
    response = told["response"]
    assert (response["id"], response["model"], response["created_at"]) == ("resp_9", "m", 5)
    assert response["status"] == "failed"
    assert response["error"] == {"code": "rate_limit_exceeded", "message": "slow"}
