"""How a refusal looks to whoever called: each official SDK raises its own exception, and asks again only where that
can help.

The SDKs are real, with the number of retries that they have by default; what they are answered is what the dialect
wrote.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import anthropic
import boto3
import cohere
import httpx
import httpx2
import openai
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from cohere.core.api_error import ApiError
from google import genai

from busbar.protocols.errors import ErrorAnswer, ErrorKind, ErrorReport, Quota
from busbar.protocols.failures import ErrorRules, FailureClass, classify
from busbar.protocols.protocol import Hop
from busbar.protocols.registry import PROTOCOLS

BUDGET = Quota(
    scope="group research",
    unit="nanodollars",
    period="daily",
    limit=5_000_000_000,
    used=4_999_000_000,
    resets_at=1_764_028_800,
)
RATE = Quota(scope="this key", unit="requests", period="minute", limit=60, used=60, resets_at=1_764_000_013)
AS_SENT = {
    "scope": "group research",
    "unit": "nanodollars",
    "period": "daily",
    "limit": 5_000_000_000,
    "used": 4_999_000_000,
    "resets_at": 1_764_028_800,
}

REFUSALS = {
    "key": ErrorReport(kind=ErrorKind.UNAUTHENTICATED, message="The API key is not valid.", should_retry=False),
    "pool": ErrorReport(kind=ErrorKind.FORBIDDEN, message="This key may not use `smart`."),
    "budget": ErrorReport(kind=ErrorKind.BUDGET, message="The daily budget of 5 USD is used up.", quota=BUDGET),
    "rate": ErrorReport(
        kind=ErrorKind.RATE_LIMITED, message="60 requests a minute are allowed.", retry_after_secs=12.2, quota=RATE
    ),
}
INSISTING = ErrorReport(kind=ErrorKind.BUDGET, message="There is more in a moment.", should_retry=True)

every_dialect = pytest.mark.parametrize("dialect", PROTOCOLS)
whole_and_streamed = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


# --- the SDKs


class Wire:
    """Answers everything alike, and counts."""

    def __init__(self, answer: ErrorAnswer) -> None:
        self.answer = answer
        self.requests = 0

    def httpx2(self, _request: Any) -> httpx2.Response:
        self.requests += 1
        return httpx2.Response(self.answer.status, headers=dict(self.answer.headers), content=self.answer.body)

    def httpx(self, _request: Any) -> httpx.Response:
        self.requests += 1
        return httpx.Response(self.answer.status, headers=dict(self.answer.headers), content=self.answer.body)

    def botocore(self, request: Any, **_: Any) -> AWSResponse:
        self.requests += 1
        raw = io.BytesIO(self.answer.body)
        raw.stream = lambda *_args, **_more: iter([self.answer.body])  # type: ignore[attr-defined]
        return AWSResponse(request.url, self.answer.status, dict(self.answer.headers), raw)


def ask_openai(wire: Wire, retries: dict[str, int], streamed: bool) -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(wire.httpx2))
    client = openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http, **retries)  # type: ignore[arg-type]
    client.chat.completions.create(model="m", messages=[], stream=streamed)


def ask_responses(wire: Wire, retries: dict[str, int], streamed: bool) -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(wire.httpx2))
    client = openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http, **retries)  # type: ignore[arg-type]
    client.responses.create(model="m", input="x", stream=streamed)


def ask_anthropic(wire: Wire, retries: dict[str, int], streamed: bool) -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(wire.httpx2))
    client = anthropic.Anthropic(api_key="k", base_url="http://x", http_client=http, **retries)  # type: ignore[arg-type]
    client.messages.create(model="m", max_tokens=9, messages=[], stream=streamed)


def ask_gemini(wire: Wire, retries: dict[str, int], streamed: bool) -> None:
    """Retries are off unless they are asked for; here they are, with the SDK's own list of statuses."""
    http = httpx2.Client(transport=httpx2.MockTransport(wire.httpx2))
    options: Any = {"base_url": "http://x", "httpx_client": http}
    if not retries:
        options["retry_options"] = {"attempts": 5, "initial_delay": 0.0, "max_delay": 0.0}
    with genai.Client(api_key="k", http_options=options, vertexai=False) as client:
        if streamed:
            list(client.models.generate_content_stream(model="m", contents="x"))
        else:
            client.models.generate_content(model="m", contents="x")


SESSION = boto3.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="unused", region_name="us-east-1")


def ask_bedrock(wire: Wire, retries: dict[str, int], streamed: bool) -> None:
    config = Config(retries={"total_max_attempts": 1}) if retries else Config()
    client = SESSION.client("bedrock-runtime", endpoint_url="http://x", config=config)
    client.meta.events.register("before-send.bedrock-runtime", wire.botocore)
    ask = client.converse_stream if streamed else client.converse
    ask(modelId="m", messages=[{"role": "user", "content": [{"text": "x"}]}])


