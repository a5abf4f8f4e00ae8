"""The page asks whoever is there, and shows what those lost that hand telemetry on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from busbar.actors.gateway import Gateway, GatewayPlan, SinkPlan
from busbar.actors.member import MemberSpec
from busbar.actors.messages import Directory, Resolve, Snapshot
from busbar.actors.runtime import ActorSystem, LoopActor, LoopRef, Overflow, handles
from busbar.actors.telemetry import RequestsDone
from busbar.http.metrics_page import MetricsPage


class Outlet(LoopActor):
    """Loses what it is told to have lost."""

    overflow = Overflow.DROP

    def __init__(self, dropped: int, failed: int) -> None:
        super().__init__()
        self._lost = {"dropped": dropped, "failed": failed, "failures": 99, "waiting": 99}

    @handles(RequestsDone)
    def requests_done(self, _message: RequestsDone) -> None:
        pass

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, int]:
        return self._lost


class Here:
    def __init__(self) -> None:
        self.system = ActorSystem(register=False)
        plan = GatewayPlan(
            members=(MemberSpec(model="m", provider="p", protocol="openai"),),
            sinks=(SinkPlan(name="outlet", actor=Outlet, arguments=(3, 2)),),
        )
        self.root: LoopRef = self.system.spawn(Gateway, plan, name="gateway")

    async def page(self) -> MetricsPage:
        self.directory: Directory = await self.root.ask(Resolve())
        return MetricsPage(
            system=self.system, gateway=self.root, directory=self.directory, refusal=lambda _request: None
        )


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    here = Here()
    yield here
    await here.system.stop()


async def lines(page: MetricsPage, start: str) -> list[str]:
    answer = await page.metrics(make_mocked_request("GET", "/metrics"))
    assert answer.status == 200
    assert isinstance(answer.body, bytes)
    return [line for line in answer.body.decode().splitlines() if line.startswith(start)]


async def test_what_a_sink_lost_is_shown_beside_what_mailboxes_dropped(here: Here) -> None:
    page = await here.page()
    assert await lines(page, "busbar_telemetry_dropped_total") == [
        'busbar_telemetry_dropped_total{actor="outlet"} 5.0',
        'busbar_telemetry_dropped_total{actor="journal"} 0.0',
        'busbar_telemetry_dropped_total{actor="metrics"} 0.0',
    ]


async def test_a_member_that_is_no_more_is_shown_as_one_that_takes_nothing(here: Here) -> None:
    page = await here.page()
    await here.directory.members["m"].stop()
    assert await lines(page, "busbar_member_usable") == ['busbar_member_usable{lane="m"} 0.0']
    assert await lines(page, "busbar_breaker_state") == ['busbar_breaker_state{lane="m",pool="m"} 2.0']


async def test_a_sink_that_is_no_more_does_not_spoil_the_page(here: Here) -> None:
    page = await here.page()
    outlet = next(ref for ref in here.system.children(here.root) if ref.name == "outlet")
    await outlet.stop()
    assert len(await lines(page, "busbar_telemetry_dropped_total")) == 2


async def test_without_its_numbers_the_page_says_so(here: Here) -> None:
    page = await here.page()
    await here.directory.metrics.stop()
    answer = await page.metrics(make_mocked_request("GET", "/metrics"))
    assert (answer.status, answer.text) == (503, "the metrics cannot be read now\n")


async def test_who_is_refused_gets_no_numbers(here: Here) -> None:
    await here.page()
    page = MetricsPage(
        system=here.system,
        gateway=here.root,
        directory=here.directory,
        refusal=lambda _request: web.Response(status=401),
    )
    assert (await page.metrics(make_mocked_request("GET", "/metrics"))).status == 401


async def test_many_may_ask_at_once(here: Here) -> None:
    page = await here.page()
    pages = await asyncio.gather(*(lines(page, "busbar_build_info") for _ in range(20)))
    assert all(len(page) == 1 for page in pages)
