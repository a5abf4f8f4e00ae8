"""What telemetry adds, as Markdown tables: the gateway beside itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.beside_itself import PLAIN, added_lines, ratio_lines
from bench.figures import Row
from bench.machine import Cores, Machine
from bench.measure import Plan
from bench.observed import OBSERVED
from bench.report import contenders_line, failures_lines, scenario_lines, table
from bench.scenarios import Scenario


def telemetry_report(rows: Sequence[Row], plan: Plan, machine: Machine, cores: Cores, disk_kind: str) -> str:
    """What is added first, then what was lost, then the figures that it is computed from."""
    names = [each.name for each in OBSERVED if each.name in plan.contenders]
    lines = [
        f"# Telemetry: {plan.rounds} × {plan.seconds:g} s, seed {plan.seed}",
        "",
        machine.line,
        "",
        contenders_line(cores),
        f"Receivers and who scrapes are with the load generator. Files on {disk_kind}.",
        *_added(rows, plan.scenarios, names),
        "",
        "## telling ÷ not telling",
        *ratio_lines(rows, plan.scenarios, names, "scenario, telemetry"),
        *_lost(rows, names),
    ]
    for scenario in plan.scenarios:
        lines += scenario_lines(rows, scenario, (PLAIN, *names))
    lines += failures_lines(rows)
    return "\n".join(lines) + "\n"


def _added(rows: Sequence[Row], scenarios: Sequence[Scenario], names: Sequence[str]) -> Iterator[str]:
    yield from (
        "",
        "## What telemetry adds",
        "",
        "To the gateway whose metrics and journal stay in the process, of the same round each; min / median / max of "
        "these differences. CPU time includes what is handed on after the last answer. Latencies only at a fixed "
        "rate: those of closed loops are time in a queue of 16.",
        "",
    )
    yield from added_lines(rows, scenarios, names, "scenario, telemetry")


def _lost(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    """All that was counted until the last measurement. What waited then is in none of it."""
    yield from ("", "## Lost, and counted as such", "")
    body = []
    for name in names:
        mine = [row for row in rows if row.contender == name]
        answers = sum(row.answers for row in mine)
        for actor, count in sorted(_most(mine).items()):
            if count:
                body.append([f"{name}, {actor}", str(count), str(answers)])
    if body:
        yield from table(["telemetry, actor", "lost", "answers"], body)
    else:
        yield "Nothing was."


def _most(rows: Sequence[Row]) -> Counter[str]:
    """Counters only grow, so this is the latest of each."""
    most: Counter[str] = Counter()
    for row in rows:
        most |= Counter(row.lost or {})
    return most
