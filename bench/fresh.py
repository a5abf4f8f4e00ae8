"""The gateway, new in each round: how long it takes to its first answer, what it holds when it has nothing to do, and
what 2,000 streams at a time make of that."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

from msgspec import Struct

from bench import processes
from bench.contenders import Gateway, Logged
from bench.figures import Row
from bench.machine import Cores
from bench.measure import Bench
from bench.scenarios import CROWD, SCENARIOS, Scenario

FILES_MIN = 2 * CROWD.connections + 200
"""Sockets and files that one process needs to serve the crowd: one for the caller, one for the provider."""
CROWD_SECS = CROWD.ramp_secs + 1
"""So late nobody begins any more, and nobody is done: each caller has one stream."""
FIRST = next(each for each in SCENARIOS if each.name == "json-openai")
"""What the first answer is an answer to."""


class Fresh(Struct, frozen=True, kw_only=True):
    """One life of a process, from its start to the end of the crowd."""

    round: int
    started_secs: float
    idle_bytes: int
    crowd: Row | None
    """None: it could not be measured on this machine."""

    @property
    def kb_per_stream(self) -> float | None:
        """Of 1,000 bytes."""
        if self.crowd is None or self.crowd.peak_bytes is None:
            return None
        return (self.crowd.peak_bytes - self.idle_bytes) / CROWD.connections / 1000


def raise_open_files() -> bool:
    """As many as the system lets us have, for us and for whom we start; False: too few for the crowd."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard == resource.RLIM_INFINITY or hard >= FILES_MIN


def direct_crowd(bench: Bench) -> Row | None:
    """The same crowd at the upstream itself: whether generator and upstream can carry it. None: nobody to ask."""
    for contender in bench.contenders:
        if contender.name == "direct":
            return bench.measure(contender, CROWD, CROWD_SECS, 0)
    return None


def measure_fresh(bench: Bench, cores: Cores, number: int, *, crowd: bool) -> Fresh:
    """Raises `NotStarted`, `Died`."""
    with _started(bench, (FIRST, CROWD), cores, number) as gateway:
        assert gateway.process is not None
        processes.wait_until_quiet(gateway.process)
        idle_bytes = processes.rss_bytes(gateway.process.pid)
        row = bench.measure(gateway, CROWD, CROWD_SECS, number) if crowd else None
    return Fresh(round=number, started_secs=gateway.started_secs, idle_bytes=idle_bytes, crowd=row)


@contextlib.contextmanager
def _started(bench: Bench, scenarios: tuple[Scenario, ...], cores: Cores, number: int) -> Iterator[Gateway]:
    folder = bench.folder / f"fresh-{number}"
    folder.mkdir()
    gateway = Logged(folder, bench.upstream_port, cores.contender)
    try:
        gateway.start(scenarios)
        yield gateway
    finally:
        gateway.stop()
