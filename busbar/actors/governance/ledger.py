"""The Ledger: what Governance decided, made to last. Written behind, in groups, in the order in which it came.

There is one job at the store at a time. What comes meanwhile is gathered, and written together when it is done: so
all requests that wait for a commit share it, and the busier the gateway is, the fewer commits a request costs.
A batch that could not be written is kept and tried again under its number until it is: nothing is lost while the
process lives, and nothing is written twice.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import Any

from busbar.actors.governance.batch import (
    Commit,
    Committed,
    Job,
    Load,
    Loaded,
    ReadUsage,
    Result,
    Store,
    StoreFailed,
    UsageRead,
)
from busbar.actors.governance.messages import (
    Attach,
    Done,
    Flush,
    Health,
    LookAtTime,
    NotRecorded,
    Ready,
    Record,
    Retry,
    UsageOf,
)
from busbar.actors.governance.outbox import Outbox
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


class Reader:
    """Somebody who wants to know what was used."""

    __slots__ = ("asked", "reply", "since")

    def __init__(self, asked: UsageOf, reply: Reply, since: float) -> None:
        self.asked = asked
        self.reply = reply
        self.since = since


class Ledger(LoopActor):
    """Understands Record, Attach, UsageOf, Snapshot; Done, with what the store answers.

    When it crashes, those who wait are told that they cannot know; what was to be written is in the outbox.
    """

    mailbox_limit = 100_000

    def __init__(self, store: Store, outbox: Outbox) -> None:
        super().__init__()
        self._store = store
        self._outbox = outbox
        self._gathering_waits: list[Waiting] = []
        self._writing_waits: list[Waiting] = []
        self._job: Job | None = None
        """At the store."""
        self._job_since = 0.0
        self._reads: deque[Reader] = deque()
        self._failures = 0
        """In a row."""
        self._healthy = True
        self._commits = 0
        self._flushing = False
        """A timer runs to the time at which what nobody waits for is due."""
        self._due = True
        """What is gathered is to be written now. What nobody waits for makes no commit of its own before its time."""
        self._ticking = False

    def on_start(self) -> None:
        if self._outbox.attached is not None:
            self._outbox.attached.ref.tell(Health(ok=True))
        self._go_on()

    # --- what is asked

    @handles(Record)
    def record(self, message: Record) -> None:
        self._outbox.gather(message)
        if message.answer is not None:
            self._due = True
            self._gathering_waits.append(Waiting(self.defer(), message.answer, self.clock.now()))
            self._tick()
            self._go_on()
        elif not self._flushing:
            self._flushing = True
            self.schedule(RELAXED_SECS, Flush())

    @handles(Attach)
    def attach(self, message: Attach) -> None:
        self._outbox.attached = message
        self._outbox.to_load = True
        message.ref.tell(Health(self._healthy))
        self._go_on()

    @handles(UsageOf)
    def usage_of(self, message: UsageOf) -> None:
        """Once everything before it is written."""
        reply = self.defer()
        if len(self._reads) >= READERS_MAX or not self._healthy:
            reply.set(NotRecorded())
            return
        self._reads.append(Reader(message, reply, self.clock.now()))
        self._tick()
        self._go_on()

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        return {
            "commits": self._commits,
            "failures": self._failures,
            "waiting": len(self._gathering_waits) + len(self._writing_waits),
            "unwritten": self._outbox.unwritten,
        }

    def on_stop(self) -> None:
        """The store is closed after this, and does what is submitted before."""
        outbox = self._outbox
        if self._job is None and outbox.writing is not None:
            self._store.submit(Commit(outbox.writing), _heard_last)
        outbox.writing = None
        batch = outbox.next_batch()
        if batch is not None:
            self._store.submit(Commit(batch), _heard_last)

    # --- what the store says

    @handles(Done)
    def done(self, message: Done) -> None:
        if message.job is not self._job:
            return  # an instance that crashed had asked for it
        self._job = None
        match message.result:
            case StoreFailed(reason=reason):
                self._failed(reason)
                return
            case Committed():
                self._committed()
            case Loaded() as loaded:
                self._loaded(message.job, loaded)
            case UsageRead() as read:
                self._reads.popleft().reply.set(read)
        self._failures = 0
        self._tell_health(ok=True)
        self._go_on()

    def _committed(self) -> None:
        self._outbox.writing = None
        self._commits += 1
        waits, self._writing_waits = self._writing_waits, []
        for waiting in waits:
            waiting.reply.set(waiting.answer)

    def _loaded(self, job: Job, loaded: Loaded) -> None:
        outbox = self._outbox
        assert outbox.attached is not None, "somebody asked for it"
        if outbox.number is None:
            outbox.number = loaded.last_number
        if job != _load(outbox.attached):
            return  # somebody has come meanwhile who asks with other prices
        outbox.to_load = False
        outbox.attached.ref.tell(Ready(loaded))

    def _failed(self, reason: str) -> None:
        pause_secs = RETRY_SECS[min(self._failures, len(RETRY_SECS) - 1)]
        self._failures += 1
        self._tell_health(ok=False, reason=reason)
        while self._reads:
            self._reads.popleft().reply.set(NotRecorded())
        self.schedule(pause_secs, Retry())

    # --- time

    @handles(Flush)
    def flush(self, _message: Flush) -> None:
        self._flushing = False
        self._due = True
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
        for reader in self._reads:  # what the store does for them goes on
            if now - reader.since >= PATIENCE_SECS:
                reader.reply.set(NotRecorded())
        self._tick()

    def _tick(self) -> None:
        busy = self._job is not None or self._writing_waits or self._gathering_waits or self._reads
        if busy and not self._ticking:
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
            self._store.submit(job, partial(self._hear, job))
            self._tick()

    def _next_job(self) -> Job | None:
        outbox = self._outbox
        begins = outbox.writing is None
        due = self._due or outbox.to_load or bool(self._reads) or self._failures > 0
        batch = outbox.next_batch() if due or not begins else None
        if batch is not None:
            if begins:
                self._due = False
                self._writing_waits, self._gathering_waits = self._gathering_waits, []
            return Commit(batch)
        if outbox.to_load and outbox.attached is not None:
            return _load(outbox.attached)
        if self._reads:
            asked = self._reads[0].asked
            return ReadUsage(asked.id, asked.since_day)
        if self._failures:  # nothing is left to write, so an empty batch shows whether it can be
            batch = outbox.next_batch(even_empty=True)
        return None if batch is None else Commit(batch)

    def _hear(self, job: Job, result: Result) -> None:
        self.ref.tell(Done(job, result))

    def _tell_health(self, *, ok: bool, reason: str = "") -> None:
        if ok is not self._healthy:
            self._healthy = ok
            if ok:
                logger.info("the governance store works again")
            else:
                logger.error("the governance store fails, so no requests are admitted: %s", reason)
            if self._outbox.attached is not None:
                self._outbox.attached.ref.tell(Health(ok, reason))


def _load(attached: Attach) -> Load:
    return Load(attached.price, attached.since_day)


def _still_waiting(waits: list[Waiting], now: float) -> list[Waiting]:
    """Tells those that have waited long enough."""
    for waiting in waits:
        if now - waiting.since >= PATIENCE_SECS:
            waiting.reply.set(NotRecorded())
    return [waiting for waiting in waits if now - waiting.since < PATIENCE_SECS]


def _heard_last(result: Result) -> None:
    if isinstance(result, StoreFailed):
        logger.error("what was used last could not be recorded: %s", result.reason)
