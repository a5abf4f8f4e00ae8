"""Administration of keys and groups over the real actors, on virtual time, with a store in memory."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from governance_world import TARIFF, Bank, charge

from busbar.actors.governance.keyring import secret_hash
from busbar.governance import minting
from busbar.governance.aws_pair import read_seed, secret_access_key, seed_path
from busbar.governance.pairs import AwsPairs
from busbar.http.administration import Administration, Answer
from busbar.testing import Kit

NOW = 1_767_225_600
"""When the kit's time begins: 2026-01-01."""

TODAY = "2026-01-01"


class Desk:
    """Administration, and the world that it is asked in."""

    def __init__(self, kit: Kit, database: Path, **options: Any) -> None:
        self.kit = kit
        self.bank = Bank(kit, **options)
        self.pairs = AwsPairs(database)
        self.administration = Administration(
            self.bank.governance, TARIFF, kit.clock, self.pairs, ("fast", "smart", "gpt-demo")
        )

    async def call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None, *, secs: float = 0
    ) -> Answer:
        """`secs`: so much time passes while it waits."""
        text = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        calling = asyncio.ensure_future(self.administration.call(method, f"/admin/{path}", query or {}, text))
        for _ in range(20):
            await asyncio.sleep(0)
            self.kit.advance(secs / 10)
        assert calling.done(), "it waits for something that does not come"
        return calling.result()

    async def told(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        answer = await self.call(method, path, body, query)
        assert answer.status in (200, 201, 204), answer
        return answer.document

    async def refused(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None, *, secs: float = 0
    ) -> tuple[int, str]:
        answer = await self.call(method, path, body, query, secs=secs)
        assert answer.document is not None
        assert set(answer.document) == {"error"}, answer
        return answer.status, answer.document["error"]["message"]

    async def key(self, **fields: Any) -> dict[str, Any]:
        document: dict[str, Any] = await self.told("POST", "keys", {"name": "dev", **fields})
        return document

    async def group(self, **fields: Any) -> str:
        return (await self.told("POST", "groups", {"name": "research", **fields}))["id"]

    async def use(self, key: dict[str, Any], *charges: Any) -> None:
        name = key["id"].removeprefix("vk_")
        self.bank.settle(name, self.bank.admitted(name), *charges)


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    with Kit() as kit:
        yield Desk(kit, tmp_path / "governance.db")


def plain(**fields: Any) -> dict[str, Any]:
    """A key's document, as it is when nothing was said."""
    return {
        "name": "dev",
        "group": None,
        "allowed_pools": None,
        "max_budget_cents": None,
        "budget_period": "total",
        "rpm_limit": None,
        "tpm_limit": None,
        "enabled": True,
        "expires_at": None,
        "created_at": NOW,
        "aws_access_key_id": None,
        **fields,
    }


# --- creation


async def test_a_new_key_is_told_with_its_secret_and_never_again(desk: Desk) -> None:
    made = await desk.key()
    assert made == plain(id=made["id"], secret=made["secret"])
    assert re.fullmatch(r"vk_[0-9a-f]{16}", made["id"])
    assert re.fullmatch(r"sk-bb-[0-9a-f]{64}", made["secret"])
    without = plain(id=made["id"])
    assert await desk.told("GET", f"keys/{made['id']}") == without
    assert await desk.told("GET", "keys") == {"keys": [without], "next": None}
    assert await desk.told("PATCH", f"keys/{made['id']}", {"name": "dev"}) == without


async def test_a_key_opens_the_door_from_its_creation_on_and_only_its_hash_is_kept(desk: Desk) -> None:
    made = await desk.key()
    found = desk.bank.keyring.find(made["secret"])
    assert found is not None
    assert (found.id, found.secret_hash) == (made["id"], secret_hash(made["secret"]))
    [batch] = desk.bank.store.commits
    assert batch.keys == {made["id"]: found}
    assert made["secret"].encode() not in msgspec.msgpack.encode(found)


async def test_all_that_a_key_has_can_be_said_at_its_creation(desk: Desk) -> None:
    group = await desk.group()
    said = {
        "name": "Ünïcode key",
        "group": group,
        "allowed_pools": ["fast", "gpt-demo", "fast"],
        "max_budget_cents": 500,
        "budget_period": "daily",
        "rpm_limit": 10,
        "tpm_limit": 1000,
        "enabled": False,
        "expires_at": NOW + 1,
    }
    made = await desk.key(**said)
    assert made == plain(**{**said, "allowed_pools": ["fast", "gpt-demo"]}, id=made["id"], secret=made["secret"])


async def test_no_pools_is_not_all_pools(desk: Desk) -> None:
    assert (await desk.key(allowed_pools=[]))["allowed_pools"] == []
    assert (await desk.key(allowed_pools=None))["allowed_pools"] is None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "The body: Object missing required field `name`"),
        ({"name": ""}, "name: Expected `str` of length >= 1"),
        ({"name": "x" * 201}, "name: Expected `str` of length <= 200"),
        ({"name": "a\nb"}, "name: only printable characters, of which one is not a space."),
        ({"name": "  "}, "name: only printable characters, of which one is not a space."),
        ({"name": 7}, "name: Expected `str`, got `int`"),
        ({"name": "a", "rpm_limt": 1}, "There is no field `rpm_limt`, did you mean `rpm_limit`?"),
        ({"name": "a", "secret_hash": "x"}, "There is no field `secret_hash`"),
        ({"name": "a", "max_budget_cents": -1}, "max_budget_cents: Expected `int` >= 0"),
        ({"name": "a", "max_budget_cents": 10**12 + 1}, "max_budget_cents: Expected `int` <= 1000000000000"),
        ({"name": "a", "max_budget_cents": 1.5}, "max_budget_cents: Expected `int | null`, got `float`"),
        (
            {"name": "a", "rpm_limit": 0},
            "rpm_limit: Expected `int` >= 1 (null is no limit; to let nothing through, disable the key or give it a"
            " budget of 0)",
        ),
        (
            {"name": "a", "tpm_limit": 10**9 + 1},
            "tpm_limit: Expected `int` <= 1000000000 (null is no limit; to let nothing through, disable the key or"
            " give it a budget of 0)",
        ),
        (
            {"name": "a", "budget_period": "weekly"},
            "budget_period: Invalid enum value 'weekly' (total, daily or monthly)",
        ),
        ({"name": "a", "expires_at": NOW}, "expires_at: Unix seconds in the future, or null: never."),
        (
            {"name": "a", "expires_at": "soon"},
            "expires_at: Expected `int | null`, got `str` (Unix seconds, or null: never)",
        ),
        (
            {"name": "a", "allowed_pools": ["fast", "samrt"]},
            "allowed_pools: no pool or model is called `samrt`, did you mean `smart`?",
        ),
        ({"name": "a", "allowed_pools": "fast"}, "allowed_pools: Expected `array | null`, got `str`"),
        ({"name": "a", "allowed_pools": ["fast", 1]}, "allowed_pools[1]: Expected `str`, got `int`"),
        ({"name": "a", "allowed_pools": ["fast"] * 1001}, "allowed_pools: Expected `array` of length <= 1000"),
        ({"name": "a", "enabled": "yes"}, "enabled: Expected `bool`, got `str`"),
        ({"name": "a", "group": "grp_none"}, "group: there is no group grp_none."),
        ([], "The body: Expected `object`, got `array`"),
        (b"", "The body is not JSON: Input data was truncated"),
        (
            b'{"name": "\xff"}',
            "The body is not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start",
        ),
        (b'{"name": ' + b"[" * 60_000, "name: Expected `str`, got `array`"),
        ({"name": "a", "x" * 2000: 1}, 'There is no field "' + "x" * 80 + '…"'),
    ],
)
async def test_a_key_that_is_not_as_it_should_be_is_not_made(desk: Desk, body: Any, complaint: str) -> None:
    status, text = await desk.refused("POST", "keys", body)
    assert (status, text[: len(complaint)]) == (400, complaint)
    assert len(text) <= 500
    assert await desk.told("GET", "keys") == {"keys": [], "next": None}


