"""What the gateway is to reach beside its peers, and whether a run says that it does.

Each target is judged by a median over the rounds: of the ratios of one round where two contenders are compared (the
machine may be slow for a minute, for both), else of the figure itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct

from bench import figures
from bench.contenders import Logged
from bench.figures import Figure, Row, Spread, spread
from bench.fresh import Fresh
from bench.scenarios import CROWD, SCENARIOS, Scenario

SUBJECT = Logged.name
SLOW = ("litellm", "portkey")
"""Are asked only for what they are compared in."""


class Ratio(Struct, frozen=True, kw_only=True):
    """At most `limit` times somebody's figure."""

    work: str
    scenario: str
    figure: str
    read: Figure
    other: str
    limit: float
    against: str
    """The scenario of the other's figure."""


class Added(Struct, frozen=True, kw_only=True):
    """What is added to `direct` is at most so many times what nginx adds, and so much."""

    work: str
    scenario: str
    figure: str
    read: Figure
    other: str
    times: float
    more_us: float


class AtMost(Struct, frozen=True, kw_only=True):
    """A bound on the figure itself."""

    work: str
    figure: str
    limit: float
    digits: int = 0


Target: TypeAlias = Ratio | Added | AtMost

CPU_REQUEST, CPU_EVENT = "CPU µs per request", "CPU µs per event"
JSON, PACED = "OpenAI → OpenAI JSON, 16 connections", "paced streams, 64 × 10 ms"
TRANSLATED, TRANSLATED_STREAM = "OpenAI → Anthropic JSON", "OpenAI → Anthropic stream of 50 events, burst"
MEMORY, CROWDED = "resident memory", "2,000 concurrent paced streams"
IDLE, LOADED, START = "idle, MB", "under load, MB", "seconds"
DROPPED, STALLED, EACH, FAILURES = "dropped", "stalled", "KB each", "failures"


def _ratio(work: str, scenario: str, read: Figure, other: str, limit: float, against: str | None = None) -> Ratio:
    title = CPU_EVENT if read is figures.cpu_us_per_event else CPU_REQUEST
    return Ratio(
        work=work,
        scenario=scenario,
        figure=title,
        read=read,
        other=other,
        limit=limit,
        against=against or scenario,
    )


TARGETS: tuple[Target, ...] = (
    _ratio(JSON, "json-openai", figures.cpu_us_per_request, "envoy", 0.85),
    _ratio(JSON, "json-openai", figures.cpu_us_per_request, "nginx", 4.5),
    _ratio(JSON, "json-openai", figures.cpu_us_per_request, "portkey", 1 / 15),
    _ratio(JSON, "json-openai", figures.cpu_us_per_request, "litellm", 1 / 120),
    _ratio(PACED, "paced", figures.cpu_us_per_event, "envoy", 1.1),
    _ratio(PACED, "paced", figures.cpu_us_per_event, "nginx", 2),
    _ratio(TRANSLATED, "json-openai-anthropic", figures.cpu_us_per_request, SUBJECT, 1.6, "json-openai"),
    _ratio(TRANSLATED, "json-openai-anthropic", figures.cpu_us_per_request, "portkey", 1 / 10),
    _ratio(TRANSLATED_STREAM, "burst-openai-anthropic", figures.cpu_us_per_event, "portkey", 1 / 6),
    Added(
        work="50 requests per second",
        scenario="low-rate",
        figure="added latency, p50 µs",
        read=figures.p50_us,
        other="nginx",
        times=3,
        more_us=0,
    ),
    Added(
        work="10 streams per second",
        scenario="first-token",
        figure="added time to first token, p50 µs",
        read=figures.first_p50_us,
        other="nginx",
        times=2,
        more_us=500,
    ),
    AtMost(work=MEMORY, figure=IDLE, limit=60, digits=1),
    AtMost(work=MEMORY, figure=LOADED, limit=90, digits=1),
    AtMost(work="start to first answer", figure=START, limit=0.7, digits=2),
    AtMost(work=CROWDED, figure=DROPPED, limit=0),
    AtMost(work=CROWDED, figure=STALLED, limit=0),
    AtMost(work=CROWDED, figure=EACH, limit=30, digits=1),
    AtMost(work="all of it", figure=FAILURES, limit=0),
)

