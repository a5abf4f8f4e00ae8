"""`/stats/stream`: what happens in the gateway reaches whoever watches, by itself."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from busbar.http import live
from busbar.http.live_patch import Picture, apply
from busbar.protocols.framing.sse import SseDecoder, SseEvent

from .governed import ADMIN, GovernedWorld
from .world import World

STREAM = "/stats/stream"
PAIR = """
pools:
  pool:
    breaker: {trip: {mode: consecutive, consecutive_n: 1}, base_cooldown_secs: 60}
    members: [{target: first, weight: 100}, {target: second}]
"""
PAIR_MODELS = {"first": "openai:fault-500", "second": "openai:demo"}


class Watcher:
    """Somebody who keeps a picture up to date with what the stream tells."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._chunks = answer.content.iter_any()
        self._decoder = SseDecoder()
        self._events: list[SseEvent] = []
        self.kinds: list[str] = []
        self.picture: Picture = {}

    async def next(self) -> Any:
        """What the next event says; None: the stream has ended."""
        while not self._events:
            data = await anext(self._chunks, None)
            if data is None:
                return None
            self._events = self._decoder.feed(data)
        event = self._events.pop(0)
        document = msgspec.json.decode(event.data)
        self.kinds.append(event.event)
        self.picture = document if event.event == "snapshot" else apply(self.picture, document)
        return document

    def cell(self, model: str) -> dict[str, Any]:
        """Of the member in the first pool."""
        members = {member["model"]: member for member in self.picture["pools"][0]["members"]}
        found: dict[str, Any] = members[model]["cell"]
        return found

    async def until_cell(self, model: str, state: str) -> None:
        while self.cell(model)["state"] != state:
            assert await self.next() is not None


@asynccontextmanager
async def watch(world: World, **headers: str) -> AsyncIterator[Watcher]:
    async with world.http.get(STREAM, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        watcher = Watcher(answer)
        await watcher.next()
        yield watcher


def question(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}]}


async def ask(world: World, model: str, headers: Mapping[str, str] | None = None) -> int:
    return (await world.post("/v1/chat/completions", question(model), headers)).status


async def until(world: World, status: int) -> None:
    """Until that is how somebody is answered who wants to watch."""
    answered = None
    while answered != status:
        async with world.http.get(STREAM) as answer:
            answered = answer.status


async def test_first_comes_the_whole_picture() -> None:
    async with World(PAIR_MODELS, PAIR) as world:
        await ask(world, "second")
        async with watch(world) as watcher:
            picture = dict(watcher.picture)
    assert watcher.kinds == ["snapshot"]
    closed = {"state": "closed", "streak": 0, "cooldown_remaining_s": 0, "probe_in_flight": False}
    assert picture["gateway"]["draining"] is False
    assert picture["pools"] == [
        {
            "name": "pool",
            "strategy": "weighted",
            "waiting": 0,
            "members": [
                {"model": model, "weight": weight, "excluded": False, "cell": closed}
                | {"availability": "available", "picks": 0}
                for model, weight in (("first", 100), ("second", 1))
            ],
        }
    ]
    assert picture["members"][1] == {
        "model": "second",
        "provider": "demo-openai",
        "protocol": "openai",
        "slots": 20,
        "busy": 0,
        "ok": 1,
        "err": 0,
        "client_fault": 0,
        "availability": "available",
        "cell": closed,
        "faults": [],
    }
    parents = {actor["name"]: actor["parent"] for actor in picture["actors"]}
    assert (parents["gateway"], parents["pool:pool"]) == (None, "gateway")
    assert [(line["pool"], line["member"], line["outcome"]) for line in picture["requests"]] == [
        ("second", "second", "ok")
    ]
    assert {"actor": "direct:second", "type": "Route"} in [
        {"actor": message["actor"], "type": message["type"]} for message in picture["messages"]
    ]
    assert len(picture["rates"]["history"]["requests_per_s"]) == 60
    assert picture["governance"] is None


async def test_a_tripped_member_is_seen_within_a_second() -> None:
    async with World(PAIR_MODELS, PAIR) as world, watch(world) as watcher:
        async with asyncio.timeout(1):
            assert await ask(world, "pool") == 200
            await watcher.until_cell("first", "open")
        cell = watcher.cell("first")
        assert (cell["streak"], cell["probe_in_flight"]) == (1, False)
        assert 30 < cell["cooldown_remaining_s"] == int(cell["cooldown_remaining_s"])
        assert {member["model"]: member["availability"] for member in watcher.picture["pools"][0]["members"]} == {
            "first": "breaker_open",
            "second": "available",
        }
        assert watcher.picture["requests"][0]["failovers"] == 1
        assert set(watcher.kinds[1:]) == {"change"}


async def test_nothing_is_sent_while_nothing_happens() -> None:
    """Not even that the actors are asked: what this page does itself is no traffic."""
    async with World() as world, watch(world) as watcher:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * live.TICK_SECS):
                await watcher.next()


async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECS", 0.05)
    async with World() as world, world.http.get(STREAM) as answer:
        assert await answer.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        assert (await answer.content.readuntil(b"\n\n")).startswith(b"id: 1\nevent: snapshot\n")
        assert await answer.content.readuntil(b"\n\n") == b": still here\n\n"


async def test_all_who_watch_see_the_same() -> None:
    async with World(PAIR_MODELS, PAIR) as world, watch(world) as one, watch(world) as other:
        await ask(world, "pool")
        async with asyncio.timeout(2):
            await one.until_cell("first", "open")
            await other.until_cell("first", "open")
        assert one.picture["requests"] == other.picture["requests"]


