"""The port to a collector, against a real receiver: what a request looks like there, and what a receiver that does
not take it costs."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time

import pytest
from otlp_receiver import OtlpReceiver, SeenEvent

from busbar import __version__
from busbar.actors.messages import Refusal
from busbar.actors.telemetry import AttemptDone, Decision, Piece, RequestDone, Said, TraceContext
from busbar.actors.traces import Parcel, Traced
from busbar.config import loads
from busbar.config.reach import Reach
from busbar.protocols.usage import Usage
from busbar.telemetry.otel import OtlpExport, open_traces

LOCAL = Reach(["127.0.0.1"])
PLACES = {
    "claude": ("claude-sonnet-4-5", "https://api.anthropic.com"),
    "gpt": ("gpt-5", "http://[::1]:8080/v1"),
}
TRACE = TraceContext(trace_id=0xABC, span_id=0x11, parent_id=0x10, flags=1, state="vendor=x,other=y")
UNIX = 1_700_000_000

FAILED_OVER = RequestDone(
    request_id="req_1",
    ingress="openai",
    pool="smart",
    outcome="ok",
    status=200,
    latency_ms=750.0,
    ttft_ms=500.0,
    attempts=(
        AttemptDone(
            member="claude",
            disposition="rate_limit",
            latency_ms=125.0,
            provider="anthropic-eu",
            protocol="anthropic",
            at=100.125,
            status=429,
            code="the provider's word",
            span_id=0x12,
        ),
        AttemptDone(
            member="gpt",
            disposition="ok",
            latency_ms=500.0,
            provider="home",
            protocol="openai",
            at=100.25,
            first_byte_at=100.5,
            span_id=0x13,
        ),
    ),
    translated_to="anthropic",
    usage=Usage(input_tokens=10, output_tokens=20, cache_read_tokens=5, cache_write_tokens=3, reasoning_tokens=2),
    key_id="key_7",
    picodollars=1_234_000,
    dropped_fields=("seed", "user"),
    unix_secs=UNIX,
    started_at=100.0,
    routed_at=100.0,
    stream=True,
    decisions=(
        Decision(pool="smart", member="claude", passed_over={"gemini": Refusal.BREAKER_OPEN}, at=100.125),
        Decision(pool="spare", member="gpt", passed_over={}, probe=True, at=100.25),
    ),
    failed_over=(("smart", "rate_limit"),),
    trace=TRACE,
)


def request(**fields: object) -> RequestDone:
    base = {"request_id": "r", "ingress": "openai", "pool": "p", "outcome": "ok", "status": 200, "latency_ms": 5.0}
    return RequestDone(**(base | {"trace": TRACE, "unix_secs": UNIX} | fields))  # type: ignore[arg-type]


async def export(port: OtlpExport, *traced: Traced) -> bool:
    """Whether the collector took them."""
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    port.submit(Parcel(traced), told.set_result)
    return await asyncio.wait_for(told, 10)


async def test_a_request_with_a_failover_is_a_span_with_two_children() -> None:
    async with OtlpReceiver() as receiver:
        port = OtlpExport(f"{receiver.url}/v1/traces", {"Authorization": "Bearer collector"}, PLACES, reach=LOCAL)
        assert await export(port, Traced(FAILED_OVER))
        port.close()
        root, first, second = await receiver.spans(3)
    assert receiver.headers[0]["Authorization"] == "Bearer collector"
    assert (root.name, root.kind, root.error) == ("chat smart", "SERVER", False)
    assert (root.trace_id, root.span_id, root.parent_id) == (f"{0xABC:032x}", f"{0x11:016x}", f"{0x10:016x}")
    assert root.trace_state == "vendor=x,other=y"
    assert (root.start, root.end) == (UNIX * 10**9, UNIX * 10**9 + 750_000_000)
    assert root.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "smart",
        "gen_ai.request.stream": True,
        "gen_ai.usage.input_tokens": 18,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_creation.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "busbar.request_id": "req_1",
        "busbar.outcome": "ok",
        "busbar.pool": "smart",
        "busbar.ingress_protocol": "openai",
        "busbar.translated_to": "anthropic",
        "busbar.failovers": 1,
        "busbar.ttft_ms": 500.0,
        "busbar.key_id": "key_7",
        "busbar.cost_nanodollars": 1234,
        "busbar.dropped_fields": ["seed", "user"],
    }
    assert root.events == (
        SeenEvent(
            "busbar.decision",
            UNIX * 10**9 + 125_000_000,
            {"busbar.pool": "smart", "busbar.member": "claude", "busbar.passed_over": ["gemini: breaker_open"]},
        ),
        SeenEvent(
            "busbar.decision",
            UNIX * 10**9 + 250_000_000,
            {"busbar.pool": "spare", "busbar.member": "gpt", "busbar.probe": True},
        ),
    )
    assert root.resource["service.name"] == "busbar"
    assert root.resource["service.version"] == __version__
    assert root.resource["service.instance.id"]
    assert root.scope == "busbar"

    assert [child.trace_id for child in (first, second)] == [root.trace_id] * 2
    assert [child.parent_id for child in (first, second)] == [root.span_id] * 2
    assert [child.kind for child in (first, second)] == ["CLIENT"] * 2
    assert (first.name, first.span_id, first.error) == ("chat claude-sonnet-4-5", f"{0x12:016x}", True)
    assert (first.start, first.end) == (UNIX * 10**9 + 125_000_000, UNIX * 10**9 + 250_000_000)
    assert first.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.request.stream": True,
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "http.request.method": "POST",
        "http.response.status_code": 429,
        "error.type": "rate_limit",
        "busbar.member": "claude",
        "busbar.pool": "smart",
        "busbar.provider": "anthropic-eu",
        "busbar.protocol": "anthropic",
    }
    assert (second.name, second.span_id, second.error) == ("chat gpt-5", f"{0x13:016x}", False)
    assert second.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.25,
        "server.address": "::1",
        "server.port": 8080,
        "http.request.method": "POST",
        "busbar.member": "gpt",
        "busbar.pool": "spare",
        "busbar.provider": "home",
        "busbar.protocol": "openai",
    }


@pytest.mark.parametrize(
    ("outcome", "status", "last", "error_type", "error"),
    [
        ("ok", 200, "ok", None, False),
        ("client_error", 400, "client_error", "client_error", False),
        ("cancelled", 200, "cancelled", "cancelled", False),
        ("exhausted", 503, None, "exhausted", True),
        ("error", 502, "timeout", "timeout", True),
        ("error", 500, None, "error", True),
        ("error", 503, "ok", "error", True),
    ],
)
async def test_what_went_wrong_is_told_by_its_class(
    outcome: str, status: int, last: str | None, error_type: str | None, error: bool
) -> None:
    attempts = () if last is None else (AttemptDone(member="gpt", disposition=last, latency_ms=1, span_id=2),)
    async with OtlpReceiver() as receiver:
        port = OtlpExport(f"{receiver.url}/v1/traces", {}, PLACES, reach=LOCAL)
        assert await export(port, Traced(request(outcome=outcome, status=status, attempts=attempts)))
        port.close()
    root = next(span for span in receiver.seen if span.kind == "SERVER")
    assert (root.attributes.get("error.type"), root.error) == (error_type, error)


async def test_a_name_that_nobody_has_is_in_no_span() -> None:
    async with OtlpReceiver() as receiver:
        port = OtlpExport(f"{receiver.url}/v1/traces", {}, PLACES, reach=LOCAL)
        assert await export(port, Traced(request(pool="unresolved", outcome="client_error", status=404)))
        port.close()
        (root,) = await receiver.spans(1)
    assert root.name == "chat"
    assert "gen_ai.request.model" not in root.attributes


async def test_what_was_said_follows_the_conventions_schema() -> None:
    said = Said(span_id=1, asked=Piece(b'{"prompt":"caf\xc3\xa9"}'), answered=Piece(b"data: \xff", whole=False))
    async with OtlpReceiver() as receiver:
        port = OtlpExport(f"{receiver.url}/v1/traces", {}, PLACES, reach=LOCAL)
        assert await export(port, Traced(request(), said))
        port.close()
        (root,) = await receiver.spans(1)
    assert json.loads(root.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "http_body", "content": '{"prompt":"café"}', "truncated": False}]}
    ]
    assert json.loads(root.attributes["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "http_body", "content": "data: �", "truncated": True}],
            "finish_reason": "unknown",
        }
    ]


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_receiver_that_refuses_costs_spans_only(status: int) -> None:
    async with OtlpReceiver(status) as receiver:
        port = OtlpExport(f"{receiver.url}/v1/traces", {}, PLACES, reach=LOCAL)
        assert not await export(port, Traced(request()))
        receiver.status = 200
        assert await export(port, Traced(request()))
        port.close()
        await receiver.spans(1)


async def test_a_dead_or_hanging_receiver_is_given_up_after_a_while() -> None:
    async with OtlpReceiver(hanging=True) as receiver:
        for url in (f"http://127.0.0.1:{_free_port()}", receiver.url):
            port = OtlpExport(f"{url}/v1/traces", {}, PLACES, reach=LOCAL, timeout_secs=0.2)
            assert not await export(port, Traced(request()))
            port.close()


async def test_what_was_submitted_is_flushed_at_the_end() -> None:
    async with OtlpReceiver() as receiver:
        port = OtlpExport(f"{receiver.url}/v1/traces", {}, PLACES, reach=LOCAL)
        told: list[bool] = []
        for _ in range(3):
            port.submit(Parcel((Traced(request()),)), told.append)
        await asyncio.to_thread(port.close)
        await receiver.spans(3)
        port.submit(Parcel((Traced(request()),)), told.append)  # too late
        await asyncio.sleep(0)
        assert told == [True, True, True, False]


async def test_a_large_parcel_goes_in_pieces_that_a_collector_takes() -> None:
    one = Traced(request(attempts=(AttemptDone(member="gpt", disposition="ok", latency_ms=1, span_id=2),)))
    large = Traced(request(), Said(span_id=1, asked=Piece(bytes(60_000)), answered=Piece(bytes(60_000))))
    async with OtlpReceiver() as receiver:
        port = OtlpExport(f"{receiver.url}/v1/traces", {}, PLACES, reach=LOCAL)
        assert await export(port, *[one] * 100)
        assert receiver.sizes == [128, 72]
        assert await export(port, *[large] * 20)
        assert receiver.sizes[2:] == [9, 9, 2]
        receiver.status = 500
        assert not await export(port, *[one] * 100)
        assert len(receiver.headers) == 6  # the rest was not even tried
        port.close()


async def test_the_end_does_not_wait_for_a_receiver_that_hangs() -> None:
    async with OtlpReceiver(hanging=True) as receiver:
        port = OtlpExport(f"{receiver.url}/v1/traces", {}, PLACES, reach=LOCAL)
        port.submit(Parcel((Traced(request()),)), lambda _taken: None)
        await receiver.exports(1)
        began = time.monotonic()
        await asyncio.to_thread(port.close, 0.1)
        assert time.monotonic() - began < 1


async def test_it_is_opened_as_configured() -> None:
    config = """
        providers: {home: {protocol: openai, auth: none, base_url: 'http://gpu.example:8000/v1'}}
        models: {gpt: {provider: home, upstream_model: qwen}}
        observability: {otlp_endpoint: 'URL', otlp_headers: {x-team: '${TEAM}'}}
        security: {allow_private: [127.0.0.1]}
    """
    async with OtlpReceiver() as receiver:
        port = open_traces(loads(config.replace("URL", f"{receiver.url}/"), env={"TEAM": "blue"}))
        assert port is not None
        attempt = AttemptDone(member="gpt", disposition="ok", latency_ms=1.0, protocol="openai", at=1.0, span_id=2)
        assert await export(port, Traced(request(attempts=(attempt,))))
        port.close()
        _, child = await receiver.spans(2)
    assert receiver.headers[0]["x-team"] == "blue"
    assert (child.name, child.attributes["server.address"]) == ("chat qwen", "gpu.example")


def test_without_an_endpoint_there_is_none() -> None:
    assert open_traces(loads("providers: {}\nmodels: {}", env={})) is None


def test_nobody_pays_for_the_sdk_who_has_no_collector() -> None:
    code = "import sys, busbar.gateway, busbar.telemetry.otel; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
