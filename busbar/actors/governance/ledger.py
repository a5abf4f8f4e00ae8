"""The Ledger: what Governance decided, made to last. Written behind, in groups, in the order in which it came.

There is one job at the store at a time. What comes meanwhile is gathered, and written together when it is done: so
all requests that wait for a commit share it, and the busier the gateway is, the fewer commits a request costs.
A batch that could not be written is kept and tried again under its number until it is: nothing is lost while the
process lives, and nothing is written twice.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from busbar.actors.governance.batch import (
    Batch,
    Commit,
    Committed,
    Job,
    Load,
    Loaded,
    RateCount,
    ReadUsage,
    Result,
    Store,
    StoreFailed,
    Tokens,
    UsageRead,
)
from busbar.actors.governance.messages import (
    Attach,
    Flush,
    Health,
    LookAtTime,
    NotRecorded,
    Ready,
    Record,
    Retry,
    UsageOf,
)
from busbar.actors.messages import Snapshot
from busbar.actors.runtime import LoopActor, Reply, handles

logger = logging.getLogger("busbar.governance")

RELAXED_SECS = 0.1
"""What nobody waits for is written within this time."""

PATIENCE_SECS = 5.0
"""A store that takes longer counts as failing; who waits for a commit is told after this time."""

RETRY_SECS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Between the attempts to write a batch; the last goes on."""

TICK_SECS = 1.0
"""How often it looks at the time while somebody waits."""

READERS_MAX = 64
"""Questions about usage that wait; further ones are refused."""


class Waiting:
    """An answer that is true once something is committed."""

    __slots__ = ("answer", "reply", "since")

    def __init__(self, reply: Reply, answer: object, since: float) -> None:
        self.reply = reply
        self.answer = answer
        self.since = since


