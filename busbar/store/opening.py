"""Opening a database file: for this process alone, only if it is ours and whole, and without touching it otherwise.

Nothing here opens the file but SQLite itself: closing any other descriptor of it would give up the locks that this
process holds on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from busbar.actors.governance.batch import StoreInUse, StoreUnusable
from busbar.store.schema import APPLICATION_ID, VERSION, transaction, version

BUSY_TIMEOUT_SECS: Final = 0.2
"""Whoever else has the file has it for as long as it runs."""

WAL_BYTES_MAX: Final = 64 << 20
"""The write-ahead log is cut to this size after a checkpoint; usually it stays near 4 MiB."""


def create_if_missing(path: Path) -> None:
    """Make an empty file that only its owner may read: there are names and spending in it, and hashes of secrets.

    Raises:
        StoreUnusable: it cannot be made, or there are remains of a database that was in its place.
    """
    try:
        if path.exists() and path.stat().st_size > 0:
            return
        wal = wal_of(path)
        if wal.exists() and wal.stat().st_size > 0:
            raise StoreUnusable(
                f"{path} is missing or empty, but {wal.name} beside it holds data of it:"
                f" restore both, or move {wal.name} away to start anew"
            )
        if path.exists():
            return
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        sync_directory(path.parent)
    except FileNotFoundError as error:
        raise StoreUnusable(f"{path} cannot be created: the directory {path.parent} does not exist") from error
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be created: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """So that names in it outlive a power cut as well. Windows syncs no directories. Raises OSError."""
    if os.name != "posix":
        return
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def open_existing(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Open the database at `path` for this process alone; an empty file becomes a database without tables.

    Durable: a commit survives a loss of power; otherwise only the end of the process.

    Raises:
        StoreUnusable: there is none, it is not ours, damaged, newer than this version, in use, or not writable.
    """
    with _explained(path):
        fresh = _require_writable(path).st_size == 0
        if not fresh:
            _inspect(path)
        connection = _connect(path, "rw")
        try:
            _own(connection, fresh=fresh, durable=durable)
        except BaseException:
            connection.close()
            raise
        return connection


def wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # SQLite is used by one thread at a time, though not by the one that opened it.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECS, isolation_level=None, check_same_thread=False)


def _require_writable(path: Path) -> os.stat_result:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise StoreUnusable(f"{path} does not exist (any more)") from None
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be reached: {error.strerror}") from error
    if not path.is_file():
        raise StoreUnusable(f"{path} is not a file")
    for place in (path, path.parent):
        if not os.access(place, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise StoreUnusable(f"{place} must be readable and writable by this user: the file and its directory")
    return found


def _inspect(path: Path) -> None:
    """Look at it through a connection that cannot write, and whose end moves nothing out of the write-ahead log."""
    with contextlib.closing(_connect(path, "ro")) as connection:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreUnusable(f"{path} is a database of another program; name another file")
        if (found := version(connection)) > VERSION:
            raise StoreUnusable(
                f"{path} was written by a newer version (schema {found}, this one knows {VERSION}):"
                " run that one, or name another file"
            )
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise StoreUnusable(_damaged(path, problem))


def _own(connection: sqlite3.Connection, *, fresh: bool, durable: bool) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    if fresh:
        # Without a journal in a file: it would stand in the way of a look at what an interrupted creation left.
        connection.execute("PRAGMA journal_mode = MEMORY")
        with transaction(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    if durable:
        connection.execute("PRAGMA fullfsync = ON")  # where the system's fsync does not reach the disk (macOS)
    with transaction(connection):
        pass  # takes the lock, and keeps it


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        match primary_code(error):
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise StoreInUse(f"{path} is in use by another process") from error
            case sqlite3.SQLITE_NOTADB:
                text = f"{path} is not a database (or a damaged one); name another file, or restore a backup"
            case sqlite3.SQLITE_CORRUPT:
                text = _damaged(path, str(error))
            case _:
                text = f"{path} cannot be opened: {error}"
        raise StoreUnusable(text) from error


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its details; 0 if the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _damaged(path: Path, problem: str) -> str:
    what = " ".join(problem.removeprefix("*** in database main ***").split())
    return (
        f"{path} is damaged ({what}) and was left as it is: restore a backup,"
        f" or salvage it with `sqlite3 {path.name} .recover`"
    )
