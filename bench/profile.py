"""Where the gateway's CPU time goes under one scenario: sampled from outside by py-spy, where that is installed.
`BUSBAR_BENCH_ENGINE` names the engine upstream, in place of the default: `lean` or `aiohttp`."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.contenders import Contender
from bench.machine import Cores
from bench.measure import Bench, Plan, running
from bench.scenarios import Scenario
from bench.stages import by_stage, stage_lines

SAMPLE_SECS = 6
SAMPLES_PER_SEC = 400
SHOWN = 30


_IDLE = re.compile(
    r"[;.](_worker \(concurrent/futures/thread\.py|wait \(threading\.py|_work \(busbar/worker\.py):\d+\)$"
)
"""A thread that waits for work: py-spy cannot always tell that it is idle."""


class NoProfiler(Exception):
    """Says how to get one."""


def profile(plan: Plan, cores: Cores) -> str:
    """Samples busbar under the first scenario of the plan. Raises `NoProfiler`, `NotStarted`, `Died`."""
    program = program_or_raise()
    scenario = plan.scenarios[0]
    with running(plan, cores) as bench, tempfile.TemporaryDirectory() as folder:
        busbar = bench.contenders[-1]
        bench.drive(busbar, scenario, plan.warm_secs)
        plain = bench.measure(busbar, scenario, plan.seconds, 1)
        assert busbar.process is not None
        stacks = sample(bench, busbar, scenario, [program], Path(folder) / "stacks.txt")
    assert plain.cpu_secs is not None
    per_request_us = plain.cpu_secs * 1e6 / max(1, plain.answers)
    whole_us, what = (per_request_us / scenario.events, "event") if scenario.events else (per_request_us, "request")
    busy = [line for line in stacks if not _IDLE.search(line.rpartition(" ")[0])]
    told = f"{scenario.name}: {whole_us:.1f} µs CPU per {what} without the profiler"
    return "\n".join([told, "", *stage_lines(by_stage(busy), whole_us), "", summary(busy)])


def program_or_raise() -> str:
    """py-spy. Raises `NoProfiler`."""
    program = shutil.which("py-spy")
    if program is None:
        raise NoProfiler("py-spy is not installed: pip install py-spy, and have it in PATH")
    return program


def sample(
    bench: Bench, contender: Contender, scenario: Scenario, spy: Sequence[str], file: Path, secs: int = SAMPLE_SECS
) -> list[str]:
    """The stacks of a contender under load, one line each. `spy`: py-spy, and options. Raises `NoProfiler`."""
    assert contender.process is not None
    program, *options = spy
    command = [program, "record", "--pid", str(contender.process.pid), "--format", "raw", "--output", str(file)]
    process = subprocess.Popen(
        [*command, *options, "--rate", str(SAMPLES_PER_SEC), "--duration", str(secs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    bench.drive(contender, scenario, secs + 1.5)
    _, told = process.communicate()
    if process.returncode != 0:
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