class Ledger(LoopActor):
    """Understands Record, Attach, UsageOf, Snapshot; Committed, Loaded, UsageRead and StoreFailed from the store."""

    mailbox_limit = 100_000

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._gathering = Batch()
        self._gathering_waits: list[Waiting] = []
        self._writing: Batch | None = None
        """At the store, or to be tried again."""
        self._writing_waits: list[Waiting] = []
        self._job: Job | None = None
        self._job_since = 0.0
        self._number: int | None = None
        """Of the last batch; None: not known yet, so nothing can be written."""
        self._attached: Attach | None = None
        self._to_load = False
        self._reads: deque[tuple[UsageOf, Reply]] = deque()
        self._failures = 0
        """In a row."""
        self._healthy = True
        self._commits = 0
        self._flushing = False
        self._ticking = False

    # --- what is asked

    @handles(Record)
    def record(self, message: Record) -> None:
        batch = self._gathering
        batch.keys.update(message.keys)
        batch.groups.update(message.groups)
        for usage_key, tokens in message.usage:
            batch.usage.setdefault(usage_key, Tokens()).add(tokens)
        for rate_key, count in message.rates:
            sums = batch.rates.setdefault(rate_key, RateCount())
            sums.requests += count.requests
            sums.tokens += count.tokens
        if message.answer is not None:
            self._gathering_waits.append(Waiting(self.defer(), message.answer, self.clock.now()))
            self._tick()
            self._go_on()
        elif not self._flushing:
            self._flushing = True
            self.schedule(RELAXED_SECS, Flush())

    @handles(Attach)
    def attach(self, message: Attach) -> None:
        self._attached = message
        self._to_load = True
        message.ref.tell(Health(self._healthy))
        self._go_on()

    @handles(UsageOf)
    def usage_of(self, message: UsageOf) -> None:
        """Once everything before it is written."""
        reply = self.defer()
        if len(self._reads) >= READERS_MAX or not self._healthy:
            reply.set(NotRecorded())
            return
        self._reads.append((message, reply))
        self._go_on()

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        return {
            "commits": self._commits,
            "failures": self._failures,
            "waiting": len(self._gathering_waits) + len(self._writing_waits),
            "unwritten": len(self._gathering.usage) + (0 if self._writing is None else len(self._writing.usage)),
        }

    def on_stop(self) -> None:
        """The store is closed after this, and does what is submitted before."""
        unwritten = [batch for batch in (self._writing if self._job is None else None, self._gathering) if batch]
        for batch in unwritten:
            if self._number is not None:
                self._number = batch.number = batch.number or self._number + 1
                self._store.submit(Commit(batch), _nobody)

    # --- what the store says

    @handles(Committed)
    def committed(self, _message: Committed) -> None:
        waits, self._writing_waits, self._writing = self._writing_waits, [], None
        self._commits += 1
        self._done()
        for waiting in waits:
            waiting.reply.set(waiting.answer)
        self._go_on()

    @handles(Loaded)
    def loaded(self, message: Loaded) -> None:
        assert self._attached is not None, "somebody asked for it"
        self._number = message.last_number if self._number is None else self._number
        self._to_load = False
        self._done()
        self._attached.ref.tell(Ready(message))
        self._go_on()

    @handles(UsageRead)
    def usage_read(self, message: UsageRead) -> None:
        self._done()
        self._reads.popleft()[1].set(message)
        self._go_on()

    @handles(StoreFailed)
    def failed(self, message: StoreFailed) -> None:
        self._job = None
        pause_secs = RETRY_SECS[min(self._failures, len(RETRY_SECS) - 1)]
        self._failures += 1
        if self._failures == 1:
            logger.error("the governance store fails, so no requests are admitted: %s", message.reason)
        self._tell_health(ok=False, reason=message.reason)
        while self._reads:
            self._reads.popleft()[1].set(NotRecorded())
        self.schedule(pause_secs, Retry())

    # --- time

    @handles(Flush)
    def flush(self, _message: Flush) -> None:
        self._flushing = False
        self._go_on()

    @handles(Retry)
    def retry(self, _message: Retry) -> None:
        self._go_on(again=True)

    @handles(LookAtTime)
    def look_at_time(self, _message: LookAtTime) -> None:
        self._ticking = False
        now = self.clock.now()
        if self._job is not None and now - self._job_since >= PATIENCE_SECS:
            self._tell_health(ok=False, reason="it does not answer")
        self._writing_waits = _still_waiting(self._writing_waits, now)
        self._gathering_waits = _still_waiting(self._gathering_waits, now)
        self._tick()

    def _tick(self) -> None:
        if not self._ticking and (self._job is not None or self._writing_waits or self._gathering_waits):
            self._ticking = True
            self.schedule(TICK_SECS, LookAtTime())

    # --- one job at a time

    def _go_on(self, *, again: bool = False) -> None:
        """Gives the store its next job, unless it has one, or a pause after a failure."""
        if self._job is not None or (self._failures and not again):
            return
        job = self._next_job()
        if job is not None:
            self._job, self._job_since = job, self.clock.now()
            self._store.submit(job, self._hear)
            self._tick()

    def _next_job(self) -> Job | None:
        if self._writing is None and self._number is not None and self._gathering:
            self._number += 1
            self._writing, self._gathering = self._gathering, Batch()
            self._writing.number = self._number
            self._writing_waits, self._gathering_waits = self._gathering_waits, []
        if self._writing is not None:
            return Commit(self._writing)
        if self._to_load and self._attached is not None:
            return Load(self._attached.price, self._attached.since_day)
        if self._reads:
            question = self._reads[0][0]
            return ReadUsage(question.id, question.since_day)
        if self._failures and self._number is not None:
            self._number += 1  # nothing is left to write, so this shows whether it can be
            self._writing = Batch(number=self._number)
            return Commit(self._writing)
        return None

    def _hear(self, result: Result) -> None:
        self.ref.tell(result)

    def _done(self) -> None:
        self._job = None
        if self._failures:
            logger.info("the governance store works again")
            self._failures = 0
        self._tell_health(ok=True)

    def _tell_health(self, *, ok: bool, reason: str = "") -> None:
        if ok is not self._healthy:
            self._healthy = ok
            if self._attached is not None:
                self._attached.ref.tell(Health(ok, reason))


def _still_waiting(waits: list[Waiting], now: float) -> list[Waiting]:
    """Tells those that have waited long enough."""
    for waiting in waits:
        if now - waiting.since >= PATIENCE_SECS:
            waiting.reply.set(NotRecorded())
    return [waiting for waiting in waits if now - waiting.since < PATIENCE_SECS]


def _nobody(_result: Result) -> None:
    """Nobody is there any more to hear it."""
