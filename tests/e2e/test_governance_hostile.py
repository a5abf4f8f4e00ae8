"""What callers may try against governance, and what must not come of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from .governed import ADMIN, GovernedWorld, Key

PATH = "/v1/chat/completions"


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}], **more}


def bearer(key: Key) -> dict[str, str]:
    return {"authorization": f"Bearer {key.secret}"}


async def test_a_request_for_absurdly_much_closes_no_door_for_others(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        greedy, modest = await world.key(rpm_limit=1000), await world.key()
        absurd = ask(max_tokens=10**9, n=10**9)
        await asyncio.gather(*(world.post(PATH, absurd, bearer(greedy)) for _ in range(30)))
        assert (await world.post(PATH, ask(), bearer(modest))).status == 200
        assert (await world.stats())["governance"]["store_ok"]


@pytest.mark.parametrize("maximum", [100_000, 10**9, 2 * 10**9, 10**30, 1e12, "100000"])
async def test_asking_for_more_never_reserves_less(maximum: object, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key(max_budget_cents=2)  # a hundred thousand tokens of output cost 40
        refused = await world.post(PATH, ask(max_tokens=maximum), bearer(key))
        assert (refused.status, len(world.providers.requests)) == (402, 0)


async def test_a_forged_signature_learns_nothing_of_a_key(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key(allowed_pools=["gpt"])
        day = time.strftime("%Y%m%d", time.gmtime())
        credential = f"{key.document['aws_access_key_id']}/{day}/eu-central-1/bedrock/aws4_request"
        forged = {
            "authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, "
            f"Signature={'0' * 64}",
            "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        }
        answers = []
        for enabled in (True, False):
            await world.change(key, enabled=enabled)
            async with world.http.get("/v1/models", headers=forged) as response:
                assert response.status in (401, 403)
                listed = await response.text()
            asked = await world.post(PATH, ask(), forged)
            answers.append((listed.replace(listed[-60:], ""), asked.status, b"disabled" in asked.body))
        assert answers[0][1:] == answers[1][1:] == (401, False)
        assert "gpt" not in answers[0][0]


async def test_a_key_that_expires_is_refused_from_then_on(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key(expires_at=int(time.time()) + 3600)
        assert (await world.post(PATH, ask(), bearer(key))).status == 200
        assert (await world.post("/admin/keys", {"name": "a", "expires_at": int(time.time())}, ADMIN)).status == 400


async def test_a_virtual_key_may_come_in_any_carrier_and_beside_a_wrong_one(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key()
        for headers, query in (
            ({"authorization": f"Bearer {key.secret}"}, ""),
            ({"x-api-key": key.secret}, ""),
            ({"api-key": key.secret}, ""),
            ({"x-goog-api-key": key.secret}, ""),
            ({}, f"?key={key.secret}"),
            ({"authorization": "Bearer nonsense", "x-api-key": key.secret}, ""),
        ):
            assert (await world.post(PATH + query, ask(), headers)).status == 200
        assert (await world.usage(key))["requests"] == 6


async def test_no_secret_is_in_what_operators_look_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with GovernedWorld(tmp_path) as world:
        key = await world.key()
        async with world.http.post(f"/admin/keys/{key.id}/rotate", headers=ADMIN) as response:
            rotated = await response.json()
        await world.post(f"{PATH}?key={rotated['secret']}", ask())
        await world.post(PATH, ask(), bearer(key))
        seen = [caplog.text, repr(await world.stats())]
        seen += [repr(entry) for entry in world.gateway.system.tap.entries()]
        async with world.http.get("/stats/requests", headers=ADMIN) as response:
            seen.append(await response.text())
        shown = "\n".join(seen)
        for document in (key.document, rotated):
            for secret in (document["secret"], document["aws_secret_access_key"]):
                assert secret not in shown
                assert secret.removeprefix("sk-bb-") not in shown
        assert "the-operators-own" not in shown


async def test_who_leaves_before_there_is_a_connection_pays_nothing(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # nobody accepts: whoever comes next waits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        await _leave_while_connecting(tmp_path, url)


async def _leave_while_connecting(tmp_path: Path, url: str) -> None:
    async with GovernedWorld(tmp_path, provider_keys={"demo-openai": f"base_url: '{url}'"}) as world:
        key = await world.key(max_budget_cents=100)
        asking = asyncio.ensure_future(world.post(PATH, ask(), bearer(key)))
        async with asyncio.timeout(5):
            while (await world.stats())["governance"]["reservations"] == 0:
                await asyncio.sleep(0.005)
        asking.cancel()
        async with asyncio.timeout(5):
            while (await world.stats())["governance"]["reservations"]:
                await asyncio.sleep(0.005)
        assert await world.tokens(key) == (0, 0, 0, 0)


async def test_a_token_limit_of_a_group_holds_for_all_its_keys_together(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        team = await world.group("team", tpm_limit=5000)
        first, second = await world.key("a", group=team), await world.key("b", group=team)
        assert (await world.post(PATH, ask(max_tokens=4900), bearer(first))).status == 200
        assert (await world.post(PATH, ask(max_tokens=4900), bearer(second))).status == 200  # corrected by then
        refused = await world.post(PATH, ask(max_tokens=5000), bearer(second))
        assert (refused.status, refused.headers["x-should-retry"]) == (429, "false")
        assert b'The group \\"team\\" is over its limit of 5000 tokens per minute' in refused.body
