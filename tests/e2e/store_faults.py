"""Real trouble for a running gateway's database."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from busbar.actors.governance import ledger
from busbar.actors.governance.batch import Load, Tokens, UsageKey

from .governed import GovernedWorld

PATIENCE_SECS = 0.3


def make_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds otherwise takes a moment."""
    monkeypatch.setattr(ledger, "PATIENCE_SECS", PATIENCE_SECS)
    monkeypatch.setattr(ledger, "TICK_SECS", 0.05)
    monkeypatch.setattr(ledger, "RETRY_SECS", (0.05,))


@contextmanager
def no_disk() -> Iterator[None]:
    """The system writes no byte to any file of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@asynccontextmanager
async def no_answer(world: GovernedWorld) -> AsyncIterator[Callable[[], None]]:
    """The store's thread stands still until the function that this gives is called. There has to be some usage
    already: the thread stands where it is priced."""
    loop, stands, may_go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def price(_key: UsageKey, _tokens: Tokens) -> int:
        loop.call_soon_threadsafe(stands.set)
        assert may_go_on.wait(30), "the test ended"
        return 0

    assert world.gateway._governed is not None
    world.gateway._governed.store.submit(Load(price, 0), lambda _result: None)
    async with asyncio.timeout(5):
        await stands.wait()
    try:
        yield may_go_on.set
    finally:
        may_go_on.set()


async def until_nothing_runs(world: GovernedWorld) -> None:
    """All requests have been settled."""
    async with asyncio.timeout(5):
        while (await world.stats())["governance"]["reservations"]:
            await asyncio.sleep(0.005)


async def until_the_store_works(world: GovernedWorld) -> None:
    async with asyncio.timeout(5):
        while not (await world.stats())["governance"]["store_ok"]:
            await asyncio.sleep(0.005)
