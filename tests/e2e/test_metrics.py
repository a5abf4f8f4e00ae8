"""`GET /metrics`: what Prometheus reads before there is anything to read, and after known traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from busbar.actors.tallies import FAILURES, OUTCOMES, REASONS, TOKENS
from busbar.config.support import SUPPORTED_PROTOCOLS

from .asks import PATHS, ask
from .governed import ADMIN, GovernedWorld
from .world import World

MODELS = {"first": "openai:fault-401", "second": "anthropic:demo"}
PAIR = "pools: {pool: {members: [{target: first, weight: 100}, {target: second}]}}"
TRACKS = {("pool", "first"), ("pool", "second"), ("first", "first"), ("second", "second")}
POOLS = ("pool", "first", "second")

Labels = tuple[tuple[str, str], ...]


async def scrape(world: World, headers: Mapping[str, str] | None = None) -> dict[str, dict[Labels, float]]:
    """By series: each of its samples, by its labels in order of their names."""
    async with world.http.get("/metrics", headers=headers) as response:
        assert response.status == 200, await response.text()
        text = await response.text()
    found: dict[str, dict[Labels, float]] = {}
    for family in read_text(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def scrape_only(world: World, times: int) -> None:
    """Again and again, over one connection, and reads nothing of it."""
    async with aiohttp.ClientSession(world.gateway.url) as http:
        for _ in range(times):
            async with http.get("/metrics") as response:
                assert response.status == 200
                await response.read()


def happened(scraped: Mapping[str, Mapping[Labels, float]], *names: str) -> dict[str, dict[tuple[str, ...], float]]:
    """By series the label values (in order of their names) of what is not 0."""
    return {
        name: {tuple(value for _, value in labels): value for labels, value in scraped[name].items() if value}
        for name in names
    }


def values(samples: Mapping[Labels, float]) -> set[tuple[str, ...]]:
    return {tuple(value for _, value in labels) for labels in samples}


async def test_every_series_exists_before_the_first_request_and_is_0() -> None:
    async with World(MODELS, PAIR) as world:
        found = await scrape(world)
    doors = set(product(SUPPORTED_PROTOCOLS, (*POOLS, "unresolved")))
    lanes = {(lane, pool) for pool, lane in TRACKS}
    assert values(found["busbar_requests_total"]) == {
        (ingress, word, pool) for ingress, pool in doors for word in OUTCOMES
    }
    assert values(found["busbar_request_duration_seconds_count"]) == doors
    assert values(found["busbar_time_to_first_token_seconds_count"]) == doors
    assert values(found["busbar_gateway_overhead_seconds_count"]) == {(ingress,) for ingress in SUPPORTED_PROTOCOLS}
    assert values(found["busbar_dropped_fields_total"]) == {(ingress,) for ingress in SUPPORTED_PROTOCOLS}
    assert values(found["busbar_chunk_gap_mean_seconds_count"]) == {(pool,) for pool in POOLS}
    assert values(found["busbar_chunk_gap_longest_seconds_count"]) == {(pool,) for pool in POOLS}
    assert values(found["busbar_upstream_attempts_total"]) == values(found["busbar_spend_usd_total"]) == lanes
    assert values(found["busbar_breaker_trips_total"]) == values(found["busbar_breaker_state"]) == lanes
    assert values(found["busbar_upstream_failures_total"]) == {(word, *lane) for lane in lanes for word in FAILURES}
    assert values(found["busbar_tokens_total"]) == {(kind, *lane) for lane in lanes for kind in TOKENS}
    assert values(found["busbar_failovers_total"]) == set(product(POOLS, REASONS))
    pairs = {(a, b) for a, b in product(SUPPORTED_PROTOCOLS, SUPPORTED_PROTOCOLS) if a != b}
    assert values(found["busbar_translations_total"]) == pairs
    assert {("gateway",), ("metrics",), ("member:first",), ("pool:pool",)} <= values(found["busbar_mailbox_depth"])
    assert {("metrics",), ("journal",)} <= values(found["busbar_telemetry_dropped_total"])
    nonzero = {name for name, samples in found.items() if any(samples.values())}
    assert nonzero == {"busbar_build_info", "busbar_member_usable", "busbar_slots"}
    assert happened(found, "busbar_slots")["busbar_slots"] == {("first", "free"): 20, ("second", "free"): 20}


async def test_a_failover_with_a_translation_is_counted_where_it_happened() -> None:
    async with World(MODELS, PAIR) as world:
        for stream in (False, True):
            answer = await world.post(PATHS["openai"], ask("openai", "pool", stream=stream, seed=7))
            assert answer.status == 200
        found = await scrape(world)
    names = [name for name in found if name.endswith(("_total", "_count"))]
    actual = {name: counted for name, counted in happened(found, *names).items() if counted}
    tokens = actual.pop("busbar_tokens_total")
    assert {key[1:] for key in tokens} == {("second", "pool")}
    assert {"input", "output"} <= {key[0] for key in tokens}
    assert actual == {
        "busbar_requests_total": {("openai", "ok", "pool"): 2},
        "busbar_request_duration_seconds_count": {("openai", "pool"): 2},
        "busbar_time_to_first_token_seconds_count": {("openai", "pool"): 1},
        "busbar_gateway_overhead_seconds_count": {("openai",): 2},
        "busbar_translations_total": {("openai", "anthropic"): 2},
        "busbar_dropped_fields_total": actual["busbar_dropped_fields_total"],
        "busbar_failovers_total": {("pool", "auth"): 1},
        "busbar_upstream_attempts_total": {("first", "pool"): 1, ("second", "pool"): 2},
        "busbar_upstream_failures_total": {("auth", "first", "pool"): 1},
        "busbar_breaker_trips_total": {("first", "pool"): 1},
        **{name: actual[name] for name in actual if name.startswith("busbar_chunk_gap")},
    }
    assert actual["busbar_dropped_fields_total"].keys() == {("openai",)}
    assert happened(found, "busbar_breaker_state", "busbar_member_usable") == {
        "busbar_breaker_state": {("first", "pool"): 2},
        "busbar_member_usable": {("first",): 1, ("second",): 1},
    }


@pytest.mark.parametrize(
    ("upstream", "outcome", "failures"),
    [
        ("openai:fault-400", "client_error", {("client_error", "lone", "lone"): 1}),
        ("openai:fault-500", "error", {("server_error", "lone", "lone"): 1}),
        ("openai:demo", "ok", {}),
    ],
)
async def test_a_request_ends_in_one_way(upstream: str, outcome: str, failures: dict[tuple[str, ...], float]) -> None:
    async with World({"lone": upstream}) as world:
        await world.post(PATHS["openai"], ask("openai", "lone"))
        found = await scrape(world)
    assert happened(found, "busbar_requests_total", "busbar_upstream_failures_total") == {
        "busbar_requests_total": {("openai", outcome, "lone"): 1},
        "busbar_upstream_failures_total": failures,
    }


async def test_nobody_was_tried_is_exhausted_and_no_attempt() -> None:
    async with World({"lone": "openai:fault-401"}) as world:
        for _ in range(2):
            await world.post(PATHS["openai"], ask("openai", "lone"))
        found = await scrape(world)
    assert happened(found, "busbar_requests_total", "busbar_upstream_attempts_total") == {
        "busbar_requests_total": {("openai", "error", "lone"): 1, ("openai", "exhausted", "lone"): 1},
        "busbar_upstream_attempts_total": {("lone", "lone"): 1},
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_time_that_a_provider_takes_is_not_the_gateways(stream: bool) -> None:
    async with World({"slow": "openai:fault-slow-200"}) as world:
        answer = await world.post(PATHS["openai"], ask("openai", "slow", stream=stream))
        assert answer.status == 200
        found = await scrape(world)
        requests = (await world.stats())["metrics"]["requests"]
    assert requests[0]["outcome"] == "ok"
    took = happened(found, "busbar_request_duration_seconds_sum")["busbar_request_duration_seconds_sum"]
    own = happened(found, "busbar_gateway_overhead_seconds_sum")["busbar_gateway_overhead_seconds_sum"]
    assert took["openai", "slow"] >= 0.2
    assert 0 < own["openai",] < 0.1


async def test_gaps_between_chunks_are_measured() -> None:
    async with World({"paced": "openai:fault-paced-20"}) as world:
        answer = await world.post(PATHS["openai"], ask("openai", "paced", stream=True))
        assert answer.status == 200
        found = await scrape(world)
    names = ("busbar_chunk_gap_mean_seconds", "busbar_chunk_gap_longest_seconds")
    assert [happened(found, f"{name}_count")[f"{name}_count"] for name in names] == [{("paced",): 1}] * 2
    mean, longest = (happened(found, f"{name}_sum")[f"{name}_sum"][("paced",)] for name in names)
    assert 0.01 < mean <= longest


async def test_a_name_that_nobody_knows_is_unresolved_and_never_a_label() -> None:
    async with World() as world:
        for name in ("sk-secret", 'x"} 1\nbusbar_requests_total{pool="x', "admin"):
            answer = await world.post(PATHS["anthropic"], ask("anthropic", name, **{"my-own-field": name}))
            assert answer.status == 404
        await world.post(PATHS["openai"], ask("openai", "claude", **{"my-own-field": "private"}))
        found = await scrape(world)
        async with world.http.get("/metrics") as response:
            text = await response.text()
    requests = happened(found, "busbar_requests_total")["busbar_requests_total"]
    assert requests == {("anthropic", "client_error", "unresolved"): 3, ("openai", "ok", "claude"): 1}
    assert not [word for word in ("sk-secret", "admin", "my-own-field", "private") if word in text]


async def test_scraping_does_not_take_the_probe() -> None:
    """While the breaker is open, and when it is due."""
    breaker = "breaker: {base_cooldown_secs: 1, max_cooldown_secs: 1, trip: {mode: consecutive, consecutive_n: 1}}"
    pool = f"pools: {{pool: {{members: [{{target: first}}], {breaker}}}}}"
    async with World({"first": "openai:fault-flaky"}, pool) as world:
        await world.post(PATHS["openai"], ask("openai", "pool"))
        found = await scrape(world)
        assert found["busbar_breaker_state"][("lane", "first"), ("pool", "pool")] == 2
        await scrape_only(world, 500)
        await asyncio.sleep(1.1)  # the cooldown: from now on the next request is the probe
        await scrape_only(world, 500)
        answer = await world.post(PATHS["openai"], ask("openai", "pool"))
        found = await scrape(world)
    assert answer.status == 200
    assert happened(found, "busbar_breaker_state", "busbar_breaker_trips_total") == {
        "busbar_breaker_state": {},
        "busbar_breaker_trips_total": {("first", "pool"): 1},
    }


async def test_openmetrics_for_those_who_accept_it() -> None:
    async with World() as world:
        await world.post(PATHS["openai"], ask("openai", "claude"))
        async with world.http.get("/metrics", headers={"accept": "application/openmetrics-text"}) as response:
            assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
            families = {family.name for family in read_openmetrics(await response.text())}
    assert "busbar_requests" in families


async def test_spend_and_the_ledger_are_shown_to_the_operator_only(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key()
        headers = {"authorization": f"Bearer {key.secret}"}
        for stream in (False, True):
            answer = await world.post(PATHS["openai"], ask("openai", "gpt", stream=stream), headers)
            assert answer.status == 200
        for refused in ({}, headers, {"authorization": "Bearer wrong"}):
            async with world.http.get("/metrics", headers=refused) as response:
                assert response.status == 401
                assert "busbar_" not in await response.text()
        found = await scrape(world, ADMIN)
        usage = await world.usage(key)
    _, inputs, outputs = usage["requests"], usage["input_tokens"], usage["output_tokens"]
    spent = happened(found, "busbar_spend_usd_total")["busbar_spend_usd_total"]
    assert spent == {("gpt", "gpt"): pytest.approx((inputs * 1 + outputs * 2) / 1e6)}
    assert found["busbar_ledger_store_ok"] == {(): 1}
    assert found["busbar_ledger_commits_total"][()] > 0
    assert found["busbar_ledger_failures_total"] == {(): 0}


async def test_passthrough_shows_nothing_unless_it_is_opened() -> None:
    for config, status in (
        ("auth: {mode: passthrough}", 403),
        ("auth: {mode: passthrough, open_telemetry_routes: true}", 200),
    ):
        async with World(config=config) as world, world.http.get("/metrics") as response:
            assert response.status == status


async def test_a_pool_and_the_model_of_its_name_are_told_apart_by_their_attempts() -> None:
    """As their breaker cells are. A request is counted under the name that it asked for."""
    async with World({"gpt": "openai:demo"}, "pools: {gpt: {members: [{target: gpt}]}}") as world:
        for path in ("/v1/messages", "/demo-openai/gpt/v1/messages"):
            answer = await world.post(path, ask("anthropic", "gpt"))
            assert answer.status == 200, answer
        found = await scrape(world)
    assert happened(found, "busbar_requests_total", "busbar_upstream_attempts_total") == {
        "busbar_requests_total": {("anthropic", "ok", "gpt"): 2},
        "busbar_upstream_attempts_total": {("gpt", "gpt"): 1, ("gpt", "gpt (direct)"): 1},
    }
    assert values(found["busbar_breaker_state"]) == {("gpt", "gpt"), ("gpt", "gpt (direct)")}