def ask_cohere(wire: Wire, retries: dict[str, int], streamed: bool) -> None:
    http = httpx.Client(transport=httpx.MockTransport(wire.httpx))
    client = cohere.ClientV2("k", base_url="http://x", httpx_client=http, **retries)  # type: ignore[arg-type]
    messages: Any = [{"role": "user", "content": "x"}]
    if streamed:
        list(client.chat_stream(model="m", messages=messages))
    else:
        client.chat(model="m", messages=messages)


ASK: dict[str, Callable[[Wire, dict[str, int], bool], None]] = {
    "anthropic": ask_anthropic,
    "openai": ask_openai,
    "responses": ask_responses,
    "gemini": ask_gemini,
    "bedrock": ask_bedrock,
    "cohere": ask_cohere,
}


class Raised(NamedTuple):
    error: Any
    requests: int

    @property
    def kind(self) -> str:
        return type(self.error).__name__


def raised(dialect: str, refusal: str | ErrorReport, *, retries: bool = True, streamed: bool = False) -> Raised:
    """What the dialect's SDK raises. Without `retries` it is told to make one attempt."""
    report = REFUSALS[refusal] if isinstance(refusal, str) else refusal
    wire = Wire(PROTOCOLS[dialect].write_error(report, Hop(nonce="abc123")))
    with pytest.raises(
        (openai.APIStatusError, anthropic.APIStatusError, ApiError, BOTO_ERROR, GEMINI_ERROR)
    ) as caught:
        ASK[dialect](wire, {} if retries else {"max_retries": 0}, streamed)
    return Raised(caught.value, wire.requests)


BOTO_ERROR = SESSION.client("bedrock-runtime", endpoint_url="http://x").exceptions.ClientError
GEMINI_ERROR = genai.errors.APIError


def facts(dialect: str, error: Any) -> tuple[int, str | None, str]:
    """(status, the word for it, message), as the SDK's exception has them."""
    match dialect:
        case "openai" | "responses":
            return error.status_code, error.code, error.body["message"]
        case "anthropic":
            return error.status_code, error.type, error.body["error"]["message"]
        case "gemini":
            return error.code, error.status, error.message
        case "bedrock":
            said = error.response["Error"]
            return error.response["ResponseMetadata"]["HTTPStatusCode"], said["Code"], said["Message"]
        case _:
            return error.status_code, None, error.body["message"]


def header(dialect: str, error: Any, name: str) -> str | None:
    if dialect == "bedrock":
        headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    else:
        headers = error.headers if dialect == "cohere" else error.response.headers
    value: str | None = headers.get(name)
    return value


# --- what they raise

EXPECTED = {
    ("openai", "key"): ("AuthenticationError", 401, "invalid_api_key"),
    ("openai", "pool"): ("PermissionDeniedError", 403, None),
    ("openai", "budget"): ("APIStatusError", 402, "insufficient_quota"),
    ("openai", "rate"): ("RateLimitError", 429, "rate_limit_exceeded"),
    ("responses", "key"): ("AuthenticationError", 401, "invalid_api_key"),
    ("responses", "pool"): ("PermissionDeniedError", 403, None),
    ("responses", "budget"): ("APIStatusError", 402, "insufficient_quota"),
    ("responses", "rate"): ("RateLimitError", 429, "rate_limit_exceeded"),
    ("anthropic", "key"): ("AuthenticationError", 401, "authentication_error"),
    ("anthropic", "pool"): ("PermissionDeniedError", 403, "permission_error"),
    ("anthropic", "budget"): ("PaymentRequiredError", 402, "billing_error"),
    ("anthropic", "rate"): ("RateLimitError", 429, "rate_limit_error"),
    ("gemini", "key"): ("ClientError", 400, "INVALID_ARGUMENT"),
    ("gemini", "pool"): ("ClientError", 403, "PERMISSION_DENIED"),
    ("gemini", "budget"): ("ClientError", 402, "RESOURCE_EXHAUSTED"),
    ("gemini", "rate"): ("ClientError", 429, "RESOURCE_EXHAUSTED"),
    ("bedrock", "key"): ("AccessDeniedException", 403, "AccessDeniedException"),
    ("bedrock", "pool"): ("AccessDeniedException", 403, "AccessDeniedException"),
    ("bedrock", "budget"): ("ServiceQuotaExceededException", 402, "ServiceQuotaExceededException"),
    ("bedrock", "rate"): ("ThrottlingException", 429, "ThrottlingException"),
    ("cohere", "key"): ("UnauthorizedError", 401, None),
    ("cohere", "pool"): ("ForbiddenError", 403, None),
    ("cohere", "budget"): ("ApiError", 402, None),
    ("cohere", "rate"): ("TooManyRequestsError", 429, None),
}