async def test_without_randomness_nothing_is_made(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await desk.key()

    def dry(_count: int) -> bytes:
        raise NotImplementedError

    monkeypatch.setattr(minting.secrets, "token_bytes", dry)
    text = "Nothing was changed: the operating system's random source does not answer."
    assert await desk.refused("POST", "keys", {"name": "a"}) == (503, text)
    assert await desk.refused("POST", "groups", {"name": "a"}) == (503, text)
    assert await desk.refused("POST", f"keys/{key['id']}/rotate") == (503, text)
    assert len((await desk.told("GET", "keys"))["keys"]) == 1
    assert desk.bank.keyring.find(key["secret"]) is not None


async def test_without_known_names_any_pool_may_be_allowed(desk: Desk) -> None:
    desk.administration = Administration(desk.bank.governance, TARIFF, desk.kit.clock, desk.pairs, None)
    assert (await desk.key(allowed_pools=["whatever"]))["allowed_pools"] == ["whatever"]


# --- a store that fails


async def test_a_key_that_could_not_be_recorded_in_time_is_taken_back(desk: Desk) -> None:
    desk.bank.store.fail("the disk is full")
    answer = await desk.refused("POST", "keys", {"name": "a"}, secs=4)
    assert answer == (
        503,
        "The key could not be recorded in time and was taken back: there is no new key.",
    )
    desk.bank.store.heal()
    desk.kit.advance(10)
    assert await desk.told("GET", "keys") == {"keys": [], "next": None}
    assert list(desk.bank.store.commits[-1].keys.values()) == [None]


async def test_a_caller_that_leaves_before_its_key_is_told_leaves_no_key_behind(desk: Desk) -> None:
    desk.bank.store.latency_secs = 1
    calling = asyncio.ensure_future(desk.administration.call("POST", "/admin/keys", {}, b'{"name": "a"}'))
    await asyncio.sleep(0)
    desk.kit.run()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    desk.kit.advance(5)
    desk.bank.store.latency_secs = 0
    assert await desk.told("GET", "keys") == {"keys": [], "next": None}


async def test_while_the_store_is_known_to_fail_keys_are_taken_away_but_none_are_made(desk: Desk) -> None:
    key = await desk.key()
    desk.bank.store.fail("the disk is full")
    await desk.refused("PATCH", f"keys/{key['id']}", {"name": "b"}, secs=4)
    unavailable = (503, "What there is cannot be read or recorded at the moment. Nothing was changed.")
    assert await desk.refused("POST", "keys", {"name": "a"}) == unavailable
    assert await desk.refused("POST", "groups", {"name": "a"}) == unavailable
    status, text = await desk.refused("DELETE", f"keys/{key['id']}", secs=4)
    assert (status, text) == (
        503,
        f"The key {key['id']} is deleted, but the store did not record it in time. It will be recorded as soon as the"
        " store works; a restart before that would undo it.",
    )
    assert desk.bank.keyring.find(key["secret"]) is None
    desk.bank.store.heal()
    desk.kit.advance(10)
    assert desk.bank.store.commits[-1].keys == {key["id"]: None}


async def test_a_change_that_is_not_recorded_in_time_holds_and_is_recorded_later(desk: Desk) -> None:
    key = await desk.key()
    desk.bank.store.fail("the disk is full")
    status, text = await desk.refused("PATCH", f"keys/{key['id']}", {"enabled": False}, secs=4)
    assert (status, text.split(".")[0]) == (
        503,
        f"The key {key['id']} is changed, but the store did not record it in time",
    )
    assert (await desk.told("GET", f"keys/{key['id']}"))["enabled"] is False
    desk.bank.store.heal()
    desk.kit.advance(10)
    recorded = desk.bank.store.commits[-1].keys[key["id"]]
    assert recorded is not None
    assert recorded.enabled is False


async def test_a_secret_that_is_not_recorded_is_not_given_out(desk: Desk) -> None:
    key = await desk.key()
    desk.bank.store.fail("the disk is full")
    status, text = await desk.refused("POST", f"keys/{key['id']}/rotate", secs=4)
    assert status == 503
    assert text.endswith("The old secret is worth nothing any more, and the new one is not given out: rotate again.")
    assert desk.bank.keyring.find(key["secret"]) is None


async def test_usage_that_cannot_be_read_is_an_error_and_not_zero(desk: Desk) -> None:
    key = await desk.key()
    desk.bank.store.fail("the disk is full")
    assert await desk.refused("GET", f"keys/{key['id']}/usage") == (
        503,
        "Usage cannot be read at the moment: the store does not answer.",
    )


async def test_before_the_store_has_told_what_there_is_nothing_can_be_said(tmp_path: Path) -> None:
    with Kit() as kit:
        desk = Desk(kit, tmp_path / "governance.db")
        desk.bank.governance.stop()
        kit.run()
        status, _ = await desk.refused("GET", "keys")
        assert status == 503


# --- changes


async def test_only_what_is_given_changes_and_null_takes_a_limit_away(desk: Desk) -> None:
    group = await desk.group()
    key = await desk.key(rpm_limit=5, max_budget_cents=7, group=group, allowed_pools=["fast"], expires_at=NOW + 9)
    path = f"keys/{key['id']}"
    told = plain(
        id=key["id"], rpm_limit=5, max_budget_cents=7, group=group, allowed_pools=["fast"], expires_at=NOW + 9
    )
    assert await desk.told("PATCH", path, {}) == told
    assert await desk.told("PATCH", path, {"tpm_limit": 3}) == {**told, "tpm_limit": 3}
    cleared = dict.fromkeys(("rpm_limit", "tpm_limit", "max_budget_cents", "group", "allowed_pools", "expires_at"))
    assert await desk.told("PATCH", path, cleared) == plain(id=key["id"])
    assert await desk.told("PATCH", path, {"allowed_pools": [], "budget_period": "monthly"}) == plain(
        id=key["id"], allowed_pools=[], budget_period="monthly"
    )


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"name": None}, "name: Expected `str`, got `null`"),
        ({"budget_period": None}, "budget_period: Expected `str`, got `null` (total, daily or monthly)"),
        ({"enabled": None}, "enabled: Expected `bool`, got `null`"),
        ({"id": "vk_other"}, "There is no field `id`"),
        ({"created_at": 1}, "There is no field `created_at`"),
        ({"rpm_limit": 0}, "rpm_limit: Expected `int` >= 1"),
        ({"allowed_pools": ["fats"]}, "allowed_pools: no pool or model is called `fats`, did you mean `fast`?"),
        ({"group": "grp_none"}, "group: there is no group grp_none."),
    ],
)
async def test_a_change_that_is_not_as_it_should_be_changes_nothing(desk: Desk, body: Any, complaint: str) -> None:
    key = await desk.key()
    status, text = await desk.refused("PATCH", f"keys/{key['id']}", {"tpm_limit": 1, **body})
    assert (status, text[: len(complaint)]) == (400, complaint)
    assert await desk.told("GET", f"keys/{key['id']}") == plain(id=key["id"])


