"""Whose file it is: what is opened, what is refused in which words, and that the refused stays as it was."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from busbar.actors.governance.batch import Batch, Commit, Committed, ReadUsage, StoreUnusable, Tokens
from busbar.store import SqliteStore
from busbar.store.opening import open_existing
from busbar.store.schema import APPLICATION_ID, VERSION

from .worlds import FULL_BATCH, FULL_LOADED, LOAD, counted, do, requests_in, sqlite, usage_key

NOBODY = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a place?with#odd %41 name" / "busbar.db"


@pytest.fixture(autouse=True)
def _place(path: Path) -> None:
    path.parent.mkdir()


def refused(path: Path, durable: bool = True) -> str:
    """Why it cannot be opened; nothing that was there before is changed."""
    before = contents(path.parent)
    with pytest.raises(StoreUnusable) as error:
        SqliteStore.open(path, durable=durable)
    assert {name: content for name, content in contents(path.parent).items() if name in before} == before
    return str(error.value)


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files but the index of the log, which SQLite makes when it reads, and holds nothing of its own."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file() and each.suffix != ".db-shm"}


def sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def filled(path: Path) -> None:
    with sqlite(path) as store:
        await do(store, Commit(FULL_BATCH))


def killed_after(path: Path, code: str) -> None:
    """Run code on a connection to the file in another process, which ends without closing it."""
    script = f"import os, sqlite3\nc = sqlite3.connect({str(path)!r}, isolation_level=None)\n{code}\nos._exit(0)"
    subprocess.run([sys.executable, "-c", script], check=True)


async def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    await filled(path)
    with sqlite(path) as store:
        assert await do(store, LOAD) == FULL_LOADED


async def test_a_creation_that_was_interrupted_is_gone_on_with(path: Path) -> None:
    killed_after(path, f"c.execute('PRAGMA application_id = {APPLICATION_ID}')")
    assert path.stat().st_size > 0
    await filled(path)
    with sqlite(path) as store:
        assert await do(store, LOAD) == FULL_LOADED


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"governance:\n  enabled: true\n" * 100)
    assert "busbar.db is not a database (or a damaged one)" in refused(path)
    path.write_bytes(b"xy")
    assert "busbar.db is not a database (or a damaged one)" in refused(path)


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_database_of_another_program_is_refused(path: Path, mode: str) -> None:
    sql(path, f"PRAGMA journal_mode = {mode}", "CREATE TABLE songs (name)", "INSERT INTO songs VALUES ('Busby')")
    assert "busbar.db is a database of another program" in refused(path)


def test_another_program_may_have_it_open_with_changes_in_its_log(path: Path) -> None:
    killed_after(path, "c.execute('PRAGMA journal_mode = WAL'); c.execute('CREATE TABLE songs (name)')")
    assert "busbar.db is a database of another program" in refused(path)
    assert contents(path.parent)["busbar.db-wal"]


async def test_a_newer_version_is_refused(path: Path) -> None:
    await filled(path)
    sql(path, f"PRAGMA user_version = {VERSION + 1}")
    assert f"was written by a newer version (schema {VERSION + 1}, this one knows {VERSION})" in refused(path)


async def test_a_damaged_database_is_refused(path: Path) -> None:
    with sqlite(path) as store:
        usage = {usage_key(f"vk_{number}"): Tokens(requests=1) for number in range(2000)}
        await do(store, Commit(Batch(number=1, usage=usage)))
    whole = path.read_bytes()
    path.write_bytes(whole[: 4096 * 8] + os.urandom(4096 * 4) + whole[4096 * 12 :])
    assert re.search(r"busbar\.db is damaged \(.+\) and was left as it is: restore a backup", refused(path))
    path.write_bytes(whole[: 4096 * 8])
    assert re.search(r"busbar\.db is damaged \(.+\) and was left as it is", refused(path))
    path.write_bytes(whole)
    with sqlite(path) as store:
        assert requests_in(await do(store, ReadUsage("vk_1999"))) == 1


async def test_a_damaged_database_is_not_written_to_from_its_log(path: Path) -> None:
    await filled(path)
    killed_after(path, 'c.execute("UPDATE usage SET model = hex(randomblob(9000))")')
    assert contents(path.parent)["busbar.db-wal"]
    page_of_usage = 5 * 4096
    with path.open("r+b") as file:
        file.seek(page_of_usage)
        file.write(os.urandom(4096))
    assert "is damaged" in refused(path)


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)])
def test_a_durable_store_waits_for_the_disk_with_each_commit(path: Path, durable: bool, level: int) -> None:
    path.touch()
    connection = open_existing(path, durable=durable)
    # 1: the write-ahead log is flushed before it is moved; 2: at the end of each transaction too
    assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_one_process_has_it(path: Path) -> None:
    with sqlite(path) as store:
        await do(store, counted(1))
        with pytest.raises(StoreUnusable, match=r"busbar\.db is in use by another process$"):
            SqliteStore.open(path, durable=True)
        other = "import sys; from pathlib import Path; from busbar.store import SqliteStore\n"
        other += "SqliteStore.open(Path(sys.argv[1]), durable=True)"
        tried = subprocess.run([sys.executable, "-c", other, str(path)], capture_output=True, text=True, check=False)
        assert tried.stderr.strip().endswith("busbar.db is in use by another process")
        assert await do(store, counted(2)) == Committed(2)
    with sqlite(path) as store:
        assert requests_in(await do(store, ReadUsage("vk_1"))) == 2


def test_where_there_is_no_directory(path: Path) -> None:
    missing = path.parent / "missing" / "busbar.db"
    with pytest.raises(StoreUnusable, match=r"cannot be created: the directory .*missing does not exist"):
        SqliteStore.open(missing, durable=True)
    assert not missing.parent.exists()


def test_a_directory_is_no_file(path: Path) -> None:
    path.mkdir()
    assert refused(path).endswith("busbar.db is not a file")


async def test_the_log_of_a_database_that_is_gone_is_not_thrown_away(path: Path) -> None:
    await filled(path)
    killed_after(path, "c.execute('UPDATE meta SET last_number = 7')")
    path.unlink()
    assert "busbar.db is missing or empty, but busbar.db-wal beside it holds data of it" in refused(path)
    path.touch()
    assert "busbar.db is missing or empty, but busbar.db-wal beside it holds data of it" in refused(path)


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A directory in which permissions count: where the tests are run by root, they go on as nobody."""
    privileged = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if privileged:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if privileged:
                os.seteuid(0)
            folder.chmod(0o700)


async def read_only_file(path: Path) -> None:
    await filled(path)
    path.chmod(0o400)


async def read_only_directory(path: Path) -> None:
    await filled(path)
    path.parent.chmod(0o500)


async def unreadable_file(path: Path) -> None:
    await filled(path)
    path.chmod(0)


@pytest.mark.parametrize("spoil", [read_only_file, read_only_directory, unreadable_file])
async def test_what_cannot_be_written_to_is_refused_at_the_start(guarded: Path, spoil: Callable[..., object]) -> None:
    path = guarded / "busbar.db"
    await spoil(path)  # type: ignore[misc]
    with pytest.raises(StoreUnusable, match=r"must be readable and writable by this user"):
        SqliteStore.open(path, durable=True)


def test_where_no_file_may_be_made(guarded: Path) -> None:
    guarded.chmod(0o500)
    with pytest.raises(StoreUnusable, match=r"busbar.db cannot be created: Permission denied"):
        SqliteStore.open(guarded / "busbar.db", durable=True)
