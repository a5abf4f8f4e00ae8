"""Where the gateway's CPU time goes under one scenario: sampled from outside by py-spy, where that is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.machine import Cores
from bench.measure import Bench, Plan, running

SAMPLE_SECS = 6
SAMPLES_PER_SEC = 400
SHOWN = 30


_IDLE = re.compile(r";_worker \(concurrent/futures/thread\.py:\d+\)$")
"""A thread of a pool that waits for work: py-spy cannot tell that it is idle."""


class NoProfiler(Exception):
    """Says how to get one."""


def profile(plan: Plan, cores: Cores) -> str:
    """Samples busbar under the first scenario of the plan. Raises `NoProfiler`, `NotStarted`, `Died`."""
    program = shutil.which("py-spy")
    if program is None:
        raise NoProfiler("py-spy is not installed: pip install py-spy, and have it in PATH")
    scenario = plan.scenarios[0]
    with running(plan, cores) as bench, tempfile.TemporaryDirectory() as folder:
        busbar = bench.contenders[-1]
        bench.drive(busbar, scenario, plan.warm_secs)
        plain = bench.measure(busbar, scenario, plan.seconds, 1)
        assert busbar.process is not None
        stacks = _sample(bench, plan, program, busbar.process.pid, Path(folder) / "stacks.txt")
    assert plain.cpu_secs is not None
    per_request_us = plain.cpu_secs * 1e6 / max(1, plain.answers)
    return f"{scenario.name}: {per_request_us:.0f} µs CPU per request without the profiler\n\n{summary(stacks)}"


def _sample(bench: Bench, plan: Plan, program: str, pid: int, file: Path) -> list[str]:
    command = [program, "record", "--pid", str(pid), "--rate", str(SAMPLES_PER_SEC), "--duration", str(SAMPLE_SECS)]
    spy = subprocess.Popen(
        [*command, "--format", "raw", "--output", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    bench.drive(bench.contenders[-1], plan.scenarios[0], SAMPLE_SECS + 1.5)
    _, told = spy.communicate()
    if spy.returncode != 0:
        raise NoProfiler(told.decode(errors="replace").strip())
    return file.read_text().splitlines()


def summary(stacks: Iterable[str], shown: int = SHOWN) -> str:
    """The first `shown` functions, by what they take themselves and with what they call.

    `stacks`: one line each, frames from the outside in, joined by `;`, and how often it was seen.
    """
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for line in stacks:
        stack, _, seen = line.rpartition(" ")
        if _IDLE.search(stack):
            continue
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        own[frames[-1]] += int(seen)
        for frame in dict.fromkeys(frames):  # a recursion counts once
            inclusive[frame] += int(seen)
    total = max(1, own.total())

    def lines(counts: Counter[str]) -> list[str]:
        return [f"  {100 * seen / total:5.1f} %  {frame}" for frame, seen in counts.most_common(shown)]

    return "\n".join([f"{total} samples", "", "itself:", *lines(own), "", "with what it calls:", *lines(inclusive)])
