"""Faults of the embedded Gemini provider, on the wire in each of its framings and as the SDK sees them."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from google import genai
from google.genai import errors, types

from busbar.demo.providers import DemoProviders

HELLO = {"contents": [{"parts": [{"text": "one two three four"}]}]}


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders() as demo:
        yield demo


@pytest.fixture
async def client(demo: DemoProviders) -> AsyncIterator[genai.client.AsyncClient]:
    options = types.HttpOptions(base_url=demo.base_url)
    async with genai.Client(api_key="demo-key", http_options=options).aio as client:
        yield client


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"x-goog-api-key": "demo-key"}) as http:
        yield http


class Wire:
    """What a plain HTTP client gets of a stream in one of the two framings, or of a whole answer."""

    def __init__(self, demo: DemoProviders, http: aiohttp.ClientSession, way: str) -> None:
        operation = {"sse": "streamGenerateContent?alt=sse", "array": "streamGenerateContent"}.get(way)
        self.http, self.way = http, way
        self.url = f"{demo.base_url}/v1beta/models/{{}}:{operation or 'generateContent'}"

    async def read(self, model: str) -> tuple[int, bytes, bool]:
        """The status, the bytes, and whether the message ended as HTTP wants it."""
        got, status = b"", 0
        try:
            async with self.http.post(self.url.format(model), json=HELLO) as response:
                status = response.status
                async for chunk in response.content.iter_any():
                    got += chunk
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            return status, got, False
        return status, got, True


@pytest.fixture(params=["sse", "array", "json"])
async def wire(demo, http, request) -> Wire:
    return Wire(demo, http, request.param)


FINISH = b'"finishReason":"STOP"'


@pytest.mark.parametrize("fault", [400, 401, 402, 403, 404, 408, 413, 500, 503, 529])
async def test_statuses_have_the_native_envelope(wire, fault):
    status, got, _ = await wire.read(f"demo-fault-{fault}")
    body = json.loads(got)
    error = (body[0] if wire.way == "array" else body)["error"]
    assert (status, error["code"]) == (fault, fault)
    assert set(error) - {"details"} == {"code", "message", "status"}


@pytest.mark.parametrize(
    ("fault", "status", "kind", "text"),
    [
        ("billing", 400, "FAILED_PRECONDITION", "Please enable billing"),
        ("context", 400, "INVALID_ARGUMENT", "exceeds the maximum number of tokens allowed"),
        ("429-ms-20", 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"),
    ],
)
async def test_what_flips_a_statuss_meaning_is_told_natively(client, fault, status, kind, text):
    with pytest.raises(errors.ClientError, match=text) as refused:
        await client.models.generate_content(model=f"fault-{fault}", contents="Hello")
    assert (refused.value.code, refused.value.status) == (status, kind)


async def test_a_rate_limit_tells_the_delay_in_its_details_only(demo, http):
    async with http.post(f"{demo.base_url}/v1beta/models/fault-429-30:generateContent", json=HELLO) as response:
        details = (await response.json())["error"]["details"]
    assert details == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"}]
    assert "retry-after" not in response.headers


async def test_harmless_faults_deliver_the_whole_answer(wire):
    _, good, _ = await wire.read("demo")
    for fault in ("split", "crlf", "comments", "slow-1", "paced-1"):
        _, got, ended = await wire.read(f"fault-{fault}")
        lines = [line for line in got.splitlines() if line and not line.startswith(b":")]
        assert ended
        assert len(lines) == len([line for line in good.splitlines() if line]), fault
        assert FINISH in got
        assert (got.count(b"\r\n") > 4) == (fault == "crlf" and wire.way != "json")


async def test_answers_that_break_off(wire):
    _, good, _ = await wire.read("demo-fault-no")
    for fault, clean in (("cut", False), ("eof-mid", True), ("eof", True)):
        _, got, ended = await wire.read(f"fault-{fault}")
        assert ended == clean, fault
        assert got
        if wire.way == "json":
            assert len(got) < len(good)
        else:
            assert FINISH not in got
        if wire.way == "array" and fault == "eof":
            assert json.loads(got)[-1]["candidates"][0]["content"]["parts"] == [{"text": "four"}]


async def test_in_band_errors_garbage_and_missing_usage(wire):
    _, first, _ = await wire.read("fault-error-first")
    _, mid, _ = await wire.read("fault-error-mid")
    status, whole, _ = await wire.read("fault-error-200")
    assert b'"usageMetadata":{' in (await wire.read("demo"))[1]
    assert b"usageMetadata" not in (await wire.read("fault-no-usage"))[1]
    assert b"{" not in (await wire.read("fault-garbage"))[1]
    assert status == 200
    for got in (first, mid, whole):
        assert b'"error":{"code":503,' in got
        assert FINISH not in got
    if wire.way != "json":
        assert b'"You "' not in first
        assert b'"You "' in mid
        assert b'"choices":[{"delta":' in (await wire.read("fault-malformed-chunk"))[1]
    if wire.way == "array":
        assert [next(iter(element)) for element in json.loads(mid)] == ["candidates"] * 3 + ["error"]


async def test_the_sdk_raises_what_comes_in_a_stream(client):
    stream = await client.models.generate_content_stream(model="fault-error-mid", contents="one two three four")
    with pytest.raises(errors.ServerError, match="overloaded"):
        [chunk async for chunk in stream]


@pytest.mark.parametrize("raw", [b"{", b"[]", b"[" * 100_000])
async def test_bodies_that_are_no_json_object(demo, http, raw):
    async with http.post(f"{demo.base_url}/v1beta/models/demo:generateContent", data=raw) as response:
        error = (await response.json())["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"].startswith("Invalid JSON payload received.")
