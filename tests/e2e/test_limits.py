"""What a pool does before it gives up: retries on the same member, limits on how long one may take, and what comes
when nobody can be tried. Over real sockets; the providers' faults are in the models' names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .asks import INGRESSES, PATHS, ask, error_of, events
from .world import Answer, World

PATH = PATHS["openai"]
TWO = "[{target: first, weight: 100}, {target: second}]"


def pool(keys: str = "", members: str = TWO, more: str = "") -> str:
    return f"pools: {{pool: {{members: {members}{', ' if keys else ''}{keys}}}{more}}}"


def asked(world: World) -> list[str | None]:
    return [request.model for request in world.providers.requests]


async def post(world: World, ingress: str = "openai", model: str = "pool", **more: Any) -> Answer:
    return await world.post(PATHS[ingress], ask(ingress, model, "one two three four five", **more))


# --- the same member again


@pytest.mark.parametrize("fault", ["flaky", "flaky-2"])
@pytest.mark.parametrize("ingress", INGRESSES)
async def test_a_server_error_is_tried_again_on_the_same_member_first(ingress: str, fault: str) -> None:
    models = {"first": f"anthropic:fault-{fault}", "second": "openai:demo"}
    async with World(models, pool("retry: {same_member: 2}")) as world:
        answer = await post(world, ingress)
        times = int(fault.removeprefix("flaky").removeprefix("-") or 1)
        assert answer.status == 200
        assert asked(world) == [f"fault-{fault}"] * (times + 1)


async def test_after_its_retries_the_next_member_is_asked() -> None:
    models = {"first": "openai:fault-cut-start", "second": "openai:demo"}
    async with World(models, pool("retry: {same_member: 1}")) as world:
        assert (await post(world)).status == 200
        assert asked(world) == ["fault-cut-start", "fault-cut-start", "demo"]


async def test_a_rate_limit_is_not_tried_again_on_the_same_member() -> None:
    models = {"first": "openai:fault-429", "second": "openai:demo"}
    async with World(models, pool("retry: {same_member: 2}")) as world:
        assert (await post(world)).status == 200
        assert asked(world) == ["fault-429", "demo"]


@pytest.mark.parametrize("egress", ["openai", "anthropic", "gemini"])
async def test_a_short_retry_after_is_waited_out_for_the_same_member_once(egress: str) -> None:
    models = {"first": f"{egress}:fault-429-ms-60", "second": "openai:demo"}
    async with World(models, pool("retry: {retry_after_max_secs: 1}")) as world:
        assert (await post(world)).status == 200
        assert asked(world) == ["fault-429-ms-60", "fault-429-ms-60", "demo"]


async def test_a_long_retry_after_is_not_waited_out() -> None:
    models = {"first": "openai:fault-429-7", "second": "openai:demo"}
    async with World(models, pool("retry: {retry_after_max_secs: 1}")) as world:
        assert (await post(world)).status == 200
        assert asked(world) == ["fault-429-7", "demo"]


async def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    models = {"first": "openai:fault-429-3", "second": "openai:demo"}
    async with World(models, pool("retry: {retry_after_max_secs: 9}, failover: {deadline_secs: 2}")) as world:
        assert (await post(world)).status == 200
        assert asked(world) == ["fault-429-3", "demo"]


# --- how long a member may take


@pytest.mark.parametrize("keys", ["attempt_timeout_ms: 100", "first_token_timeout_ms: 100"])
@pytest.mark.parametrize("place", ["model", "member"])
async def test_a_member_that_sends_no_headers_in_time_is_left_and_blamed(keys: str, place: str) -> None:
    models = {"first": "openai:fault-hang", "second": "anthropic:demo"}
    members = f"[{{target: first, weight: 100{', ' + keys if place == 'member' else ''}}}, {{target: second}}]"
    of_models = {"first": keys} if place == "model" else {"first": "attempt_timeout_ms: 50000"}
    async with World(models, pool(members=members), model_keys=of_models) as world:
        answer = await post(world, stream=True)
        assert answer.status == 200
        assert b"You" in answer.body
        member = await world.member("first")
        assert (member["err"], member["inflight"]) == (1, 0)
        await world.providers.until(lambda: world.providers.cancelled == 1)


async def test_headers_without_content_are_not_enough() -> None:
    models = {"first": "openai:fault-stall-start", "second": "openai:demo"}
    keys = {"first": "attempt_timeout_ms: 5000, first_token_timeout_ms: 150"}
    async with World(models, pool(), model_keys=keys) as world:
        assert (await post(world, stream=True)).status == 200
        assert asked(world) == ["fault-stall-start", "demo"]
        assert (await world.member("first"))["err"] == 1


async def test_a_slow_whole_answer_has_no_first_token_limit() -> None:
    async with World({"m": "openai:fault-slow-200"}, model_keys={"m": "first_token_timeout_ms: 50"}) as world:
        assert (await post(world, model="m")).status == 200


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("egress", INGRESSES)
async def test_a_stream_that_stalls_is_broken_off_natively(ingress: str, egress: str) -> None:
    models = {"first": f"{egress}:fault-stall", "second": f"{egress}:demo"}
    async with World(models, pool(), model_keys={"first": "stall_timeout_ms: 120"}) as world:
        answer = await post(world, ingress, stream=True)
        _, last = events(answer.body)[-1]
        assert answer.status == 200
        assert "error" in last
        assert asked(world) == ["fault-stall"]
        member = await world.member("first")
        assert (member["ok"], member["err"], member["inflight"]) == (0, 1, 0)
        await world.providers.until(lambda: world.providers.cancelled == 1)


async def test_a_whole_answer_that_stalls_in_the_middle_fails_over() -> None:
    models = {"first": "openai:fault-stall", "second": "anthropic:demo"}
    async with World(models, pool(), model_keys={"first": "stall_timeout_ms: 120"}) as world:
        assert (await post(world)).status == 200
        assert asked(world) == ["fault-stall", "demo"]
        assert (await world.member("first"))["err"] == 1


async def test_pauses_shorter_than_the_limit_are_no_stall() -> None:
    async with World({"m": "openai:fault-paced-30"}, model_keys={"m": "stall_timeout_ms: 500"}) as world:
        answer = await post(world, model="m", stream=True)
        assert answer.body.endswith(b"data: [DONE]\n\n")
        await settled(world)
        assert (await world.member("m"))["ok"] == 1


async def test_a_caller_that_reads_slowly_is_not_the_providers_stall() -> None:
    """The provider is held back by a caller that takes nothing: that is no gap of its own."""
    text = "word " * 40_000
    async with World({"m": "openai:demo"}, model_keys={"m": "stall_timeout_ms: 100"}) as world:
        body = ask("openai", "m", text, stream=True)
        async with world.http.post(PATH, json=body) as response:
            first = await response.content.readany()
            await asyncio.sleep(0.3)  # three times the limit, in which the caller takes nothing
            rest = await response.content.read()
        assert (first + rest).endswith(b"data: [DONE]\n\n")
        await settled(world)
        assert (await world.member("m"))["ok"] == 1


# --- nobody can be tried


async def open_cell(world: World, model: str) -> None:
    """Half an hour, for every pool that this pool's name stands for."""
    assert (await post(world, model=model)).status in (502, 503)


