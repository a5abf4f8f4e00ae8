"""Supervision policies in a real gateway, and the operator's way back from what they did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from yarl import URL

from .asks import PATHS, ask
from .world import Answer, World

ADMIN = "governance: {admin_token: '${ADMIN}'}"
ENV = {"ADMIN": "token-of-the-operator"}
TOKEN = {"x-admin-token": "token-of-the-operator"}

NAPS = """
from busbar.actors.supervision import CellView, Directive, Outcome, Resume, SupervisionPolicy, Trip

class Naps(SupervisionPolicy):
    def __init__(self, secs: float = 1.0) -> None:
        self.secs = secs

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        return Resume() if outcome.failure is None else Trip(self.secs)
"""


def pool(supervision: str, *members: str) -> str:
    targets = ", ".join(f"{{target: {member}}}" for member in members or ("m",))
    return f"pools: {{pool: {{members: [{targets}], supervision: {supervision}}}}}\n"


def quarantined(model: str = "m") -> World:
    """A world with an admin token, whose only model's key is refused; once is enough."""
    policy = "{policy: quarantine, options: {failures: 1}}"
    return World({model: "openai:fault-401"}, pool(policy, f"'{model}'") + ADMIN, env=ENV)


async def spend(world: World, times: int = 1) -> int:
    """The status of the last of so many requests to the pool."""
    for _ in range(times):
        answer = await world.post(PATHS["openai"], ask("openai", "pool"))
    return answer.status


async def reinstate(
    world: World, model: str = "m", body: object = b"", headers: Mapping[str, str] | None = TOKEN
) -> Answer:
    return await world.post(f"/admin/members/{model}/reinstate", body, headers)


async def test_a_policy_of_a_module_judges_its_pool_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policies_of_an_operator.py").write_text(NAPS)
    monkeypatch.syspath_prepend(tmp_path)
    supervision = "{policy: 'policies_of_an_operator:Naps', options: {secs: 777}}"
    async with World({"m": "openai:fault-500"}, pool(supervision)) as world:
        assert await spend(world) == 500
        cells = (await world.member("m"))["cells"]
        assert (cells["pool"]["state"], cells["m"]["state"]) == ("open", "closed")
        assert 770 < cells["pool"]["cooldown_remaining_s"] <= 777


async def test_a_policy_of_an_entry_point_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policies_of_a_vendor.py").write_text(NAPS)
    info = tmp_path / "vendor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[busbar.supervision]\nnaps = policies_of_a_vendor:Naps\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with World({"m": "openai:fault-500"}, pool("naps")) as world:
        assert await spend(world) == 500
        assert (await world.member("m"))["cells"]["pool"]["state"] == "open"


async def test_adaptive_concurrency_gives_slots_up_when_the_provider_limits() -> None:
    models = {"m": "openai:fault-429"}
    async with World(models, pool("adaptive-concurrency"), model_keys={"m": "max_concurrent: 8"}) as world:
        assert await spend(world, 2) == 429
        member = await world.member("m")
        assert {name: cell["slots"] for name, cell in member["cells"].items()} == {"pool": 2, "m": 8}


async def test_quarantine_drains_and_an_operator_reinstates() -> None:
    async with quarantined() as world:
        assert await spend(world) == 502
        assert (await world.member("m"))["cells"]["pool"]["drained"] is True
        assert (await spend(world), len(world.providers.requests)) == (503, 1)
        answer = await reinstate(world)
        shown = answer.json()
        assert (answer.status, shown["model"], shown["availability"]) == (200, "m", "available")
        assert {name: cell["drained"] for name, cell in shown["cells"].items()} == {"pool": False, "m": False}
        assert (await spend(world), len(world.providers.requests)) == (502, 2)


