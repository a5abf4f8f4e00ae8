"""Where the time of governance goes: the gateway with and without it, sampled by py-spy and divided into stages.

What a stage costs is the difference between two columns: some stages (who calls; the loop itself) are there without
governance, too. Only threads that hold the interpreter are sampled, so that waiting counts for nothing. CPU times are
the kernel's, of the main thread and of the store's each, and samples divide them: what a thread does outside of the
interpreter (sockets, SQLite, the disk) is spread over its stages with the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from bench import processes
from bench.contenders import Contender
from bench.machine import Cores
from bench.measure import Bench, Plan, running
from bench.profile import program_or_raise, sample, summary
from bench.report import table
from bench.scenarios import Scenario

SAMPLE_SECS = 15
SHOWN = 40

STORE = "_work (busbar/store/sqlite.py"
"""In every stack of the store's thread."""
_ACTOR = r"\(busbar/actors/governance/governance\.py"
STAGES: Mapping[str, re.Pattern[str]] = {
    "who calls": re.compile(r"\(busbar/(http/auth|actors/governance/keyring)\.py"),
    "estimate": re.compile(r"\(busbar/(http/estimate|protocols/asked)\.py"),
    "Admit": re.compile(rf"\b(admit|_worst|_refusal|_take) {_ACTOR}"),
    "Settle": re.compile(rf"\b(settle|_settled|_give_back) {_ACTOR}"),
    "Ledger": re.compile(r"\(busbar/actors/governance/(ledger|outbox)\.py"),
    "headers": re.compile(r"\b_headers \(busbar/http/admissions\.py|\(busbar/protocols/(\w+/)?rate_limits\.py"),
    "admissions": re.compile(r"\(busbar/http/admissions\.py"),
    "meter": re.compile(r"\(busbar/protocols/meter\.py|\bmetered "),
    "wake-up": re.compile(r"\b(__await__|_wake) \(busbar/actors/runtime/future\.py"),
    "bill": re.compile(r"\(busbar/http/(bill|spent)\.py"),
    "serving": re.compile(r"\(busbar/http/|\(aiohttp/"),
    "the loop": re.compile(r"\b(run|_run_main|run_until_complete|run_forever) \("),
}
"""What a frame of the main thread says of all that it calls; the innermost one that says something counts, and of one
frame the first stage."""
STORE_STAGES: Mapping[str, re.Pattern[str]] = {
    "store: begin, commit": re.compile(r"\btransaction \("),
    "store: statements": re.compile(r"\(busbar/store/statements\.py|\b_commit \("),
    "store: does the file stand": re.compile(r"\b(_standing|_identity) \("),
    "store: hops": re.compile(r"\b_work \("),
}
BETWEEN = "the rest"


class Stages(Struct, frozen=True, kw_only=True):
    """One contender under one scenario: CPU µs per request, by stage."""

    scenario: str
    contender: str
    us: dict[str, float]
    stacks: tuple[str, ...]


def profile_governance(plan: Plan, cores: Cores) -> list[Stages]:
    """Every contender under every scenario of the plan. Raises `NoProfiler`, `NotStarted`, `Died`."""
    program = program_or_raise()
    profiles = []
    with running(plan, cores) as bench, TemporaryDirectory() as folder:
        file = Path(folder) / "stacks.txt"
        for scenario in plan.scenarios:
            for contender in bench.contenders:
                bench.drive(contender, scenario, plan.warm_secs)
                main_us, store_us = _cpu_us(bench, plan, contender, scenario)
                stacks = sample(bench, contender, scenario, [program, "--gil"], file, SAMPLE_SECS)
                profiles.append(
                    Stages(
                        scenario=scenario.name,
                        contender=contender.name,
                        us=divided(stacks, main_us, store_us),
                        stacks=tuple(stacks),
                    )
                )
    return profiles


def divided(stacks: Iterable[str], main_us: float, store_us: float) -> dict[str, float]:
    """The two threads' CPU times, each divided as its samples fell."""
    main: Counter[str] = Counter()
    store: Counter[str] = Counter()
    for line in stacks:
        stack, _, times = line.rpartition(" ")
        frames = stack.split(";")
        if any(STORE in frame for frame in frames):
            store[_stage(frames, STORE_STAGES)] += int(times)
        else:
            main[_stage(frames, STAGES)] += int(times)
    shares = {stage: main_us * main[stage] / max(1, main.total()) for stage in (*STAGES, BETWEEN)}
    return shares | {stage: store_us * store[stage] / max(1, store.total()) for stage in STORE_STAGES}


def governance_profile_report(profiles: Sequence[Stages]) -> str:
    """One table for each scenario, then the functions of each contender."""
    lines = ["# Governance, stage by stage", "", "CPU µs per request."]
    for scenario in dict.fromkeys(each.scenario for each in profiles):
        mine = [each for each in profiles if each.scenario == scenario]
        body = [[stage, *(_us(each.us[stage]) for each in mine)] for stage in (*STAGES, BETWEEN, *STORE_STAGES)]
        body.append(["**together**", *(_us(sum(each.us.values())) for each in mine)])
        lines += ["", f"## {scenario}", "", *table(["stage", *(each.contender for each in mine)], body)]
    for each in profiles:
        lines += ["", f"## {each.scenario}, {each.contender}", "", "```", summary(each.stacks, SHOWN), "```"]
    return "\n".join(lines) + "\n"


def _cpu_us(bench: Bench, plan: Plan, contender: Contender, scenario: Scenario) -> tuple[float, float]:
    """Per request, of the main thread and of all others, while nobody looks."""
    assert contender.process is not None
    before = processes.main_and_others_cpu_secs(contender.process.pid)
    answers = max(1, bench.drive(contender, scenario, plan.seconds * scenario.length).answers)
    after = processes.main_and_others_cpu_secs(contender.process.pid)
    return (after[0] - before[0]) * 1e6 / answers, (after[1] - before[1]) * 1e6 / answers


def _stage(frames: Sequence[str], stages: Mapping[str, re.Pattern[str]]) -> str:
    for frame in reversed(frames):
        for stage, pattern in stages.items():
            if pattern.search(frame):
                return stage
    return BETWEEN


def _us(value: float) -> str:
    return f"{value:.1f}" if value >= 0.05 else "–"