async def test_the_actors_are_asked_only_while_somebody_watches() -> None:
    async with World() as world:

        async def processed() -> int:
            actors = {actor["name"]: actor for actor in (await world.stats())["actors"]}
            count: int = actors["member:gpt"]["processed"]
            return count

        async with watch(world):
            before = await processed()
            await asyncio.sleep(3 * live.TICK_SECS)
            during = await processed()
        await asyncio.sleep(2 * live.TICK_SECS)
        left = await processed()
        await asyncio.sleep(3 * live.TICK_SECS)
        assert during > before + 1
        assert await processed() == left + 1


async def test_more_than_there_is_room_for_are_told_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SUBSCRIBERS_MAX", 1)
    async with World() as world:
        async with watch(world), world.http.get(STREAM) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        async with asyncio.timeout(5):
            await until(world, 200)


def flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes that no socket's buffers can hold for long."""
    monkeypatch.setattr(live, "TICK_SECS", 0.01)
    monkeypatch.setattr(live, "changes", lambda before, after: {"replace": {"now": "x" * (1 << 19)}})


@asynccontextmanager
async def sluggard(world: World) -> AsyncIterator[asyncio.StreamReader]:
    """One who asks, and reads next to nothing."""
    reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port, limit=1024)
    writer.write(f"GET {STREAM} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.transport.abort()


async def test_who_reads_slowly_misses_changes_and_gets_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    flood(monkeypatch)
    async with World() as world, sluggard(world) as reader, asyncio.timeout(20):
        heard = await reader.readuntil(b"event: snapshot")
        async with watch(world) as quick:
            while len(quick.kinds) < 40:
                await quick.next()
        while heard.count(b"event: snapshot") < 2:
            data = await reader.read(1 << 20)
            assert data
            heard += data
    numbers = [int(number) for number in re.findall(rb"\nid: (\d+)\n", heard)]
    missed = [(before, after) for before, after in itertools.pairwise(numbers) if after != before + 1]
    assert (numbers[0], len(missed)) == (1, 1)
    assert heard.rindex(b"id: %d" % missed[0][1]) < heard.rindex(b"event: snapshot")
    assert quick.kinds == ["snapshot", *["change"] * 39]


async def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    flood(monkeypatch)
    monkeypatch.setattr(live, "SUBSCRIBERS_MAX", 1)
    monkeypatch.setattr(live, "STALL_SECS", 0.5)
    async with World() as world, sluggard(world), asyncio.timeout(10):
        await until(world, 503)
        await until(world, 200)


async def test_it_is_guarded_like_the_state_itself(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key()
        for headers in ({}, {"authorization": f"Bearer {key.secret}"}):
            async with world.http.get(STREAM, headers=headers) as answer:
                assert answer.status == 401
        async with watch(world, **ADMIN):
            pass


async def test_what_keys_spend_is_seen(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        await world.key("idle")
        key = await world.key("dev", max_budget_cents=100, rpm_limit=10)
        async with watch(world, **ADMIN) as watcher, asyncio.timeout(5):
            assert [it["name"] for it in watcher.picture["governance"]["keys"]] == ["idle", "dev"]
            assert await ask(world, "gpt", {"authorization": f"Bearer {key.secret}"}) == 200
            while watcher.picture["governance"]["keys"][0]["name"] != "dev":
                assert await watcher.next() is not None
            shown = dict(watcher.picture["governance"]["keys"][0])
    assert shown.pop("spent_cents") > 0
    assert shown == {
        "id": key.id,
        "name": "dev",
        "enabled": True,
        "reserved_cents": 0,
        "limit_cents": 100,
        "period": "total",
        "resets_at": None,
        "rpm_used": 1,
        "rpm_limit": 10,
        "tpm_used": None,
        "tpm_limit": None,
    }
    assert key.secret not in msgspec.json.encode(watcher.picture).decode()


async def test_a_member_that_is_no_more_is_shown_dead() -> None:
    async with World(PAIR_MODELS, PAIR) as world, watch(world) as watcher:
        system = world.gateway.system
        members = {ref.name: ref for root in system.children() for ref in system.children(root)}
        await members["member:first"].stop()
        async with asyncio.timeout(2):
            while watcher.picture["members"][0]["availability"] != "dead":
                assert await watcher.next() is not None
        pool = watcher.picture["pools"][0]["members"]
        assert [(it["model"], it["availability"], it["cell"] is None) for it in pool] == [
            ("first", "dead", True),
            ("second", "available", False),
        ]
        assert "member:first" not in [actor["name"] for actor in watcher.picture["actors"]]


async def test_an_injected_fault_is_shown_and_so_is_its_end(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world, watch(world, **ADMIN) as watcher, asyncio.timeout(5):
        fault = {"member": "gpt", "kind": "429", "secs": 60}
        assert (await world.post("/admin/faults", fault, ADMIN)).status == 201
        while not watcher.picture["members"][1]["faults"]:
            assert await watcher.next() is not None
        assert watcher.picture["members"][1]["model"] == "gpt"
        assert watcher.picture["members"][1]["faults"] == [
            {"kind": "429", "secs": 60, "remaining_s": 60, "by": "admin"}
        ]
        async with world.http.delete("/admin/faults/gpt", headers=ADMIN) as answer:
            assert answer.status == 204
        while watcher.picture["members"][1]["faults"]:
            assert await watcher.next() is not None


async def test_it_ends_when_the_gateway_drains() -> None:
    async with World() as world, watch(world) as watcher:
        async with asyncio.timeout(2):
            await world.gateway.stop()
            while await watcher.next() is not None:
                pass
        assert watcher.picture["gateway"]["draining"] is True
