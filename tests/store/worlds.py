"""The two stores in one shape for tests, and values to fill them with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from busbar.actors.governance.batch import (
    Batch,
    Commit,
    Job,
    Load,
    Loaded,
    RateCount,
    RateKey,
    ReadUsage,
    Result,
    Tokens,
    UsageKey,
    UsageRead,
)
from busbar.actors.governance.batch import Store as StorePort
from busbar.actors.governance.scopes import Group, VirtualKey
from busbar.store import SqliteStore
from busbar.testing import VirtualClock
from busbar.testing.store import MemoryStore


class World(Protocol):
    """A store, and what else is needed to use it from a test."""

    store: StorePort

    async def settle(self) -> None:
        """Let everything that was submitted be answered."""

    def restart(self) -> None:
        """End the process that has the store, in good order, and start another."""

    def close(self) -> None: ...


class InMemory:
    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock, latency_secs=0.002)

    async def settle(self) -> None:
        self.clock.advance(1)

    def restart(self) -> None:
        self.clock = VirtualClock()
        self.store.restart(self.clock)

    def close(self) -> None:
        pass


class OnDisk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore.open(path, durable=False)

    async def settle(self) -> None:
        await do(self.store, ReadUsage("nobody"))  # jobs are answered in their order: this one is the last
        await asyncio.sleep(0)

    def restart(self) -> None:
        self.store.close()
        self.store = SqliteStore.open(self.path, durable=False)

    def close(self) -> None:
        self.store.close()


async def do(store: StorePort, job: Job) -> Result:
    answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    store.submit(job, answer.set_result)
    return await answer


async def ask(world: World, job: Job) -> Any:
    answers: list[Result] = []
    world.store.submit(job, answers.append)
    await world.settle()
    (answer,) = answers
    return answer


@contextmanager
def sqlite(path: Path, *, durable: bool = False) -> Iterator[SqliteStore]:
    store = SqliteStore.open(path, durable=durable)
    try:
        yield store
    finally:
        store.close()


def requests_price(key: UsageKey, tokens: Tokens) -> int:
    """A price that tells sums, models and estimates apart."""
    return tokens.requests + 1000 * tokens.output + (7 if key.estimated else 0)


LOAD = Load(requests_price, 0)


def usage_key(scope: str = "vk_1", day: int = 20_000, **values: Any) -> UsageKey:
    return UsageKey(scope, day, **{"model": "m", "context_tier": 0, "estimated": False, **values})


def virtual_key(key_id: str = "vk_1", **values: Any) -> VirtualKey:
    return VirtualKey(**{"id": key_id, "name": key_id, "created_at": 1, "secret_hash": b"\x00" * 32, **values})


def counted(number: int, requests: int = 1, **key: Any) -> Commit:
    """The smallest batch that can be seen to have been written."""
    return Commit(Batch(number=number, usage={usage_key(**key): Tokens(requests=requests)}))


def requests_in(read: Any) -> int:
    assert isinstance(read, UsageRead), read
    return sum(tokens.requests for _, tokens in read.rows)


FULL_KEY = VirtualKey(
    id="vk_full",
    name="naïve 👋 '; DROP TABLE usage",
    max_budget_cents=123,
    budget_period="monthly",
    rpm_limit=4,
    tpm_limit=5,
    created_at=1_767_225_600,
    secret_hash=bytes(range(32)),
    group="grp_low",
    allowed_pools=("fast", 'a "quoted" one'),
    enabled=False,
    expires_at=1_800_000_000,
    aws_access_key_id="AKIAEXAMPLE",
)
NO_POOLS_KEY = virtual_key("vk_none", allowed_pools=())
PLAIN_KEY = virtual_key("vk_plain")
LOW = Group(id="grp_low", name="low", created_at=2, parent="grp_top", max_budget_cents=0, budget_period="daily")
TOP = Group(id="grp_top", name="top", created_at=3, rpm_limit=9, tpm_limit=10)
TOKENS = Tokens(requests=1, input=2, output=3, cache_read=4, cache_write=5, cache_write_1h=6, reasoning=7)

FULL_BATCH = Batch(
    number=1,
    keys={key.id: key for key in (FULL_KEY, NO_POOLS_KEY, PLAIN_KEY)},
    groups={group.id: group for group in (LOW, TOP)},
    usage={
        usage_key("vk_full", 20_000): TOKENS,
        usage_key("vk_full", 20_000, estimated=True): Tokens(requests=8),
        usage_key("vk_full", 20_000, context_tier=200_000): Tokens(requests=9),
        usage_key("vk_full", 20_001, model="n"): Tokens(requests=10),
        usage_key("grp_low", 20_001): Tokens(requests=11),
    },
    rates={RateKey("vk_full", 1000): RateCount(1, 2), RateKey("grp_low", 1001): RateCount(3, 4)},
)
FULL_LOADED = Loaded(
    last_number=1,
    keys=(FULL_KEY, NO_POOLS_KEY, PLAIN_KEY),
    groups=(LOW, TOP),
    spent={("vk_full", 20_000): 3001 + 15 + 9, ("vk_full", 20_001): 10, ("grp_low", 20_001): 11},
    rates=dict(FULL_BATCH.rates),
)
