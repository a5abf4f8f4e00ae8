"""Active probes on virtual time: when they are sent, what they prove, and what they leave behind."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from busbar.actors.continuity import Continuity
from busbar.actors.gateway import Gateway
from busbar.actors.messages import Assignment, Directory, Examine, Release, Resolve, Route, Snapshot
from busbar.actors.runtime import ActorSystem, InlineDispatcher
from busbar.config import loads
from busbar.config.schema import LimitsConfig
from busbar.http.lanes import build_lanes
from busbar.http.ports import Sink, UpstreamRequest
from busbar.http.prober import Probed, Prober
from busbar.plan import plan_of
from busbar.testing import VirtualClock

CONFIG = """
auth: {mode: @auth}
providers:
  p: {protocol: openai, base_url: "http://provider", auth: bearer, api_key_env: KEY,
      health: {mode: @mode, interval_secs: 10, timeout_secs: 60}}
models: {a: {provider: p}, b: {provider: p}, c: {provider: p}}
pools:
  pool:
    members: [{target: a}]
    breaker: {base_cooldown_secs: 1000, max_cooldown_secs: 1000, trip: {mode: consecutive, consecutive_n: 1}}
"""
GOOD = msgspec.json.encode(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "a",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "!"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9},
    }
)
BAD = msgspec.json.encode({"error": {"message": "no", "type": "t", "param": None, "code": None}})


class Answer:
    """What a provider says, all at once."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json"}

    async def stream(self, sink: Sink) -> None:
        sink(GOOD if self.status == 200 else BAD)

    def close(self) -> None: ...


class Provider:
    """The way to a provider that gives each model its status; 0 never answers, -1 cannot happen."""

    def __init__(self, clock: VirtualClock) -> None:
        self.statuses: dict[str, int] = {}
        self.asked: list[tuple[float, str]] = []
        """(when, which model)."""
        self.open = 0
        self._clock = clock

    async def send(self, request: UpstreamRequest) -> Answer:
        model = msgspec.json.decode(request.body)["model"]
        self.asked.append((self._clock.now(), model))
        status = self.statuses.get(model, 200)
        if status < 0:
            raise ZeroDivisionError
        if not status:
            self.open += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.open -= 1
        return Answer(status)

    async def close(self) -> None: ...


class World:
    def __init__(self, mode: str, auth: str) -> None:
        config = loads(CONFIG.replace("@mode", mode).replace("@auth", auth), env={"KEY": "key"})
        self.clock = VirtualClock()
        self.provider = Provider(self.clock)
        self.system = ActorSystem(
            clock=self.clock,
            random=random.Random(7),
            dispatcher=InlineDispatcher(),
            register=False,
        )
        root = self.system.spawn(Gateway, plan_of(config), name="gateway")
        self.directory: Directory = root.ask(Resolve()).get()
        self.prober = Prober(
            [
                Probed(lane, self.directory.members[model], config.providers["p"].health)
                for model, lane in build_lanes(config).items()
            ],
            upstream=self.provider,
            continuity=self.system.spawn(Continuity, name="aside"),
            clock=self.clock,
            random=self.system.random,
            limits=LimitsConfig(),
        )
        self.prober.start()

    async def advance(self, secs: float) -> None:
        """In steps of a second, each with all that follows from it."""
        for _ in range(int(secs)):
            self.clock.advance(1.0)
            for _ in range(20):
                await asyncio.sleep(0)

    def show(self, model: str = "a") -> dict[str, Any]:
        shown: dict[str, Any] = self.directory.members[model].ask(Snapshot()).get()
        return shown

    def cell(self) -> str:
        state: str = self.show()["cells"]["pool"]["state"]
        return state

    async def trip(self) -> None:
        """By an active probe of this test's own."""
        self.provider.statuses["a"] = 500
        await self.advance(20)
        assert self.cell() == "open"
        self.provider.asked.clear()


@asynccontextmanager
async def world(mode: str = "active", auth: str = "none") -> AsyncIterator[World]:
    before = asyncio.all_tasks()
    world = World(mode, auth)
    yield world
    await world.prober.stop()
    assert asyncio.all_tasks() == before
    assert [world.show(model)["inflight"] for model in "abc"] == [0, 0, 0]
    assert world.clock.pending == 0
    world.system.stop_now()


