"""A store in memory, on the virtual clock, for actors under test: the port `Store` without a thread or a file."""

from __future__ import annotations

import copy
import functools
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from busbar.actors.governance.batch import (
    Batch,
    Commit,
    Committed,
    Job,
    Load,
    Loaded,
    RateCount,
    RateKey,
    ReadUsage,
    Result,
    StoreFailed,
    Tokens,
    UsageKey,
    UsageRead,
)
from busbar.actors.governance.scopes import Group, VirtualKey
from busbar.actors.runtime import Clock

RATES_KEPT_SECS = 120


class MemoryStore:
    """Keeps what it was given, as `busbar.store.SqliteStore` does, for as long as the test runs.

    A job is done `latency_secs` after it was submitted, when the clock says so: until then nothing of it is kept.
    The same store given to a second actor system is what that one finds after a restart, see `restart`.
    """

    def __init__(self, clock: Clock, *, latency_secs: float = 0.0) -> None:
        self.latency_secs = latency_secs
        """Of the jobs submitted from now on, at least 0. At 0 they are still answered later, never at once."""
        self.commits: list[Batch] = []
        """What was written, in this order. What was already there is not in it twice."""
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._fault: _Fault | None = None
        self._last_number = 0
        self._keys: dict[str, VirtualKey | None] = {}
        self._groups: dict[str, Group | None] = {}
        self._usage: dict[UsageKey, Tokens] = {}
        self._rates: dict[RateKey, RateCount] = {}

    def __repr__(self) -> str:
        return f"<MemoryStore at {self._last_number}, {len(self._waiting)} jobs waiting>"

    def submit(self, job: Job, done: Callable[[Result], None]) -> None:
        """See `Store.submit`. A batch is the store's from then on: AssertionError at its time if it was changed."""
        before = copy.deepcopy(job.batch) if isinstance(job, Commit) else None
        waiting = _Waiting(job, done, before)
        self._waiting.append(waiting)
        self._clock.call_later(self.latency_secs, functools.partial(self._answer, waiting))

    @property
    def waiting(self) -> int:
        """Jobs that are neither done nor answered."""
        return len(self._waiting)

    def fail(self, reason: str, *, after_writing: bool = False) -> None:
        """Answer every job with `StoreFailed(reason)` until `heal`, those that wait already too.

        After writing: a batch is written all the same, as happens when it is the end of a commit that fails.
        """
        self._fault = _Fault(reason, after_writing)

    def heal(self) -> None:
        self._fault = None

    def restart(self, clock: Clock | None = None, *, written: int = 0) -> None:
        """The process ends, and another finds this store. Who waits for an answer never gets one.

        Args:
            clock: that of the next process; None: the same.
            written: so many of the waiting jobs, the oldest, were done, though nobody was told.
        """
        for _ in range(min(written, len(self._waiting))):
            self._do(self._waiting.popleft())
        self._waiting.clear()
        self._clock = clock or self._clock

    def usage(self) -> dict[UsageKey, Tokens]:
        """All of it, for a test to compare with the truth."""
        return copy.deepcopy(self._usage)

    def _answer(self, answered: _Waiting) -> None:
        # Those before it are done first, though they may have been given more time.
        while any(each is answered for each in self._waiting):
            waiting = self._waiting.popleft()
            waiting.done(self._do(waiting))

    def _do(self, waiting: _Waiting) -> Result:
        fault = self._fault
        if fault is None:
            return self._result(waiting)
        if fault.after_writing:
            self._result(waiting)
        return StoreFailed(fault.reason)

    def _result(self, waiting: _Waiting) -> Result:
        match waiting.job:
            case Commit(batch=batch):
                assert batch == waiting.before, "a batch was changed after it was handed over"
                return self._commit(batch)
            case Load() as job:
                return self._load(job)
            case ReadUsage(scope=scope, since_day=since_day):
                keys = sorted(key for key in self._usage if key.scope == scope and key.day >= since_day)
                return UsageRead(tuple((key, copy.copy(self._usage[key])) for key in keys))

    def _commit(self, batch: Batch) -> Committed:
        if batch.number > self._last_number:
            self._last_number = batch.number
            self.commits.append(batch)
            self._keys.update(batch.keys)
            self._groups.update(batch.groups)
            for usage_key, tokens in batch.usage.items():
                self._usage.setdefault(usage_key, Tokens()).add(tokens)
            for rate_key, count in batch.rates.items():
                kept = self._rates.setdefault(rate_key, RateCount())
                kept.requests += count.requests
                kept.tokens += count.tokens
            self._forget_rates(batch)
        return Committed(batch.number)

    def _forget_rates(self, batch: Batch) -> None:
        newest = max((key.second for key in batch.rates), default=0)
        self._rates = {key: count for key, count in self._rates.items() if key.second >= newest - RATES_KEPT_SECS}

    def _load(self, job: Load) -> Loaded:
        spent: dict[tuple[str, int], int] = {}
        deleted = {scope for kind in (self._keys, self._groups) for scope, value in kind.items() if value is None}
        for key, tokens in self._usage.items():
            if key.scope not in deleted:
                place = (key.scope, key.day if key.day >= job.since_day else -1)
                spent[place] = spent.get(place, 0) + job.price(key, tokens)
        return Loaded(
            last_number=self._last_number,
            keys=tuple(key for _, key in sorted(self._keys.items()) if key is not None),
            groups=tuple(group for _, group in sorted(self._groups.items()) if group is not None),
            spent=spent,
            rates=copy.deepcopy(self._rates),
        )


class _Waiting(Struct, frozen=True, eq=False):
    job: Job
    done: Callable[[Result], None]
    before: Batch | None
    """The batch as it was submitted."""


class _Fault(Struct, frozen=True):
    reason: str
    after_writing: bool
