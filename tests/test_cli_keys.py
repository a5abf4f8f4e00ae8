"""`busbar keys` and `busbar groups`, as a user's shell sees them: on a database, and against a running gateway."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from e2e.world import World

from busbar.cli import main, parser, scope_options
from busbar.governance.aws_pair import read_seed, secret_access_key, seed_path
from busbar.store import SqliteStore

ONCE = "The secret is shown this once, and kept nowhere: take it now.\n"

CONFIG = """
listen: "127.0.0.1:0"
providers: {mine: {protocol: openai, base_url: "http://127.0.0.1:9", auth: none}}
models: {fast: {provider: mine}}
"""


class Shell:
    """Runs commands where `where` says, and reads what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *where: str) -> None:
        self._capsys = capsys
        self._where = where

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        code = main([*command.split(), *self._where, *arguments])
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err

    def json(self, command: str, *arguments: str) -> Any:
        code, out, err = self.run(command, *arguments, "--json")
        assert code == 0, err
        return msgspec.json.decode(out)

    def text(self, command: str, *arguments: str) -> str:
        code, out, err = self.run(command, *arguments)
        assert (code, err.removesuffix(ONCE)) == (0, "")
        return out


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "governance.db"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], database: Path) -> Shell:
    return Shell(capsys, "--db", str(database))


# --- on the database of a gateway that is off


def test_a_key_is_made_shown_changed_and_deleted(shell: Shell) -> None:
    made = shell.json("keys create", "--name", "dev", "--budget", "$5.00", "--period", "daily", "--pool", "fast")
    secret = made.pop("secret")
    assert re.fullmatch(r"sk-bb-[0-9a-f]{64}", secret)
    assert made == {
        "id": made["id"],
        "name": "dev",
        "group": None,
        "allowed_pools": ["fast"],
        "max_budget_cents": 500,
        "budget_period": "daily",
        "rpm_limit": None,
        "tpm_limit": None,
        "enabled": True,
        "expires_at": None,
        "created_at": made["created_at"],
        "aws_access_key_id": None,
    }
    assert shell.json("keys show", made["id"]) == made
    changed = {**made, "max_budget_cents": None, "rpm_limit": 9, "allowed_pools": None}
    assert shell.json("keys update", made["id"], "--budget", "none", "--rpm", "9", "--all-pools") == changed
    assert shell.json("keys disable", made["id"]) == {**changed, "enabled": False}
    assert shell.json("keys list") == {"keys": [{**changed, "enabled": False}]}
    assert shell.json("keys enable", made["id"]) == changed
    rotated = shell.json("keys rotate", made["id"])
    assert rotated == {**changed, "secret": rotated["secret"]}
    assert rotated["secret"] != secret
    assert shell.json("keys delete", made["id"]) == {"id": made["id"], "deleted": True}
    assert shell.json("keys list") == {"keys": []}


def test_a_secret_is_printed_once_with_a_line_that_says_so(shell: Shell, database: Path) -> None:
    code, out, err = shell.run("keys create", "--name", "dev", "--aws")
    assert (code, err) == (0, ONCE)
    fields = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert fields["secret"].startswith("sk-bb-")
    seed = read_seed(seed_path(database))
    assert seed is not None
    assert fields["aws_secret_access_key"] == secret_access_key(seed, fields["aws_access_key_id"])
    assert shell.text("keys rotate", fields["id"], "--no-aws").count("sk-bb-") == 1
    for command in ("keys list", f"keys show {fields['id']}", f"keys disable {fields['id']}"):
        assert "sk-bb-" not in shell.text(command)


def test_keys_and_groups_are_tables(shell: Shell) -> None:
    group = shell.json("groups create", "--name", "research", "--budget-cents", "12345", "--period", "monthly")["id"]
    below = shell.json("groups create", "--name", "lab", "--parent", group)["id"]
    key = shell.json("keys create", "--name", "dev", "--group", group, "--rpm", "60", "--no-pools")["id"]
    expires = "2100-01-01T00:00:00Z"
    assert shell.text("keys update", key, "--expires", "2100-01-01", "--name", "prod").splitlines()[:4] == [
        f"id                 {key}",
        "name               prod",
        f"group              {group}",
        "allowed_pools      none",
    ]
    assert shell.text("keys list").splitlines() == [
        "ID                   NAME  STATE    GROUP                 BUDGET  RPM  TPM  POOLS  EXPIRES",
        f"{key}  prod  enabled  {group}  -        60  -    none   {expires}",
    ]
    assert sorted(shell.text("groups list").splitlines()[1:]) == sorted(
        [
            f"{group}  research  -                     $123.45 monthly  -    -",
            f"{below}  lab       {group}  -                -    -",
        ]
    )
    assert shell.json("keys list", "--group", below) == {"keys": []}
    assert shell.run("groups delete", group) == (
        1,
        "",
        f"Keys belong to the group {group}: move or delete them first.\n",
    )
    assert shell.json("groups update", below, "--parent", "none")["parent"] is None
    assert shell.text("groups delete", below) == f"{below} is deleted\n"
    assert shell.json("groups show", group)["name"] == "research"


