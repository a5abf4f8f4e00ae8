"""Metrics: what has happened, counted. The sink of the one telemetry message that a request costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from busbar.actors.messages import Snapshot
from busbar.actors.runtime import Forward, LoopActor, LoopRef, Overflow, handles
from busbar.actors.telemetry import Find, Recent, RequestDone, RequestsDone
from busbar.protocols.usage import Usage

DROPPED_PATHS_MAX = 1024
"""Different field paths that are counted one by one; further ones count as `(other)`."""

BATCH = 64
"""Requests that are handed on to the journal at once, so that a request costs one message, and a bit of another."""


class Metrics(LoopActor):
    """Understands RequestDone, Find, Recent, Snapshot. Telemetry never slows serving: its mailbox drops, and counts
    the drops.

    What it is told it hands on to the journal, a batch at a time, and before a question that the journal answers.
    """

    overflow = Overflow.DROP
    mailbox_limit = 4096

    def __init__(self, journal: LoopRef | None = None) -> None:
        super().__init__()
        self._journal = journal
        self._to_hand_on: list[RequestDone] = []
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._translations: Counter[tuple[str, str]] = Counter()
        self._dropped_fields: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._failovers: Counter[tuple[str, str]] = Counter()

    @handles(RequestDone)
    def request_done(self, message: RequestDone) -> None:
        self._requests[message.ingress, message.pool, message.outcome] += 1
        for attempt in message.attempts:
            self._attempts[attempt.member, attempt.disposition] += 1
        for failover in message.failed_over:
            self._failovers[failover] += 1
        if message.translated_to is not None:
            self._translations[message.ingress, message.translated_to] += 1
        for path in message.dropped_fields:
            known = path in self._dropped_fields or len(self._dropped_fields) < DROPPED_PATHS_MAX
            self._dropped_fields[path if known else "(other)"] += 1
        if message.usage is not None:
            self._count_tokens(message.usage)
        self._to_hand_on.append(message)
        if len(self._to_hand_on) >= BATCH:
            self._hand_on()

    @handles(Find)
    def find(self, message: Find) -> Forward | None:
        return self._asked(message)

    @handles(Recent)
    def recent(self, message: Recent) -> Forward | None:
        return self._asked(message)

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        return {
            "requests": [
                {"ingress_protocol": ingress, "pool": pool, "outcome": outcome, "count": count}
                for (ingress, pool, outcome), count in sorted(self._requests.items())
            ],
            "attempts": [
                {"lane": member, "disposition": disposition, "count": count}
                for (member, disposition), count in sorted(self._attempts.items())
            ],
            "translations": [
                {"from": source, "to": target, "count": count}
                for (source, target), count in sorted(self._translations.items())
            ],
            "failovers": [
                {"pool": pool, "reason": reason, "count": count}
                for (pool, reason), count in sorted(self._failovers.items())
            ],
            "dropped_fields": dict(sorted(self._dropped_fields.items())),
            "tokens": dict(sorted(self._tokens.items())),
        }

    def _asked(self, question: Find | Recent) -> Forward | None:
        self._hand_on()
        return None if self._journal is None else Forward(self._journal, question)

    def _hand_on(self) -> None:
        batch, self._to_hand_on = self._to_hand_on, []
        if batch and self._journal is not None:
            self._journal.tell(RequestsDone(batch))

    def _count_tokens(self, usage: Usage) -> None:
        self._tokens["input"] += usage.input_tokens or 0
        self._tokens["output"] += usage.output_tokens or 0
        self._tokens["cache_read"] += usage.cache_read_tokens or 0
        self._tokens["cache_write"] += usage.cache_write_tokens or 0
        self._tokens["reasoning"] += usage.reasoning_tokens or 0
