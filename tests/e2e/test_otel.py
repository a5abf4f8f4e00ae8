"""Traces from end to end: a caller's context comes in, providers are told theirs, a real collector gets the spans.
Whatever becomes of the collector, requests are answered."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from otlp_receiver import OtlpReceiver, Seen

from busbar.actors.messages import Snapshot
from busbar.http.capture import CAPTURED_BYTES_MAX

from .asks import ask
from .world import World

CALLERS = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=x, other=y",
}
PAIR = "pools: {smart: {members: [{target: first, weight: 100}, {target: second}]}}"
PATH = "/v1/chat/completions"


def collected_at(receiver: OtlpReceiver, more: str = "") -> str:
    return f"observability: {{otlp_endpoint: '{receiver.url}'{more}}}\nsecurity: {{allow_private: [127.0.0.1]}}"


def children_of(spans: list[Seen]) -> list[Seen]:
    return [span for span in spans if span.kind == "CLIENT"]


def providers_told(world: World) -> list[tuple[str | None, str | None]]:
    headers = [request.headers for request in world.providers.requests]
    return [(it.get("traceparent"), it.get("tracestate")) for it in headers]


async def counted(world: World) -> dict[str, int]:
    """By the actor of traces, after everything so far was handed to it."""
    async with world.http.get("/stats/requests"):
        pass
    (root,) = world.gateway.system.children()
    traces = next(ref for ref in world.gateway.system.children(root) if ref.name == "traces")
    snapshot: dict[str, int] = await traces.ask(Snapshot())
    return snapshot


@pytest.mark.parametrize("dialect", ["openai", "bedrock"])
async def test_a_failover_in_a_callers_trace(dialect: str) -> None:
    models = {"first": "anthropic:fault-429", "second": f"{dialect}:demo"}
    async with OtlpReceiver() as receiver:
        before = time.time_ns()
        async with World(models, f"{PAIR}\n{collected_at(receiver)}") as world:
            answer = await world.post(PATH, ask("openai", "smart"), CALLERS)
            told = providers_told(world)
        spans = await receiver.spans(3)
    root, first, second = spans
    assert answer.status == 200
    assert (root.kind, root.trace_id, root.parent_id) == (
        "SERVER",
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
    )
    assert root.attributes["busbar.request_id"] == answer.headers["x-busbar-request-id"]
    assert root.attributes["gen_ai.request.model"] == "smart"
    assert root.attributes["gen_ai.usage.output_tokens"] > 0
    assert root.attributes["busbar.failovers"] == 1
    assert [(event.attributes["busbar.pool"], event.attributes["busbar.member"]) for event in root.events] == [
        ("smart", "first"),
        ("smart", "second"),
    ]
    assert [(span.attributes["busbar.member"], span.attributes.get("error.type")) for span in (first, second)] == [
        ("first", "rate_limit"),
        ("second", None),
    ]
    assert [(span.parent_id, span.trace_id) for span in (first, second)] == [(root.span_id, root.trace_id)] * 2
    assert told == [(f"00-{root.trace_id}-{span.span_id}-01", "vendor=x,other=y") for span in (first, second)]
    assert before <= root.start <= first.start <= first.end <= second.start <= second.end <= root.end
    assert root.end <= time.time_ns() + 10**9
    assert second.attributes["server.address"] == "127.0.0.1"


async def test_a_trace_begins_here_when_the_caller_has_none() -> None:
    async with OtlpReceiver() as receiver:
        async with World(config=collected_at(receiver)) as world:
            await world.post(PATH, ask("openai", "gpt"))
            await world.post(PATH, ask("openai", "gpt"), {"traceparent": "00-1-2-01", "tracestate": "a=1"})
            told = providers_told(world)
        spans = await receiver.spans(4)
    roots = [span for span in spans if span.kind == "SERVER"]
    assert [root.parent_id for root in roots] == ["", ""]
    assert roots[0].trace_id != roots[1].trace_id
    assert told == [
        (f"00-{child.trace_id}-{child.span_id}-03", state)
        for child, state in zip(children_of(spans), (None, ""), strict=True)
    ]


async def test_a_caller_that_does_not_sample_is_passed_on_and_not_collected() -> None:
    parent = CALLERS["traceparent"].removesuffix("01") + "00"
    async with OtlpReceiver() as receiver:
        async with World(config=collected_at(receiver, ", capture_content: true")) as world:
            await world.post(PATH, ask("openai", "gpt"), {"traceparent": parent})
            await world.post("/v1/messages", ask("anthropic", "gpt"), {"traceparent": parent})
            told = [traceparent or "" for traceparent, _ in providers_told(world)]
            assert await counted(world) == dict.fromkeys(
                ("exported", "waiting", "dropped", "failed", "content_dropped"), 0
            )
        assert receiver.headers == []
    for traceparent in told:
        assert traceparent[:36] == parent[:36]
        assert traceparent[36:52] != parent[36:52]
        assert traceparent[52:] == "-00"


async def test_without_a_collector_a_callers_context_passes_as_it_is_in_its_own_dialect() -> None:
    async with World() as world:
        await world.post(PATH, ask("openai", "gpt"), CALLERS)
        await world.post(PATH, ask("openai", "claude"), CALLERS)
        assert providers_told(world) == [(CALLERS["traceparent"], CALLERS["tracestate"]), (None, None)]
        (root,) = world.gateway.system.children()
        assert "traces" not in [ref.name for ref in world.gateway.system.children(root)]


@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_said_is_in_no_span_unless_it_is_wanted(model: str, stream: bool) -> None:
    async with OtlpReceiver() as receiver:
        async with World(config=collected_at(receiver)) as world:
            answer = await world.post(PATH, ask("openai", model, "xyzzy-prompt", stream=stream))
            await world.post(PATH, ask("openai", "nobody-has-xyzzy", "xyzzy-prompt"))
        spans = await receiver.spans(3)
    assert answer.status == 200
    assert "xyzzy" not in repr(spans)
    assert not [name for span in spans for name in span.attributes if name.endswith(".messages")]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_said_is_in_the_requests_span_where_it_is_wanted(stream: bool) -> None:
    async with OtlpReceiver() as receiver:
        async with World(config=collected_at(receiver, ", capture_content: true")) as world:
            sent = json.dumps(ask("openai", "gpt", "xyzzy-prompt", stream=stream)).encode()
            answer = await world.post(PATH, sent, {"content-type": "application/json"})
        root, child = await receiver.spans(2)
    assert body_of(root, "gen_ai.input.messages") == (sent.decode(), False)
    assert body_of(root, "gen_ai.output.messages") == (answer.body.decode(), False)
    assert "xyzzy" not in repr(child)


async def test_of_what_is_said_only_so_much_is_kept() -> None:
    async with OtlpReceiver() as receiver:
        async with World(config=collected_at(receiver, ", capture_content: true")) as world:
            sent = json.dumps(ask("openai", "gpt", "x" * (CAPTURED_BYTES_MAX + 1))).encode()
            answer = await world.post(PATH, sent, {"content-type": "application/json"})
        root, _ = await receiver.spans(2)
    assert answer.status == 200
    assert body_of(root, "gen_ai.input.messages") == (sent[:CAPTURED_BYTES_MAX].decode(), True)


def body_of(span: Seen, name: str) -> tuple[str, bool]:
    """(what it is, whether something was left out)."""
    message: dict[str, Any]
    (message,) = json.loads(span.attributes[name])
    (part,) = message["parts"]
    return part["content"], part["truncated"]


async def test_a_caller_that_is_refused_has_a_span_too() -> None:
    async with OtlpReceiver() as receiver:
        config = f"{collected_at(receiver)}\nauth: {{mode: token, client_tokens: ['${{TOKEN}}']}}"
        async with World(config=config, env={"TOKEN": "callers"}) as world:
            answer = await world.post(PATH, ask("openai", "gpt"))
        (root,) = await receiver.spans(1)
    assert answer.status == 401
    assert (root.name, root.attributes["error.type"], root.error) == ("chat", "client_error", False)


@pytest.mark.parametrize("manner", ["dead", "hangs", "500"])
async def test_a_collector_in_trouble_costs_spans_and_no_request_any_time(manner: str) -> None:
    async with OtlpReceiver(500 if manner == "500" else 200, hanging=manner == "hangs") as receiver:
        config = collected_at(receiver)
        if manner == "dead":
            await receiver.__aexit__(None, None, None)
        async with World(config=config) as world:
            slowest = 0.0
            for _ in range(100):
                began = time.monotonic()
                answer = await world.post(PATH, ask("openai", "gpt"))
                slowest = max(slowest, time.monotonic() - began)
                assert answer.status == 200
            assert slowest < 1
            counts = await counted(world)
            assert counts["waiting"] + counts["failed"] == 200
            assert counts["exported"] == 0
            if manner == "500":
                await receiver.exports(1)
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 3
    assert receiver.seen == []
