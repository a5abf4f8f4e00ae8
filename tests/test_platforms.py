"""What other systems lack, switched off here: the gateway serves, drains and ends the same."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from busbar.demo.providers import DemoProviders
from busbar.platforms import Platform, this_platform

ROOT = Path(__file__).parent.parent
EVERYTHING = "uvloop,signal-handlers,hangup,reuse-port"
LINUX = sys.platform == "linux"

CONFIG = """
listen: "127.0.0.1:0"
providers: {{mine: {{protocol: openai, base_url: "{url}", api_key_env: KEY}}}}
models: {{m: {{provider: mine, upstream_model: {model}}}}}
"""

needs_uvloop = pytest.mark.skipif(not this_platform({}).uvloop, reason="uvloop is not installed")


# --- what there is


@needs_uvloop
@pytest.mark.parametrize(
    ("without", "left"),
    [
        ("", Platform(uvloop=True, signal_handlers=True, hangup=True, reuse_port=LINUX)),
        ("uvloop", Platform(uvloop=False, signal_handlers=True, hangup=True, reuse_port=LINUX)),
        (
            " signal-handlers , hangup,",
            Platform(uvloop=True, signal_handlers=False, hangup=False, reuse_port=LINUX),
        ),
        (EVERYTHING, Platform(uvloop=False, signal_handlers=False, hangup=False, reuse_port=False)),
    ],
)
def test_what_is_there_can_be_switched_off(without: str, left: Platform) -> None:
    assert this_platform({"BUSBAR_WITHOUT": without}) == left


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"BUSBAR_WITHOUT names sighup: expected some of uvloop, signal-handlers, hangup, reuse-port"
    ):
        this_platform({"BUSBAR_WITHOUT": "uvloop,sighup"})


async def test_a_name_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    served = await Served.start(written(tmp_path, "http://127.0.0.1:9", "demo"), without="sighup")
    assert (await served.ended(), served.log) == (2, ["BUSBAR_WITHOUT names sighup: expected some of uvloop, ..."])


def test_the_signals_are_those_that_there_are() -> None:
    there, lacking = this_platform({}), this_platform({"BUSBAR_WITHOUT": "hangup"})
    assert there.stop_signals == lacking.stop_signals == (signal.SIGTERM, signal.SIGINT)
    assert (there.reload_signal, lacking.reload_signal) == (signal.SIGHUP, None)


@pytest.mark.parametrize("without", ["", "signal-handlers"])
async def test_a_signal_calls_back_in_the_loop_until_it_is_taken_away(without: str) -> None:
    platform, told = this_platform({"BUSBAR_WITHOUT": without}), asyncio.Event()
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)
    for number in (signal.SIGUSR1, signal.SIGINT):
        platform.add_signal_handler(number, told.set)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await told.wait()
        told.clear()
        platform.remove_signal_handler(number)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGUSR1, before[0])
    signal.signal(signal.SIGINT, before[1])


# --- the gateway without it, as a process


def written(tmp_path: Path, base_url: str, model: str) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.format(url=base_url, model=model))
    return file


class Served:
    """`busbar serve`, which tells what it imports."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []
        self.imported: set[str] = set()

    @classmethod
    async def start(cls, config: Path, *, without: str) -> Served:
        command = (sys.executable, "-X", "importtime", "-m", "busbar", "serve", "--config", str(config))
        env = {**os.environ, "KEY": "demo-key", "BUSBAR_WITHOUT": without}
        return cls(await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, env=env))

    async def until(self, word: str) -> str:
        """The next line of the log with `word` in it; or the last one."""
        assert self.process.stderr is not None, "it is a pipe"
        async with asyncio.timeout(20):
            while line := (await self.process.stderr.readline()).decode():
                if line.startswith("import time:"):
                    self.imported.add(line.rpartition("|")[2].strip())
                    continue
                self.log.append(re.sub(r"(uvloop, ).*", r"\1...", line.rstrip("\n")))
                if word in line:
                    return line
        return ""

    async def ended(self) -> int:
        await self.until("there is no such line")
        return await asyncio.wait_for(self.process.wait(), 20)


