"""What is noted of one request, for the one telemetry message that it costs."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from typing import Protocol as Port

from busbar.actors.journey import Journey
from busbar.actors.runtime import Clock
from busbar.actors.telemetry import AttemptDone, RequestDone
from busbar.http.bill import Bill
from busbar.http.lanes import Lane
from busbar.http.stream_relay import Pace
from busbar.http.tracing import RequestTrace
from busbar.protocols.failures import Failure
from busbar.protocols.protocol import Operation, Protocol
from busbar.protocols.usage import Usage, added, believed

logger = logging.getLogger("busbar.relay")

CLIENT_LEFT = 499
"""The status of a request whose caller was told nothing, as web servers note it."""

_NO_POOLS: Set[str] = frozenset()

# Both values below are made with their first fields by position: CPython makes a dict of a call's names when there
# are more than 15 of them (a positional argument counts half), and that costs more than all else here.


class Attempted(Port):
    """What is asked of an attempt that is over; see `Attempt`. No message holds it: it may hold the prompt
    and a credential."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def first_byte_at(self) -> float | None: ...
    @property
    def waited_secs(self) -> float: ...
    @property
    def pace(self) -> Pace | None: ...
    @property
    def refused_keys(self) -> Sequence[tuple[int, str]]: ...
    @property
    def dropped_fields(self) -> tuple[str, ...]: ...
    @property
    def broken(self) -> Failure | None: ...
    @property
    def finished(self) -> bool: ...


class Record:
    """One request's. `outcome` and `status` are what the caller was told."""

    __slots__ = (
        "_attempts",
        "_by_session",
        "_clock",
        "_ingress",
        "_last",
        "_operation",
        "_started_at",
        "bill",
        "id",
        "journey",
        "outcome",
        "pool",
        "status",
        "stream",
        "trace",
    )

    def __init__(self, request_id: str, ingress: Protocol, clock: Clock, operation: Operation = "chat") -> None:
        self.id = request_id
        self.pool = "unresolved"
        self.outcome = "ok"
        self.status = 200
        self.stream = False
        self.bill: Bill | None = None
        self.journey: Journey | None = None
        self.trace: RequestTrace | None = None
        self._ingress = ingress
        self._operation = operation
        self._clock = clock
        self._started_at = clock.now()
        self._attempts: tuple[AttemptDone, ...] = ()
        self._last: Attempted | None = None
        self._by_session: set[str] | None = None

    @property
    def by_session(self) -> set[str]:
        """Pools that were asked for the member of a session."""
        if self._by_session is None:
            self._by_session = set()
        return self._by_session

    @property
    def answered(self) -> bool:
        """Whether the caller has a whole stream, whatever became of its connection then."""
        return self._last is not None and self._last.finished

    def told(self, outcome: str, status: int) -> None:
        """The caller got an error."""
        self.outcome = outcome
        self.status = status

    def left(self) -> None:
        """The caller went away before it had the whole answer."""
        begun = any(attempt.first_byte_at is not None for attempt in self._attempts)
        self.told("cancelled", self.status if begun else CLIENT_LEFT)

    def note(
        self, attempt: Attempted, lane: Lane, pool: str, word: str, began_at: float, failure: Failure | None
    ) -> None:
        """An attempt is over. `failure` None: it was answered, or ended without a verdict."""
        signal = None if failure is None else failure.signal
        pace, usage = attempt.pace, attempt.usage
        done = AttemptDone(
            lane.model,
            word,
            (self._clock.now() - began_at) * 1000,
            lane.provider,
            lane.protocol.name,
            at=began_at,
            first_byte_at=attempt.first_byte_at,
            status=None if signal is None else signal.status,
            code=None if signal is None else signal.code or signal.type,
            retry_after_secs=None if signal is None else signal.retry_after_secs,
            span_id=0 if self.trace is None else self.trace.attempt_over(),
            pool=pool,
            waited_ms=attempt.waited_secs * 1000,
            gap_mean_ms=None if pace is None else pace.mean_secs * 1000,
            gap_longest_ms=None if pace is None else pace.longest_secs * 1000,
            usage=None if usage is None else believed(usage),
            refused_keys=attempt.refused_keys,
        )
        self._attempts += (done,)
        self._last = attempt
        if attempt.broken is not None:
            self.outcome = "error"

    def done(self) -> RequestDone:
        """Everything is over, the bill too. To be called once: it is told in the log, if there is reason to."""
        attempts, last, journey, bill = self._attempts, self._last, self.journey, self.bill
        started_at, now = self._started_at, self._clock.now()
        usage: Usage | None = None
        first_byte_at: float | None = None
        waited_ms = 0.0  # for providers, before the caller's first byte
        for attempt in attempts:
            if first_byte_at is None:
                first_byte_at = attempt.first_byte_at
                waited_ms += attempt.waited_ms
            if attempt.usage is not None:
                usage = attempt.usage if usage is None else added(usage, attempt.usage)
        passed_ms = (now - started_at) * 1000
        ttft_ms = None if first_byte_at is None else (first_byte_at - started_at) * 1000
        own_ms = (ttft_ms if self.stream and ttft_ms is not None else passed_ms) - waited_ms
        dropped = () if last is None else last.dropped_fields
        translated_to = attempts[-1].protocol if attempts else None
        if translated_to == self._ingress.name:
            translated_to = None
        if dropped and logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: not carried to %s: %s", self.id, translated_to, ", ".join(dropped))
        if len(attempts) > 1 or self.outcome == "error" or self.outcome == "exhausted":
            logger.info("%s: %s: %s; told %s (%d)", self.id, self.pool, self._way(), self.outcome, self.status)
        return RequestDone(
            self.id,
            self._ingress.name,
            self.pool,
            self.outcome,
            self.status,
            passed_ms,
            ttft_ms,
            own_ms if own_ms > 0.0 else 0.0,
            attempts,
            translated_to,
            usage,
            None if bill is None else bill.key,
            None if bill is None else bill.picodollars,
            dropped,
            self._clock.time() - (now - started_at),
            started_at,
            routed_at=0.0 if journey is None else journey.started_at,
            operation=self._operation,
            stream=self.stream,
            by_session=self._by_session or _NO_POOLS,
            decisions=() if journey is None else journey.decisions,
            failed_over=() if journey is None else journey.failed_over,
            trace=None if self.trace is None else self.trace.context,
        )

    def _way(self) -> str:
        """What was tried, in a line for the log; the whole trace is at `/stats/requests/<id>`."""
        if self._attempts:
            return ", then ".join(f"{attempt.member} {attempt.disposition}" for attempt in self._attempts)
        refusals = [] if self.journey is None else self.journey.decisions
        reasons = {member: why.value for decision in refusals for member, why in decision.passed_over.items()}
        return ", ".join(f"{member} {why}" for member, why in reasons.items()) or "nobody was tried"