_NAMED = {each.scenario for each in TARGETS if not isinstance(each, AtMost)}
TARGET_SCENARIOS: tuple[Scenario, ...] = tuple(each for each in SCENARIOS if each.name in _NAMED)
_COMPARED = {(each.other, each.against) for each in TARGETS if isinstance(each, Ratio)}
LEFT_OUT = frozenset(
    (name, each.name) for name in SLOW for each in TARGET_SCENARIOS if (name, each.name) not in _COMPARED
)


class Verdict(Struct, frozen=True, kw_only=True):
    """One target, and what a run says of it."""

    target: Target
    ours: Spread | None
    theirs: Spread | None = None
    """The other's figure."""
    measured: Spread | None
    """What is judged: a ratio, or our figure."""
    limit: float
    """In the unit of `measured`."""

    @property
    def met(self) -> bool | None:
        """None: not measured."""
        return None if self.measured is None else self.measured.median <= self.limit


def verdicts(rows: Sequence[Row], fresh: Sequence[Fresh]) -> list[Verdict]:
    """Of every target, in their order."""
    return [_verdict(target, rows, fresh) for target in TARGETS]


def _verdict(target: Target, rows: Sequence[Row], fresh: Sequence[Fresh]) -> Verdict:
    match target:
        case Ratio(scenario=scenario, other=other, against=against, read=read):
            return Verdict(
                target=target,
                ours=_own(rows, SUBJECT, scenario, read),
                theirs=_own(rows, other, against, read),
                measured=figures.ratio(rows, scenario, SUBJECT, other, read, against),
                limit=target.limit,
            )
        case Added(scenario=scenario, other=other, read=read):
            ours = figures.added(rows, scenario, SUBJECT, read)
            theirs = figures.added(rows, scenario, other, read)
            measured = None if theirs is None else ours
            limit = 0.0 if theirs is None else max(0.0, theirs.median) * target.times + target.more_us
            return Verdict(target=target, ours=ours, theirs=theirs, measured=measured, limit=limit)
        case AtMost(figure=figure, limit=limit):
            own = _absolute(figure, rows, fresh)
            return Verdict(target=target, ours=own, measured=own, limit=limit)


def _own(rows: Sequence[Row], contender: str, scenario: str, read: Figure) -> Spread | None:
    return spread(read(row) for row in rows if (row.contender, row.scenario) == (contender, scenario))


def _absolute(figure: str, rows: Sequence[Row], fresh: Sequence[Fresh]) -> Spread | None:
    """Failures of all rounds together; of everything else the median counts."""
    mine = [row for row in rows if row.contender == SUBJECT]
    crowds = [each.crowd for each in fresh if each.crowd is not None]
    if figure == IDLE:
        return spread(each.idle_bytes / 1e6 for each in fresh)
    if figure == START:
        return spread(each.started_secs for each in fresh)
    if figure == EACH:
        return spread(each.kb_per_stream for each in fresh)
    if figure == LOADED:
        peaks: dict[int, float] = {}
        for row in mine:
            peaks[row.round] = max(peaks.get(row.round, 0.0), (row.peak_bytes or 0) / 1e6)
        return spread(peaks.values())
    if figure == DROPPED:
        return _in_all(crowds, lambda row: CROWD.connections - row.answers - row.failures.get("stalled", 0))
    if figure == STALLED:
        return _in_all(crowds, lambda row: row.failures.get("stalled", 0))
    return _in_all([*mine, *crowds], lambda row: row.failed)


def _in_all(rows: Sequence[Row], read: Figure) -> Spread | None:
    """The sum over the rounds: one bad round is one too many."""
    if not rows:
        return None
    total = float(sum(read(row) or 0 for row in rows))
    return Spread(total, total, total)
