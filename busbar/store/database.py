"""One database file and what is done with it, by one thread at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final, NoReturn

from busbar.actors.governance.batch import (
    Batch,
    Commit,
    Committed,
    Job,
    Load,
    Loaded,
    ReadUsage,
    Result,
    StoreFailed,
    StoreUnusable,
    UsageRead,
)
from busbar.store import statements
from busbar.store.opening import create_if_missing, open_existing, primary_code, wal_of
from busbar.store.schema import migrate, transaction

RATES_KEPT_SECS: Final = 120
RATES_FORGOTTEN_EVERY_SECS: Final = 60

SUSPECT: Final = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
}
"""Errors after which what is known of the file may be wrong: it is opened, and looked at, anew."""


class Database:
    """Does jobs. It blocks, and belongs to one thread at a time.

    Whatever fails leaves nothing half done. When the file disappears or breaks, jobs fail until it is back, and then
    succeed again; no other file is ever taken for it, and no new one is made in its place.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        """Open the file or create it, and bring it to the current version.

        Raises:
            StoreUnusable: see `opening`. What cannot be used was not touched.
        """
        self._path = path
        self._durable = durable
        create_if_missing(path)
        connection = open_existing(path, durable=durable)
        try:
            migrate(connection)
            self._store_id, self._last_number = connection.execute(statements.READ_META).fetchone()
        except sqlite3.Error as error:
            connection.close()
            raise StoreUnusable(f"{path} cannot be brought to the current version: {error}") from error
        self._connection: sqlite3.Connection | None = connection
        self._file = _identity(path)
        self._log = _identity(wal_of(path))
        self._forgotten_at = 0
        """The second of the rates when the oldest of them were last forgotten."""

    def __repr__(self) -> str:
        return f"<Database {self._path} at {self._last_number}{'' if self._connection else ', not open'}>"

    def do(self, job: Job) -> Result:
        try:
            connection = self._standing()
            match job:
                case Commit(batch=batch):
                    return self._commit(connection, batch)
                case Load():
                    return self._load(connection, job)
                case ReadUsage(scope=scope, since_day=since_day):
                    rows = connection.execute(statements.READ_USAGE, (scope, since_day))
                    return UsageRead(tuple(map(statements.usage_value, rows)))
        except StoreUnusable as error:
            return StoreFailed(str(error))
        except sqlite3.Error as error:
            if primary_code(error) in SUSPECT:
                self.close()
            return StoreFailed(f"{self._path}: {error}")

    def close(self) -> None:
        """Move what is in the write-ahead log to its place, and let the file go. Harmless when it is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # What cannot be moved now stays in the log, and is read from there.
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _commit(self, connection: sqlite3.Connection, batch: Batch) -> Committed:
        if batch.number <= self._last_number:
            return Committed(batch.number)
        with transaction(connection):
            _put_scopes(connection, batch)
            if batch.usage:
                connection.executemany(statements.ADD_USAGE, map(statements.usage_row, batch.usage.items()))
            if batch.rates:
                connection.executemany(statements.ADD_RATE, map(statements.rate_row, batch.rates.items()))
                self._forget_rates(connection, max(key.second for key in batch.rates))
            connection.execute(statements.SET_LAST_NUMBER, (batch.number,))
        self._last_number = batch.number
        return Committed(batch.number)

    def _forget_rates(self, connection: sqlite3.Connection, newest: int) -> None:
        # Either way: a clock that was set back is no reason to keep them for ever.
        if abs(newest - self._forgotten_at) >= RATES_FORGOTTEN_EVERY_SECS:
            connection.execute(statements.FORGET_RATES, (newest - RATES_KEPT_SECS, newest + RATES_KEPT_SECS))
            self._forgotten_at = newest

    def _load(self, connection: sqlite3.Connection, job: Load) -> Loaded:
        spent: dict[tuple[str, int], int] = {}
        for key, tokens in map(statements.usage_value, connection.execute(statements.READ_SPENT)):
            place = (key.scope, key.day if key.day >= job.since_day else -1)
            spent[place] = spent.get(place, 0) + job.price(key, tokens)
        return Loaded(
            last_number=self._last_number,
            keys=tuple(map(statements.key_value, connection.execute(statements.READ_KEYS))),
            groups=tuple(map(statements.group_value, connection.execute(statements.READ_GROUPS))),
            spent=spent,
            rates=dict(map(statements.rate_value, connection.execute(statements.READ_RATES))),
        )

    def _standing(self) -> sqlite3.Connection:
        """The connection, to the file that has the name now: SQLite would go on writing to one that was removed.

        Raises:
            StoreUnusable: the file is not there, or is not the one that it was.
        """
        if (found := _identity(self._path)) != self._file:
            self._displaced(found is None)
        if self._connection is not None and _identity(wal_of(self._path)) == self._log:
            return self._connection
        self.close()
        connection = open_existing(self._path, durable=self._durable)
        try:
            self._last_number = self._continued(connection)
            # What a commit that failed has left in the log counts as written: now it has to reach the disk.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (StoreUnusable, sqlite3.Error):
            connection.close()
            raise
        self._connection = connection
        self._log = _identity(wal_of(self._path))
        return connection

    def _displaced(self, gone: bool) -> NoReturn:
        # The connection stays open: as long as it is, no other file can get this one's identity.
        if gone:
            raise StoreUnusable(f"{self._path} is gone: put it back")
        if self._connection is not None:
            # The log is still in its place, and the next to open the new file would take it for that file's.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raise StoreUnusable(f"{self._path} was replaced by another file; restart to use that one")

    def _continued(self, connection: sqlite3.Connection) -> int:
        """The number of the last batch in it. It may be one that seemed to fail."""
        found = connection.execute(statements.READ_META).fetchone()
        if found is None or found[0] != self._store_id:
            raise StoreUnusable(f"{self._path} holds another database now; restart to use it")
        last_number: int = found[1]
        if last_number < self._last_number:
            raise StoreUnusable(f"{self._path} holds an older state than was written; restart to use it")
        return last_number


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file has this name; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _put_scopes(connection: sqlite3.Connection, batch: Batch) -> None:
    if batch.keys:
        keys = [statements.key_row(key) for key in batch.keys.values() if key is not None]
        connection.executemany(statements.PUT_KEY, keys)
        gone = [(key_id,) for key_id, key in batch.keys.items() if key is None]
        connection.executemany(statements.DELETE_KEY, gone)
    if batch.groups:
        groups = [statements.group_row(group) for group in batch.groups.values() if group is not None]
        connection.executemany(statements.PUT_GROUP, groups)
        gone = [(group_id,) for group_id, group in batch.groups.items() if group is None]
        connection.executemany(statements.DELETE_GROUP, gone)
