"""What is noted of one request, for the one telemetry message that it costs."""

from __future__ import annotations

import logging

from busbar.actors.journey import Journey
from busbar.actors.messages import AttemptDone, RequestDone
from busbar.actors.runtime import Clock
from busbar.http.attempt import Attempt
from busbar.http.lanes import Lane
from busbar.protocols.protocol import Protocol

logger = logging.getLogger("busbar.relay")


class Record:
    """One request's. `outcome` and `status` are what the caller was told."""

    def __init__(self, request_id: str, ingress: Protocol, clock: Clock) -> None:
        self.id = request_id
        self.pool = "unresolved"
        self.outcome = "ok"
        self.status = 200
        self.journey: Journey | None = None
        self._ingress = ingress
        self._clock = clock
        self._started_at = clock.now()
        self._attempts: list[AttemptDone] = []
        self._last: Attempt | None = None
        self._translated_to: str | None = None

    @property
    def answered(self) -> bool:
        """Whether the caller has a whole stream, whatever became of its connection then."""
        return self._last is not None and self._last.finished

    def told(self, outcome: str, status: int) -> None:
        """The caller got an error."""
        self.outcome = outcome
        self.status = status

    def note(self, attempt: Attempt, lane: Lane, word: str, latency_ms: float) -> None:
        self._attempts.append(AttemptDone(member=lane.model, disposition=word, latency_ms=latency_ms))
        self._last = attempt
        self._translated_to = None if lane.protocol is self._ingress else lane.protocol.name
        if attempt.broken is not None:
            self.outcome = "error"

    def done(self) -> RequestDone:
        last = self._last
        dropped = last.dropped_fields if last is not None else ()
        if dropped:
            logger.info("%s: not carried to %s: %s", self.id, self._translated_to, ", ".join(dropped))
        return RequestDone(
            request_id=self.id,
            ingress=self._ingress.name,
            pool=self.pool,
            outcome=self.outcome,
            status=self.status,
            latency_ms=(self._clock.now() - self._started_at) * 1000,
            ttft_ms=(
                None if last is None or last.first_byte_at is None else (last.first_byte_at - self._started_at) * 1000
            ),
            attempts=tuple(self._attempts),
            translated_to=self._translated_to,
            usage=None if last is None else last.usage,
            dropped_fields=dropped,
        )
