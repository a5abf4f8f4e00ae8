"""The port to what lasts, done by SQLite in a thread of its own. Why not aiosqlite: see the decision records."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from busbar.actors.governance.batch import Job, Result, StoreFailed
from busbar.store.database import Database

logger = logging.getLogger("busbar.store")

_Task = tuple[Job, Callable[[Result], None], asyncio.AbstractEventLoop]


class SqliteStore:
    """A `Store` on one file, which no other process can open meanwhile.

    A job costs one hop to the thread and one back, whatever it consists of. The queue has no bound of its own: who
    submits waits for the answer of one batch before the next.
    """

    def __init__(self, database: Database) -> None:
        """`database` belongs to the store from now on. See `open`."""
        self._database = database
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._closed = False
        # A daemon: a process that ends without closing it must not hang, and loses nothing that was committed.
        self._thread = threading.Thread(target=self._work, name="busbar-store", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<SqliteStore {self._database!r}{', closed' if self._closed else ''}>"

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
        loop = asyncio.get_running_loop()
        if self._closed:
            loop.call_soon(done, StoreFailed("the store is closed"))
        else:
            self._tasks.put((job, done, loop))

    def close(self) -> None:
        """Do the jobs that were submitted, move the write-ahead log into the file, and let it go.

        Blocks until then; idempotent. The answers still reach a loop that runs on.
        """
        if not self._closed:
            self._closed = True
            self._tasks.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            job, done, loop = task
            result = self._do(job)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                loop.call_soon_threadsafe(done, result)
            # Whoever waits for the next job must not hold on to this one.
            del task, job, done, loop, result
        self._database.close()

    def _do(self, job: Job) -> Result:
        try:
            return self._database.do(job)
        except Exception as error:  # supervises: a thread that dies of one job would answer no other
            logger.exception("%s failed", type(job).__name__)
            return StoreFailed(f"{type(job).__name__} failed: {type(error).__name__}: {error}")
