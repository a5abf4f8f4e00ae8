"""Metrics: what has happened, counted. The sink of the one telemetry message that a request costs.

While a request is served, what is told of it is only put down. It is counted and handed on with its batch, where the
same work costs less than half, as its code and its data are at hand; or before an answer that it belongs in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from busbar.actors.messages import Snapshot
from busbar.actors.runtime import Forward, LoopActor, LoopRef, Overflow, handles
from busbar.actors.tallies import Labels, Relabel, Tallied, Tallies
from busbar.actors.telemetry import Find, HandOn, Recent, RequestDone, RequestsDone, Tally

DROPPED_PATHS_MAX = 1024
"""Different field paths that are counted one by one; further ones count as `(other)`."""

BATCH = 64
"""Requests that are counted and handed on at once, so that a request costs one message, and a bit of another."""

HAND_ON_SECS = 1.0
"""A request is counted and handed on within this time."""


Key = TypeVar("Key", bound=tuple[str, ...])


class Metrics(LoopActor):
    """Understands RequestDone, Find, Recent, Tally, Snapshot. Telemetry never slows serving: its mailbox drops, and
    counts the drops.

    What it is told it hands on to the journal and to the other sinks (the request log, traces), a batch at a time,
    and before a question that the journal answers.
    """

    overflow = Overflow.DROP
    mailbox_limit = 4096

    def __init__(
        self,
        journal: LoopRef | None = None,
        sinks: Sequence[LoopRef] = (),
        labels: Labels = Labels(),  # noqa: B008
    ) -> None:
        super().__init__()
        self._journal = journal
        self._sinks_told = sinks
        self._sinks = [*sinks] if journal is None else [journal, *sinks]
        """Each understands RequestsDone, and drops what is too much for it."""
        self._told: list[RequestDone] = []
        """Neither counted nor handed on; fewer than BATCH."""
        self._timer = False
        self._tallies = Tallies(labels)
        self._dropped_paths: dict[str, int] = {}

    def on_stop(self) -> None:
        """The sinks were started before, and stop after this."""
        self._hand_on()

    @handles(RequestDone)
    def request_done(self, message: RequestDone) -> None:
        told = self._told
        told.append(message)
        if len(told) >= BATCH:
            self._hand_on()
        elif not self._timer:
            self._timer = True
            self.schedule(HAND_ON_SECS, HandOn())

    @handles(HandOn)
    def hand_on(self, _message: HandOn) -> None:
        self._timer = False
        self._hand_on()

    @handles(Relabel)
    def relabel(self, message: Relabel) -> None:
        self._hand_on()
        self._tallies.relabel(message.labels)
        self.renew_with(self._journal, self._sinks_told, message.labels)

    @handles(Find)
    def find(self, message: Find) -> Forward | None:
        return self._asked(message)

    @handles(Recent)
    def recent(self, message: Recent) -> Forward | None:
        return self._asked(message)

    @handles(Tally)
    def tally(self, _message: Tally) -> Tallied:
        self._hand_on()
        return self._tallies.tallied()

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        """What has happened, for `/stats`."""
        self._hand_on()
        tallies = self._tallies
        return {
            "requests": _rows(("ingress_protocol", "pool", "outcome"), tallies.requests()),
            "attempts": _rows(("lane", "disposition"), tallies.dispositions()),
            "translations": _rows(("from", "to"), tallies.translations),
            "failovers": _rows(("pool", "reason"), tallies.failovers),
            "dropped_fields": dict(sorted(self._dropped_paths.items())),
            "tokens": dict(sorted(tallies.tokens().items())),
        }

    def _asked(self, question: Find | Recent) -> Forward | None:
        self._hand_on()
        return None if self._journal is None else Forward(self._journal, question)

    def _hand_on(self) -> None:
        """And counts what it hands on."""
        batch, self._told = self._told, []
        if not batch:
            return
        message = RequestsDone(batch)
        for sink in self._sinks:
            sink.tell(message)
        for request in batch:
            self._tallies.add(request)
            if request.dropped_fields:
                self._count_dropped(request.dropped_fields)

    def _count_dropped(self, paths: Iterable[str]) -> None:
        counts = self._dropped_paths
        for path in paths:
            key = path if path in counts or len(counts) < DROPPED_PATHS_MAX else "(other)"
            counts[key] = counts.get(key, 0) + 1


def _rows(labels: tuple[str, ...], counts: Mapping[Key, int]) -> list[dict[str, Any]]:
    """What was counted at all, in order."""
    return [dict(zip(labels, key, strict=True)) | {"count": count} for key, count in sorted(counts.items()) if count]