@pytest.mark.parametrize("ingress", INGRESSES)
async def test_a_fallback_pool_answers_by_its_own_rules(ingress: str) -> None:
    models = {"first": "openai:fault-401", "second": "openai:fault-500", "third": "anthropic:demo"}
    more = ", spare: {members: [{target: second, weight: 9}, {target: third}], failover: {cap: 1}}"
    keys = "on_exhausted: 'fallback_pool:spare', failover: {cap: 0}"
    async with World(models, pool(keys, "[{target: first}]", more)) as world:
        await open_cell(world, "pool")
        answer = await post(world, ingress)
        assert answer.status == 200
        assert asked(world) == ["fault-401", "fault-500", "demo"]


async def test_a_fallback_pool_that_is_exhausted_too_is_told_natively() -> None:
    models = {"first": "openai:fault-401", "second": "openai:fault-401"}
    more = ", spare: {members: [{target: second}]}"
    async with World(models, pool("on_exhausted: 'fallback_pool:spare'", "[{target: first}]", more)) as world:
        await open_cell(world, "pool")
        await open_cell(world, "spare")
        answer = await post(world)
        error_of("openai", answer.body)
        assert answer.status == 503
        assert 1790 <= int(answer.headers["retry-after"]) <= 1800


async def test_the_least_bad_member_is_tried_once_and_stays_open() -> None:
    models = {"first": "openai:fault-401", "second": "openai:fault-401"}
    async with World(models, pool("on_exhausted: least_bad")) as world:
        await open_cell(world, "pool")
        answer = await post(world)
        assert answer.status == 502
        assert len(asked(world)) == 3, "both, and then one more although both cells are open"
        for model in models:
            cell = (await world.member(model))["cells"]["pool"]
            assert (cell["state"], cell["trips"]) == ("open", 1)