def test_a_refusal_is_exit_code_1_with_its_reason(shell: Shell) -> None:
    shell.json("keys create", "--name", "dev")
    assert shell.run("keys show", "vk_none") == (1, "", "There is no such key.\n")
    assert shell.run("keys show", "../groups?x=1") == (1, "", "There is no such key.\n")
    code, out, err = shell.run("keys create", "--name", "dev", "--rpm", "0")
    assert (code, out, err[:30]) == (1, "", "rpm_limit: Expected `int` >= 1")


def test_a_database_that_is_not_there_is_made_by_creation_only(shell: Shell, database: Path) -> None:
    for command in ("keys list", "keys show vk_1", "groups list"):
        assert shell.run(command) == (2, "", f"{database} does not exist\n")
    assert not database.exists()


def test_a_database_in_use_says_to_ask_the_gateway(shell: Shell, database: Path) -> None:
    shell.json("keys create", "--name", "dev")
    store = SqliteStore.open(database, durable=True)
    try:
        code, out, err = shell.run("keys list")
    finally:
        store.close()
    assert (code, out) == (2, "")
    assert err == f"{database} is in use by another process: ask the gateway that runs on it, with --url\n"


def test_a_file_that_is_no_database_is_left_alone(shell: Shell, database: Path) -> None:
    database.write_text("something else" * 100)
    code, _, err = shell.run("keys list")
    assert (code, str(database) in err) == (2, True)
    assert database.read_text() == "something else" * 100


def test_the_configuration_names_the_database_the_pools_and_the_prices(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, database: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG + yaml.safe_dump({"governance": {"db_path": str(database)}}))
    shell = Shell(capsys, "--config", str(file))
    key = shell.json("keys create", "--name", "dev", "--pool", "fast")["id"]
    assert shell.run("keys create", "--name", "dev", "--pool", "fats") == (
        1,
        "",
        "allowed_pools: no pool or model is called `fats`, did you mean `fast`?\n",
    )
    assert shell.json("keys usage", key)["requests"] == 0
    assert Shell(capsys, "--db", str(database)).json("keys show", key)["name"] == "dev"
    assert Shell(capsys, "--db", str(database)).run("keys usage", key) == (
        2,
        "",
        "usage is priced by the configuration: name it with --config\n",
    )


def test_a_configuration_with_errors_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("listen: nowhere\n")
    code, _, err = Shell(capsys, "--config", str(file)).run("keys list")
    assert (code, "listen" in err) == (1, True)


# --- against a running gateway


async def test_a_running_gateway_is_asked_by_its_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUSBAR_ADMIN_TOKEN", "operator")
    settings = {"enabled": True, "db_path": str(tmp_path / "governance.db"), "admin_token": "${ADMIN}"}
    settings["price_per_request_cents"] = 2
    async with World(config=yaml.safe_dump({"governance": settings}), env={"ADMIN": "operator"}) as world:
        monkeypatch.setenv("BUSBAR_URL", f"{world.gateway.url}/")
        shell = Shell(capsys)
        key = await asyncio.to_thread(
            shell.json, "keys create", "--name", "dev", "--budget", "1", "--pool", "gpt", "--rpm", "5"
        )
        chat = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
        answer = await world.post("/v1/chat/completions", chat, {"authorization": f"Bearer {key['secret']}"})
        assert answer.status == 200
        used = answer.json()["usage"]
        usage = await asyncio.to_thread(shell.text, "keys usage", key["id"])
        today = datetime.now(UTC).date().isoformat()
        sums = f"$0.02         1{used['prompt_tokens']:>7}{used['completion_tokens']:>8}           0            0"
        assert usage.splitlines() == [
            f"{key['id']}: $0.02, 1 requests (0 estimated), {used['total_tokens']} tokens",
            "budget total: $0.02 of $1.00 spent, $0.00 reserved; resets never",
            "requests in the last minute: 1",
            "",
            "MODEL  SPEND  REQUESTS  INPUT  OUTPUT  CACHE READ  CACHE WRITE  REASONING",
            f"gpt    {sums}          0",
            "",
            "DAY         SPEND  REQUESTS  INPUT  OUTPUT  CACHE READ  CACHE WRITE  REASONING",
            f"{today}  {sums}          0",
        ]
        listed = await asyncio.to_thread(shell.json, "keys list")
        assert [each["id"] for each in listed["keys"]] == [key["id"]]
        assert await asyncio.to_thread(shell.json, "keys delete", key["id"]) == {"id": key["id"], "deleted": True}
        gone = await asyncio.to_thread(shell.json, "keys usage", key["id"], "--since", "1d")
        assert (gone["deleted"], gone["requests"]) == (True, 1)
        wrong = await asyncio.to_thread(shell.run, "keys list", "--admin-token", "wrong")
        assert wrong == (1, "", "The admin token is missing or not valid.\n")
        busy = await asyncio.to_thread(Shell(capsys, "--db", str(settings["db_path"])).run, "keys list")
        assert (busy[0], "ask the gateway that runs on it, with --url" in busy[2]) == (2, True)