async def test_reinstating_in_one_pool_leaves_the_others_as_they_are() -> None:
    async with quarantined() as world:
        await spend(world)
        assert (await reinstate(world, body={"pool": "m"})).status == 200
        assert (await world.member("m"))["cells"]["pool"]["drained"] is True
        assert (await reinstate(world, body={"pool": "pool"})).status == 200
        assert (await world.member("m"))["cells"]["pool"]["drained"] is False


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("team/m", "team/m"),
        ("team/m", "team%2Fm"),
        ("m:1@eu", "m%3A1@eu"),
        ("a%2Fb", "a%252Fb"),
        ("x/reinstate", "x/reinstate"),
        ("größe", "gr%C3%B6%C3%9Fe"),
    ],
)
async def test_any_name_of_a_model_can_be_written_in_the_path(model: str, written: str) -> None:
    async with quarantined(model) as world:
        await spend(world)
        url = f"{world.gateway.url}/admin/members/{written}/reinstate"
        async with world.http.post(URL(url, encoded=True), headers=TOKEN) as response:
            assert (response.status, (await response.json())["model"]) == (200, model)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer token-of-the-operator"},
        {"Authorization": "bearer token-of-the-operator"},
        {"x-admin-token": "token-of-the-operator", "authorization": "Bearer another"},
    ],
)
async def test_the_token_may_come_in_either_header(headers: dict[str, str]) -> None:
    async with quarantined() as world:
        assert (await reinstate(world, headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer token-of-the-operato"},
        {"x-admin-token": "Bearer token-of-the-operator"},
        {"x-admin-token": ""},
        {"x-admin-token": "\udcff"},
        {"x-api-key": "token-of-the-operator"},
    ],
)
async def test_without_the_token_nothing_is_told_and_nothing_changes(headers: dict[str, str]) -> None:
    async with quarantined() as world:
        await spend(world)
        encodable = {
            name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in headers.items()
        }
        for model in ("m", "nobody"):
            answer = await reinstate(world, model, headers=encodable)
            assert (answer.status, answer.json()) == (
                401,
                {"error": {"message": "The admin token is missing or not valid."}},
            )
        assert (await world.member("m"))["cells"]["pool"]["drained"] is True


async def test_without_a_configured_token_there_is_no_such_route() -> None:
    async with World({"m": "openai:demo"}) as world:
        answer = await reinstate(world)
        assert answer.status == (await world.post("/admin/nothing", b"")).status == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/admin/members/nobody/reinstate", b"", 404, "There is no member at this path."),
        ("/admin/members/pool/reinstate", b"", 404, "There is no member at this path."),
        ("/admin/members/m", b"", 404, "There is no member at this path."),
        ("/admin/members/m/reinstated", b"", 404, "There is no member at this path."),
        ("/admin/members/m/reinstate", {"pool": "other"}, 404, "The member is in no pool of this name."),
        ("/admin/members/m/reinstate", {"pool": 5}, 400, "The body is not what it should be: "),
        ("/admin/members/m/reinstate", {"pol": "p"}, 400, "The body is not what it should be: "),
        ("/admin/members/m/reinstate", b"{", 400, "The body is not what it should be: "),
        ("/admin/members/m/reinstate", b" " * 70_000, 400, "The body is too large, or too slow to come."),
    ],
)
async def test_mistakes_are_told(path: str, body: object, status: int, message: str) -> None:
    async with quarantined() as world:
        answer = await world.post(path, body, TOKEN)
        assert answer.status == status
        assert answer.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/admin/members/m/reinstate", 405),
    ("POST", "/admin/members/", 404),
    ("POST", "/admin/members", 404),
])  # fmt: skip
async def test_only_what_is_beneath_the_prefix_is_the_page_and_only_by_its_method(
    method: str, path: str, status: int
) -> None:
    async with quarantined() as world, world.http.request(method, path, headers=TOKEN) as response:
        assert (response.status, response.headers.get("allow")) == (status, "POST" if status == 405 else None)
        assert await response.read()


async def test_a_body_that_trickles_is_cut_off() -> None:
    config = pool("quarantine") + ADMIN + "\nlimits: {body_timeout_secs: 0.05}\n"
    async with World({"m": "openai:demo"}, config, env=ENV) as world:
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
        head = "POST /admin/members/m/reinstate HTTP/1.1\r\nhost: x\r\nx-admin-token: token-of-the-operator\r\n"
        writer.write(f"{head}content-length: 9\r\n\r\n{{".encode())
        status = await reader.readline()
        writer.close()
        assert status == b"HTTP/1.1 400 Bad Request\r\n"
