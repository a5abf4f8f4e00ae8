"""Several processes behind one address: real ones, on a real port."""

from __future__ import annotations

import asyncio
import contextlib
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

from busbar.cli.workers import YOUNG_DEATHS_MAX
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

    def children(self) -> list[int]:
        """The processes of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children]


@asynccontextmanager
async def parent(
    folder: Path,
    more: str = "",
    listen: str = "127.0.0.1:0",
    control: int | None = None,
    preexec_fn: Callable[[], None] | None = None,
    **env: str,
) -> AsyncIterator[Parent]:
    """With two workers."""
    providers = DemoProviders(host="127.0.0.1", port=0, keys=frozenset({KEY}))
    await providers.start()
    control = free_ports(2) if control is None else control
    file = folder / "config.yaml"
    file.write_text(
        f"listen: '{listen}'\nworkers: 2\nworkers_control: 127.0.0.1:{control}\n"
        f"providers: {{p: {{protocol: openai, base_url: '{providers.base_url}', api_key_env: DEMO_KEY}}}}\n"
        "models: {gpt: {provider: p, upstream_model: demo, max_concurrent: 5, max_requests: 400},\n"
        "  slow: {provider: p, upstream_model: fault-paced-50}}\n"
        f"{more}\n",
        encoding="utf-8",
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "busbar", "serve", "--config", str(file)),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DEMO_KEY": KEY, **env},
        preexec_fn=preexec_fn,  # there are no threads to be caught in it
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


async def test_an_address_of_ipv6_is_shared_as_well(tmp_path: Path) -> None:
    async with parent(tmp_path, listen="[::1]:0") as it:
        await it.workers(2)
        assert it.url.startswith("http://[::1]:")
        assert {await call(it.url) for _ in range(10)} == {200}


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
        os.kill(it.children()[0], signal.SIGKILL)
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


async def test_a_stream_runs_through_the_drain_though_it_is_told_to_reload_meanwhile(tmp_path: Path) -> None:
    async with parent(tmp_path) as it:
        await it.workers(2)
        body = {**ask("openai", "slow"), "stream": True}
        async with aiohttp.request("POST", it.url + PATHS["openai"], json=body) as response:
            await response.content.readany()
            workers = it.children()
            it.process.send_signal(signal.SIGTERM)
            await it.until(lambda: "draining" in it.log)
            for process in (it.process.pid, *workers):
                with contextlib.suppress(ProcessLookupError):  # the one without a request has gone
                    os.kill(process, signal.SIGHUP)
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
        assert await it.ended() == 0


async def test_a_worker_that_is_told_to_reload_while_it_starts_reads_the_files_again(tmp_path: Path) -> None:
    async with parent(tmp_path) as it:
        await it.until(lambda: "workers on" in it.log)
        for _ in range(20):
            it.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.01)
        await it.workers(2)
        await it.until(lambda: it.log.count("who=signal action=reload") >= 2)
        assert "ended with" not in it.log


async def test_the_others_go_on_where_one_cannot_be_replaced(tmp_path: Path) -> None:
    """Because of a file that no reload has taken over, say."""
    async with parent(tmp_path) as it:
        await it.workers(2)
        file = tmp_path / "config.yaml"
        good = file.read_text()
        file.write_text("models: nonsense\n")
        os.kill(it.children()[0], signal.SIGKILL)
        await it.until(lambda: it.log.count("ended with 1") == YOUNG_DEATHS_MAX - 1)
        assert {await call(it.url) for _ in range(10)} == {200}
        file.write_text(good)


async def test_systemd_hears_one_process_and_that_it_is_ready_when_all_are(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        loop = asyncio.get_running_loop()
        async with parent(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")) as it, asyncio.timeout(30):
            assert await loop.sock_recv(systemd, 200) == b"READY=1"
            assert [(await it.stats(worker))["worker"] for worker in (1, 2)] == ["1 of 2", "2 of 2"]
            it.process.send_signal(signal.SIGHUP)
            assert (await loop.sock_recv(systemd, 200)).startswith(b"RELOADING=1")
            assert await loop.sock_recv(systemd, 200) == b"READY=1"
            await it.until(lambda: it.log.count("who=signal action=reload") == 2)
            it.process.terminate()
            assert await loop.sock_recv(systemd, 200) == b"STOPPING=1"
            assert await it.ended() == 0
        with pytest.raises(BlockingIOError):
            systemd.recv(200)


@pytest.mark.parametrize("there", ["1", "1:1", "x"])
async def test_a_number_in_the_environment_by_accident_is_refused(tmp_path: Path, there: str) -> None:
    async with parent(tmp_path, BUSBAR_WORKER=there) as it:
        assert await it.ended() == 2
        assert "BUSBAR_WORKER is only for processes that `busbar serve` starts: leave it unset" in it.log


async def test_it_serves_without_a_standard_input(tmp_path: Path) -> None:
    async with parent(tmp_path, preexec_fn=lambda: os.close(0)) as it:
        await it.workers(2)
        assert {await call(it.url) for _ in range(10)} == {200}


async def test_a_port_for_one_worker_that_somebody_has_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        async with parent(tmp_path, control=somebody.getsockname()[1]) as it:
            assert await it.ended() == 3
            assert "workers_control of worker 1: " in it.log
