"""The thread: what it owes to whoever submits, and what is left when it ends."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from busbar.actors.governance.batch import (
    Batch,
    Commit,
    Committed,
    Load,
    RateCount,
    RateKey,
    ReadUsage,
    Result,
    StoreFailed,
    Tokens,
    UsageKey,
)
from busbar.store import SqliteStore
from busbar.store.statements import SUM_MAX

from .worlds import FULL_BATCH, LOAD, counted, do, requests_in, sqlite, usage_key, virtual_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "busbar.db"


@pytest.mark.parametrize("durable", [True, False])
async def test_durable_or_not_it_is_kept(path: Path, durable: bool) -> None:
    with sqlite(path, durable=durable) as store:
        assert await do(store, counted(1)) == Committed(1)
    with sqlite(path, durable=durable) as store:
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 1


async def test_nobody_else_may_read_the_files(path: Path) -> None:
    with sqlite(path) as store:
        await do(store, counted(1))
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"busbar.db": 0o600, "busbar.db-wal": 0o600}


async def test_closing_does_what_was_submitted_and_leaves_one_file(path: Path) -> None:
    answers: list[Result] = []
    with sqlite(path) as store:
        for number in range(1, 51):
            store.submit(counted(number), answers.append)
    await asyncio.sleep(0)
    assert answers == [Committed(number) for number in range(1, 51)]
    assert [each.name for each in path.parent.iterdir()] == ["busbar.db"]
    with sqlite(path) as store:
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 50


async def test_after_closing_every_job_fails_and_closing_again_is_harmless(path: Path) -> None:
    with sqlite(path) as store:
        store.close()
        assert await do(store, LOAD) == StoreFailed("the store is closed")


async def test_the_thread_ends_with_the_store(path: Path) -> None:
    before = set(threading.enumerate())
    store = SqliteStore.open(path, durable=False)
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"busbar-store"}
    store.close()
    assert set(threading.enumerate()) <= before


def test_a_loop_that_is_gone_does_not_keep_others_from_their_answers(path: Path) -> None:
    async def leave(store: SqliteStore) -> None:
        store.submit(Load(lambda _key, _tokens: gone.wait() and 0, 0), answers.append)

    gone = threading.Event()
    answers: list[Result] = []
    with sqlite(path) as store:
        asyncio.run(do(store, counted(1)))
        asyncio.run(leave(store))
        gone.set()
        assert requests_in(asyncio.run(do(store, ReadUsage("vk_1")))) == 1
    assert answers == []


async def test_a_fault_in_a_price_fails_the_job_and_not_the_thread(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def price(_key: UsageKey, _tokens: Tokens) -> int:
        return 1 // 0

    with sqlite(path) as store:
        await do(store, counted(1))
        failed = await do(store, Load(price, 0))
        assert failed == StoreFailed("Load failed: ZeroDivisionError: integer division or modulo by zero")
        assert await do(store, counted(2)) == Committed(2)
    assert "Load failed" in caplog.text


async def test_what_cannot_be_written_leaves_nothing_half_done(path: Path) -> None:
    with sqlite(path) as store:
        keys = {"vk_1": virtual_key(), "vk_2": virtual_key("vk_2", max_budget_cents=2**63)}
        failed = await do(store, Commit(Batch(number=1, keys=keys, usage={usage_key(): Tokens(requests=1)})))
        assert isinstance(failed, StoreFailed)
        assert await do(store, counted(1, 5)) == Committed(1)
        assert (await do(store, LOAD)).keys == ()  # type: ignore[union-attr]
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 5


async def test_sums_stop_at_the_largest_number_instead_of_turning_inexact(path: Path) -> None:
    rate = RateKey("vk_1", 1000)
    with sqlite(path) as store:
        for number, more in enumerate((SUM_MAX - 5, 3, 3, 3), start=1):
            usage = {usage_key(): Tokens(requests=1, output=more)}
            await do(store, Commit(Batch(number=number, usage=usage, rates={rate: RateCount(1, more)})))
            read = await do(store, ReadUsage("vk_1"))
            sums = (SUM_MAX - 5, SUM_MAX - 2, SUM_MAX, SUM_MAX)
            assert read.rows == ((usage_key(), Tokens(requests=number, output=sums[number - 1])),)  # type: ignore[union-attr]
        assert (await do(store, LOAD)).rates == {rate: RateCount(4, SUM_MAX)}  # type: ignore[union-attr]


async def test_a_deleted_key_leaves_its_name_and_not_its_hash(path: Path) -> None:
    with sqlite(path) as store:
        await do(store, Commit(FULL_BATCH))
        await do(store, Commit(Batch(number=2, keys={"vk_full": None})))
    with sqlite3.connect(path) as connection:
        sql = "SELECT name, secret_hash, aws_access_key_id, deleted_at > 1700000000 FROM virtual_keys WHERE id = ?"
        assert connection.execute(sql, ("vk_full",)).fetchall() == [(FULL_BATCH.keys["vk_full"].name, None, None, 1)]  # type: ignore[union-attr]
    connection.close()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("budget_period", "weekly", "vk_full in the database cannot be read: Invalid enum value 'weekly'"),
        ("allowed_pools", "[", "vk_full in the database cannot be read: Input data was truncated"),
        ("rpm_limit", "many", "vk_full in the database cannot be read: Expected `int | null`, got `str`"),
    ],
)
async def test_a_row_that_somebody_spoilt_is_named(path: Path, column: str, value: str, said: str) -> None:
    with sqlite(path) as store:
        await do(store, Commit(FULL_BATCH))
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE virtual_keys SET {column} = ? WHERE id = 'vk_full'", (value,))
    connection.close()
    with sqlite(path) as store:
        failed = await do(store, LOAD)
    assert isinstance(failed, StoreFailed)
    assert failed.reason.startswith(said)
