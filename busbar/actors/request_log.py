"""The request log: what is told of requests that are over, on its way to a file or to somebody's receiver.

There is one batch at the outlet at a time; what comes meanwhile waits, within bounds. A batch that was not taken is
tried again under the same id, less and less often, until it was tried `TRIES_MAX` times. Whatever becomes of the
outlet, requests are served: then records are dropped, and counted.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from busbar.actors.messages import Snapshot
from busbar.actors.runtime import LoopActor, Overflow, handles
from busbar.actors.telemetry import RequestDone, RequestsDone

logger = logging.getLogger("busbar.telemetry")

RECORDS_MAX = 10_000
"""Records that wait, the batch at the outlet included; further ones are dropped."""

BYTES_MAX = 16 << 20
"""The same, as they are encoded."""

BATCH_RECORDS_MAX = 500
BATCH_BYTES_MAX = 1 << 20
"""A batch is not larger, unless it is one record."""

TRIES_MAX = 8
"""A batch is dropped that was not taken so often; with the pauses that is after two minutes or more."""

RETRY_SECS_MIN = 1.0
RETRY_SECS_MAX = 60.0
"""The pause after a failure doubles from the one to the other. Each is drawn from its upper half, so that gateways
that lost the same receiver do not come back to it together."""

QUIET_SECS = 60.0
"""A trouble is told in the log when it begins and when it is over, and not sooner than this after the one before."""


class Batch(Struct, frozen=True):
    """Records that are sent together."""

    id: str
    """The same however often it is tried."""
    records: tuple[bytes, ...]
    """Each is one JSON object."""


class Sent(Struct, frozen=True):
    """The outlet has taken the batch."""


class Rejected(Struct, frozen=True):
    """The outlet will never take it."""

    reason: str


class Failed(Struct, frozen=True):
    """The outlet did not take it now."""

    reason: str
    retry_after_secs: float | None = None
    """How long to leave it alone, if it said so."""


Result: TypeAlias = Sent | Rejected | Failed


class Outlet(Protocol):
    """The port to where records go."""

    @property
    def name(self) -> str:
        """For the log. Shows no credential."""
        ...

    def submit(self, batch: Batch, done: Callable[[Result], None]) -> None:
        """Send it, and call `done` once, on the loop, never before this has returned. Batches are sent one after
        another."""
        ...


class Handled(Struct, frozen=True):
    """To itself: what became of the batch."""

    batch: Batch
    result: Result


class TryAgain(Struct, frozen=True):
    """To itself: the pause is over."""


class RequestLog(LoopActor):
    """Understands RequestsDone, Snapshot. Telemetry never slows serving: its mailbox drops, and so does it.

    Records are encoded as they come, so that the bytes that wait are known.
    """

    overflow = Overflow.DROP
    mailbox_limit = 256

    def __init__(self, outlet: Outlet, encode: Callable[[RequestDone], bytes]) -> None:
        """`encode` gives the record of a request: one JSON object, on one line. It raises nothing."""
        super().__init__()
        self._outlet = outlet
        self._encode = encode
        self._records: deque[bytes] = deque()
        """Those that are in no batch yet."""
        self._batch: Batch | None = None
        """At the outlet, or waiting to be tried again."""
        self._at_outlet = False
        self._tries = 0
        """Of the batch, that are over."""
        self._waiting = 0
        self._waiting_bytes = 0
        """Both with the batch."""
        self._pausing = False
        self._failures_in_row = 0
        self._troubled = False
        """It was told that something is wrong, and not yet that it is over."""
        self._quiet_until = 0.0
        self._sent = 0
        self._dropped = 0
        self._failures = 0

    @handles(RequestsDone)
    def requests_done(self, message: RequestsDone) -> None:
        for request in message.requests:
            record = self._encode(request)
            if self._waiting >= RECORDS_MAX or self._waiting_bytes + len(record) > BYTES_MAX:
                self._dropped += 1
                self._tell_trouble("it is too slow")
            else:
                self._records.append(record)
                self._waiting += 1
                self._waiting_bytes += len(record)
        self._go_on()

    @handles(Handled)
    def handled(self, message: Handled) -> None:
        batch = self._batch
        if batch is not message.batch or not self._at_outlet:
            return  # an instance that crashed had sent it
        self._at_outlet = False
        self._tries += 1
        match message.result:
            case Sent():
                self._sent += len(batch.records)
                self._failures_in_row = 0
                self._forget(batch)
                self._tell_works()
            case Rejected(reason=reason):
                self._failures += 1
                self._dropped += len(batch.records)
                self._forget(batch)
                self._tell_trouble(reason)
            case Failed(reason=reason, retry_after_secs=asked_secs):
                self._failed(batch, reason, asked_secs or 0.0)
        self._go_on()

    @handles(TryAgain)
    def try_again(self, _message: TryAgain) -> None:
        self._pausing = False
        self._go_on()

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        return {
            "sent": self._sent,
            "dropped": self._dropped,
            "waiting": self._waiting,
            "waiting_bytes": self._waiting_bytes,
            "failures": self._failures,
        }

    def on_stop(self) -> None:
        """The outlet is closed after this, which gives what is submitted here one try, within its time."""
        if self._batch is not None and not self._at_outlet:
            self._submit_last(self._batch)
        while self._records:
            self._submit_last(self._next_batch())

    def _failed(self, batch: Batch, reason: str, asked_secs: float) -> None:
        pause_secs = min(RETRY_SECS_MIN * 2 ** min(self._failures_in_row, 30), RETRY_SECS_MAX)
        pause_secs *= self.random.uniform(0.5, 1.0)
        self._failures += 1
        self._failures_in_row += 1
        if self._tries >= TRIES_MAX:
            self._dropped += len(batch.records)
            self._forget(batch)
        self._pausing = True
        self.schedule(max(pause_secs, min(asked_secs, RETRY_SECS_MAX)), TryAgain())
        self._tell_trouble(reason)

    def _go_on(self) -> None:
        """Gives the outlet a batch, unless it has one, or a pause after a failure."""
        if self._at_outlet or self._pausing:
            return
        if self._batch is None and self._records:
            self._batch, self._tries = self._next_batch(), 0
        if self._batch is not None:
            self._at_outlet = True
            self._outlet.submit(self._batch, partial(self._hear, self._batch))

    def _next_batch(self) -> Batch:
        records = [self._records.popleft()]
        size_bytes = len(records[0])
        while self._records and len(records) < BATCH_RECORDS_MAX:
            size_bytes += len(self._records[0])
            if size_bytes > BATCH_BYTES_MAX:
                break
            records.append(self._records.popleft())
        return Batch(f"{self.random.getrandbits(128):032x}", tuple(records))

    def _forget(self, batch: Batch) -> None:
        self._batch = None
        self._waiting -= len(batch.records)
        self._waiting_bytes -= sum(map(len, batch.records))

    def _hear(self, batch: Batch, result: Result) -> None:
        self.ref.tell(Handled(batch, result))

    def _submit_last(self, batch: Batch) -> None:
        self._outlet.submit(batch, partial(_heard_last, self._outlet.name, len(batch.records)))

    def _tell_trouble(self, reason: str) -> None:
        if not self._troubled and self.clock.now() >= self._quiet_until:
            self._troubled = True
            self._quiet_until = self.clock.now() + QUIET_SECS
            logger.warning("the request log to %s: %s; records wait, and are dropped", self._outlet.name, reason)

    def _tell_works(self) -> None:
        if self._troubled:
            self._troubled = False
            logger.warning("the request log to %s works again; %d were dropped", self._outlet.name, self._dropped)


def _heard_last(name: str, records: int, result: Result) -> None:
    if not isinstance(result, Sent):
        logger.error("the request log to %s: the last %d records were not taken: %s", name, records, result.reason)