async def test_a_disabled_key_is_refused_before_the_change_is_answered(desk: Desk) -> None:
    key = await desk.key()
    await desk.told("PATCH", f"keys/{key['id']}", {"enabled": False})
    found = desk.bank.keyring.find(key["secret"])
    assert found is not None
    assert found.enabled is False


async def test_a_deleted_key_is_gone_before_the_deletion_is_answered(desk: Desk) -> None:
    key = await desk.key()
    assert await desk.call("DELETE", f"keys/{key['id']}") == Answer(status=204)
    assert desk.bank.keyring.find(key["secret"]) is None
    assert await desk.refused("GET", f"keys/{key['id']}") == (404, "There is no such key.")
    assert (await desk.refused("DELETE", f"keys/{key['id']}"))[0] == 404
    assert (await desk.refused("PATCH", f"keys/{key['id']}", {"enabled": True}))[0] == 404
    assert (await desk.refused("POST", f"keys/{key['id']}/rotate"))[0] == 404


async def test_rotation_gives_another_secret_and_the_old_one_is_worth_nothing(desk: Desk) -> None:
    key = await desk.key(rpm_limit=3)
    rotated = await desk.told("POST", f"keys/{key['id']}/rotate")
    assert rotated == {**key, "secret": rotated["secret"]}
    assert rotated["secret"] != key["secret"]
    assert desk.bank.keyring.find(key["secret"]) is None
    found = desk.bank.keyring.find(rotated["secret"])
    assert found is not None
    assert found.id == key["id"]


