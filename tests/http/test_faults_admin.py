"""The pages that break things: who may, what they take, what they answer. On a real socket, without a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from busbar.actors.faults import FaultBoard, Faults
from busbar.actors.runtime import ActorSystem, LoopRef
from busbar.config import Secret
from busbar.config.schema import LimitsConfig
from busbar.http.dispatch import Dispatch, Shift
from busbar.http.faults_admin import BODY_BYTES_MAX, FaultsAdmin
from busbar.http.front import Front
from busbar.http.routes import Routes
from busbar.protocols.registry import PROTOCOLS
from busbar.testing import VirtualClock

TOKEN = {"x-admin-token": "the-operators-own"}
FAULT = {"member": "a/b", "kind": "429", "secs": 60}
SHOWN = {**FAULT, "remaining_s": 60.0}


class Desk:
    """What the pages say, and what is in force. The clock stands still unless it is moved."""

    def __init__(self, http: aiohttp.ClientSession, faults: LoopRef, board: FaultBoard, clock: VirtualClock) -> None:
        self.http = http
        self.faults = faults
        self.board = board
        self.clock = clock

    async def call(
        self, method: str, path: str = "/admin/faults", body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, path, headers=named, **data) as response:
            return response.status, await response.json() if await response.read() else None

    @property
    def in_force(self) -> dict[str, str]:
        return {name: fault.kind for name, fault in self.board.in_force.items()}


@asynccontextmanager
async def desk(*, token: bool = True, open: bool = False) -> AsyncIterator[Desk]:  # noqa: A002
    clock, board, limits = VirtualClock(), FaultBoard(), LimitsConfig(body_timeout_secs=0.2)
    system = ActorSystem(clock=clock, register=False)
    faults = system.spawn(Faults, board, ("a/b", "c"), name="faults")
    admin = FaultsAdmin(
        Secret(TOKEN["x-admin-token"]) if token else None, faults, limits.body_timeout_secs, open=open
    )
    relay: Any = None  # no request here goes to a provider
    front = Front(Dispatch(Shift(relay, admin.pages, limits), Routes(PROTOCOLS.values())).handle, limits)
    host, port = await front.listen("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://{host}:{port}") as http:
            yield Desk(http, faults, board, clock)
    finally:
        await front.drain(0)
        await system.stop()


async def test_a_fault_is_injected_shown_and_lifted() -> None:
    async with desk() as here:
        assert await here.call("POST", body=FAULT, **TOKEN) == (201, {**SHOWN, "by": "admin"})
        assert here.in_force == {"a/b": "429"}
        here.clock.advance(12.5)
        shown = {**SHOWN, "remaining_s": 47.5, "by": "admin"}
        assert await here.call("GET", **TOKEN) == (200, {"faults": [shown]})
        assert await here.call("DELETE", "/admin/faults/a%2Fb", **TOKEN) == (204, None)
        assert here.in_force == {}
        assert await here.call("GET", **TOKEN) == (200, {"faults": []})


async def test_a_minute_is_what_it_lasts_when_nobody_says() -> None:
    async with desk() as here:
        _, shown = await here.call("POST", body={"member": "c", "kind": "freeze"}, **TOKEN)
        assert shown == {"member": "c", "kind": "freeze", "secs": 60, "remaining_s": 60.0, "by": "admin"}


@pytest.mark.parametrize("headers", [{}, {"x_admin_token": "wrong"}, {"authorization": "Bearer wrong"}])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/admin/faults"), ("GET", "/admin/faults"), ("DELETE", "/admin/faults/c")]
)
async def test_without_the_token_nothing_is_done_or_told(method: str, path: str, headers: dict[str, str]) -> None:
    async with desk() as here:
        await here.call("POST", body={"member": "c", "kind": "cut"}, **TOKEN)
        refused = {"error": {"message": "The admin token is missing or not valid."}}
        assert await here.call(method, path, FAULT, **headers) == (401, refused)
        assert here.in_force == {"c": "cut"}


async def test_without_a_configured_token_there_are_no_pages() -> None:
    async with desk(token=False) as here:
        for method, path in (("POST", "/admin/faults"), ("GET", "/admin/faults"), ("DELETE", "/admin/faults/c")):
            assert (await here.call(method, path, FAULT, **TOKEN))[0] == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({**FAULT, "kind": "503"}, "kind: Invalid enum value '503'"),
        ({**FAULT, "kind": 429}, "kind: Expected `str`, got `int`"),
        ({**FAULT, "secs": 0}, "secs: Expected `int` >= 1"),
        ({**FAULT, "secs": 3601}, "secs: Expected `int` <= 3600"),
        ({**FAULT, "secs": "60"}, "secs: Expected `int`, got `str`"),
        ({**FAULT, "by": "me"}, "There is no field `by`"),
        ({**FAULT, "second": 1}, "There is no field `second`, did you mean `secs`?"),
        ({"kind": "429"}, "The body: Object missing required field `member`"),
        ([], "The body: Expected `object`, got `array`"),
        (b"{", "The body is not JSON: Input data was truncated"),
        (b"", "The body is not JSON: Input data was truncated"),
    ],
)
async def test_a_body_that_is_not_what_it_should_be_is_refused_with_the_reason(body: Any, message: str) -> None:
    async with desk() as here:
        status, told = await here.call("POST", body=body, **TOKEN)
        assert (status, told["error"]["message"]) == (400, message)
        assert here.in_force == {}


async def test_who_is_not_there_has_no_faults_and_none_to_lift() -> None:
    async with desk() as here:
        status, told = await here.call("POST", body={**FAULT, "member": "nobody"}, **TOKEN)
        assert (status, told) == (404, {"error": {"message": "There is no member of this name."}})
        for member in ("c", "nobody", "%00", "c%2F..%2Fc"):
            status, told = await here.call("DELETE", f"/admin/faults/{member}", **TOKEN)
            assert (status, told) == (404, {"error": {"message": "There is no fault at this path."}})


async def test_a_body_over_the_bound_or_too_slow_is_not_read() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1)

    async with desk() as here:
        assert (await here.call("POST", body=b" " * (BODY_BYTES_MAX + 1), **TOKEN))[0] == 413
        async with here.http.post("/admin/faults", data=trickle(), headers=TOKEN) as response:
            assert response.status == 408


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/admin/faults", "GET, POST"), ("GET", "/admin/faults/c", "DELETE")],
)
async def test_other_methods_are_told_which_there_are(method: str, path: str, allowed: str) -> None:
    async with desk() as here, here.http.request(method, path, headers=TOKEN) as response:
        assert (response.status, response.headers["allow"]) == (405, allowed)


async def test_an_open_gateway_asks_for_no_token_and_serves_its_own_page() -> None:
    async with desk(token=False, open=True) as here:
        own = str(here.http._base_url).rstrip("/")
        assert await here.call("POST", body=FAULT) == (201, {**SHOWN, "by": "demo"})
        assert (await here.call("POST", body=FAULT, origin=own))[0] == 201
        assert (await here.call("GET"))[0] == 200
        assert (await here.call("DELETE", "/admin/faults/a%2Fb", origin=own))[0] == 204


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost"},
        {"origin": ""},
        {"host": "rebound.example", "origin": "http://rebound.example"},
        {"host": "rebound.example"},
        {"host": "localhost.elsewhere.example"},
    ],
    ids=str,
)
async def test_an_open_gateway_obeys_no_page_of_another_origin(headers: dict[str, str]) -> None:
    async with desk(token=False, open=True) as here:
        refused = {"error": {"message": "Pages of other origins may not do this."}}
        assert await here.call("POST", body=FAULT, **headers) == (403, refused)
        assert await here.call("GET", **headers) == (403, refused)
        assert here.in_force == {}


async def test_when_the_actor_is_dead_that_is_said() -> None:
    async with desk() as here:
        await here.faults.stop()
        told = {"error": {"message": "Faults cannot be injected or lifted at the moment."}}
        assert await here.call("POST", body=FAULT, **TOKEN) == (503, told)
        assert await here.call("GET", **TOKEN) == (503, told)
