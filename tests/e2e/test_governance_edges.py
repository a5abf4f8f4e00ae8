"""Exactly once, at the edges: callers who leave in the worst moment, answers of many members, crowds at a limit."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from .governed import GovernedWorld, Key
from .raw_http import Connection, Heard, question
from .store_faults import make_impatient, no_answer, until_nothing_runs, until_the_store_works

MODELS = {
    "gpt": "openai:demo",
    "claude": "anthropic:demo",
    "paced": "openai:fault-paced-5",
    "slow": "openai:fault-slow",
    "bad": "openai:fault-500",
    "stalled": "openai:fault-stall",
    "cut": "openai:fault-cut",
    "unfinished": "anthropic:fault-eof",
}
CROWD = 200
ROOM = dict.fromkeys(MODELS, f"max_concurrent: {CROWD}")

each_framing = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def ask(world: GovernedWorld, key: Key, model: str, words: int, *, stream: bool = False, **more: int) -> Heard:
    connection = await Connection.to(world.gateway.url)
    heard = await connection.ask(*question("openai", model, words, stream=stream, **more), key.secret)
    connection.hang_up()
    return heard


# --- callers that leave ---------------------------------------------------------------------------------------------


@each_framing
async def test_a_caller_who_leaves_while_its_commit_is_awaited_is_charged_once(stream: bool, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, MODELS) as world:
        key = await world.key(max_budget_cents=100)
        await ask(world, key, "gpt", 1)
        async with no_answer(world) as go_on:
            connection = await Connection.to(world.gateway.url)
            connection.say(*question("openai", "claude", 7, stream=stream), key.secret)
            await world.providers.until(lambda: len(world.providers.requests) == 2)
            await asyncio.sleep(0.05)
            connection.hang_up()
            await asyncio.sleep(0.05)
            go_on()
        await until_nothing_runs(world)
        assert await world.tokens(key) == (2, 8, 12, 0)
        assert (await world.usage(key))["budget"]["reserved_cents"] == 0


async def test_a_caller_who_leaves_after_the_terminal_event_is_charged_with_the_whole(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, MODELS) as world:
        key = await world.key()
        connection, heard = await Connection.to(world.gateway.url), Heard()
        connection.say(*question("openai", "claude", 7, stream=True), key.secret)
        listening = asyncio.create_task(connection.listen(heard))
        async with asyncio.timeout(5):
            while b"[DONE]" not in heard.body:
                await asyncio.sleep(0)
        connection.hang_up()
        await listening
        await until_nothing_runs(world)
        assert await world.tokens(key) == (1, 7, 9, 0)


async def test_whenever_a_caller_leaves_it_is_charged_at_most_once_and_nothing_stays_reserved(tmp_path: Path) -> None:
    models = {**MODELS, "gpt": "openai:demo", "claude": "anthropic:fault-paced-5"}
    async with GovernedWorld(tmp_path, models, model_keys=ROOM) as world:
        group = await world.group("all", max_budget_cents=1000)
        keys = [await world.key(str(number), group=group) for number in range(48)]
        rng = random.Random(1)

        async def call(key: Key, number: int) -> bool:
            connection, heard = await Connection.to(world.gateway.url), Heard()
            stream, model = number % 3 > 0, ("gpt", "claude", "paced")[number % 3]
            connection.say(*question("openai", model, 7, stream=stream), key.secret)
            listening = asyncio.create_task(connection.listen(heard))
            enough_bytes = rng.choice((0, rng.randint(1, 2500), math.inf))
            for _ in range(rng.randint(0, 30)):
                await asyncio.sleep(0.001)
            while len(heard.body) < enough_bytes and not listening.done():
                await asyncio.sleep(0.001)
            whole = heard.whole("openai", stream=stream)
            connection.hang_up()
            await listening
            return whole

        heard_whole = await asyncio.gather(*(call(key, number) for number, key in enumerate(keys)))
        assert 5 < sum(heard_whole) < len(keys), "some leave, some stay"
        await until_nothing_runs(world)
        charged = [await world.tokens(key) for key in keys]
        for whole, (requests, input_tokens, output_tokens, estimated) in zip(heard_whole, charged, strict=True):
            if whole:
                assert (requests, input_tokens, output_tokens, estimated) == (1, 7, 9, 0)
            else:
                assert requests <= 1
                assert output_tokens <= 20, "an estimate is somewhere near"
        assert await world.tokens(group) == tuple(sum(column) for column in zip(*charged, strict=True))
        assert (await world.usage(group))["budget"]["reserved_cents"] == 0


async def test_a_caller_who_leaves_the_queue_pays_nothing_and_keeps_its_place_in_the_window(tmp_path: Path) -> None:
    pool = "pools: {p: {members: [{target: slow}], on_exhausted: {action: 'queue:5000'}}}"
    async with GovernedWorld(tmp_path, MODELS, pool, model_keys={"slow": "max_concurrent: 1"}) as world:
        first, second = await world.key("a"), await world.key("b", rpm_limit=1, max_budget_cents=10)
        running = asyncio.create_task(ask(world, first, "p", 5))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        connection = await Connection.to(world.gateway.url)
        connection.say(*question("openai", "p", 7, stream=False), second.secret)
        async with asyncio.timeout(5):
            while (await world.stats())["governance"]["reservations"] < 2:
                await asyncio.sleep(0.005)
        connection.hang_up()
        async with asyncio.timeout(5):
            while (await world.stats())["governance"]["reservations"] > 1:
                await asyncio.sleep(0.005)
        world.providers.release()
        assert (await running).status == 200
        assert await world.tokens(second) == (0, 0, 0, 0)
        assert (await ask(world, second, "p", 7)).status == 429


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
async def test_a_stream_that_the_gateways_end_cuts_is_charged_with_what_was_seen(
    durability: str, tmp_path: Path
) -> None:
    world = GovernedWorld(
        tmp_path, MODELS, "limits: {drain_timeout_secs: 0.1}", governance=f"durability: {durability}"
    )
    async with world:
        key = await world.key()
        connection, heard = await Connection.to(world.gateway.url), Heard()
        connection.say(*question("openai", "stalled", 11, stream=True), key.secret)
        listening = asyncio.create_task(connection.listen(heard))
        async with asyncio.timeout(5):
            while b"lantern" not in heard.body:
                await asyncio.sleep(0.005)
    await listening
    async with GovernedWorld(tmp_path, MODELS) as world:
        requests, input_tokens, output_tokens, estimated = await world.tokens(key)
        assert (requests, estimated) == (1, 1)
        assert 11 <= input_tokens <= 60
        assert 1 <= output_tokens < 13


# --- answers of several members -------------------------------------------------------------------------------------


def pool(keys: str, *members: str) -> str:
    listed = ", ".join(f"{{target: {name}, weight: {100 ** (2 - at)}}}" for at, name in enumerate(members))
    return f"p: {{{keys}, members: [{listed}]}}"


async def test_of_an_answer_that_two_members_gave_both_parts_are_charged_and_one_request(tmp_path: Path) -> None:
    config = f"pools: {{{pool('stream_recovery: continue', 'cut', 'gpt')}}}"
    async with GovernedWorld(tmp_path, MODELS, config) as world:
        group = await world.group("all")
        key = await world.key(group=group, max_budget_cents=100)
        heard = await ask(world, key, "p", 11, stream=True)
        assert heard.whole("openai", stream=True)
        assert heard.body.count(b"lantern") == 11
        usage = await world.usage(key)
        parts = {model["model"]: model["input_tokens"] for model in usage["models"]}
        assert parts == {"cut": parts["cut"], "gpt": 11}
        assert 11 <= parts["cut"] <= 60, "an estimate of the prompt"
        assert (usage["requests"], usage["output_tokens"] > 13) == (1, True)
        assert await world.tokens(group) == await world.tokens(key)
        assert usage["budget"]["reserved_cents"] == 0


async def test_what_was_held_back_and_never_given_is_not_charged(tmp_path: Path) -> None:
    config = f"pools: {{{pool('stream_recovery: hold:2000', 'cut', 'gpt')}}}"
    async with GovernedWorld(tmp_path, MODELS, config) as world:
        key = await world.key()
        heard = await ask(world, key, "p", 7, stream=True)
        assert heard.whole("openai", stream=True)
        assert await world.tokens(key) == (1, 7, 9, 0)
        assert [model["model"] for model in (await world.usage(key))["models"]] == ["gpt"]


async def test_a_fallback_pool_is_billed_by_who_answered(tmp_path: Path) -> None:
    config = (
        "pools: {p: {members: [{target: slow}], on_exhausted: {action: 'fallback_pool:q'}},"
        " q: {members: [{target: bad, weight: 9}, {target: claude}]}}"
    )
    async with GovernedWorld(tmp_path, MODELS, config, model_keys={"slow": "max_concurrent: 1"}) as world:
        key = await world.key(allowed_pools=["p"])
        running = asyncio.create_task(ask(world, key, "p", 5))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        assert (await ask(world, key, "p", 7)).status == 200
        world.providers.release()
        assert (await running).status == 200
        billed = {model["model"]: model["input_tokens"] for model in (await world.usage(key))["models"]}
        assert billed == {"slow": 5, "claude": 7}
        assert await world.tokens(key) == (2, 12, 16, 0)


async def test_counting_tokens_takes_a_place_in_the_window_and_no_money(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, MODELS) as world:
        key = await world.key(rpm_limit=2, max_budget_cents=0)
        body = {"model": "claude", "messages": [{"role": "user", "content": "one two three"}]}
        answers = [await world.post("/v1/messages/count_tokens", body, {"x-api-key": key.secret}) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[0].json() == {"input_tokens": 3}
        assert await world.tokens(key) == (0, 0, 0, 0)


# --- the end of a stream and its commit -----------------------------------------------------------------------------


async def test_a_hold_that_ends_while_the_commit_is_awaited_lets_no_terminal_event_out(tmp_path: Path) -> None:
    config = f"pools: {{{pool('stream_recovery: hold:100', 'gpt')}}}"
    async with GovernedWorld(tmp_path, MODELS, config) as world:
        key = await world.key()
        await ask(world, key, "gpt", 1)
        async with no_answer(world) as go_on:
            connection, heard = await Connection.to(world.gateway.url), Heard()
            connection.say(*question("openai", "p", 7, stream=True), key.secret)
            listening = asyncio.create_task(connection.listen(heard))
            await asyncio.sleep(0.4)
            assert b"[DONE]" not in heard.body
            go_on()
            await listening
        assert heard.whole("openai", stream=True)
        assert await world.tokens(key) == (2, 8, 12, 0)


async def test_an_insured_stream_whose_end_cannot_be_recorded_is_broken_off_natively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its provider forgot the terminal event, which is written for it, after its commit."""
    make_impatient(monkeypatch)
    config = f"pools: {{{pool('stream_recovery: continue', 'unfinished', 'gpt')}}}"
    async with GovernedWorld(tmp_path, MODELS, config) as world:
        key = await world.key()
        await ask(world, key, "gpt", 1)
        async with no_answer(world) as go_on:
            heard = await ask(world, key, "p", 7, stream=True)
            assert heard.status == 200
            assert b"HTTP/1.1" not in heard.body
            assert b"[DONE]" not in heard.body
            assert bytes(heard.body).split(b"\n\n")[-2].startswith(b'data: {"error":'), heard
            go_on()
            await until_the_store_works(world)
        assert (await world.tokens(key))[:3] == (2, 8, 12)