@pytest.mark.parametrize("ingress", INGRESSES)
async def test_a_queued_request_gets_the_slot_that_becomes_free(ingress: str) -> None:
    models = {"m": "openai:fault-slow"}
    config = pool("on_exhausted: 'queue:5000'", "[{target: m}]")
    async with World(models, config, model_keys={"m": "max_concurrent: 1"}) as world:
        first = asyncio.ensure_future(post(world, ingress))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        second = asyncio.ensure_future(post(world, ingress))
        await waiting(world, 1)
        world.providers.release()
        assert (await first).status == 200
        await world.providers.until(lambda: len(world.providers.requests) == 2)
        world.providers.release()
        assert (await second).status == 200
        assert (await world.member("m"))["inflight"] == 0


async def test_a_queued_request_waits_no_longer_than_it_may() -> None:
    config = pool("on_exhausted: 'queue:80'", "[{target: m}]")
    async with World({"m": "openai:fault-slow"}, config, model_keys={"m": "max_concurrent: 1"}) as world:
        first = asyncio.ensure_future(post(world))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        answer = await post(world)
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        world.providers.release()
        assert (await first).status == 200


async def test_a_queued_caller_that_goes_away_leaves_the_queue() -> None:
    config = pool("on_exhausted: 'queue:60000'", "[{target: m}]")
    async with World({"m": "openai:fault-slow"}, config, model_keys={"m": "max_concurrent: 1"}) as world:
        first = asyncio.ensure_future(post(world))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        second = asyncio.ensure_future(post(world))
        await waiting(world, 1)
        second.cancel()
        await waiting(world, 0)
        world.providers.release()
        assert (await first).status == 200
        assert len(asked(world)) == 1
        assert (await world.member("m"))["inflight"] == 0


async def settled(world: World) -> None:
    """Until every attempt has been reported."""
    async with asyncio.timeout(5):
        while (await world.member("m"))["inflight"]:
            await asyncio.sleep(0)


async def waiting(world: World, count: int) -> None:
    """Until so many requests are in the pool's queue."""
    async with asyncio.timeout(5):
        while (await world.stats())["pools"]["pool"]["waiting"] != count:
            await asyncio.sleep(0)


# --- who is asked first


async def test_the_cheapest_member_gets_the_traffic() -> None:
    models = {"dear": "openai:demo-dear", "cheap": "openai:demo-cheap"}
    config = pool("strategy: cheapest", "[{target: dear, weight: 9}, {target: cheap}]")
    prices = "\ngovernance: {prices: {dear: {input: 3, output: 15}, cheap: {input: 0.1, output: 0.4}}}"
    async with World(models, config + prices) as world:
        for _ in range(4):
            await post(world)
        assert asked(world) == ["demo-cheap"] * 4


async def test_the_least_busy_member_gets_the_next_request() -> None:
    models = {"busy": "openai:fault-slow", "idle": "openai:demo"}
    config = pool("strategy: least_busy", "[{target: busy, weight: 100}, {target: idle}]")
    async with World(models, config) as world:
        held = asyncio.ensure_future(post(world))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        assert (await post(world)).status == 200
        assert asked(world) == ["fault-slow", "demo"]
        world.providers.release()
        await held


async def test_the_fastest_member_gets_most_of_the_traffic() -> None:
    models = {"slow": "openai:fault-slow-60", "fast": "openai:demo"}
    config = pool("strategy: fastest", "[{target: slow}, {target: fast}]")
    async with World(models, config) as world:
        for _ in range(14):
            await post(world)
        assert sorted(asked(world)).count("fault-slow-60") == 1, "once, to learn how slow it is"
