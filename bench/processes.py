"""What a tree of processes costs, read from Linux's /proc."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
QUIET_SECS = 0.3
QUIET_SHARE = 0.03
"""Of a core: who takes less for `QUIET_SECS` has nothing left to hand on, or nobody who takes it."""
QUIET_SECS_MAX = 6.0
_GONE = (FileNotFoundError, ProcessLookupError)


def tree(pid: int) -> Iterator[int]:
    """The process and all of its descendants."""
    yield pid
    with contextlib.suppress(*_GONE):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def cpu_secs(pid: int) -> float:
    """User and system time of the tree so far."""
    return sum(_cpu_secs(each) for each in tree(pid))


def main_and_others_cpu_secs(pid: int) -> tuple[float, float]:
    """Time of the process's main thread, and of its other threads, so far; (0, 0) where the kernel keeps no scheduler
    statistics."""
    main = _thread_nanoseconds(Path(f"/proc/{pid}/task/{pid}"))
    every = sum(map(_thread_nanoseconds, Path(f"/proc/{pid}/task").iterdir()))
    return main / 1e9, (every - main) / 1e9


def wait_until_quiet(process: subprocess.Popen[bytes]) -> None:
    """Returns when it has nothing left to do, or does not come to rest."""
    give_up_at = time.monotonic() + QUIET_SECS_MAX
    share = 1.0
    while share > QUIET_SHARE and time.monotonic() < give_up_at and process.poll() is None:
        before, started = cpu_secs(process.pid), time.monotonic()
        time.sleep(QUIET_SECS)
        share = (cpu_secs(process.pid) - before) / (time.monotonic() - started)


def rss_bytes(pid: int) -> int:
    """Resident memory of the tree now. Pages that its processes share count once for each."""
    return sum(_status_bytes(each, "VmRSS:") for each in tree(pid))


def peak_bytes(pid: int) -> int:
    """The most resident memory since the last `reset_peak`, each process's own added up."""
    return sum(_status_bytes(each, "VmHWM:") for each in tree(pid))


def reset_peak(pid: int) -> None:
    """Where the kernel does not let us, peaks stay those of the process's whole life."""
    for each in tree(pid):
        with contextlib.suppress(OSError):
            Path(f"/proc/{each}/clear_refs").write_text("5")


def _cpu_secs(pid: int) -> float:
    """Nanoseconds on a core, thread by thread; clock ticks where the kernel keeps no scheduler statistics."""
    nanoseconds = 0
    with contextlib.suppress(*_GONE):
        for task in Path(f"/proc/{pid}/task").iterdir():
            nanoseconds += _thread_nanoseconds(task)
        if nanoseconds == 0:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SEC
    return nanoseconds / 1e9


def _thread_nanoseconds(task: Path) -> int:
    with contextlib.suppress(*_GONE):
        return int((task / "schedstat").read_text().split()[0])
    return 0


def _status_bytes(pid: int, key: str) -> int:
    with contextlib.suppress(*_GONE):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0
