"""The administration pages of a real gateway: the guard, the forms, and that what they say holds at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .world import Answer, World

TOKEN = {"x-admin-token": "operator"}
CHAT = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}


def governed(tmp_path: Path) -> str:
    settings = {"enabled": True, "db_path": str(tmp_path / "governance.db"), "admin_token": "${ADMIN}"}
    return yaml.safe_dump({"governance": settings})


class Office:
    """A governed world, and its operator."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def ask(self, method: str, path: str, body: Any = None, headers: Any = None) -> Answer:
        sent: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
        headers = TOKEN if headers is None else headers
        async with self.world.http.request(method, f"/admin/{path}", headers=headers, **sent) as response:
            return Answer(response.status, response.headers, await response.read())

    async def chat(self, secret: str) -> int:
        answer = await self.world.post("/v1/chat/completions", CHAT, {"authorization": f"Bearer {secret}"})
        return answer.status


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with World(config=governed(tmp_path), env={"ADMIN": "operator"}) as world:
        yield Office(world)


async def test_a_key_lives_from_its_creation_to_its_deletion(office: Office) -> None:
    made = await office.ask("POST", "keys", {"name": "dev", "allowed_pools": ["gpt"]})
    assert (made.status, made.headers["content-type"]) == (201, "application/json")
    assert made.headers["cache-control"] == "no-store"
    key = made.json()
    path, secret = f"keys/{key['id']}", key.pop("secret")
    assert await office.chat(secret) == 200
    assert (await office.ask("GET", "keys")).json() == {"keys": [key], "next": None}
    assert (await office.ask("PATCH", path, {"enabled": False})).json() == {**key, "enabled": False}
    assert await office.chat(secret) == 401
    assert (await office.ask("PATCH", path, {"enabled": True})).json() == key
    assert await office.chat(secret) == 200
    rotated = (await office.ask("POST", f"{path}/rotate")).json()
    assert (await office.chat(secret), await office.chat(rotated["secret"])) == (401, 200)
    assert (await office.ask("PATCH", path, {"allowed_pools": []})).status == 200
    assert await office.chat(rotated["secret"]) == 403
    deleted = await office.ask("DELETE", path)
    assert (deleted.status, deleted.body) == (204, b"")
    assert await office.chat(rotated["secret"]) == 401
    usage = (await office.ask("GET", f"{path}/usage?since=2020-01-01")).json()
    assert (usage["deleted"], usage["requests"], usage["models"][0]["model"]) == (True, 3, "gpt")
    assert usage["tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert usage["spend_nanodollars"] > 0


async def test_a_budget_of_a_group_holds_for_its_keys_at_once(office: Office) -> None:
    group = (await office.ask("POST", "groups", {"name": "research"})).json()
    key = (await office.ask("POST", "keys", {"name": "dev", "group": group["id"]})).json()
    assert await office.chat(key["secret"]) == 200
    assert (await office.ask("PATCH", f"groups/{group['id']}", {"max_budget_cents": 0})).status == 200
    assert await office.chat(key["secret"]) == 402
    assert (await office.ask("GET", f"groups/{group['id']}/usage")).json()["requests"] == 1
    assert (await office.ask("DELETE", f"groups/{group['id']}")).status == 409


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-admin-token": "operato"},
        {"x-admin-token": "operator2"},
        {"authorization": "Bearer nobody"},
        {"authorization": "operator"},
        {"x-api-key": "operator"},
    ],
)
async def test_without_the_admin_token_nothing_is_told_and_nothing_done(
    office: Office, headers: dict[str, str]
) -> None:
    for method, path in [("GET", "keys"), ("POST", "keys"), ("GET", "keys/vk_1"), ("DELETE", "groups/grp_1")]:
        refused = await office.ask(method, path, {"name": "a"} if method == "POST" else None, headers)
        assert (refused.status, refused.json()) == (
            401,
            {"error": {"message": "The admin token is missing or not valid."}},
        )
    assert (await office.ask("GET", "keys")).json()["keys"] == []


async def test_a_virtual_key_is_no_admin_token(office: Office) -> None:
    secret = (await office.ask("POST", "keys", {"name": "dev"})).json()["secret"]
    for headers in ({"x-admin-token": secret}, {"authorization": f"Bearer {secret}"}):
        assert (await office.ask("GET", "keys", headers=headers)).status == 401


async def test_either_header_holds_the_token(office: Office) -> None:
    assert (await office.ask("GET", "keys", headers={"authorization": "Bearer operator"})).status == 200


async def test_what_is_wrong_is_told_as_json(office: Office) -> None:
    wrong = await office.ask("POST", "keys", {"name": "a", "allowed_pools": ["gtp"]})
    message = "allowed_pools: no pool or model is called `gtp`, did you mean `gpt`?"
    assert (wrong.status, wrong.json()) == (400, {"error": {"message": message}})
    large = await office.ask("POST", "keys", b" " * 65_537)
    assert (large.status, large.json()) == (413, {"error": {"message": "The body is over 65536 bytes."}})
    method = await office.ask("POST", "keys/vk_1")
    assert (method.status, method.headers["allow"]) == (405, "GET, PATCH, DELETE")
    assert (await office.ask("PUT", "keys")).status == 405
    assert (await office.ask("GET", "keys/vk_1")).json() == {"error": {"message": "There is no such key."}}


async def test_keys_and_pairs_outlive_the_gateway(tmp_path: Path) -> None:
    env = {"ADMIN": "operator"}
    async with World(config=governed(tmp_path), env=env) as world:
        made = await Office(world).ask("POST", "keys", {"name": "dev", "rpm_limit": 7, "issue_aws_credential": True})
        key = made.json()
        assert await Office(world).chat(key["secret"]) == 200
    async with World(config=governed(tmp_path), env=env) as world:
        office = Office(world)
        told = {name: value for name, value in key.items() if "secret" not in name}
        assert (await office.ask("GET", f"keys/{key['id']}")).json() == told
        assert (await office.ask("GET", f"keys/{key['id']}/usage")).json()["requests"] == 1
        assert await office.chat(key["secret"]) == 200
        # Another pair is of the same seed.
        assert (await office.ask("POST", f"keys/{key['id']}/rotate")).status == 200


async def test_without_governance_there_are_no_such_pages() -> None:
    config = 'governance: {admin_token: "${ADMIN}"}'
    async with World(config=config, env={"ADMIN": "operator"}) as world:
        for path in ("keys", "keys/vk_1", "groups", "groups/grp_1/usage"):
            assert (await Office(world).ask("GET", path)).status == 404