# --- crowds ---------------------------------------------------------------------------------------------------------


def statuses(crowd: Iterable[Heard]) -> Counter[int]:
    return Counter(heard.status for heard in crowd)


@pytest.mark.parametrize("of_the_group", [False, True], ids=["key", "group"])
async def test_a_crowd_never_reserves_more_than_the_budget(of_the_group: bool, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, MODELS, model_keys=ROOM) as world:
        budget = {"max_budget_cents": 5}
        group = await world.group("all", **(budget if of_the_group else {}))
        key = await world.key(group=group, **({} if of_the_group else budget))
        _, body = question("openai", "slow", 20, stream=False, max_tokens=1000)
        worst = len(body) // 4 * 1_250_000 + 1000 * 4_000_000  # pico-dollars, if it is all cached and thought
        fit = 5 * 10**10 // worst
        asked = [asyncio.create_task(ask(world, key, "slow", 20, max_tokens=1000)) for _ in range(CROWD)]
        async with asyncio.timeout(10):
            while sum(task.done() for task in asked) < CROWD - fit:
                await asyncio.sleep(0.01)
        await world.providers.until(lambda: world.providers.open_requests >= fit)
        world.providers.release()
        assert statuses(await asyncio.gather(*asked)) == {200: fit, 402: CROWD - fit}
        usage = await world.usage(group)
        assert (usage["requests"], usage["input_tokens"], usage["output_tokens"]) == (fit, fit * 20, fit * 22)
        assert (await ask(world, key, "gpt", 20, max_tokens=1000)).status == 200, "what was reserved is free again"
        spent = (await world.usage(group))["spend_nanodollars"]
        assert spent == (fit + 1) * 64 * 1000 <= 5 * 10**7