# --- pairs


async def test_a_pair_is_told_once_and_its_secret_can_be_found_again(desk: Desk, tmp_path: Path) -> None:
    made = await desk.key(issue_aws_credential=True)
    access_key_id, secret = made["aws_access_key_id"], made["aws_secret_access_key"]
    seed = read_seed(seed_path(tmp_path / "governance.db"))
    assert seed is not None
    assert secret == secret_access_key(seed, access_key_id) == desk.pairs.secret(access_key_id)
    assert await desk.told("GET", f"keys/{made['id']}") == plain(id=made["id"], aws_access_key_id=access_key_id)
    found = desk.bank.keyring.find_aws(access_key_id)
    assert found is not None
    assert found.id == made["id"]


async def test_rotation_renews_a_pair_issues_one_or_takes_it_away(desk: Desk) -> None:
    key = await desk.key(issue_aws_credential=True)
    path = f"keys/{key['id']}/rotate"
    renewed = await desk.told("POST", path)
    assert renewed["aws_access_key_id"] not in (None, key["aws_access_key_id"])
    assert desk.bank.keyring.find_aws(key["aws_access_key_id"]) is None
    without = await desk.told("POST", path, {"issue_aws_credential": False})
    assert without == plain(id=key["id"], secret=without["secret"])
    assert desk.bank.keyring.find_aws(renewed["aws_access_key_id"]) is None
    assert "aws_secret_access_key" not in await desk.told("POST", path)
    assert "aws_secret_access_key" in await desk.told("POST", path, {"issue_aws_credential": True})


