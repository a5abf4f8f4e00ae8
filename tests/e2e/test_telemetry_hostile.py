"""What must never come of telemetry: that it ends serving, or repeats what it should not."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from busbar.actors.faults import Lift
from busbar.actors.tallies import Relabel
from busbar.actors.telemetry import RequestDone, RequestsDone

from .governed import ADMIN, GovernedWorld
from .world import World

PATH = "/v1/chat/completions"
ASK = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}


DEADLY = {
    "metrics": Relabel(None),  # type: ignore[arg-type]
    "journal": RequestsDone(None),  # type: ignore[arg-type]
    "request-log:file": RequestsDone(None),  # type: ignore[arg-type]
    "faults": Lift(member=[], by=""),  # type: ignore[arg-type]
}
"""Messages that kill their receivers."""


async def test_an_actor_that_only_tells_may_crash_as_often_as_it_likes(tmp_path: Path) -> None:
    config = f"observability: {{request_log_file: '{tmp_path / 'log'}'}}"
    async with World(config=config) as world:
        (root,) = world.gateway.system.children()
        named = {ref.name: ref for ref in world.gateway.system.children(root)}
        for name, message in DEADLY.items():
            for _ in range(20):
                named[name].tell(message)
        assert (await world.post(PATH, ASK)).status == 200
        actors = {actor["name"]: actor for actor in (await world.stats())["actors"]}
        assert {name: actors[name]["restarts"] for name in DEADLY} == dict.fromkeys(DEADLY, 20)
        assert actors["gateway"]["restarts"] == 0


async def test_names_of_fields_that_a_caller_invents_are_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="busbar")
    evil = {"my password is hunter2": 1, "x" * 100_000: 2, "plain_name": 3}
    async with World() as world:
        await world.post(PATH, {**ASK, "model": "claude", **evil})
        dropped = (await world.stats())["metrics"]["dropped_fields"]
        assert "plain_name" in dropped
        assert "plain_name" in caplog.text
        assert "hunter2" not in caplog.text + str(dropped)
        assert max(map(len, dropped)) <= 200


async def test_who_left_before_anything_was_said_is_noted_as_such() -> None:
    async with World({"gpt": "openai:demo-fault-hang"}) as world:
        asking = asyncio.ensure_future(world.post(PATH, ASK))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await world.providers.until(lambda: world.providers.open_requests == 0)
        async with asyncio.timeout(5):
            while True:
                async with world.http.get("/stats/requests") as response:
                    found = (await response.json())["requests"]
                if found:
                    break
                await asyncio.sleep(0.01)
        assert (found[0]["outcome"], found[0]["status"]) == ("cancelled", 499)


async def test_keys_are_shown_to_operators_only_however_open_the_pages_are(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, config="auth: {open_telemetry_routes: true}") as world:
        await world.key("payroll")
        for headers, status in (({}, 401), (ADMIN, 200)):
            async with world.http.get("/stats/stream", headers=headers) as response:
                assert response.status == status
        async with world.http.get("/metrics") as response:
            assert response.status == 200


def test_a_request_is_told_of_without_any_of_its_words() -> None:
    """What the tap and a crash's log line would show of the message."""
    fields = set(RequestDone.__struct_fields__)
    assert not fields & {"body", "prompt", "messages", "answer", "key", "secret"}
