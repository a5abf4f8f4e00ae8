"""The disk under a database: what it is, and how long it takes until something is on it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from bench.figures import percentile
from busbar.actors.governance.batch import Batch, Commit, Committed, RateCount, RateKey, Tokens, UsageKey
from busbar.store.database import Database

MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""Kinds of file system on which nothing ever reaches a disk."""
SYNCED_BYTES = 8192
TIMES = 300
_SCOPES = ("vk_bench", "grp_bench")
_DAY = 20_000


class Disk(Struct, frozen=True, kw_only=True):
    """One disk. Times are in milliseconds: (p50, p99)."""

    kind: str
    """Of file system."""
    sync_ms: tuple[float, float]
    """`fdatasync` after a write of 8 KiB, the least that any database could wait for."""
    strict_ms: tuple[float, float]
    """One of the gateway's commits, of one request under a key in a group, that survives a loss of power."""
    relaxed_ms: tuple[float, float]
    """One that survives the end of the process."""

    @property
    def lasts(self) -> bool:
        """Whether it is a disk at all."""
        return self.kind not in MEMORY

    @property
    def line(self) -> str:
        """All of it, for people."""
        pairs = (
            ("fdatasync of 8 KiB", self.sync_ms),
            ("a strict commit", self.strict_ms),
            ("a relaxed one", self.relaxed_ms),
        )
        times = ", ".join(f"{what} {p50:.2f} ms (p99 {p99:.2f})" for what, (p50, p99) in pairs)
        return f"Database on {self.kind}: {times}; alone on the machine, {TIMES} of each."


def look_at_disk(folder: str | None, times: int = TIMES) -> Disk:
    """Of a folder; None: that of temporary files. Writes a few hundred kilobytes."""
    with tempfile.TemporaryDirectory(prefix="busbar-bench-disk-", dir=folder) as name:
        place = Path(name)
        return Disk(
            kind=kind_of(place),
            sync_ms=_sync_ms(place / "probe", times),
            strict_ms=_commit_ms(place / "strict.db", times, durable=True),
            relaxed_ms=_commit_ms(place / "relaxed.db", times, durable=False),
        )


def kind_of(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that a folder is on."""
    folder, found, kind = folder.resolve(), Path(), "unknown"
    for line in mounts.read_text().splitlines():
        _, at, its_kind, *_ = line.split(" ")
        place = Path(at.replace("\\040", " "))
        if folder.is_relative_to(place) and len(place.parts) >= len(found.parts):
            found, kind = place, its_kind
    return kind


def _sync_ms(file: Path, times: int) -> tuple[float, float]:
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY, 0o600)
    try:

        def write(_number: int) -> None:
            os.write(descriptor, bytes(SYNCED_BYTES))
            os.fdatasync(descriptor)

        return _times_ms(write, times)
    finally:
        os.close(descriptor)


def _commit_ms(file: Path, times: int, *, durable: bool) -> tuple[float, float]:
    database = Database(file, durable=durable)
    try:

        def write(number: int) -> None:
            done = database.do(Commit(_batch(number)))
            assert isinstance(done, Committed), done

        return _times_ms(write, times)
    finally:
        database.close()


def _batch(number: int) -> Batch:
    """What one request adds."""
    tokens = Tokens(requests=1, input=412, output=1)
    return Batch(
        number=number,
        usage={UsageKey(scope, _DAY, "bench", 0, False): tokens for scope in _SCOPES},
        rates={RateKey(_SCOPES[0], _DAY * 86_400 + number // 200): RateCount(1, 413)},
    )


def _times_ms(work: Callable[[int], None], times: int) -> tuple[float, float]:
    taken = []
    for number in range(1, times + 1):
        started = time.perf_counter()
        work(number)
        taken.append((time.perf_counter() - started) * 1000)
    return percentile(taken, 50), percentile(taken, 99)
