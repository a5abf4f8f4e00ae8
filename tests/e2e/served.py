"""A governed world whose gateway is a process of its own, `busbar serve`, which can be killed and started again.

async with ServedWorld(tmp_path) as world:
    world.found(key("a"))
    served = await world.serve()
    served.process.kill()
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from busbar.actors.governance.batch import Batch, Commit, Committed, Load, Loaded, ReadUsage, Tokens, UsageRead
from busbar.actors.governance.keyring import secret_hash
from busbar.actors.governance.scopes import Group, VirtualKey
from busbar.store.database import Database

from .governed import ADMIN, GovernedWorld

START_SECS_MAX = 30.0


def secret_of(name: str) -> str:
    return f"sk-bb-{name}"


def key(name: str, **fields: Any) -> VirtualKey:
    """`vk_<name>`, whose secret is `secret_of(name)`."""
    return VirtualKey(id=f"vk_{name}", name=name, secret_hash=secret_hash(secret_of(name)), created_at=1, **fields)


def group(name: str, **fields: Any) -> Group:
    return Group(id=f"grp_{name}", name=name, created_at=1, **fields)


class Served:
    """One process. Its log is read all the time, so that a full pipe never stops it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""
        self.log = ""
        self._listening = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def listening(self) -> None:
        async with asyncio.timeout(START_SECS_MAX):
            await self._listening.wait()
        assert self.url, f"the gateway did not start:\n{self.log}"

    async def ended(self) -> int:
        """The exit code."""
        async with asyncio.timeout(START_SECS_MAX):
            code = await self.process.wait()
            await self._reading
        return code

    async def page(self, path: str) -> Any:
        """An operator's."""
        async with aiohttp.request("GET", f"{self.url}{path}", headers=ADMIN) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def _read(self) -> None:
        assert self.process.stderr is not None, "it is a pipe"
        while line := await self.process.stderr.readline():
            self.log += line.decode(errors="replace")
            if (found := re.search(rb"listening on (\S+)", line)) is not None:
                self.url = found[1].decode()
                self._listening.set()
        self._listening.set()


class Ledger:
    """What the files that a process left would tell the next one. They are left as they are."""

    def __init__(self, database: Path, scopes: list[str]) -> None:
        copy = database.with_name("copy.db")
        for suffix in ("", "-wal"):
            copy.with_name(f"copy.db{suffix}").unlink(missing_ok=True)
            if (source := database.with_name(f"{database.name}{suffix}")).exists():
                shutil.copyfile(source, copy.with_name(f"copy.db{suffix}"))
        opened = Database(copy, durable=False)
        loaded = opened.do(Load(lambda _key, _tokens: 0, 0))
        assert isinstance(loaded, Loaded), loaded
        self.rates = loaded.rates
        self.usage: dict[str, tuple[int, int, int]] = {}
        """scope → (requests, input, output)"""
        for scope in scopes:
            read = opened.do(ReadUsage(scope))
            assert isinstance(read, UsageRead), read
            total = Tokens()
            for row, tokens in read.rows:
                assert not row.estimated, f"{scope} has an estimate: {tokens}"
                total.add(tokens)
            self.usage[scope] = total.requests, total.input, total.output
        opened.close()


class ServedWorld(GovernedWorld):
    """The providers are in this process; the gateways are what `serve` starts, one at a time."""

    async def __aenter__(self) -> ServedWorld:
        await self.providers.start()
        self.config = self.database.with_name("config.yaml")
        self.config.write_text(self._text())
        self._served: list[Served] = []
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for served in self._served:
            if served.process.returncode is None:
                served.process.kill()
            await served.ended()
        await self.providers.stop()

    def found(self, *scopes: VirtualKey | Group) -> None:
        """Makes the database, with these in it."""
        opened = Database(self.database, durable=False)
        keys = {scope.id: scope for scope in scopes if isinstance(scope, VirtualKey)}
        groups = {scope.id: scope for scope in scopes if isinstance(scope, Group)}
        assert opened.do(Commit(Batch(number=1, keys=keys, groups=groups))) == Committed(1)
        opened.close()

    async def start(self) -> Served:
        """A process that has just begun."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "busbar", "serve", "--config", str(self.config)),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self._env},
        )
        self._served.append(Served(process))
        return self._served[-1]

    async def serve(self) -> Served:
        """One that listens."""
        served = await self.start()
        await served.listening()
        return served

    def ledger(self, *scopes: str) -> Ledger:
        return Ledger(self.database, list(scopes))