async def test_all_pages_are_turned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("busbar.cli.scope_verbs.PAGE", 2)
    shell = Shell(capsys, "--db", str(tmp_path / "governance.db"))
    made = [(await asyncio.to_thread(shell.json, "groups create", "--name", f"g{n}"))["id"] for n in range(5)]
    listed = await asyncio.to_thread(shell.json, "groups list")
    assert sorted(group["id"] for group in listed["groups"]) == sorted(made)


async def test_a_gateway_without_governance_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async with World() as world:
        shell = Shell(capsys, "--url", world.gateway.url, "--admin-token", "operator")
        assert await asyncio.to_thread(shell.run, "keys list") == (
            1,
            "",
            f"{world.gateway.url} has no such pages: governance is off there, or it is no gateway\n",
        )


def test_a_gateway_that_does_not_answer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = Shell(capsys, "--url", "http://127.0.0.1:9", "--admin-token", "t").run("keys list")
    assert (code, err.startswith("http://127.0.0.1:9 does not answer: ")) == (1, True)


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ([], "the admin token is missing"),
        (["--admin-token", "two words"], "the admin token is missing or cannot be one"),
        (["--url", "localhost:8080", "--admin-token", "t"], "--url: expected something like http://127.0.0.1:8080"),
        (["--url", "http://127.0.0.1:9", "--db", "x.db"], "either --url"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: Sequence[str], complaint: str
) -> None:
    monkeypatch.delenv("BUSBAR_ADMIN_TOKEN", raising=False)
    monkeypatch.delenv("BUSBAR_URL", raising=False)
    code, out, err = Shell(capsys, *where).run("keys list")
    assert (code, out, err[: len(complaint)]) == (2, "", complaint)


# --- what is written


@pytest.mark.parametrize(
    ("text", "cents"), [("$5.00", 500), ("5", 500), ("0.5", 50), ("$0.07", 7), ("none", None), ("0", 0)]
)
def test_money_is_read_as_cents(text: str, cents: int | None) -> None:
    assert scope_options.dollars(text) == cents


def test_moments_are_read_in_many_ways() -> None:
    assert scope_options.moment("2026-01-01") == 1_767_225_600
    assert scope_options.moment("2026-01-01T01:00+01:00") == 1_767_225_600
    assert scope_options.moment("1767225600") == 1_767_225_600
    assert scope_options.moment("never") is None
    before = int(time.time())
    assert scope_options.moment("30d") in range(before + 30 * 86_400, int(time.time()) + 30 * 86_400 + 1)
    assert scope_options.day("2026-01-31") == "2026-01-31"
    assert scope_options.day("2d") in {
        (datetime.now(UTC) - timedelta(days=2, seconds=late)).date().isoformat() for late in (0, 5)
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys"],
        ["keys", "create"],
        ["keys", "show"],
        ["keys", "create", "--name", "a", "--budget", "5.001"],
        ["keys", "create", "--name", "a", "--budget", "5", "--budget-cents", "5"],
        ["keys", "create", "--name", "a", "--rpm", "many"],
        ["keys", "create", "--name", "a", "--expires", "soon"],
        ["keys", "create", "--name", "a", "--period", "weekly"],
        ["keys", "create", "--name", "a", "--pool", "p", "--no-pools"],
        ["keys", "rotate", "vk_1", "--aws", "--no-aws"],
        ["groups", "rotate", "grp_1"],
        ["groups", "create", "--name", "a", "--expires", "30d"],
    ],
)
def test_words_that_mean_nothing_are_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parser().parse_args(arguments)
    assert done.value.code == 2
