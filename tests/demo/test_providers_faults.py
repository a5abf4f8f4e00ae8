"""Faults by model name, on the wire and as the SDKs see them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import anthropic
import openai
import pytest

from busbar.demo.providers import DemoProviders
from busbar.demo.providers.faults import FAULTS, named

DIALECTS = ("anthropic", "openai")
PATHS = {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}
HEADERS = {"x-api-key": "demo-key", "authorization": "Bearer demo-key", "anthropic-version": "2023-06-01"}
TERMINAL = {"anthropic": b"message_stop", "openai": b"[DONE]"}
FINISH = {"anthropic": b'"stop_reason":"end_turn"', "openai": b'"finish_reason":"stop"'}


class Wire:
    """What a plain HTTP client gets."""

    def __init__(self, demo: DemoProviders, http: aiohttp.ClientSession) -> None:
        self.demo, self.http = demo, http

    def post(self, dialect: str, model: str, stream: bool = False):
        said = [{"role": "user", "content": "one two three four"}]
        body = {"model": model, "max_tokens": 50, "messages": said, "stream": stream}
        if dialect == "openai" and stream:
            body["stream_options"] = {"include_usage": True}
        return self.http.post(self.demo.base_url + PATHS[dialect], json=body)

    async def read(self, dialect: str, model: str, stream: bool = True) -> tuple[bytes, bool]:
        """The bytes that came, and whether the message ended as HTTP wants it."""
        got = b""
        try:
            async with self.post(dialect, model, stream) as response:
                async for chunk in response.content.iter_any():
                    got += chunk
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionResetError):
            return got, False
        return got, True


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders() as demo:
        yield demo


@pytest.fixture
async def wire(demo: DemoProviders) -> AsyncIterator[Wire]:
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        yield Wire(demo, http)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("fault", "status", "headers"),
    [
        ("429", 429, {"retry-after": "7"}),
        ("429-30", 429, {"retry-after": "30"}),
        ("429-ms", 429, {"retry-after-ms": "1500"}),
        ("429-ms-20", 429, {"retry-after-ms": "20"}),
        *[(str(status), status, {}) for status in (400, 401, 402, 403, 404, 408, 413, 500, 503, 529)],
    ],
)
async def test_statuses_have_the_native_envelope(wire, dialect, fault, status, headers):
    async with wire.post(dialect, f"demo-fault-{fault}") as response:
        body = await response.json()
    assert response.status == status
    assert {name: response.headers.get(name) for name in headers} == headers
    if dialect == "anthropic":
        assert body["type"] == "error"
        assert body["request_id"] == response.headers["request-id"]
        assert set(body["error"]) == {"type", "message"}
    else:
        assert set(body["error"]) == {"type", "message", "param", "code"}
        assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("dialect", "fault", "status", "kind", "words"),
    [
        ("anthropic", "billing", 400, "invalid_request_error", "Your credit balance is too low"),
        ("openai", "billing", 429, "insufficient_quota", "You exceeded your current quota"),
        ("anthropic", "context", 400, "invalid_request_error", "prompt is too long: 213462 tokens > 200000 maximum"),
        ("openai", "context", 400, "invalid_request_error", "This model's maximum context length is 128000 tokens."),
    ],
)
async def test_billing_and_context_length_are_told_natively(wire, dialect, fault, status, kind, words):
    async with wire.post(dialect, f"fault-{fault}", stream=True) as response:
        error = (await response.json())["error"]
    assert (response.status, error["type"]) == (status, kind)
    assert error["message"].startswith(words)


async def test_sdks_raise_their_own_exceptions(demo):
    asked = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    async with (
        openai.AsyncOpenAI(base_url=f"{demo.base_url}/v1", api_key="demo-key", max_retries=0) as gpt,
        anthropic.AsyncAnthropic(base_url=demo.base_url, api_key="demo-key", max_retries=0) as claude,
    ):
        for call, sdk in ((gpt.chat.completions.create, openai), (claude.messages.create, anthropic)):
            with pytest.raises(sdk.RateLimitError):
                await call(model="fault-429", **asked)
            with pytest.raises(sdk.AuthenticationError):
                await call(model="fault-401", **asked)
            with pytest.raises(sdk.NotFoundError):
                await call(model="fault-404", **asked)
            with pytest.raises(sdk.InternalServerError):
                await call(model="fault-502-html", **asked)
            with pytest.raises(sdk.APIConnectionError):
                await call(model="fault-cut-start", **asked)
            stream = await call(model="fault-error-mid", stream=True, **asked)
            with pytest.raises(sdk.APIError, match=r"(?i)overloaded"):
                [event async for event in stream]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_harmless_faults_deliver_the_whole_answer(wire, dialect, stream):
    good, _ = await wire.read(dialect, "demo", stream)
    for fault in ("split", "crlf", "comments", "slow-1", "paced-1"):
        got, ended = await wire.read(dialect, f"fault-{fault}", stream)
        assert ended
        if fault == "crlf" and stream:
            assert got.count(b"\n") == got.count(b"\r\n") > 10
        lines = [line for line in got.splitlines() if not line.startswith((b":", b"event: ping"))]
        same = [line for line in lines if line and line != b'data: {"type":"ping"}']
        expected = [line for line in good.splitlines() if line and b"ping" not in line]
        assert len(same) == len(expected), fault
        if stream:
            assert FINISH[dialect] in got
            assert TERMINAL[dialect] in got
    assert (b": keep-alive\n\n" in (await wire.read(dialect, "fault-comments", stream))[0]) == stream


async def test_split_writes_are_small(demo):
    reader, writer = await asyncio.open_connection(demo.host, demo.port)
    body = b'{"model":"fault-split","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: demo\r\nauthorization: Bearer demo-key\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    await reader.readuntil(b"\r\n\r\n")
    sizes = []
    while size := int(await reader.readline(), 16):
        sizes.append(size)
        await reader.readexactly(size + 2)
    writer.close()
    assert set(sizes) == {1, 2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_answers_that_break_off(wire, dialect, stream):
    good, _ = await wire.read(dialect, "demo-fault-no", stream)
    for fault, clean in (("cut", False), ("eof-mid", True), ("eof", True)):
        got, ended = await wire.read(dialect, f"fault-{fault}", stream)
        assert ended == clean, fault
        assert 0 < len(got) < len(good)
        if stream:
            assert TERMINAL[dialect] not in got
            assert b"You " in got
            assert (FINISH[dialect] in got) == (fault == "eof" and dialect == "anthropic")
    assert await wire.read(dialect, "fault-cut-start", stream) == (b"", False)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_in_band_errors_garbage_and_missing_usage(wire, dialect):
    first, _ = await wire.read(dialect, "fault-error-first")
    mid, _ = await wire.read(dialect, "fault-error-mid")
    body, _ = await wire.read(dialect, "fault-error-200", stream=False)
    broken, _ = await wire.read(dialect, "fault-malformed-chunk")
    garbage, _ = await wire.read(dialect, "fault-garbage")
    assert first.count(b"\n\n") == 1
    assert b'"error":{' in first
    assert b"You " in mid
    assert b'"error":{' in mid
    assert TERMINAL[dialect] not in mid
    assert b'"error":{' in body
    assert b'"choices":[{"delta":\n\n' in broken
    assert TERMINAL[dialect] in broken
    assert b"{" not in garbage
    for stream in (True, False):
        assert b'"usage":{' in (await wire.read(dialect, "demo", stream))[0]
        assert b'"usage"' not in (await wire.read(dialect, "fault-no-usage", stream))[0]


async def test_nodone_leaves_out_done_only(wire):
    got, ended = await wire.read("openai", "fault-nodone")
    assert ended
    assert FINISH["openai"] in got
    assert b"[DONE]" not in got


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_flaky_fails_n_times_per_model(wire, dialect):
    statuses = []
    for model in (*["a-fault-flaky-2"] * 4, *["b-fault-flaky"] * 2):
        async with wire.post(dialect, model) as response:
            statuses.append(response.status)
    assert statuses == [500, 500, 200, 200, 500, 200]


@pytest.mark.parametrize(
    ("fault", "stream"), [("hang", False), ("stall", True), ("stall", False), ("stall-start", True)]
)
async def test_a_client_that_goes_away_is_noticed(demo, wire, fault, stream):
    reading = asyncio.create_task(wire.read("anthropic", f"fault-{fault}", stream))
    await demo.until(lambda: demo.open_requests == 1)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    await demo.until(lambda: demo.open_requests == 0)
    assert demo.cancelled == 1


async def test_slow_waits_for_its_release(demo, wire):
    reading = asyncio.create_task(wire.read("openai", "fault-slow"))
    await demo.until(lambda: demo.open_requests == 1)
    assert not reading.done()
    demo.release()
    got, ended = await reading
    assert (ended, TERMINAL["openai"] in got, demo.cancelled) == (True, True, 0)


async def test_stop_ends_hanging_requests_and_does_not_blame_their_clients(wire, demo):
    reading = asyncio.create_task(wire.read("openai", "fault-hang"))
    await demo.until(lambda: demo.open_requests == 1)
    await demo.stop()
    assert await reading == (b"", False)
    assert demo.cancelled == 0


@pytest.mark.parametrize(("dialect", "text"), [("anthropic", "not valid JSON"), ("openai", "could not parse")])
@pytest.mark.parametrize("raw", [b"{", b"[]", b"[" * 100_000])
async def test_bodies_that_are_no_json_object(demo, wire, dialect, text, raw):
    async with wire.http.post(demo.base_url + PATHS[dialect], data=raw) as response:
        error = (await response.json())["error"]
    assert response.status == 400
    assert text in error["message"]
    assert (demo.requests[-1].body, demo.requests[-1].raw) == (None, raw)


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("gpt-4o", None),
        ("default-500", None),
        ("fault-5000", None),
        ("x-fault-429-ms-20", ("429-ms", 20)),
        ("fault-cut-start", ("cut-start", None)),
        ("fault-eof-cached", ("eof", None)),
    ],
)
def test_names(model, fault):
    assert named(model) == fault


@pytest.mark.parametrize("word", FAULTS)
def test_every_fault_is_named_by_its_own_word(word):
    assert named(f"demo-fault-{word}") == (word, None)