async def test_members_begin_at_different_times_and_then_keep_the_interval() -> None:
    async with world() as it:
        await it.advance(35)
        times = {model: [at for at, asked in it.provider.asked if asked == model] for model in "abc"}
        for beats in times.values():
            assert len(beats) in (3, 4)
            assert {later - earlier for earlier, later in itertools.pairwise(beats)} == {10.0}
        assert len({beats[0] for beats in times.values()}) == 3


async def test_mode_dead_leaves_the_well_alone() -> None:
    async with world("dead") as it:
        await it.advance(100)
        assert it.provider.asked == []


@pytest.mark.parametrize(("mode", "auth"), [("none", "none"), ("active", "passthrough")])
async def test_nothing_is_probed_when_nobody_wants_it_or_there_is_no_key(mode: str, auth: str) -> None:
    async with world(mode, auth) as it:
        await it.advance(100)
        assert it.provider.asked == []
        assert it.clock.pending == 0


async def test_an_answer_closes_every_cell_long_before_the_cooldown_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "busbar.health")
    async with world() as it:
        await it.trip()
        it.provider.statuses["a"] = 200
        await it.advance(10)
        assert it.cell() == "closed"
        assert caplog.messages == ["a answers again: its breaker is closed in pool"]
        await it.advance(30)
        assert len(caplog.messages) == 1


async def test_a_failed_probe_before_the_cooldown_is_over_changes_nothing() -> None:
    async with world() as it:
        await it.trip()
        before = it.show()["cells"]["pool"]
        await it.advance(50)
        after = it.show()["cells"]["pool"]
        assert len(it.provider.asked) == 15
        assert after["cooldown_remaining_s"] == before["cooldown_remaining_s"] - 50
        assert (after["trips"], after["streak"]) == (1, 1)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_refusal_of_the_probe_itself_is_no_verdict(status: int) -> None:
    async with world() as it:
        await it.trip()
        it.provider.statuses["a"] = status
        await it.advance(30)
        assert it.cell() == "open"
        assert it.show()["inflight"] == 0
        await it.advance(1000)
        reply = it.directory.pools["pool"].ask(Route()).get()
        assert isinstance(reply, Assignment)
        assert reply.probe, "the place of the probe is free for a caller"
        reply.ref.tell(Release(permit=reply.permit))


async def test_there_is_never_a_second_probe_of_a_member() -> None:
    async with world() as it:
        it.provider.statuses = dict.fromkeys("abc", 0)
        await it.advance(50)
        assert sorted(model for _, model in it.provider.asked) == ["a", "b", "c"]
        assert it.directory.members["a"].ask(Examine()).get() is None
        assert it.provider.open == 3


async def test_stopping_gives_up_what_is_under_way_without_a_verdict() -> None:
    async with world() as it:
        it.provider.statuses["a"] = 0
        await it.advance(20)
        assert (it.provider.open, it.show()["inflight"]) == (1, 1)
        await it.prober.stop()
        assert (it.provider.open, it.show()["inflight"], it.cell()) == (0, 0, "closed")
        asked = len(it.provider.asked)
        await it.advance(50)
        assert len(it.provider.asked) == asked


async def test_a_probe_that_fails_unexpectedly_is_logged_and_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as it:
        it.provider.statuses["a"] = -1
        await it.advance(30)
        assert len([model for _, model in it.provider.asked if model == "a"]) in (2, 3)
        assert {record.getMessage() for record in caplog.records} == {"the probe of a failed unexpectedly"}
        assert it.show()["inflight"] == 0


async def test_a_member_without_a_free_slot_is_not_bothered() -> None:
    async with world() as it:
        busy = [it.directory.direct["b"].ask(Route()).get() for _ in range(20)]
        await it.advance(30)
        assert "b" not in {model for _, model in it.provider.asked}
        for assignment in busy:
            assignment.ref.tell(Release(permit=assignment.permit))
        await it.advance(10)
        assert "b" in {model for _, model in it.provider.asked}


async def test_a_member_that_is_no_more_is_passed_over() -> None:
    async with world() as it:
        dead = it.directory.members["c"]
        dead.stop()
        await it.advance(30)
        assert "c" not in {model for _, model in it.provider.asked}
        it.directory.members["c"] = it.directory.members["a"]  # nothing to look at any more
