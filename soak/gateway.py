"""The gateway under test: a process of `busbar serve`, looked at from outside."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from msgspec import Struct

START_SECS_MAX = 20.0
ERRORS_SHOWN = 10


class Sample(Struct, frozen=True):
    """The process at one moment, `at_secs` after the start."""

    at_secs: float
    rss_kb: int
    fds: int
    tasks: int
    inflight: int


class Gateway:
    """`async with Gateway(folder) as gateway`; `folder` holds `config.yaml`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""

    async def __aenter__(self) -> Gateway:
        config = str(self._folder / "config.yaml")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "busbar", "serve", "--config", config),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "SOAK_KEY": "soak", "SOAK_AWS_KEY": "AKIDSOAK:soak::us-east-1"},
        )
        assert self._process.stderr is not None, "it is a pipe"
        heard: list[bytes] = []
        async with asyncio.timeout(START_SECS_MAX):
            while (found := re.search(rb"http://\S+", b"".join(heard[-1:]))) is None:
                heard.append(await self._process.stderr.readline())
                assert heard[-1], f"the gateway did not start: {b''.join(heard).decode(errors='replace')}"
        self.url = found[0].decode().rstrip("/.,")
        self._log = asyncio.create_task(self._drain(self._process.stderr))
        self._session = aiohttp.ClientSession(self.url)
        self._started_at = asyncio.get_running_loop().time()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        if self._process.returncode is None:
            self._process.terminate()
        self.exit_code = await self._process.wait()
        await self._log

    async def stats(self) -> dict[str, Any]:
        async with self._session.get("/stats") as answer:
            stats: dict[str, Any] = await answer.json()
            return stats

    async def sample(self) -> Sample:
        stats = await self.stats()
        proc = Path(f"/proc/{self._process.pid}")
        pages = int((proc / "statm").read_text().split()[1])
        return Sample(
            at_secs=asyncio.get_running_loop().time() - self._started_at,
            rss_kb=pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            fds=len(list((proc / "fd").iterdir())),
            tasks=stats["process"]["tasks"],
            inflight=sum(member["inflight"] for member in stats["members"]),
        )

    @staticmethod
    async def _drain(stream: asyncio.StreamReader) -> None:
        """So that a full pipe never stops the gateway. Errors and their tracebacks are shown, the first few."""
        shown, wanted = 0, False
        while line := await stream.readline():
            if re.match(rb"\d{4}-", line):  # a new record; what follows without a date belongs to it
                wanted = b" ERROR " in line or b" CRITICAL " in line
                shown += wanted
            if wanted and shown <= ERRORS_SHOWN:
                print(line.decode(errors="replace"), end="", file=sys.stderr)
