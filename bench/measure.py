"""Runs the whole measurement: starts everybody, warms up, then round by round everything in random order."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import processes
from bench.contenders import ROOT, Contender, Gateway
from bench.field import GATEWAYS
from bench.figures import Row
from bench.governed import GOVERNED
from bench.load import Job, Result
from bench.machine import Cores
from bench.observed import OBSERVED, Observed, Receivers
from bench.receivers import Ports
from bench.scenarios import PATHS, WORD, Scenario, baseline

SETTLE_SECS = 0.05
"""Between two measurements, for connections that are being closed."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a run consists of."""

    scenarios: tuple[Scenario, ...]
    contenders: tuple[str, ...]
    rounds: int
    seconds: float
    """How long a scenario of length 1 is measured."""
    warm_secs: float
    """How long each pair is warmed up, unmeasured, before the first round."""
    seed: int
    left_out: frozenset[tuple[str, str]] = frozenset()
    """Pairs of a contender and a scenario that it could serve, and is not asked to."""
    folder: str | None = None
    """Where the contenders have their files; None: where temporary ones are."""


class Died(Exception):
    """A process that is needed ended in the middle of the run."""


class Companion:
    """The upstream, the load generator, or the receivers: a module of this package as a process of its own. It
    ends when its standard input does, so that it never outlives us."""

    def __init__(self, module: str, core: int | None) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """Its next line. Raises `Died`."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Died(f"{self._module} ended (exit code {self._process.wait()})")
        return line

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate()


class Bench:
    """Everybody who takes part, running."""

    def __init__(
        self, contenders: Sequence[Contender], generator: Companion, folder: Path, upstream_port: int
    ) -> None:
        self.contenders = contenders
        self.folder = folder
        """Where contenders have their files."""
        self.upstream_port = upstream_port
        self._generator = generator

    def drive(self, contender: Contender, scenario: Scenario, seconds: float) -> Result:
        """Loads one contender with one scenario for so long."""
        job = Job(
            port=contender.port,
            path=PATHS[scenario.ingress],
            headers=contender.headers(scenario),
            body=scenario.body(contender.model(scenario)).decode(),
            connections=scenario.connections,
            ramp_secs=scenario.ramp_secs,
            seconds=max(seconds, scenario.ramp_secs),
            rate_per_sec=scenario.rate_per_sec,
            at_random=scenario.at_random,
            word=WORD,
            words=scenario.words,
            ending=scenario.ending,
            stall_secs=scenario.stall_ms / 1000,
        )
        self._generator.tell(msgspec.json.encode(job).decode())
        return msgspec.json.decode(self._generator.hear(), type=Result)

    def measure(self, contender: Contender, scenario: Scenario, seconds: float, number: int) -> Row:
        """Raises `Died` when the contender did."""
        process = contender.process
        pid = None if process is None else process.pid
        commits = contender.commits()
        contender.begins()
        before = 0.0
        if pid is not None:
            processes.reset_peak(pid)
            before = processes.cpu_secs(pid)
        result = self.drive(contender, scenario, seconds * scenario.length)
        contender.ended()
        cpu_secs = None if pid is None else processes.cpu_secs(pid) - before
        if process is not None and process.poll() is not None:
            assert isinstance(contender, Gateway)
            raise Died(f"{contender.name} ended under {scenario.name}. It printed:\n{contender.last_words()}")
        return Row(
            round=number,
            scenario=scenario.name,
            contender=contender.name,
            answers=result.answers,
            events=result.answers * scenario.events,
            failures=result.failures,
            elapsed_secs=result.elapsed_secs,
            cpu_secs=cpu_secs,
            p50_us=result.p50_us,
            p99_us=result.p99_us,
            first_p50_us=result.first_p50_us,
            first_p99_us=result.first_p99_us,
            rss_bytes=None if pid is None else processes.rss_bytes(pid),
            peak_bytes=None if pid is None else processes.peak_bytes(pid),
            commits=None if commits is None else (contender.commits() or 0) - commits,
            lost=contender.lost(),
            gap_max_us=result.gap_max_us,
            late_max_us=result.late_max_us,
        )


@contextlib.contextmanager
def running(plan: Plan, cores: Cores) -> Iterator[Bench]:
    """Starts everybody, stops everybody. Raises `NotStarted`."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="busbar-bench-", dir=plan.folder)))
        upstream = Companion("bench.upstream", cores.load)
        stack.callback(upstream.stop)
        generator = Companion("bench.load", cores.load)
        stack.callback(generator.stop)
        port = int(upstream.hear())
        contenders: list[Contender] = [Contender(port)] if Contender.name in plan.contenders else []
        receivers: Receivers | None = None
        if any(kind.name in plan.contenders for kind in OBSERVED):
            companion = Companion("bench.receivers", cores.load)
            stack.callback(companion.stop)
            receivers = Receivers(msgspec.json.decode(companion.hear(), type=Ports), companion.tell)
        for kind in (*GATEWAYS, *GOVERNED, *OBSERVED):
            if kind.name in plan.contenders:
                gateway = kind(folder, port, cores.contender)
                if isinstance(gateway, Observed):
                    assert receivers is not None, "it is there for those"
                    gateway.receivers = receivers
                stack.callback(gateway.stop)
                if any(gateway.serves(scenario) for scenario in plan.scenarios):
                    gateway.start(plan.scenarios)
                    contenders.append(gateway)
        yield Bench(contenders, generator, folder, port)


def shuffled(
    scenarios: Sequence[Scenario],
    contenders: Sequence[Contender],
    order: random.Random,
    left_out: Collection[tuple[str, str]] = (),
) -> list[tuple[Contender, Scenario]]:
    """Every pair that there is, in random order. Pairs that are compared with each other stay together, so that a
    machine that is slow for some seconds is slow for both."""
    groups: dict[str, list[tuple[Contender, Scenario]]] = {}
    for scenario in scenarios:
        group = groups.setdefault(baseline(scenario.name), [])
        group += [
            (contender, scenario)
            for contender in contenders
            if contender.serves(scenario) and (contender.name, scenario.name) not in left_out
        ]
    in_order = list(groups.values())
    order.shuffle(in_order)
    for group in in_order:
        order.shuffle(group)
    return [pair for group in in_order for pair in group]


def measure(
    plan: Plan, cores: Cores, say: Callable[[str], None], each_round: Callable[[Bench, int], None] | None = None
) -> list[Row]:
    """The whole run. `say` is told how it goes; `each_round` is called after every round. Raises `NotStarted`,
    `Died`."""
    order = random.Random(plan.seed)
    rows: list[Row] = []
    with running(plan, cores) as bench:
        for contender, scenario in shuffled(plan.scenarios, bench.contenders, order, plan.left_out):
            warm = bench.drive(contender, scenario, plan.warm_secs)
            if warm.failures:
                say(f"warm-up of {contender.name} under {scenario.name}: {warm.failures}")
        for number in range(1, plan.rounds + 1):
            say(f"round {number} of {plan.rounds}")
            for contender, scenario in shuffled(plan.scenarios, bench.contenders, order, plan.left_out):
                time.sleep(SETTLE_SECS)
                rows.append(bench.measure(contender, scenario, plan.seconds, number))
            if each_round is not None:
                each_round(bench, number)
    return rows
