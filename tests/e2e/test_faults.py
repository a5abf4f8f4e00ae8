"""Members that are broken on purpose: everything behind the fault is real, and all is well again when it is over."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from .asks import PATHS, ask, events
from .governed import ADMIN as GOVERNOR
from .governed import GovernedWorld
from .matrix_cases import INGRESSES
from .test_probes import probing
from .ways import SPEAKERS, hello
from .world import Answer, World

ADMIN = "governance: {admin_token: '${ADMIN}'}"
ENV = {"ADMIN": "token-of-the-operator"}
TOKEN = {"x-admin-token": "token-of-the-operator"}

SAID = "one two three four five six seven eight nine ten eleven twelve"
BREAKER = "breaker: {base_cooldown_secs: 1, max_cooldown_secs: 2, trip: {mode: consecutive, consecutive_n: 1}}"


def world(dialect: str = "openai", pool: str = "", **more: Any) -> World:
    """`a` is asked first, `b` when `a` is out."""
    listed = "[{target: a, weight: 100}, {target: b, weight: 1}]"
    pools = f"pools: {{pool: {{members: {listed}, {BREAKER}{pool}}}}}\n"
    models = {"a": f"{dialect}:demo-a", "b": f"{dialect}:demo-b"}
    return World(models, pools + ADMIN, env=ENV, **more)


async def inject(here: World, kind: str, secs: int = 60, member: str = "a") -> None:
    answer = await here.post("/admin/faults", {"member": member, "kind": kind, "secs": secs}, TOKEN)
    assert answer.status == 201, answer


async def lift(here: World, member: str = "a") -> None:
    async with here.http.delete(f"/admin/faults/{member}", headers=TOKEN) as response:
        assert response.status == 204


async def spend(here: World, model: str = "pool", **more: Any) -> Answer:
    return await here.post(PATHS["openai"], ask("openai", model, SAID, **more))


def asked(here: World) -> list[str | None]:
    return [request.model for request in here.providers.requests]


async def cell(here: World, pool: str = "pool") -> str:
    state: str = (await here.member("a"))["cells"][pool]["state"]
    return state


async def until_asked(here: World, model: str) -> None:
    """Requests, until one reaches that member again."""
    async with asyncio.timeout(10):
        while asked(here)[-1] != model:
            assert (await spend(here)).status == 200
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("kind", "secs"), [("429", 2), ("500", 60)])
async def test_a_refusing_member_trips_the_other_answers_and_it_recovers_once_it_is_lifted(
    kind: str, secs: int
) -> None:
    """A 429 asks for no more time than its fault has left."""
    async with world() as here:
        await inject(here, kind, secs)
        assert (await spend(here)).status == 200
        assert (await cell(here), asked(here)) == ("open", ["demo-b"])
        await lift(here)
        await until_asked(here, "demo-a")
        assert await cell(here) == "closed"
        assert (await here.member("a"))["free_slots"] == 20


async def test_it_recovers_by_itself_when_the_fault_expires(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "busbar.audit")
    async with world() as here:
        await inject(here, "500", secs=1)
        assert (await spend(here)).status == 200
        await until_asked(here, "demo-a")
        faults = (await here.stats())["faults"]
        assert faults == {"in_force": [], "injected": 1, "lifted": 0, "expired": 1}
    assert [record.getMessage() for record in caplog.records if record.name == "busbar.audit"] == [
        "who=admin action=inject member=a fault=500 secs=1",
        "who=busbar action=expire member=a fault=500",
    ]


async def test_stats_show_what_is_in_force() -> None:
    async with world() as here:
        await inject(here, "cut", member="b")
        (fault,) = (await here.stats())["faults"]["in_force"]
        assert 59 < fault.pop("remaining_s") <= 60
        assert fault == {"member": "b", "kind": "cut", "secs": 60, "by": "admin"}


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("500", 500)])
async def test_a_lone_members_refusal_reaches_each_sdk_as_its_own(ingress: str, kind: str, status: int) -> None:
    """Of its own dialect, and over a hop."""
    other = INGRESSES[(INGRESSES.index(ingress) + 1) % 6]
    models = {"own": f"{ingress}:demo", "foreign": f"{other}:demo"}
    async with World(models, ADMIN, env=ENV) as here:
        for model in models:
            await inject(here, kind, member=model)
            speaker = SPEAKERS[ingress](here.gateway.url, "unused", 0)
            with pytest.raises(Exception, match="injected on purpose") as refused:
                await speaker.ask(model, hello(), streamed=False)
            await speaker.aclose()
            assert type(refused.value).__module__.split(".")[0] != "builtins"
            member = await here.member(model)
            assert (member["ok"], member["err"], member["client_fault"]) == (0, 1, 0)
        assert asked(here) == []


async def test_a_lone_member_says_when_to_come_back() -> None:
    async with world() as here:
        await inject(here, "429")
        answer = await spend(here, "a")
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")


async def test_a_frozen_member_runs_into_its_time_limit_and_the_other_answers() -> None:
    async with world(model_keys={"a": "attempt_timeout_ms: 100"}) as here:
        await inject(here, "freeze")
        assert (await spend(here)).status == 200
        assert asked(here) == ["demo-b"]
        assert await cell(here) == "open"
        assert (await here.member("a"))["free_slots"] == 20


async def test_without_a_limit_frozen_requests_wait_until_it_is_lifted() -> None:
    async with world() as here:
        await asyncio.gather(spend(here, "b"), spend(here, "b"))  # so that there are connections
        tasks = (await here.stats())["process"]["tasks"]
        await inject(here, "freeze")
        waiting = [asyncio.ensure_future(spend(here, stream=stream)) for stream in (False, True)]
        async with asyncio.timeout(5):
            while (await here.member("a"))["inflight"] < 2:
                await asyncio.sleep(0.01)
        assert len(asked(here)) == 2
        await lift(here)
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200, 200]
        assert asked(here) == ["demo-b"] * 4
        async with asyncio.timeout(5):
            while (await here.stats())["process"]["tasks"] > tasks:
                await asyncio.sleep(0.01)


async def test_a_caller_that_gives_up_on_a_frozen_member_gives_its_slot_back() -> None:
    async with world() as here:
        await inject(here, "freeze")
        waiting = asyncio.ensure_future(spend(here, "a"))
        async with asyncio.timeout(5):
            while (await here.member("a"))["inflight"] < 1:
                await asyncio.sleep(0.01)
            waiting.cancel()
            while (await here.member("a"))["free_slots"] < 20:
                await asyncio.sleep(0.01)
        assert (await here.member("a"))["err"] == 0


async def test_nobody_pays_for_what_was_never_sent(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as here:
        key = await here.key()
        body = ask("openai", "gpt", SAID)
        for kind in ("429", "500", "freeze"):
            answer = await here.post("/admin/faults", {"member": "gpt", "kind": kind, "secs": 1}, GOVERNOR)
            assert answer.status == 201
            headers = {"authorization": f"Bearer {key.secret}"}
            assert (await here.post(PATHS["openai"], body, headers)).status == {
                "429": 429,
                "500": 500,
                "freeze": 502,
            }[kind]
        assert (await here.tokens(key))[1:3] == (0, 0)


async def test_a_gateway_that_stops_waits_for_nothing_frozen() -> None:
    async with world() as here:
        await inject(here, "freeze")
        waiting = asyncio.ensure_future(spend(here, "a"))
        async with asyncio.timeout(5):
            while (await here.member("a"))["inflight"] < 1:
                await asyncio.sleep(0.01)
            await here.gateway.stop()
            assert (await waiting).status == 502


async def test_a_cut_stream_ends_with_a_native_error_where_nothing_insures_it() -> None:
    async with world() as here:
        await inject(here, "cut")
        answer = await spend(here, stream=True)
        told = [data for _, data in events(answer.body)]
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in told[:-1])
        assert text
        assert f"You said: {SAID}".startswith(text)
        assert told[-1]["error"]["message"] == "The connection broke in the middle of the answer."
        member = await here.member("a")
        assert (member["ok"], member["err"], member["free_slots"]) == (0, 1, 20)


@pytest.mark.parametrize("dialect", INGRESSES)
async def test_a_cut_stream_is_gone_on_with_where_the_pool_insures_it(dialect: Any) -> None:
    async with world(dialect, ", stream_recovery: continue") as here:
        await inject(here, "cut")
        speaker = SPEAKERS[dialect](here.gateway.url, "unused", 0)
        reply = await speaker.ask("pool", hello(SAID), streamed=True)
        await speaker.aclose()
        assert (reply.text, reply.stop) == (f"You said: {SAID}", "end")
        assert asked(here) == ["demo-a", "demo-b"]
        assert (await here.member("a"))["err"] == 1


@pytest.mark.parametrize("dialect", INGRESSES)
async def test_a_whole_answer_that_is_cut_comes_from_the_other_member(dialect: Any) -> None:
    async with world(dialect) as here:
        await inject(here, "cut")
        speaker = SPEAKERS[dialect](here.gateway.url, "unused", 0)
        reply = await speaker.ask("pool", hello(SAID), streamed=False)
        await speaker.aclose()
        assert reply.text == f"You said: {SAID}"
        assert asked(here) == ["demo-a", "demo-b"]


async def test_probes_meet_the_fault_too() -> None:
    """They close no cell while it is in force, and the cell soon after."""
    keys = probing("dead", "interval_secs: 0.05, timeout_secs: 5")
    async with world(provider_keys=keys) as here:
        await inject(here, "500")
        assert (await spend(here)).status == 200
        await asyncio.sleep(0.3)
        assert await cell(here) == "open"
        assert "demo-a" not in asked(here)
        await lift(here)
        async with asyncio.timeout(10):
            while await cell(here) != "closed":
                await asyncio.sleep(0.02)
        assert asked(here)[-1] == "demo-a"
