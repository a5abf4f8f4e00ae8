"""How much, how fast, how well: figures of the last minute, out of the latest requests.

Nothing is counted while nobody looks. The first look finds what the journal still knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from busbar.actors.telemetry import RequestDone

HISTORY_SECS = 60
HEADLINE_SECS = 10
"""The latest whole seconds, which the figures without a history are of."""

SAMPLES_PER_SEC = 500
"""Times that are kept of one second; percentiles are of these. Requests beyond are counted all the same."""

OUR_ERRORS = frozenset({"error", "exhausted"})
"""Outcomes that are neither the caller's fault nor its wish."""

Figures: TypeAlias = dict[str, float | None]


class _Second:
    """What was answered in one second."""

    __slots__ = ("_figures", "errors", "latencies_ms", "requests", "ttfts_ms")

    def __init__(self) -> None:
        self._figures: Figures | None = None
        self.requests = 0
        self.errors = 0
        self.latencies_ms: list[float] = []
        self.ttfts_ms: list[float] = []

    def add(self, request: RequestDone) -> None:
        self.requests += 1
        self.errors += request.outcome in OUR_ERRORS
        if len(self.latencies_ms) < SAMPLES_PER_SEC:
            self.latencies_ms.append(request.latency_ms)
            if request.ttft_ms is not None:
                self.ttfts_ms.append(request.ttft_ms)
        self._figures = None

    def figures(self) -> Figures:
        """Worked out once: a second that is over does not change."""
        if self._figures is None:
            self._figures = _figures([self], 1)
        return self._figures


class Rates:
    """Is shown the latest requests again and again, and counts each once, in the second in which it was over.

    Between two looks, no more than the journal keeps are seen: with more than that, the rates are too low.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}
        self._newest: RequestDone | None = None
        self._shown: dict[str, Any] = {}
        self._shown_until = -1
        """The second before which all was shown; -1: something has come since."""

    def see(self, newest_first: Sequence[RequestDone], unix_secs: float) -> None:
        for request in self._unseen(newest_first):
            second = int(request.unix_secs + request.latency_ms / 1000)
            self._seconds.setdefault(second, _Second()).add(request)
            if second < self._shown_until:
                self._shown_until = -1
        if newest_first:
            self._newest = newest_first[0]
        oldest = int(unix_secs) - HISTORY_SECS
        for second in [second for second in self._seconds if second < oldest]:
            del self._seconds[second]

    def shown(self, unix_secs: float) -> dict[str, Any]:
        """As of the last whole second, so the figures change once a second at most."""
        end = int(unix_secs)
        if end == self._shown_until:
            return self._shown
        seconds = [self._seconds.get(second, _NOTHING) for second in range(end - HISTORY_SECS, end)]
        figures = [second.figures() for second in seconds]
        headline = _figures(seconds[-HEADLINE_SECS:], HEADLINE_SECS)
        self._shown = {**headline, "history": {name: [figure[name] for figure in figures] for name in headline}}
        self._shown_until = end
        return self._shown

    def _unseen(self, newest_first: Sequence[RequestDone]) -> Iterable[RequestDone]:
        for request in newest_first:
            if request is self._newest:
                return
            yield request


_NOTHING = _Second()


def _figures(seconds: Sequence[_Second], secs: int) -> Figures:
    latencies = sorted(ms for second in seconds for ms in second.latencies_ms)
    ttfts = sorted(ms for second in seconds for ms in second.ttfts_ms)
    return {
        "requests_per_s": round(sum(second.requests for second in seconds) / secs, 2),
        "errors_per_s": round(sum(second.errors for second in seconds) / secs, 2),
        "p50_ms": _percentile(latencies, 50),
        "p95_ms": _percentile(latencies, 95),
        "ttft_p50_ms": _percentile(ttfts, 50),
    }


def _percentile(ascending: Sequence[float], percent: int) -> float | None:
    """The smallest value that `percent` of all do not exceed; None of none."""
    if not ascending:
        return None
    return round(ascending[max(0, -(-len(ascending) * percent // 100) - 1)], 1)
