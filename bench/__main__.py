"""`make bench`. Exit codes: 0 measured · 1 a process failed, or an answer was wrong · 2 wrong usage, or no nginx ·
130 interrupted."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.beside_itself import PLAIN
from bench.contenders import Logged, NotStarted
from bench.disk import MEMORY, kind_of, look_at_disk
from bench.field import NAMES, USUAL, absent, versions
from bench.governance_profile import governance_profile_report, profile_governance
from bench.governance_report import governance_report
from bench.governed import GOVERNED
from bench.machine import choose_cores, describe
from bench.measure import Died, Plan, measure
from bench.observed import OBSERVED
from bench.peers import install_envoy
from bench.profile import NoProfiler, profile
from bench.report import report
from bench.scenarios import COMPARED_SCENARIOS, KNOWN_SCENARIOS, SCENARIOS
from bench.targets_report import targets_report
from bench.targets_run import NEEDED, for_targets, run_targets
from bench.telemetry_report import telemetry_report
from bench.translation import ALL_PAIRS, PAIRS, REPEATS, Pair, measure_translation
from bench.translation_profile import profile_report, profile_translation
from bench.translation_report import translation_report

NO_DISK = "What is written would be on {}, which is no disk: name a folder that is on one, with --folder"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if not sys.platform.startswith("linux"):
        print("CPU time and memory are read from Linux's /proc: this runs on Linux only", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everybody is stopped
    if options.translation is not None or options.profile_translation is not None:
        return _translation(options)
    plan = _plan(options)
    if options.governance or options.profile_governance:
        return _governance(options, plan)
    if options.telemetry:
        return _telemetry(options, plan)
    if options.targets:
        return _targets(options, for_targets(plan))
    missing = absent(plan.contenders)
    if any(name == "nginx" or name in (options.contenders or ()) for name in missing):
        print("\n".join(missing.values()), file=sys.stderr)
        return 2
    plan = msgspec.structs.replace(plan, contenders=tuple(each for each in plan.contenders if each not in missing))
    cores = choose_cores()
    try:
        if options.profile is not None:
            print(profile(plan, cores))
            return 0
        rows = measure(plan, cores, _say)
    except (NotStarted, Died, NoProfiler) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for note in missing.values():
        print(note, end="\n\n")
    machine = describe(versions(plan.contenders))
    print(report(rows, plan, machine, cores))
    if options.json is not None:
        _write(options.json, {"machine": machine, "cores": cores, "plan": plan, "rows": rows})
    return 1 if any(row.failures for row in rows) else 0


def _targets(options: argparse.Namespace, plan: Plan) -> int:
    """The gateway beside its peers, and what it is to reach."""
    install_envoy(_say)
    missing = absent(plan.contenders)
    if set(missing) & set(NEEDED):
        print("\n".join(missing[name] for name in NEEDED if name in missing), file=sys.stderr)
        return 2
    plan = msgspec.structs.replace(plan, contenders=tuple(each for each in plan.contenders if each not in missing))
    for note in missing.values():
        _say(note)
    cores = choose_cores()
    try:
        run = run_targets(plan, cores, _say)
    except (NotStarted, Died) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    machine = describe(versions(plan.contenders))
    print(targets_report(run, plan, machine, cores, missing))
    if options.json is not None:
        _write(options.json, {"machine": machine, "cores": cores, "plan": plan, "run": run})
    return 1 if run.failed else 0


def _governance(options: argparse.Namespace, plan: Plan) -> int:
    """The gateway beside itself."""
    cores = choose_cores()
    try:
        disk = look_at_disk(plan.folder)
        if not disk.lasts:
            print(NO_DISK.format(disk.kind), file=sys.stderr)
            return 2
        if options.profile_governance:
            print(governance_profile_report(profile_governance(plan, cores)))
            return 0
        rows = measure(plan, cores, _say)
    except (NotStarted, Died, NoProfiler) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    machine = describe()
    print(governance_report(rows, plan, machine, cores, disk))
    if options.json is not None:
        _write(options.json, {"machine": machine, "cores": cores, "disk": disk, "plan": plan, "rows": rows})
    return 1 if any(row.failures for row in rows) else 0


def _telemetry(options: argparse.Namespace, plan: Plan) -> int:
    """The gateway beside itself, whose receivers take what it tells, or do not."""
    kind = kind_of(Path(plan.folder or tempfile.gettempdir()))
    if kind in MEMORY:
        print(NO_DISK.format(kind), file=sys.stderr)
        return 2
    cores = choose_cores()
    try:
        rows = measure(plan, cores, _say)
    except (NotStarted, Died) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    machine = describe()
    print(telemetry_report(rows, plan, machine, cores, kind))
    if options.json is not None:
        _write(options.json, {"machine": machine, "cores": cores, "disk": kind, "plan": plan, "rows": rows})
    return 1 if any(row.failures for row in rows) else 0


def _translation(options: argparse.Namespace) -> int:
    """Needs no other process, and takes its time in this one."""
    try:
        if options.profile_translation is not None:
            print(profile_report(profile_translation(options.profile_translation)))
            return 0
        repeats = options.rounds or (2 if options.quick else REPEATS)
        seed = _seed(options)
        costs = measure_translation(options.translation, seed, repeats)
    except KeyboardInterrupt:
        return 130
    machine = describe()
    print(translation_report(costs, options.translation, repeats, machine))
    if options.json is not None:
        _write(options.json, {"machine": machine, "seed": seed, "costs": costs})
    return 0


def _write(file: Path, document: object) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures the gateway beside nginx proxy_pass and other gateways, in one interleaved run.",
        epilog="scenarios: " + "; ".join(f"{each.name} ({each.title})" for each in KNOWN_SCENARIOS),
    )
    names = [each.name for each in KNOWN_SCENARIOS]
    parser.add_argument("--rounds", type=_positive_int, help="(default: 5)")
    parser.add_argument("--seconds", type=_positive, help="per measurement (default: 1.5)")
    parser.add_argument("--scenarios", type=_choice(names), metavar="A,B", help="only these")
    parser.add_argument("--contenders", type=_choice(NAMES), metavar="A,B", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--without-nginx", action="store_true", help="where it is not installed")
    parser.add_argument("--seed", type=int, help="of the order (default: a new one, printed)")
    parser.add_argument("--quick", action="store_true", help="one short round (20 s), to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw rows there")
    parser.add_argument("--profile", choices=names, metavar="SCENARIO", help="where busbar's time goes (by py-spy)")
    parser.add_argument("--targets", action="store_true", help="the table of docs/performance.md")
    parser.add_argument("--governance", action="store_true", help="what virtual keys, budgets and limits add")
    parser.add_argument("--profile-governance", action="store_true", help="where that goes, by stage (by py-spy)")
    parser.add_argument("--telemetry", action="store_true", help="what telling receivers adds, dead ones too")
    parser.add_argument(
        "--folder", metavar="DIR", help="on a disk, for databases and logs (default: temporary files')"
    )
    _add_pairs(
        parser,
        "--translation",
        "what translating costs by itself, without sockets: caller-provider,… or all (default: "
        f"{','.join(map('-'.join, PAIRS))}); with --rounds, --seed, --quick, --json",
    )
    _add_pairs(parser, "--profile-translation", "where its time goes, by stage and by function")
    return parser


def _add_pairs(parser: argparse.ArgumentParser, name: str, explained: str) -> None:
    parser.add_argument(name, nargs="?", type=_pairs, const=PAIRS, metavar="PAIRS", help=explained)


def _plan(options: argparse.Namespace) -> Plan:
    wanted = [options.profile] if options.profile else options.scenarios
    governance = options.governance or options.profile_governance
    usual = COMPARED_SCENARIOS if governance or options.telemetry else SCENARIOS
    if options.profile_governance:
        usual = tuple(each for each in usual if not each.rate_per_sec)  # where nobody waits for work
    return Plan(
        scenarios=tuple(each for each in KNOWN_SCENARIOS if each.name in wanted) if wanted else usual,
        contenders=_contenders(options, governance),
        rounds=options.rounds or (1 if options.quick else 5),
        seconds=options.seconds or (0.4 if options.quick else 1.5),
        warm_secs=0.1 if options.quick else 0.5,
        seed=_seed(options),
        folder=options.folder,
    )


def _contenders(options: argparse.Namespace, governance: bool) -> tuple[str, ...]:
    if governance:
        return PLAIN, *(each.name for each in GOVERNED)
    if options.telemetry:
        return PLAIN, *(each.name for each in OBSERVED)
    if options.profile:
        return (Logged.name,)
    return tuple(name for name in options.contenders or USUAL if not (options.without_nginx and name == "nginx"))


def _seed(options: argparse.Namespace) -> int:
    seed: int | None = options.seed
    return random.randrange(1 << 32) if seed is None else seed


def _choice(known: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        wanted = text.split(",")
        if unknown := set(wanted) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
        return wanted

    return names


def _pairs(text: str) -> tuple[Pair, ...]:
    if text == "all":
        return ALL_PAIRS
    known = {"-".join(pair): pair for pair in ALL_PAIRS}
    return tuple(known[name] for name in dict.fromkeys(_choice(list(known))(text)))


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError("from above 0 to 3600")
    return number


def _positive_int(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("from 1 to 1000")
    return number


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