async def test_no_second_seed_is_made_while_pairs_of_a_lost_one_exist(desk: Desk, tmp_path: Path) -> None:
    key = await desk.key(issue_aws_credential=True)
    path = seed_path(tmp_path / "governance.db")
    path.rename(tmp_path / "kept")
    desk.administration = Administration(
        desk.bank.governance, TARIFF, desk.kit.clock, AwsPairs(tmp_path / "governance.db"), None
    )
    status, text = await desk.refused("POST", "keys", {"name": "b", "issue_aws_credential": True})
    assert (status, text) == (
        503,
        f"Nothing was changed: {path} is gone, and with it the secrets of all AWS pairs that were issued: restore it"
        " from a backup, or rotate each of their keys with issue_aws_credential: false.",
    )
    assert (await desk.refused("POST", f"keys/{key['id']}/rotate"))[0] == 503
    assert not path.exists()
    assert len((await desk.told("GET", "keys"))["keys"]) == 1
    (tmp_path / "kept").rename(path)
    assert (await desk.call("POST", "keys", {"name": "b", "issue_aws_credential": True})).status == 201


async def test_once_no_pairs_are_left_a_new_seed_may_be_made(desk: Desk, tmp_path: Path) -> None:
    key = await desk.key(issue_aws_credential=True)
    seed_path(tmp_path / "governance.db").unlink()
    desk.administration = Administration(
        desk.bank.governance, TARIFF, desk.kit.clock, AwsPairs(tmp_path / "governance.db"), None
    )
    await desk.told("POST", f"keys/{key['id']}/rotate", {"issue_aws_credential": False})
    assert "aws_secret_access_key" in await desk.key(issue_aws_credential=True)


