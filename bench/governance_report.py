"""What governance adds, as Markdown tables: the gateway beside itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench import figures
from bench.beside_itself import PLAIN, added_lines, ratio_lines
from bench.disk import Disk
from bench.figures import Row
from bench.governed import GOVERNED
from bench.machine import Cores, Machine
from bench.measure import Plan
from bench.report import cell, contenders_line, failures_lines, scenario_lines
from bench.scenarios import Scenario


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
        "",
        "## governed ÷ not governed",
        *ratio_lines(rows, plan.scenarios, names, "scenario, durability"),
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
    yield from added_lines(rows, scenarios, names, "scenario, durability", ("commits/request", _commits))


def _commits(rows: Sequence[Row]) -> str:
    return cell(figures.spread(map(figures.commits_per_request, rows)), 3)