@whole_and_streamed
@pytest.mark.parametrize("refusal", REFUSALS)
@every_dialect
def test_a_refusal_is_the_sdks_own_exception(dialect: str, refusal: str, streamed: bool) -> None:
    seen = raised(dialect, refusal, retries=False, streamed=streamed)
    kind, status, word = EXPECTED[dialect, refusal]
    assert seen.kind == kind
    assert facts(dialect, seen.error) == (status, word, REFUSALS[refusal].message)
    assert seen.requests == 1


@whole_and_streamed
@pytest.mark.parametrize("refusal", ["key", "pool", "budget"])
@every_dialect
def test_what_will_not_change_is_not_asked_again(dialect: str, refusal: str, streamed: bool) -> None:
    """With each SDK's own retries. OpenAI's and Anthropic's obey the header; no SDK retries a 402 by itself."""
    assert raised(dialect, refusal, streamed=streamed).requests == 1


@every_dialect
def test_what_may_change_is_asked_again(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is the refusal that ends it elsewhere, and for a 402 the header where the SDK obeys it."""
    monkeypatch.setattr("time.sleep", lambda _secs: None)
    assert raised(dialect, "rate").requests == (5 if dialect == "gemini" else 3)
    obeys = dialect in ("openai", "responses", "anthropic")
    assert raised(dialect, INSISTING).requests == (3 if obeys else 1)


@every_dialect
def test_a_budget_says_not_to_try_again_without_being_told_to(dialect: str) -> None:
    assert REFUSALS["budget"].should_retry is None
    assert header(dialect, raised(dialect, "budget").error, "x-should-retry") == "false"
    assert header(dialect, raised(dialect, "pool").error, "x-should-retry") is None


@every_dialect
def test_a_rate_limit_says_when_to_come_back(dialect: str) -> None:
    error = raised(dialect, "rate", retries=False).error
    assert header(dialect, error, "retry-after") == "13"
    assert header(dialect, error, "x-should-retry") is None


# --- the facts, where a dialect has a place for them


@pytest.mark.parametrize("dialect", ["openai", "responses"])
def test_openais_error_holds_the_quota(dialect: str) -> None:
    error = raised(dialect, "budget").error
    assert error.body == {
        "message": "The daily budget of 5 USD is used up.",
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_quota",
        "quota": AS_SENT,
    }
    assert (error.type, error.param) == ("insufficient_quota", None)
    assert error.request_id.startswith("req_")
    assert "quota" not in raised(dialect, "pool").error.body


def test_anthropics_error_holds_the_quota_and_invents_no_details() -> None:
    error = raised("anthropic", "budget").error
    assert error.body["error"] == {
        "type": "billing_error",
        "message": "The daily budget of 5 USD is used up.",
        "quota": AS_SENT,
    }
    assert (error.details, error.error_code) == (None, None)
    assert error.request_id == error.body["request_id"]


def test_googles_error_has_details_as_google_sends_them() -> None:
    def details(refusal: str) -> Any:
        return raised("gemini", refusal, retries=False).error.details["error"].get("details")

    assert details("key") == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }
    ]
    assert details("pool") is None
    assert details("budget") == [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [
                {
                    "subject": "group research",
                    "quotaMetric": "nanodollars",
                    "quotaId": "NanodollarsPerDay",
                    "quotaValue": "5000000000",
                }
            ],
        }
    ]
    assert details("rate") == [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [
                {
                    "subject": "this key",
                    "quotaMetric": "requests",
                    "quotaId": "RequestsPerMinute",
                    "quotaValue": "60",
                }
            ],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"},
    ]


@pytest.mark.parametrize("dialect", ["bedrock", "cohere"])
def test_the_others_say_it_in_the_message_alone(dialect: str) -> None:
    answer = PROTOCOLS[dialect].write_error(REFUSALS["budget"], Hop(nonce="abc123"))
    assert b"quota" not in answer.body
    assert REFUSALS["budget"].message.encode() in answer.body


# --- and what a gateway behind this one makes of them

JUDGED = {
    "key": FailureClass.AUTH,
    "pool": FailureClass.AUTH,
    "budget": FailureClass.BILLING,
    "rate": FailureClass.RATE_LIMIT,
}


@pytest.mark.parametrize("refusal", REFUSALS)
@every_dialect
def test_each_refusal_is_known_again_for_what_it_is(dialect: str, refusal: str) -> None:
    protocol = PROTOCOLS[dialect]
    answer = protocol.write_error(REFUSALS[refusal], Hop(nonce="abc123"))
    signal = protocol.read_error(answer.status, answer.headers, answer.body, 1_764_000_000.0)
    assert classify(signal, protocol.knowledge, ErrorRules()) is JUDGED[refusal]
    assert signal.message == REFUSALS[refusal].message
    if refusal == "rate":
        assert signal.retry_after_secs == 13
