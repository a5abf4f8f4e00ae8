"""The unit: judged by systemd itself, and by what the gateway says and does."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from busbar.cli import parser, sd_notify
from busbar.config.schema import LimitsConfig
from busbar.platforms import this_platform

from .conftest import ROOT

UNIT = ROOT / "deploy" / "systemd" / "busbar.service"
EXPOSURE_MAX = 15
"""Of `systemd-analyze security`, in tenths; up to 100."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")

CONFIG = """
listen: "127.0.0.1:0"
providers: {mine: {protocol: openai, base_url: "http://127.0.0.1:9", auth: none}}
models: {m: {provider: mine}}
"""


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.M):
        found.setdefault(name, []).append(value)
    return found


def secs(name: str) -> int:
    return int(settings()[name][0])


def analyse(tmp_path: Path, *arguments: str) -> str:
    """The unit names a program that is not here: another one stands for it."""
    file = tmp_path / "busbar.service"
    file.write_text(UNIT.read_text().replace("/opt/busbar/bin/busbar", "/bin/true"))
    command = ["systemd-analyze", *arguments, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_understands_all_of_it(tmp_path: Path) -> None:
    assert analyse(tmp_path, "verify", "--man=no") == ""


@needs_systemd
def test_the_service_is_shut_in(tmp_path: Path) -> None:
    said = analyse(tmp_path, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}")
    assert "Overall exposure level" in said


def test_it_is_started_stopped_and_reloaded_as_the_gateway_understands() -> None:
    program, *words = settings()["ExecStart"][0].split()
    assert Path(program).name == "busbar"
    assert parser().parse_args(words).config == "/etc/busbar/config.yaml"
    platform = this_platform({})
    assert signal.Signals[settings()["KillSignal"][0]] in platform.stop_signals
    assert platform.reload_signal is not None
    assert settings()["ExecReload"] == [f"/bin/kill -{platform.reload_signal.name.removeprefix('SIG')} $MAINPID"]


def test_it_is_let_drain_before_it_is_killed() -> None:
    assert secs("TimeoutStopSec") >= LimitsConfig().drain_timeout_secs + 15
    assert settings()["KillMode"] == ["mixed"], "what it runs for keys is not told to stop before it"


def test_it_writes_where_it_may() -> None:
    assert settings()["WorkingDirectory"] == [f"/var/lib/{settings()['StateDirectory'][0]}"]
    assert settings()["ProtectSystem"] == ["strict"]


async def test_the_gateway_tells_systemd_when_it_serves_and_when_it_stops(tmp_path: Path) -> None:
    assert settings()["Type"] == ["notify"]
    (tmp_path / "config.yaml").write_text(CONFIG)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        loop = asyncio.get_running_loop()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "busbar", "serve", "--config", str(tmp_path / "config.yaml")),
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(30):
            assert await loop.sock_recv(systemd, 200) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert await loop.sock_recv(systemd, 200) == b"STOPPING=1"
            assert await process.wait() == 0


def test_a_reload_is_told_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0busbar-test-" + tmp_path.name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@busbar-test-" + tmp_path.name)
        assert sd_notify.reloading()
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=[0-9]+", systemd.recv(200))


@pytest.mark.parametrize("address", [None, "", "nonsense", "/nowhere/notify"])
def test_without_systemd_nothing_is_said(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert sd_notify.ready() is False
