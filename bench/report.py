"""Rows as Markdown tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from bench import figures
from bench.field import NAMES
from bench.figures import Figure, Row, Spread
from bench.machine import Cores, Machine
from bench.measure import Plan
from bench.scenarios import Scenario, baseline

Reading: TypeAlias = Callable[[Sequence[Row], str, str], Spread | None]
"""Of all rows: what a scenario and a contender have for one column."""


def _own(figure: Figure) -> Reading:
    return lambda rows, scenario, contender: figures.spread(
        figure(row) for row in rows if (row.scenario, row.contender) == (scenario, contender)
    )


def _added(figure: Figure) -> Reading:
    return lambda rows, scenario, contender: (
        None if contender == "direct" else figures.added(rows, scenario, contender, figure)
    )


_COSTS: tuple[tuple[str, Reading, int], ...] = (
    ("requests/s", _own(figures.requests_per_sec), 0),
    ("CPU µs/request", _own(figures.cpu_us_per_request), 1),
    ("CPU µs/event", _own(figures.cpu_us_per_event), 1),
    ("core busy %", _own(figures.core_percent), 0),
    ("RSS MB", _own(figures.rss_mb), 1),
    ("peak RSS MB", _own(figures.peak_mb), 1),
    ("commits/request", _own(figures.commits_per_request), 3),
)
_TIMES: tuple[tuple[str, Reading, int], ...] = (
    ("p50 µs", _own(figures.p50_us), 0),
    ("added p50", _added(figures.p50_us), 0),
    ("p99 µs", _own(figures.p99_us), 0),
    ("added p99", _added(figures.p99_us), 0),
    ("first token p50 µs", _own(figures.first_p50_us), 0),
    ("added first token p50", _added(figures.first_p50_us), 0),
    ("first token p99 µs", _own(figures.first_p99_us), 0),
)
_RATIOS: tuple[tuple[str, Figure, int], ...] = (
    ("CPU/request", figures.cpu_us_per_request, 2),
    ("requests/s", figures.requests_per_sec, 2),
    ("p50", figures.p50_us, 2),
    ("p99", figures.p99_us, 2),
    ("first token p50", figures.first_p50_us, 2),
    ("RSS", figures.rss_mb, 2),
)


def report(rows: Sequence[Row], plan: Plan, machine: Machine, cores: Cores) -> str:
    """The whole report."""
    lines = [*_head(plan, machine, cores)]
    for scenario in plan.scenarios:
        lines += scenario_lines(rows, scenario, NAMES)
    for peer in (each for each in plan.contenders if each not in ("direct", "busbar")):
        lines += _ratios(rows, plan.scenarios, peer)
    lines += failures_lines(rows)
    return "\n".join(lines) + "\n"


def cell(spread: Spread | None, digits: int) -> str:
    """`min / median / max`; one number when the three look alike."""
    if spread is None:
        return "–"
    texts = [f"{value:.{digits}f}" for value in (spread.min, spread.median, spread.max)]
    return texts[1] if len(set(texts)) == 1 else " / ".join(texts)


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Without the columns in which nobody has a value."""
    kept = [n for n in range(len(head)) if n == 0 or any(row[n] != "–" for row in body)]
    rows = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(row[n] for n in kept) + " |" for row in rows]


def contenders_line(cores: Cores) -> str:
    """Who runs where."""
    if cores.contender is None:
        return "**Only one core: contenders, upstream and load generator share it. Compare CPU time only.**  "
    return f"Contenders on core {cores.contender}; upstream and load generator on core {cores.load}.  "


def _head(plan: Plan, machine: Machine, cores: Cores) -> Iterator[str]:
    yield f"# Busbar beside nginx: {plan.rounds} × {plan.seconds:g} s, seed {plan.seed}"
    yield ""
    yield machine.line
    yield ""
    yield contenders_line(cores)
    yield (
        "Cells: min / median / max over the rounds. Requests per second of a fast contender are what generator and "
        "upstream can drive; CPU time is the figure to compare."
    )


def scenario_lines(rows: Sequence[Row], scenario: Scenario, contenders: Sequence[str]) -> Iterator[str]:
    """One scenario's figures, contender by contender."""
    names = [
        name for name in contenders if any((row.scenario, row.contender) == (scenario.name, name) for row in rows)
    ]
    if not names:
        return
    costs, times = [], []
    for name in names:
        mine = [row for row in rows if (row.scenario, row.contender) == (scenario.name, name)]
        answers, failed = sum(row.answers for row in mine), sum(row.failed for row in mine)
        costs.append([name, *_cells(_COSTS, rows, scenario.name, name), str(answers), str(failed)])
        times.append([name, *_cells(_TIMES, rows, scenario.name, name)])
    yield from ("", f"## {scenario.name}: {scenario.title}", "")
    yield from table(["contender", *(title for title, _, _ in _COSTS), "answers", "failures"], costs)
    yield ""
    yield from table(["contender", *(title for title, _, _ in _TIMES)], times)
    if scenario.name != baseline(scenario.name):
        yield from ("", f"Added: to `direct` under {baseline(scenario.name)}.")


def _cells(
    columns: Sequence[tuple[str, Reading, int]], rows: Sequence[Row], scenario: str, contender: str
) -> list[str]:
    return [cell(reading(rows, scenario, contender), digits) for _, reading, digits in columns]


def _ratios(rows: Sequence[Row], scenarios: Sequence[Scenario], peer: str) -> Iterator[str]:
    """The gateway's figures over somebody's, who may not have served all of the scenarios."""
    served = {row.scenario for row in rows if row.contender == peer}
    body = []
    for scenario in scenarios:
        cells = [
            cell(figures.ratio(rows, scenario.name, "busbar", peer, figure), digits) for _, figure, digits in _RATIOS
        ]
        against = scenario.name if scenario.name in served else baseline(scenario.name)
        body.append([scenario.name + ("" if against == scenario.name else f" ({peer}: {against})"), *cells])
    if all(value == "–" for line in body for value in line[1:]):
        return
    yield from ("", f"## busbar ÷ {peer}", "", "Of the same round each; min / median / max of these ratios.", "")
    yield from table(["scenario", *(title for title, _, _ in _RATIOS)], body)


def failures_lines(rows: Sequence[Row]) -> Iterator[str]:
    found: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        for reason, count in row.failures.items():
            found[row.contender, row.scenario, reason] += count
    if not found:
        answers = sum(row.answers for row in rows)
        yield from ("", f"No failures: {answers} answers, each checked for its status, its events and its end.")
        return
    yield from ("", "## Failures", "")
    yield from table(
        ["contender", "scenario", "what", "how often"], [[*key, str(n)] for key, n in sorted(found.items())]
    )
