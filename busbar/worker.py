"""A thread beside the loop, for what blocks: jobs go in, and each answer comes back on the loop that asked."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

J = TypeVar("J")
R = TypeVar("R")


class Worker(Generic[J, R]):
    """Does jobs one after the other, in the order in which they were submitted. A job costs one hop to the thread and
    one back, whatever it consists of.

    The queue has no bound of its own: who submits waits for the answer to one job before the next.
    """

    def __init__(
        self, name: str, do: Callable[[J], R], *, begin: Callable[[], None], end: Callable[[], None]
    ) -> None:
        """`do` never raises. `begin` runs in the thread before the first job, `end` after the last. Starts it."""
        self._do = do
        self._begin = begin
        self._end = end
        self._tasks: SimpleQueue[tuple[J, Callable[[R], None], asyncio.AbstractEventLoop] | None] = SimpleQueue()
        self.closed = False
        # A daemon: a process that ends must wait for no disk that hangs.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: J, done: Callable[[R], None], *, refusal: R) -> None:
        """`done` is called on the loop, later, with the answer; after `close` with `refusal`.

        Raises:
            RuntimeError: no loop is running.
        """
        loop = asyncio.get_running_loop()
        if self.closed:
            loop.call_soon(done, refusal)
        else:
            self._tasks.put((job, done, loop))

    def close(self, timeout_secs: float | None = None) -> bool:
        """Do what was submitted, and end. Blocks until then, at most so long, and says whether it has; idempotent.
        The answers still reach a loop that runs on."""
        if not self.closed:
            self.closed = True
            self._tasks.put(None)
        self._thread.join(timeout_secs)
        return not self._thread.is_alive()

    def _work(self) -> None:
        self._begin()
        while (task := self._tasks.get()) is not None:
            job, done, loop = task
            result = self._do(job)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                loop.call_soon_threadsafe(done, result)
            # Whoever waits for the next job must not hold on to this one.
            del task, job, done, loop, result
        self._end()
