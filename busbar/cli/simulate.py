"""`busbar simulate`: the gateway's own actors on virtual time, against scripted providers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from busbar.cli.options import Commands
from busbar.config import ConfigErrors
from busbar.simulation.load import load_scenario
from busbar.simulation.report.page import page
from busbar.simulation.runner import Result, simulate
from busbar.simulation.scenario import Scenario
from busbar.simulation.summary import Aggregate, summary

SEEDS_MAX = 1_000_000


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "simulate",
        help="try a configuration on virtual time, against scripted providers",
        description="Runs the gateway's own actors on virtual time against the providers and callers that a scenario "
        "describes: no keys, no network. Prints what came of it. The same seed gives the same bytes. Exits 1 when an "
        "invariant broke.",
    )
    command.add_argument("scenario", metavar="SCENARIO.yaml", help="what providers do and callers ask")
    command.add_argument("--config", metavar="FILE", help="the gateway's configuration (default: the scenario's own)")
    command.add_argument("--providers", metavar="FILE", help="the provider catalog, found as `busbar serve` does")
    command.add_argument("--seed", metavar="N", type=_count, help="(default: the scenario's own, or 1)")
    command.add_argument(
        "--seeds", metavar="N", type=_count, help="run N seeds, from --seed on, and print them as one"
    )
    command.add_argument(
        "--report",
        metavar="FILE.html",
        help="write plots, in one file that needs nothing else; with "
        "--seeds of the first seed that broke an invariant, else of the first",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        scenario = load_scenario(arguments.scenario, arguments.config, arguments.providers)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return 2 if any(not problem.line and not problem.path for problem in errors.problems) else 1
    first = scenario.seed if arguments.seed is None else arguments.seed
    if arguments.seeds is None:
        shown = simulate(scenario, first)
        print(summary(shown), end="")
        held = shown.broken is None
    else:
        shown, held = _many(scenario, range(first, first + arguments.seeds))
    if arguments.report is not None and not _write(Path(arguments.report), page(shown)):
        return 2
    return 0 if held else 1


def _many(scenario: Scenario, seeds: Sequence[int]) -> tuple[Result, bool]:
    """The run to show in the report, and whether every invariant held."""
    whole = Aggregate()
    shown: Result | None = None
    for seed in seeds:
        result = simulate(scenario, seed)
        whole.add(result)
        if shown is None or (shown.broken is None and result.broken is not None):
            shown = result
    assert shown is not None, "there is at least one seed"
    print(whole.text(scenario.title), end="")
    return shown, not whole.broken


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{path}: cannot be written: {error.strerror}", file=sys.stderr)
        return False
    return True


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= SEEDS_MAX:
        msg = f"expected 1 to {SEEDS_MAX:,}"
        raise argparse.ArgumentTypeError(msg)
    return number