# --- lists


async def test_pages_hold_every_key_once_and_the_last_one_says_so(desk: Desk) -> None:
    made = [(await desk.key(name=f"k{number}"))["id"] for number in range(5)]
    first = await desk.told("GET", "keys", query={"limit": "2"})
    second = await desk.told("GET", "keys", query={"limit": "2", "after": first["next"]})
    third = await desk.told("GET", "keys", query={"limit": "2", "after": second["next"]})
    assert [key["id"] for page in (first, second, third) for key in page["keys"]] == made
    assert [page["next"] for page in (first, second, third)] == [made[1], made[3], None]


async def test_the_keys_of_one_group_can_be_asked_for(desk: Desk) -> None:
    group = await desk.group()
    member = await desk.key(group=group)
    await desk.key()
    listed = await desk.told("GET", "keys", query={"group": group})
    assert ([key["id"] for key in listed["keys"]], listed["next"]) == ([member["id"]], None)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"limit": "0"}, "limit: a number from 1 to 1000."),
        ({"limit": "1001"}, "limit: a number from 1 to 1000."),
        ({"limit": "many"}, "limit: a number from 1 to 1000."),
        ({"limt": "1"}, "There is no parameter `limt` here, did you mean `limit`?"),
        ({"after": "vk_none"}, "after: there is no such key, or not any more: begin with the first page."),
    ],
)
async def test_a_page_that_cannot_be_is_refused(desk: Desk, query: dict[str, str], complaint: str) -> None:
    assert await desk.refused("GET", "keys", query=query) == (400, complaint)


# --- groups


async def test_groups_are_administered_like_keys(desk: Desk) -> None:
    top = await desk.told("POST", "groups", {"name": "all", "max_budget_cents": 900, "budget_period": "monthly"})
    assert re.fullmatch(r"grp_[0-9a-f]{16}", top["id"])
    assert top == {
        "id": top["id"],
        "name": "all",
        "parent": None,
        "max_budget_cents": 900,
        "budget_period": "monthly",
        "rpm_limit": None,
        "tpm_limit": None,
        "created_at": NOW,
    }
    below = await desk.told("POST", "groups", {"name": "some", "parent": top["id"]})
    assert await desk.told("GET", f"groups/{top['id']}") == top
    assert await desk.told("GET", "groups") == {"groups": [top, below], "next": None}
    assert await desk.told("GET", "groups", query={"limit": "1"}) == {"groups": [top], "next": top["id"]}
    assert await desk.told("PATCH", f"groups/{top['id']}", {"rpm_limit": 4}) == {**top, "rpm_limit": 4}
    assert (await desk.refused("PATCH", f"groups/{top['id']}", {"parent": below["id"]}))[0] == 400
    assert (await desk.refused("PATCH", f"groups/{top['id']}", {"enabled": False}))[0] == 400
    assert await desk.call("DELETE", f"groups/{below['id']}") == Answer(status=204)
    assert await desk.told("GET", "groups") == {"groups": [{**top, "rpm_limit": 4}], "next": None}


async def test_a_group_with_members_is_not_deleted(desk: Desk) -> None:
    group = await desk.group()
    key = await desk.key(group=group)
    assert await desk.refused("DELETE", f"groups/{group}") == (
        409,
        f"Keys belong to the group {group}: move or delete them first.",
    )
    await desk.told("PATCH", f"keys/{key['id']}", {"group": None})
    assert await desk.call("DELETE", f"groups/{group}") == Answer(status=204)


