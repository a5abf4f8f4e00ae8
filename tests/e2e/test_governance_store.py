"""When the governance database fails, is slow, or cannot be used at all: real faults, real callers."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from pathlib import Path

import pytest

from busbar.http.denials import UNRECORDED
from busbar.protocols.registry import PROTOCOLS

from .asks import error_of
from .governed import GovernedWorld, Key
from .raw_http import TERMINAL, Connection, Heard, question
from .served import ServedWorld, key, secret_of
from .store_faults import make_impatient, no_answer, no_disk, until_the_store_works

DIALECTS = ("anthropic", "openai")
MODELS = {
    "slow": "openai:fault-slow",
    "paced": "openai:fault-paced-20",
    "gpt": "openai:demo",
    "claude": "anthropic:demo",
}

TEXT = "Usage cannot be recorded at the moment. Please try again later."
REFUSALS = {
    "anthropic": ("overloaded_error", None, TEXT),
    "openai": ("service_unavailable_error", "server_is_overloaded", TEXT),
}
ERRORS = {
    "anthropic": b"event: error\n",
    "bedrock": b":exception-type",
    "cohere": b'"finish_reason":"ERROR"',
    "gemini": b'data: {"error":',
    "openai": b'data: {"error":',
    "responses": b"event: response.failed\n",
}
"""How each dialect's callers are told that a stream broke."""

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


class Call:
    """One that runs while the test goes on."""

    def __init__(self, connection: Connection, task: asyncio.Task[None], heard: Heard) -> None:
        self.connection = connection
        self.task = task
        self.heard = heard

    @classmethod
    async def begin(cls, world: GovernedWorld, key: Key, path: str, body: bytes) -> Call:
        connection, heard = await Connection.to(world.gateway.url), Heard()
        connection.say(path, body, key.secret)
        return cls(connection, asyncio.create_task(connection.listen(heard)), heard)

    async def end(self) -> Heard:
        async with asyncio.timeout(10):
            await self.task
        self.connection.hang_up()
        return self.heard

    async def until(self, part: bytes) -> None:
        async with asyncio.timeout(5):
            while part not in self.heard.body:
                await asyncio.sleep(0.005)


async def ask(world: GovernedWorld, key: Key, dialect: str, model: str, words: int, *, stream: bool = False) -> Heard:
    return await (await Call.begin(world, key, *question(dialect, model, words, stream=stream))).end()


@each_dialect
async def test_a_disk_that_refuses_is_told_to_everybody_and_nothing_is_lost(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(monkeypatch)
    async with GovernedWorld(tmp_path, MODELS) as world:
        key = await world.key(max_budget_cents=100)
        whole = await Call.begin(world, key, *question(dialect, "slow", 5, stream=False))
        streamed = await Call.begin(world, key, *question(dialect, "paced", 7, stream=True))
        await streamed.until(b"lantern")
        with no_disk():
            world.providers.release()
            refused, broken = await whole.end(), await streamed.end()
            late = await ask(world, key, dialect, "gpt", 11)
            assert (refused.status, refused.headers["x-should-retry"]) == (503, "false"), (
                "it is charged: once is enough"
            )
            assert (late.status, late.headers["retry-after"]) == (503, "5")
            for heard, text in ((refused, UNRECORDED.message), (late, TEXT)):
                assert error_of(dialect, bytes(heard.body)) == (*REFUSALS[dialect][:2], text)
            assert broken.body.count(b"lantern") == 7, "the content is out; only the end is held"
            assert how_it_ended(dialect, broken) == "broken off"
        await until_the_store_works(world)
        assert (await ask(world, key, dialect, "gpt", 13)).status == 200
        assert await world.tokens(key) == (3, 5 + 7 + 13, 7 + 9 + 15, 0)
        usage = await world.usage(key)
        assert (usage["budget"]["reserved_cents"], usage["spend_nanodollars"]) == (0, 25 * 1000 + 31 * 2000)


def how_it_ended(dialect: str, heard: Heard) -> str:
    if ERRORS[dialect] in heard.body:
        return "broken off"
    return "well" if TERMINAL.get(dialect, b"\0") in heard.body else "as if nothing was missing"


async def test_an_end_that_is_held_in_vain_is_told_in_every_dialect_translated_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(monkeypatch)
    every = sorted(PROTOCOLS)
    ways = [(ingress, egress) for at, ingress in enumerate(every) for egress in (ingress, every[at - 1])]
    async with GovernedWorld(tmp_path, {dialect: f"{dialect}:fault-paced-20" for dialect in every}) as world:
        key = await world.key()
        calls = [await Call.begin(world, key, *question(*way, 7, stream=True)) for way in ways]
        for call in calls:
            await call.until(b"lantern")
        with no_disk():
            heard = [await call.end() for call in calls]
        ends = {way: how_it_ended(way[0], each) for way, each in zip(ways, heard, strict=True)}
        assert ends == dict.fromkeys(ways, "broken off")
        await until_the_store_works(world)
        assert await world.tokens(key) == (12, 12 * 7, 12 * 9, 0)


@each_dialect
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_end_of_an_answer_waits_for_its_commit(dialect: str, stream: bool, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, MODELS) as world:
        key = await world.key()
        await ask(world, key, dialect, "gpt", 1)
        async with no_answer(world) as go_on:
            call = await Call.begin(world, key, *question(dialect, "claude", 7, stream=stream))
            if stream:
                await call.until(b"lantern")
            await asyncio.sleep(0.05)
            assert not call.task.done()
            assert TERMINAL[dialect] not in call.heard.body
            assert (call.heard.status, bool(call.heard.body)) == ((200, True) if stream else (0, False))
            go_on()
            assert (await call.end()).whole(dialect, stream=stream)
        assert await world.tokens(key) == (2, 8, 12, 0)


async def test_a_store_that_stands_still_takes_no_new_work_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(monkeypatch)
    async with GovernedWorld(tmp_path, MODELS) as world:
        key = await world.key()
        await ask(world, key, "openai", "gpt", 1)
        async with no_answer(world) as go_on:
            held = await Call.begin(world, key, *question("openai", "gpt", 7, stream=False))
            assert (await held.end()).status == 503
            for dialect in DIALECTS:
                refused = await ask(world, key, dialect, "gpt", 9)
                assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            assert len(world.providers.requests) == 2
            go_on()
            await until_the_store_works(world)
        assert (await ask(world, key, "openai", "gpt", 3)).status == 200
        assert await world.tokens(key) == (3, 1 + 7 + 3, 3 + 9 + 5, 0)


async def test_relaxed_does_not_wait_and_records_what_a_failing_store_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(monkeypatch)
    async with GovernedWorld(tmp_path, MODELS, governance="durability: relaxed") as world:
        key = await world.key()
        with no_disk():
            assert (await ask(world, key, "openai", "gpt", 5)).status == 200
            async with asyncio.timeout(5):
                while (await ask(world, key, "openai", "gpt", 9)).status == 200:
                    await asyncio.sleep(0.01)
        served = len(world.providers.requests)
        await until_the_store_works(world)
        assert await world.tokens(key) == (served, 5 + 9 * (served - 1), 7 + 11 * (served - 1), 0)


# --- at the start ---------------------------------------------------------------------------------------------------


def damaged(database: Path) -> None:
    whole = database.read_bytes()
    database.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 8192) + whole[-4096:])


