"""Several processes behind one address: real ones, on a real port."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from busbar.demo.providers import DemoProviders

from .asks import PATHS, ask
from .world import KEY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_REUSEPORT spreads connections on Linux")


def free_ports(count: int) -> int:
    """The first of so many in a row that nobody has."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as found:
            first: int = found.getsockname()[1]
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first


class Parent:
    """`busbar serve` with workers; its log and theirs."""

    def __init__(self, process: asyncio.subprocess.Process, control: int) -> None:
        self.process = process
        self.control = control
        self.log = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None, "it is a pipe"
        while line := await self.process.stderr.readline():
            self.log += line.decode(errors="replace")

    async def until(self, holds: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(30):
                while not holds():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(self.log) from None

    async def workers(self, count: int) -> None:
        await self.until(lambda: len(re.findall(r"listening on ", self.log)) >= count)

    @property
    def url(self) -> str:
        found = re.search(r"workers on (\S+)", self.log)
        assert found is not None, self.log
        return f"http://{found[1]}"

    async def stats(self, worker: int) -> Any:
        url = f"http://127.0.0.1:{self.control + worker - 1}/stats"
        async with aiohttp.request("GET", url) as response:
            return await response.json()

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            code = await self.process.wait()
            await self._reading  # until the last of the workers has gone, too
        return code

    def child(self) -> int:
        """The process of one of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])


@asynccontextmanager
async def parent(folder: Path, more: str = "", **env: str) -> AsyncIterator[Parent]:
    """With two workers."""
    providers = DemoProviders(host="127.0.0.1", port=0, keys=frozenset({KEY}))
    await providers.start()
    control = free_ports(2)
    file = folder / "config.yaml"
    file.write_text(
        f"listen: 127.0.0.1:0\nworkers: 2\nworkers_control: 127.0.0.1:{control}\n"
        f"providers: {{p: {{protocol: openai, base_url: '{providers.base_url}', api_key_env: DEMO_KEY}}}}\n"
        "models: {gpt: {provider: p, upstream_model: demo, max_concurrent: 5, max_requests: 400}}\n"
        f"{more}\n",
        encoding="utf-8",
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "busbar", "serve", "--config", str(file)),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DEMO_KEY": KEY, **env},
    )
    started = Parent(process, control)
    try:
        yield started
    finally:
        if process.returncode is None:
            process.terminate()
        await started.ended()
        await providers.stop()


async def call(url: str) -> int:
    """On a connection of its own."""
    async with aiohttp.request("POST", url + PATHS["openai"], json=ask("openai", "gpt")) as response:
        await response.read()
        return response.status


async def test_all_serve_the_address_and_each_has_its_share(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    async with parent(tmp_path, f"observability: {{request_log_file: '{log}'}}") as it:
        await it.workers(2)
        assert {await call(it.url) for _ in range(40)} == {200}
        shown = [await it.stats(worker) for worker in (1, 2)]
        assert [stats["worker"] for stats in shown] == ["1 of 2", "2 of 2"]
        members = [stats["members"][0] for stats in shown]
        assert [member["max_concurrent"] for member in members] == [3, 2]
        assert sum(member["budget"] for member in members) == 400 - 40
        assert sum(member["ok"] for member in members) == 40
        assert all(member["ok"] for member in members), "the kernel spreads connections"
    lines = [len((tmp_path / f"requests.{worker}.jsonl").read_text().splitlines()) for worker in (1, 2)]
    assert sum(lines) == 40
    assert not log.exists()


async def test_a_hangup_reloads_every_worker_and_the_route_says_so(tmp_path: Path) -> None:
    async with parent(tmp_path, "governance: {admin_token: '${TOKEN}'}", TOKEN="admins-own") as it:
        await it.workers(2)
        file = tmp_path / "config.yaml"
        file.write_text(file.read_text().replace("max_concurrent: 5", "max_concurrent: 9"), encoding="utf-8")
        headers = {"authorization": "Bearer admins-own"}
        async with aiohttp.request("POST", f"{it.url}/admin/config/reload", headers=headers) as response:
            assert response.status == 422
            assert "send SIGHUP to the process that started them" in await response.text()
        it.process.send_signal(signal.SIGHUP)
        await it.until(lambda: it.log.count("action=reload generation=2 changes=1 done") == 2)
        slots = [(await it.stats(worker))["members"][0]["max_concurrent"] for worker in (1, 2)]
        assert slots == [5, 4]


async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    async with parent(tmp_path) as it:
        await it.workers(2)
        os.kill(it.child(), signal.SIGKILL)
        await it.until(lambda: "ended with -9" in it.log)
        await it.workers(3)
        assert {await call(it.url) for _ in range(20)} == {200}


async def test_workers_whose_parent_is_killed_stop(tmp_path: Path) -> None:
    async with parent(tmp_path) as it:
        await it.workers(2)
        it.process.kill()
        await it.until(lambda: it.log.count("busbar: stopped") == 2)
        with pytest.raises(aiohttp.ClientError):
            await call(it.url)


async def test_workers_that_cannot_live_end_it(tmp_path: Path) -> None:
    async with parent(tmp_path, "observability: {audit_log_file: '/no/such/folder/audit.jsonl'}") as it:
        assert await it.ended() == 1
        assert it.log.count("ended with 1") >= 3


async def test_where_the_system_cannot_share_an_address_one_process_has_it_all(tmp_path: Path) -> None:
    async with parent(tmp_path, BUSBAR_WITHOUT="reuse-port") as it:
        await it.workers(1)
        assert "one process has it all" in it.log
        found = re.search(r"listening on (\S+)", it.log)
        assert found is not None
        async with aiohttp.request("GET", f"{found[1]}/stats") as response:
            stats = await response.json()
        assert "worker" not in stats
        assert stats["members"][0]["max_concurrent"] == 5