async def test_a_group_is_no_key_and_a_key_no_group(desk: Desk) -> None:
    group, key = await desk.group(), (await desk.key())["id"]
    for method, path in [
        ("GET", f"keys/{group}"),
        ("GET", f"keys/{group}/usage"),
        ("GET", f"groups/{key}"),
        ("GET", f"groups/{key}/usage"),
        ("DELETE", f"groups/{key}"),
        ("DELETE", f"keys/{group}"),
        ("POST", f"keys/{group}/rotate"),
    ]:
        assert (await desk.refused(method, path))[0] == 404, path


# --- usage

NOTHING = {
    "spend_cents": 0.0,
    "spend_nanodollars": 0,
    "tokens": 0,
    "requests": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_read_tokens": 0,
    "cache_write_tokens": 0,
    "cache_write_1h_tokens": 0,
    "reasoning_tokens": 0,
    "estimated_requests": 0,
}


async def test_a_key_that_was_never_used_has_used_nothing(desk: Desk) -> None:
    key = await desk.key()
    assert await desk.told("GET", f"keys/{key['id']}/usage") == {
        "id": key["id"],
        **NOTHING,
        "budget": None,
        "rate": {"requests_last_minute": None, "tokens_last_minute": None},
        "models": [],
        "days": [],
    }


async def test_usage_is_told_in_all_by_model_and_by_day_with_money_from_tokens(desk: Desk) -> None:
    group = await desk.group(max_budget_cents=1000)
    key = await desk.key(max_budget_cents=500, budget_period="daily", rpm_limit=9, group=group)
    kinds = {"input_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4, "reasoning_tokens": 1}
    await desk.use(key, charge(5, **kinds))
    desk.kit.advance(86_400)
    await desk.use(key, charge(1, model="other", estimated=True))
    first = {
        **NOTHING,
        "spend_cents": 14.0,
        "spend_nanodollars": 140_000_000,
        "tokens": 14,
        "requests": 1,
        "output_tokens": 5,
        **kinds,
    }
    second = {
        **NOTHING,
        "spend_cents": 1.0,
        "spend_nanodollars": 10_000_000,
        "tokens": 1,
        "requests": 1,
        "output_tokens": 1,
        "estimated_requests": 1,
    }
    both = {name: first[name] + second[name] for name in first}
    whole = {
        "id": key["id"],
        **both,
        "budget": {
            "period": "daily",
            "limit_cents": 500,
            "spent_cents": 1.0,
            "reserved_cents": 0.0,
            "resets_at": NOW + 2 * 86_400,
        },
        "rate": {"requests_last_minute": 1, "tokens_last_minute": None},
        "models": [{"model": "m", **first}, {"model": "other", **second}],
        "days": [{"day": TODAY, **first}, {"day": "2026-01-02", **second}],
    }
    path = f"keys/{key['id']}/usage"
    assert await desk.told("GET", path) == whole
    recent = await desk.told("GET", path, query={"since": "2026-01-02"})
    assert recent == {
        **whole,
        **second,
        "models": [{"model": "other", **second}],
        "days": [{"day": "2026-01-02", **second}],
    }
    of_group = await desk.told("GET", f"groups/{group}/usage")
    assert {name: of_group[name] for name in both} == both
    assert of_group["budget"]["spent_cents"] == 15.0


async def test_what_is_reserved_is_shown_beside_what_is_spent(desk: Desk) -> None:
    key = await desk.key(max_budget_cents=100)
    desk.bank.admitted(key["id"].removeprefix("vk_"), input_tokens=10, output_tokens=20)
    budget = (await desk.told("GET", f"keys/{key['id']}/usage"))["budget"]
    assert budget == {
        "period": "total",
        "limit_cents": 100,
        "spent_cents": 0.0,
        "reserved_cents": 30.0,
        "resets_at": None,
    }


async def test_the_usage_of_a_deleted_key_can_still_be_read(desk: Desk) -> None:
    key = await desk.key(max_budget_cents=100)
    await desk.use(key, charge(3))
    await desk.told("DELETE", f"keys/{key['id']}")
    path = f"keys/{key['id']}/usage"
    used = {**NOTHING, "spend_cents": 3.0, "spend_nanodollars": 30_000_000, "tokens": 3, "requests": 1}
    used["output_tokens"] = 3
    assert await desk.told("GET", path) == {
        "id": key["id"],
        **used,
        "deleted": True,
        "models": [{"model": "m", **used}],
        "days": [{"day": TODAY, **used}],
    }
    later = await desk.told("GET", path, query={"since": "2026-02-01"})
    assert later == {"id": key["id"], **NOTHING, "deleted": True, "models": [], "days": []}


async def test_the_usage_of_what_never_was_is_not_found(desk: Desk) -> None:
    assert await desk.refused("GET", "keys/vk_0000000000000000/usage") == (404, "There is no such key.")
    assert await desk.refused("GET", "groups/grp_0000000000000000/usage") == (404, "There is no such group.")


@pytest.mark.parametrize("since", ["yesterday", "2026-1-1", "2026-02-30", "20260101", "0000-00-00", "2026-W01-1"])
async def test_a_day_that_is_none_is_refused(desk: Desk, since: str) -> None:
    key = await desk.key()
    refused = await desk.refused("GET", f"keys/{key['id']}/usage", query={"since": since})
    assert refused == (400, "since: a day of UTC, as in 2026-01-31.")


# --- paths


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "keys", ("GET", "POST")),
        ("POST", "keys/vk_1", ("GET", "PATCH", "DELETE")),
        ("GET", "keys/vk_1/rotate", ("POST",)),
        ("POST", "keys/vk_1/usage", ("GET",)),
        ("DELETE", "groups", ("GET", "POST")),
        ("DELETE", "groups/grp_1/usage", ("GET",)),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_told_with_those_that_it_has(
    desk: Desk, method: str, path: str, allow: tuple[str, ...]
) -> None:
    answer = await desk.call(method, path)
    assert (answer.status, answer.allow) == (405, allow)


