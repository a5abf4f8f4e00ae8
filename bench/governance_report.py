"""What governance adds, as Markdown tables: the gateway beside itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench import figures
from bench.disk import Disk
from bench.figures import Figure, Row
from bench.governed import GOVERNED
from bench.machine import Cores, Machine
from bench.measure import Plan
from bench.report import cell, contenders_line, failures_lines, scenario_lines, table
from bench.scenarios import Scenario

PLAIN = "busbar"
"""The contender that the others are compared with."""


def p50_ms(row: Row) -> float | None:
    return row.p50_us / 1000 or None


def p99_ms(row: Row) -> float | None:
    return row.p99_us / 1000 or None


_CPU: tuple[tuple[str, Figure, int], ...] = (
    ("CPU µs/request", figures.cpu_us_per_request, 0),
    ("CPU µs/event", figures.cpu_us_per_event, 2),
)
_LATENCY: tuple[tuple[str, Figure, int], ...] = (("p50 ms", p50_ms, 2), ("p99 ms", p99_ms, 2))
_RATIOS: tuple[tuple[str, Figure, int], ...] = (
    ("CPU/request", figures.cpu_us_per_request, 2),
    ("requests/s", figures.requests_per_sec, 2),
)


def governance_report(rows: Sequence[Row], plan: Plan, machine: Machine, cores: Cores, disk: Disk) -> str:
    """What is added first, then the figures that it is computed from."""
    names = [each.name for each in GOVERNED if each.name in plan.contenders]
    lines = [
        f"# Governance: {plan.rounds} × {plan.seconds:g} s, seed {plan.seed}",
        "",
        machine.line,
        "",
        contenders_line(cores),
        disk.line,
        *_added(rows, plan.scenarios, names),
        *_ratios(rows, plan.scenarios, names),
    ]
    for scenario in plan.scenarios:
        lines += scenario_lines(rows, scenario, (PLAIN, *names))
    lines += failures_lines(rows)
    return "\n".join(lines) + "\n"


def _added(rows: Sequence[Row], scenarios: Sequence[Scenario], names: Sequence[str]) -> Iterator[str]:
    yield from (
        "",
        "## What governance adds",
        "",
        "Governed − not governed, of the same round each; min / median / max of these differences. Latencies only at "
        "a fixed rate: those of closed loops are time in a queue of 16.",
        "",
    )
    head = [f"added {title}" for title, _, _ in (*_CPU, *_LATENCY)]
    body = []
    for scenario in scenarios:
        for name in names:
            figures_here = (*_CPU, *(_LATENCY if scenario.rate_per_sec else ()))
            cells = [
                cell(figures.added(rows, scenario.name, name, figure, PLAIN), digits)
                for _, figure, digits in figures_here
            ]
            cells += ["–"] * (len(head) - len(cells))
            commits = figures.spread(
                figures.commits_per_request(row)
                for row in rows
                if (row.scenario, row.contender) == (scenario.name, name)
            )
            body.append([f"{scenario.name}, {name}", *cells, cell(commits, 3)])
    yield from table(["scenario, durability", *head, "commits/request"], body)


def _ratios(rows: Sequence[Row], scenarios: Sequence[Scenario], names: Sequence[str]) -> Iterator[str]:
    yield from (
        "",
        "## governed ÷ not governed",
        "",
        "Of the same round each; min / median / max of these ratios.",
        "",
    )
    body = [
        [
            f"{scenario.name}, {name}",
            *(
                cell(figures.ratio(rows, scenario.name, name, PLAIN, figure), digits)
                for _, figure, digits in (*_RATIOS, *(_LATENCY if scenario.rate_per_sec else ()))
            ),
            *(() if scenario.rate_per_sec else ("–", "–")),
        ]
        for scenario in scenarios
        for name in names
    ]
    yield from table(["scenario, durability", *(title for title, _, _ in (*_RATIOS, *_LATENCY))], body)
