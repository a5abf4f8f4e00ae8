"""Real faults under a store that is in use: what fails leaves nothing half done, and what heals goes on."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from busbar.actors.governance.batch import Batch, Commit, Committed, ReadUsage, StoreFailed, Tokens
from busbar.store.database import Database

from .worlds import LOAD, counted, do, requests_in, requests_price, sqlite, usage_key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "busbar.db"


def wide(number: int, rows: int = 3000) -> Commit:
    """A batch that needs many pages; one request each."""
    usage = {usage_key(model=f"{'m' * 100}{row}"): Tokens(requests=1) for row in range(rows)}
    return Commit(Batch(number=number, usage=usage))


def reason(result: object) -> str:
    assert isinstance(result, StoreFailed), result
    return result.reason


def aside(path: Path) -> Path:
    return path.with_name("aside")


@contextmanager
def file_size_max(size_bytes: int) -> Iterator[None]:
    """The system writes no file any longer, for anybody in this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_fails_the_batch_and_room_heals_it(path: Path) -> None:
    database = Database(path, durable=True)
    database.do(counted(1))
    connection = database._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    assert reason(database.do(wide(2))) == f"{path}: database or disk is full"
    assert requests_in(database.do(ReadUsage("vk_1"))) == 1
    assert database.do(counted(2)) == Committed(2), "what is small still fits"
    connection.execute("PRAGMA max_page_count = 1000000")
    assert database.do(wide(3)) == Committed(3)
    assert requests_in(database.do(ReadUsage("vk_1"))) == 3002
    database.close()


@pytest.mark.parametrize("durable", [True, False])
async def test_a_write_that_fails_is_tried_again_and_counts_once(path: Path, durable: bool) -> None:
    with sqlite(path, durable=durable) as store:
        await do(store, counted(1))
        with file_size_max(100_000):
            for _ in range(2):
                assert reason(await do(store, wide(2))) == f"{path}: disk I/O error"
        assert await do(store, wide(2)) == Committed(2)
        assert await do(store, wide(2)) == Committed(2)
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 3001
    with sqlite(path, durable=durable) as store:
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 3001


async def test_a_file_that_is_removed_is_never_made_anew(path: Path) -> None:
    with sqlite(path) as store:
        await do(store, counted(1))
        path.unlink()
        for _ in range(2):
            assert reason(await do(store, counted(2))) == f"{path} is gone: put it back"
            assert reason(await do(store, LOAD)) == f"{path} is gone: put it back"
    assert not path.exists()


async def test_a_file_that_comes_back_is_used_again(path: Path) -> None:
    with sqlite(path) as store:
        await do(store, counted(1))
        path.rename(aside(path))
        assert reason(await do(store, counted(2))) == f"{path} is gone: put it back"
        aside(path).rename(path)
        assert await do(store, counted(2)) == Committed(2)
    with sqlite(path) as store:
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 2


async def test_a_log_that_is_removed_takes_nothing_with_it(path: Path) -> None:
    with sqlite(path) as store:
        await do(store, counted(1))
        path.with_name("busbar.db-wal").unlink()
        assert await do(store, counted(2)) == Committed(2)
    with sqlite(path) as store:
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 2


async def test_another_file_in_its_place_is_left_alone_until_a_restart(path: Path) -> None:
    with sqlite(aside(path)) as store:
        await do(store, counted(9))
    theirs = aside(path).read_bytes()
    with sqlite(path) as store:
        await do(store, counted(1))
        aside(path).rename(path)
        for _ in range(2):
            assert reason(await do(store, counted(2))) == (
                f"{path} was replaced by another file; restart to use that one"
            )
        assert path.read_bytes() == theirs
    with sqlite(path) as store:
        assert (await do(store, LOAD)).last_number == 9  # type: ignore[union-attr]


async def test_what_was_in_the_log_follows_a_file_that_was_replaced(path: Path) -> None:
    with sqlite(aside(path)) as store:
        await do(store, counted(9))
    with sqlite(path) as store:
        await do(store, wide(1))
        path.rename(path.with_name("moved"))
        aside(path).rename(path)
        reason(await do(store, LOAD))
    with sqlite(path.with_name("moved")) as store:
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 3000


def test_other_contents_are_not_taken_for_those_that_were_there(path: Path) -> None:
    database = Database(path, durable=False)
    database.do(counted(1))
    database.close()  # as after an I/O error
    first = path.read_bytes()
    assert database.do(counted(2)) == Committed(2)
    database.close()
    write_over(path, first)
    assert reason(database.do(counted(3))) == f"{path} holds an older state than was written; restart to use it"
    other = Database(aside(path), durable=False)
    other.do(counted(9))
    other.close()
    write_over(path, aside(path).read_bytes())
    assert reason(database.do(counted(3))) == f"{path} holds another database now; restart to use it"
    database.close()


async def test_damage_is_reported_left_alone_and_healed_by_what_was_there(path: Path) -> None:
    rows = 5_000
    with sqlite(path) as store:
        await do(store, wide(1, rows))
    with sqlite(path) as store:
        whole = path.read_bytes()
        damaged = whole[: 4096 * 50] + os.urandom(4096 * 50) + whole[4096 * 100 :]
        write_over(path, damaged)
        assert reason(await do(store, LOAD)) == f"{path}: database disk image is malformed"
        for job in (LOAD, counted(2)):
            assert "is damaged" in reason(await do(store, job))
        assert path.read_bytes() == damaged
        write_over(path, whole)
        assert await do(store, counted(2)) == Committed(2)
        assert requests_in(await do(store, ReadUsage("vk_1"))) == rows + 1


def write_over(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


async def test_another_process_that_comes_while_it_is_closed_is_waited_for(path: Path) -> None:
    database = Database(path, durable=False)
    database.do(counted(1))
    database.close()  # as after an I/O error
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("PRAGMA locking_mode = EXCLUSIVE")
    intruder.execute("BEGIN IMMEDIATE")
    assert reason(database.do(counted(2))) == f"{path} is in use by another process"
    intruder.close()
    assert database.do(counted(2)) == Committed(2)
    database.close()


WRITER = """
import sys
from pathlib import Path
from busbar.actors.governance.batch import Batch, Commit, Committed, Load, Tokens, UsageKey
from busbar.store.database import Database

database = Database(Path(sys.argv[1]), durable=False)
number = database.do(Load(lambda key, tokens: 0, 0)).last_number
while True:
    number += 1
    usage = {UsageKey("vk_1", day, "m", 0, False): Tokens(requests=1) for day in range(20)}
    assert database.do(Commit(Batch(number=number, usage=usage))) == Committed(number)
    print(number, flush=True)
"""


async def test_what_was_answered_is_there_after_kill_9(path: Path) -> None:
    said = 0
    for lines in (1, 40, 700):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert writer.stdout is not None
        for _ in range(lines):
            said = int(writer.stdout.readline())
        writer.kill()
        said = int(([str(said)] + [line for line in writer.stdout if line.endswith("\n")])[-1])
        writer.wait()
        writer.stdout.close()
    with sqlite(path) as store:
        loaded = await do(store, LOAD)
        assert said <= loaded.last_number <= said + 1  # type: ignore[union-attr]
        expected = {
            ("vk_1", day): requests_price(usage_key(), Tokens(requests=loaded.last_number)) for day in range(20)
        }  # type: ignore[union-attr]
        assert loaded.spent == expected  # type: ignore[union-attr]
