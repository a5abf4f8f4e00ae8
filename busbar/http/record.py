"""What is noted of one request, for the one telemetry message that it costs."""

from __future__ import annotations

import logging

from busbar.actors.journey import Journey
from busbar.actors.runtime import Clock
from busbar.actors.telemetry import AttemptDone, RequestDone
from busbar.http.attempt import Attempt
from busbar.http.bill import Bill
from busbar.http.lanes import Lane
from busbar.http.tracing import RequestTrace
from busbar.protocols.failures import Failure
from busbar.protocols.protocol import Operation, Protocol
from busbar.protocols.usage import Usage, added, believed

logger = logging.getLogger("busbar.relay")

CLIENT_LEFT = 499
"""The status of a request whose caller was told nothing, as web servers note it."""


class Record:
    """One request's. `outcome` and `status` are what the caller was told."""

    __slots__ = (
        "_attempts",
        "_clock",
        "_first_byte_at",
        "_ingress",
        "_last",
        "_operation",
        "_started_at",
        "_translated_to",
        "_usage",
        "_waited_secs",
        "bill",
        "by_session",
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
        self.by_session: set[str] = set()
        """Pools that were asked for the member of a session."""
        self._ingress = ingress
        self._operation = operation
        self._clock = clock
        self._started_at = clock.now()
        self._attempts: list[AttemptDone] = []
        self._last: Attempt | None = None
        self._first_byte_at: float | None = None
        self._usage: Usage | None = None
        """Of all attempts together."""
        self._translated_to: str | None = None
        self._waited_secs = 0.0
        """For providers, before the caller's first byte."""

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
        self.told("cancelled", self.status if self._first_byte_at is not None else CLIENT_LEFT)

    def note(
        self, attempt: Attempt, lane: Lane, pool: str, word: str, began_at: float, failure: Failure | None
    ) -> None:
        """An attempt is over. `failure` None: it was answered, or ended without a verdict."""
        signal = None if failure is None else failure.signal
        waited_secs, pace = attempt.waited_secs, attempt.pace
        usage = None if attempt.usage is None else believed(attempt.usage)
        self._attempts.append(
            AttemptDone(
                member=lane.model,
                disposition=word,
                latency_ms=(self._clock.now() - began_at) * 1000,
                provider=lane.provider,
                protocol=lane.protocol.name,
                at=began_at,
                first_byte_at=attempt.first_byte_at,
                status=None if signal is None else signal.status,
                code=None if signal is None else signal.code or signal.type,
                retry_after_secs=None if signal is None else signal.retry_after_secs,
                span_id=0 if self.trace is None else self.trace.attempt_over(),
                pool=pool,
                waited_ms=waited_secs * 1000,
                gap_mean_ms=None if pace is None else pace.mean_secs * 1000,
                gap_longest_ms=None if pace is None else pace.longest_secs * 1000,
                usage=usage,
                refused_keys=attempt.refused_keys,
            )
        )
        self._last = attempt
        if self._first_byte_at is None:
            self._first_byte_at = attempt.first_byte_at
            self._waited_secs += waited_secs
        if usage is not None:
            self._usage = usage if self._usage is None else added(self._usage, usage)
        self._translated_to = None if lane.protocol is self._ingress else lane.protocol.name
        if attempt.broken is not None:
            self.outcome = "error"

    def done(self) -> RequestDone:
        last, journey, bill, now = self._last, self.journey, self.bill, self._clock.now()
        dropped = last.dropped_fields if last is not None else ()
        if dropped:
            logger.info("%s: not carried to %s: %s", self.id, self._translated_to, ", ".join(dropped))
        if len(self._attempts) > 1 or self.outcome in ("error", "exhausted"):
            logger.info("%s: %s: %s; told %s (%d)", self.id, self.pool, self._way(), self.outcome, self.status)
        return RequestDone(
            request_id=self.id,
            ingress=self._ingress.name,
            pool=self.pool,
            outcome=self.outcome,
            status=self.status,
            latency_ms=(now - self._started_at) * 1000,
            overhead_ms=self._own_secs(now) * 1000,
            ttft_ms=None if self._first_byte_at is None else (self._first_byte_at - self._started_at) * 1000,
            attempts=self._attempts,
            translated_to=self._translated_to,
            usage=self._usage,
            key_id=None if bill is None else bill.key,
            picodollars=None if bill is None else bill.picodollars,
            dropped_fields=dropped,
            unix_secs=self._clock.time() - (now - self._started_at),
            started_at=self._started_at,
            routed_at=0.0 if journey is None else journey.started_at,
            operation=self._operation,
            stream=self.stream,
            by_session=self.by_session,
            decisions=() if journey is None else journey.decisions,
            failed_over=() if journey is None else journey.failed_over,
            trace=None if self.trace is None else self.trace.context,
        )

    def _own_secs(self, now: float) -> float:
        """Of the request's time, what no provider was waited for; of a stream, up to the caller's first byte."""
        until = self._first_byte_at if self.stream and self._first_byte_at is not None else now
        return max(0.0, until - self._started_at - self._waited_secs)

    def _way(self) -> str:
        """What was tried, in a line for the log; the whole trace is at `/stats/requests/<id>`."""
        if self._attempts:
            return ", then ".join(f"{attempt.member} {attempt.disposition}" for attempt in self._attempts)
        refusals = [] if self.journey is None else self.journey.decisions
        reasons = {member: why.value for decision in refusals for member, why in decision.passed_over.items()}
        return ", ".join(f"{member} {why}" for member, why in reasons.items()) or "nobody was tried"