def overwritten(database: Path) -> None:
    database.write_bytes(b"This is not what it was." * 1000)


def cut_short(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: 3 * 4096 + 100])


def of_a_newer_version(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


UNUSABLE = {
    damaged: "and was left as it is: restore a backup, or salvage it with `sqlite3 governance.db .recover`",
    cut_short: "and was left as it is: restore a backup, or salvage it with `sqlite3 governance.db .recover`",
    overwritten: "name another file, or restore a backup",
    of_a_newer_version: "was written by a newer version (schema 99",
}


@pytest.mark.parametrize(("make", "advice"), UNUSABLE.items(), ids=[make.__name__ for make in UNUSABLE])
async def test_a_database_that_cannot_be_used_ends_the_start_and_is_left_as_it_is(
    make: object, advice: str, tmp_path: Path
) -> None:
    assert callable(make)
    async with ServedWorld(tmp_path) as world:
        world.found(key("a"))
        make(world.database)
        before = world.database.read_bytes()
        served = await world.start()
        assert await served.ended() == 1
        assert served.log.count("ERROR") == 1
        assert f"governance.db_path: {world.database}" in served.log
        assert advice in served.log
        assert "Traceback" not in served.log
        assert world.database.read_bytes() == before
        assert {file.name: file.stat().st_size for file in tmp_path.glob("*-wal")} in ({}, {"governance.db-wal": 0})


# --- one process after the other ------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
async def test_a_second_process_is_turned_away_and_the_first_drains(durability: str, tmp_path: Path) -> None:
    async with ServedWorld(tmp_path, MODELS, governance=f"durability: {durability}") as world:
        world.found(key("a"))
        first = await world.serve()
        second = await world.start()
        assert await second.ended() == 1
        assert f"governance.db_path: {world.database} is in use by another process" in second.log
        slow, quick = await Connection.to(first.url), await Connection.to(first.url)
        running = asyncio.create_task(slow.ask(*question("openai", "slow", 7, stream=True), secret_of("a")))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        for words in (2, 3):
            assert (await quick.ask(*question("openai", "gpt", words, stream=False), secret_of("a"))).status == 200
        first.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            while "draining" not in first.log:
                await asyncio.sleep(0.005)
        world.providers.release()
        assert (await running).whole("openai", stream=True)
        assert await first.ended() == 0
        assert world.ledger("vk_a").usage["vk_a"] == (3, 2 + 3 + 7, 4 + 5 + 9)
        assert not world.database.with_name("governance.db-wal").exists()