@pytest.mark.parametrize(
    "path", ["", "keys/", "keys//usage", "keys/a/b", "keys/a/usage/", "groups/grp_1/rotate", "key", "keys/%2e%2e"]
)
async def test_other_paths_are_not_found(desk: Desk, path: str) -> None:
    assert (await desk.refused("GET", path))[0] == 404


# --- the log


async def test_every_change_is_logged_once_and_no_secret_ever(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = await desk.key(issue_aws_credential=True, name="a name")
    group = await desk.group()
    await desk.told("PATCH", f"keys/{key['id']}", {"rpm_limit": 1, "group": group})
    rotated = await desk.told("POST", f"keys/{key['id']}/rotate")
    await desk.told("GET", f"keys/{key['id']}")
    await desk.refused("PATCH", f"keys/{key['id']}", {"rpm_limit": 0})
    await desk.refused("DELETE", f"groups/{group}")
    await desk.told("DELETE", f"keys/{key['id']}")
    lines = [record.getMessage() for record in caplog.records if record.name == "busbar.audit"]
    assert lines == [
        f"who=admin action=create id={key['id']} done",
        f"who=admin action=create id={group} done",
        f"who=admin action=change id={key['id']} fields=rpm_limit,group done",
        f"who=admin action=rotate id={key['id']} done",
        f"who=admin action=delete id={key['id']} done",
    ]
    secrets = [told[name] for told in (key, rotated) for name in ("secret", "aws_secret_access_key")]
    assert not [secret for secret in secrets if secret in caplog.text]


async def test_a_change_that_holds_unrecorded_is_logged_as_such(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "busbar.audit")
    key = await desk.key()
    desk.bank.store.fail("the disk is full")
    await desk.refused("DELETE", f"keys/{key['id']}", secs=4)
    assert caplog.messages[-1] == f"who=admin action=delete id={key['id']} unrecorded"
