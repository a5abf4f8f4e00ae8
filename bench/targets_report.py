"""The run for the targets as Markdown: what was to be reached and whether it was, and the figures behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.field import NAMES
from bench.figures import Row, Spread
from bench.fresh import Fresh
from bench.machine import Cores, Machine
from bench.measure import Plan
from bench.report import cell, contenders_line, failures_lines, scenario_lines, table
from bench.scenarios import CROWD
from bench.targets import SUBJECT, Added, AtMost, Ratio, Verdict, verdicts
from bench.targets_run import Run

LATE_US_MAX = 200_000
"""A load generator that was held up for longer says little about the others."""
_TITLES = {"nginx": "nginx", "envoy": "Envoy", "litellm": "LiteLLM", "portkey": "Portkey", SUBJECT: "pass-through"}


def targets_report(run: Run, plan: Plan, machine: Machine, cores: Cores, missing: Mapping[str, str]) -> str:
    """`missing`: who is not there, and why."""
    rows, fresh = run.rows, run.fresh
    lines = [f"# Targets: {plan.rounds} rounds of {plan.seconds:g} s, seed {plan.seed}", "", machine.line, ""]
    lines.append(contenders_line(cores))
    for note in missing.values():
        lines += ["", note]
    lines += ["", *target_lines(verdicts(rows, fresh)), "", *_crowd_lines(fresh, run.direct)]
    lines += ["", *_others_lines(rows, run.started)]
    for scenario in plan.scenarios:
        lines += scenario_lines(rows, scenario, NAMES)
    lines += failures_lines([*rows, *(each.crowd for each in fresh if each.crowd is not None)])
    return "\n".join(lines) + "\n"


def target_lines(found: Sequence[Verdict]) -> Iterator[str]:
    """The table of the targets."""
    head = ["Work", "Figure", "Busbar", "beside", "measured", "target", ""]
    yield from table(head, [_line(verdict) for verdict in found])
    met, known = sum(each.met is True for each in found), sum(each.met is not None for each in found)
    yield ""
    yield (
        f"{met} of {known} met"
        + (f"; {len(found) - known} not measured" if known < len(found) else "")
        + ". Medians over the rounds; `measured` with the least and the most of them, of ratios within one round; "
        "failures, and what was dropped or stalled, of all rounds together."
    )


def _line(verdict: Verdict) -> list[str]:
    target = verdict.target
    judged = {True: "met", False: "**missed**", None: "not measured"}[verdict.met]
    match target:
        case Ratio(other=other, limit=limit, figure=figure):
            digits = 2 if "event" in figure else 1
            theirs = f"{_TITLES[other]} {_median(verdict.theirs, digits)}" if verdict.theirs else _TITLES[other]
            measured = "–" if verdict.measured is None else _times(verdict.measured, limit)
            ours = _median(verdict.ours, digits)
            return [target.work, figure, ours, theirs, measured, f"≤ {_time(limit, limit)}", judged]
        case Added(other=other, figure=figure, times=times, more_us=more_us):
            theirs = f"{_TITLES[other]} {_median(verdict.theirs, 0)}" if verdict.theirs else _TITLES[other]
            bound = f"≤ {times:g} × {_TITLES[other]}" + (f" + {more_us:g}" if more_us else "")
            bound += f" = {verdict.limit:.0f}" if verdict.theirs else ""
            return [target.work, figure, _median(verdict.ours, 0), theirs, _range(verdict.ours, 0), bound, judged]
        case AtMost(figure=figure, limit=limit, digits=digits):
            ours = _median(verdict.ours, digits)
            return [target.work, figure, ours, "–", _range(verdict.ours, digits), f"≤ {limit:g}", judged]


def _median(found: Spread | None, digits: int) -> str:
    return "–" if found is None else f"{found.median:,.{digits}f}"


def _range(found: Spread | None, digits: int) -> str:
    if found is None:
        return "–"
    texts = [f"{value:,.{digits}f}" for value in (found.median, found.min, found.max)]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} ({texts[1]}–{texts[2]})"


def _times(found: Spread, limit: float) -> str:
    texts = [_time(value, limit) for value in (found.median, found.min, found.max)]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} ({texts[1]} – {texts[2]})"


def _time(value: float, limit: float) -> str:
    """As targets are written: `× 0.85`, `1/15`."""
    return f"1/{1 / value:.3g}" if limit < 0.5 and value > 0 else f"× {value:.2f}"


def _crowd_lines(fresh: Sequence[Fresh], direct: Row | None) -> Iterator[str]:
    yield f"## {CROWD.name}: {CROWD.title}"
    yield ""
    lives = [(f"round {each.round}", each.crowd, each) for each in fresh if each.crowd is not None]
    known: list[tuple[str, Row, Fresh | None]] = [*(() if direct is None else (("direct", direct, None),)), *lives]
    if not known:
        yield "Not measured: this system lets a process open too few files (`ulimit -n`)."
        return
    body = [
        [
            name,
            str(row.answers),
            str(row.failed),
            f"{row.gap_max_us / 1000:.0f}",
            f"{row.late_max_us / 1000:.0f}",
            "–" if life is None or row.cpu_secs is None else f"{100 * row.cpu_secs / row.elapsed_secs:.0f}",
            "–" if life is None else f"{life.started_secs:.2f}",
            "–" if life is None else f"{life.idle_bytes / 1e6:.1f}",
            "–" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.1f}",
            "–" if life is None or life.kb_per_stream is None else f"{life.kb_per_stream:.1f}",
        ]
        for name, row, life in known
    ]
    head = ["", "whole streams", "failures", "longest gap ms", "generator late ms", "core busy %", "start s"]
    yield from table([*head, "idle MB", "peak MB", "KB each"], body)
    if any(row.late_max_us > LATE_US_MAX for _, row, _ in known):
        yield ""
        yield "**The load generator was held up itself: this machine was not quiet, or is too slow for the crowd.**"


def _others_lines(rows: Sequence[Row], started: Mapping[str, float]) -> Iterator[str]:
    """Starts and memory of everybody."""
    yield "## Starts and memory"
    yield ""
    body = []
    for name in (each for each in NAMES if each in started):
        mine = [row.peak_bytes / 1e6 for row in rows if row.contender == name and row.peak_bytes is not None]
        peak = Spread(min(mine), sorted(mine)[len(mine) // 2], max(mine)) if mine else None
        body.append([name, f"{started[name]:.2f}", cell(peak, 1)])
    yield from table(["contender", "start to first answer, s (once)", "peak RSS MB in a scenario"], body)