async def test_a_crowd_that_spends_to_the_end_stays_within_the_budget(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, MODELS, model_keys=ROOM) as world:
        key = await world.key(max_budget_cents=1)
        told: Counter[int] = Counter()
        for _ in range(3):
            crowd = (ask(world, key, "gpt", 400, max_tokens=402) for _ in range(CROWD))
            told += statuses(await asyncio.gather(*crowd))
        usage = await world.usage(key)
        assert told == {200: usage["requests"], 402: 3 * CROWD - usage["requests"]}
        assert usage["spend_nanodollars"] == usage["requests"] * (400 + 2 * 402) * 1000
        assert 10**7 - 4 * 10**6 < usage["spend_nanodollars"] <= 10**7


@pytest.mark.parametrize("of_the_group", [False, True], ids=["key", "group"])
async def test_a_rate_limit_lets_exactly_its_number_of_a_crowd_in(of_the_group: bool, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, MODELS, model_keys=ROOM) as world:
        limit = {"rpm_limit": 37}
        group = await world.group("all", **(limit if of_the_group else {}))
        keys = [await world.key(str(number), group=group) for number in range(2)]
        if not of_the_group:
            await world.change(keys[0], **limit)
            keys = keys[:1]
        crowd = await asyncio.gather(*(ask(world, keys[at % len(keys)], "gpt", 3) for at in range(CROWD)))
        assert statuses(crowd) == {200: 37, 429: CROWD - 37}
        assert await world.tokens(group) == (37, 37 * 3, 37 * 5, 0)
        assert len(world.providers.requests) == 37