@needs_uvloop
@pytest.mark.parametrize("without", ["", "uvloop", "signal-handlers", EVERYTHING])
async def test_a_stream_runs_through_the_drain_whatever_is_missing(tmp_path: Path, without: str) -> None:
    async with DemoProviders() as providers:
        served = await Served.start(written(tmp_path, providers.base_url, "fault-slow"), without=without)
        url = (await served.until("listening on")).split("listening on ")[1].split()[0]
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=30) as client:
            asking = asyncio.ensure_future(
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
            )
            await providers.until(lambda: providers.open_requests == 1)
            served.process.send_signal(signal.SIGTERM)
            assert "draining" in await served.until("draining")
            providers.release()
            chunks = [chunk async for chunk in await asking]
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
        assert await served.ended() == 0
    assert ("uvloop" in served.imported) is ("uvloop" not in without)


@pytest.mark.parametrize("without", ["", EVERYTHING])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, without: str) -> None:
    async with DemoProviders() as providers:
        served = await Served.start(written(tmp_path, providers.base_url, "fault-slow"), without=without)
        url = (await served.until("listening on")).split("listening on ")[1].split()[0]
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=30) as client:
            asking = asyncio.ensure_future(
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
            )
            await providers.until(lambda: providers.open_requests == 1)
            served.process.send_signal(signal.SIGTERM)
            await served.until("draining")
            served.process.send_signal(signal.SIGTERM)
            assert await served.ended() == -signal.SIGTERM
            assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], Exception)
        providers.release()


# --- the tree

NOT_EVERYWHERE = {
    *("add_signal_handler", "remove_signal_handler", "add_reader", "remove_reader", "SIGHUP", "SIGWINCH", "SIGKILL"),
    *("fork", "getuid", "geteuid", "fchmod", "setsid", "killpg", "getpgid", "O_CLOEXEC", "O_NONBLOCK", "AF_UNIX"),
    *("SO_REUSEPORT", "SOCK_NONBLOCK", "SOCK_CLOEXEC", "clock_gettime_ns"),
}
"""Attributes that are missing on some system that Busbar runs on."""

MODULES_NOT_EVERYWHERE = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "uvloop"}

KNOWN = {
    "busbar/platforms.py": {"add_signal_handler", "remove_signal_handler", "uvloop"},  # asks first
    "busbar/cli/serve.py": {"add_signal_handler", "remove_signal_handler"},  # the platform's
    "busbar/cli/workers.py": {
        "start_new_session",
        "add_signal_handler",
        "SIGHUP",
        "SO_REUSEPORT",
    },  # only where there is `reuse-port`
    "busbar/http/front.py": {"reuse_port"},  # asked for by workers only
    "busbar/cli/top.py": {  # the platform's; the keyboard is left alone on Windows
        *("add_signal_handler", "remove_signal_handler", "add_reader", "remove_reader", "termios", "tty")
    },
    "busbar/cli/sd_notify.py": {"AF_UNIX"},  # only where systemd has named a socket
    "busbar/credentials/key_sources.py": {
        "SIGKILL",
        "killpg",
        "start_new_session",
    },  # api_key_command: not on Windows
}


def not_everywhere(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(attr=name) if name in NOT_EVERYWHERE:
                found.add(name)
            case ast.keyword(arg="reuse_port" | "preexec_fn" | "start_new_session" as name):
                found.add(name)
            case ast.Import(names=names):
                found.update({alias.name for alias in names} & MODULES_NOT_EVERYWHERE)
            case ast.ImportFrom(module=module) if module in MODULES_NOT_EVERYWHERE:
                found.add(str(module))
    return found


def test_what_is_not_everywhere_is_used_only_where_that_is_minded() -> None:
    sources = {str(path.relative_to(ROOT)): path for path in (ROOT / "busbar").rglob("*.py")}
    found = {name: not_everywhere(path) - KNOWN.get(name, set()) for name, path in sources.items()}
    assert {name: names for name, names in found.items() if names} == {}
    assert KNOWN.keys() <= sources.keys()
