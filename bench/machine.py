"""The machine: what it is, and which of its cores does what."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from msgspec import Struct


class Cores(Struct, frozen=True):
    """Contenders on a core of their own; upstream and load generator share another. None: wherever the kernel
    likes."""

    contender: int | None
    load: int | None


class Machine(Struct, frozen=True, kw_only=True):
    """What figures depend on."""

    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    versions: dict[str, str]

    @property
    def line(self) -> str:
        """All of it, for people."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        hardware = f"{self.cpu}, {self.cores} cores, {self.memory_gb:g} GB, {self.kernel}"
        return f"{hardware}; {self.python}; {versions}"


def choose_cores() -> Cores:
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)


def describe(peers: Mapping[str, str] | None = None) -> Machine:
    """`peers`: the versions of the others who take part."""
    versions = {name: _version(name) for name in ("busbar-gateway", "aiohttp", "uvloop", "msgspec", "pykka")}
    versions |= peers or {}
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=versions,
    )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
