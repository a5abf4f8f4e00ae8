"""The port to what lasts, done by SQLite in a thread of its own. Why not aiosqlite: see the decision records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from busbar.actors.governance.batch import Job, Result, StoreFailed
from busbar.store.database import Database
from busbar.worker import Worker

logger = logging.getLogger("busbar.store")


class SqliteStore:
    """A `Store` on one file, which no other process can open meanwhile."""

    def __init__(self, database: Database) -> None:
        """`database` belongs to the store from now on. See `open`."""
        self._database = database
        self._worker: Worker[Job, Result] = Worker("busbar-store", self._do, begin=_nothing, end=database.close)

    def __repr__(self) -> str:
        return f"<SqliteStore {self._database!r}{', closed' if self._worker.closed else ''}>"

    @classmethod
    def open(cls, path: Path, *, durable: bool) -> SqliteStore:
        """Open the file at `path` or create it, bring it to the current version, and start the thread.

        Blocks for milliseconds, and for about a second per gigabyte in which the file is checked. Durable: what was
        answered with `Committed` survives a loss of power; otherwise only the end of the process.

        Raises:
            StoreUnusable: the file cannot be used; it was not touched.
        """
        return cls(Database(path, durable=durable))

    def submit(self, job: Job, done: Callable[[Result], None]) -> None:
        """See `Store.submit`. After `close`, every job fails.

        Raises:
            RuntimeError: no loop is running.
        """
        self._worker.submit(job, done, refusal=StoreFailed("the store is closed"))

    def close(self) -> None:
        """Do the jobs that were submitted, move the write-ahead log into the file, and let it go.

        Blocks until then; idempotent. The answers still reach a loop that runs on.
        """
        self._worker.close()

    def _do(self, job: Job) -> Result:
        try:
            return self._database.do(job)
        except Exception as error:  # supervises: a thread that dies of one job would answer no other
            logger.exception("%s failed", type(job).__name__)
            return StoreFailed(f"{type(job).__name__} failed: {type(error).__name__}: {error}")


def _nothing() -> None:
    """The database is open already."""
