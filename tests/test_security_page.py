"""docs/security.md, held to the real program: its commands are run, its configurations have their effect, its tables
say what the code does."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import get_args

import aiohttp
import pytest

from busbar.cli import main
from busbar.config import loads
from busbar.config.reach import Purpose, Reach
from busbar.config.schema import LimitsConfig
from busbar.gateway import BusbarGateway
from tests.certificates import Certificates

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
ENV = {"BUSBAR_CLIENT_TOKEN": "the-callers-own", "OPENAI_API_KEY": "k"}
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def block(language: str, word: str) -> str:
    """The one block of the page that has `word` in it."""
    (found,) = [text for text in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M) if word in text]
    return str(found)


def table(heading: str) -> list[list[str]]:
    """The rows of the first table after a heading, cell by cell."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return rows[2:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="openssl or curl is not installed")
async def test_the_trial_certificate_serves_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["bash", "-ec", block("sh", "openssl")], check=True, capture_output=True)
    port = free_port()
    config = block("yaml", "listen:").replace("/etc/busbar/", "").replace("0.0.0.0:8443", f"127.0.0.1:{port}")
    (tmp_path / "config.yaml").write_text(config)
    check, _, curl, top = [line.removeprefix("$ ") for line in block("console", "curl").splitlines()]
    assert await asyncio.to_thread(main, check.split()[1:]) == 0
    assert "ok: 1 providers, 1 models" in capsys.readouterr().out
    async with BusbarGateway(loads(config, env=ENV)):
        for line, expected in ((f"{curl} --silent --fail", "ok"), (top, "gpt")):
            command = line.replace("8443", str(port)).replace("busbar", f"{sys.executable} -m busbar")
            shell = ["bash", "-ec", command]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = await asyncio.to_thread(
                subprocess.run, shell, capture_output=True, text=True, timeout=60, env=env, check=False
            )
            assert done.returncode == 0, done.stderr
            assert expected in done.stdout


async def test_only_clients_of_the_named_authority_are_let_in(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    chain, key = certificates.server("localhost")
    shutil.copy(chain, tmp_path / "tls.crt")
    shutil.copy(key, tmp_path / "tls.key")
    shutil.copy(certificates.authority, tmp_path / "clients.crt")
    rest = "listen: '127.0.0.1:0'\nproviders: {openai: {}}\nmodels: {gpt: {provider: openai}}\n"
    config = rest + block("yaml", "client_ca").replace("/etc/busbar", str(tmp_path))
    context = ssl.create_default_context(cafile=str(certificates.authority))
    async with BusbarGateway(loads(config, env=ENV)) as gateway, aiohttp.ClientSession() as http:
        url = f"https://localhost:{gateway.port}/healthz"
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            await http.get(url, ssl=context)
        context.load_cert_chain(*certificates.client("me"))
        async with http.get(url, ssl=context) as answer:
            assert answer.status == 200


def test_what_the_page_allows_may_be_called_and_what_it_does_not_name_may_not() -> None:
    rest = "providers: {openai: {}}\nmodels: {gpt: {provider: openai}}\n"
    text = block("yaml", "allow_private")
    config = loads(rest + text, env=ENV)
    reach = Reach(config.security.allow_private)
    assert reach.refusal("telemetry", "http", "collector", "192.168.3.4") is None
    assert reach.refusal("webhook", "https", "10.20.0.7", "10.20.0.7") is None
    assert reach.refusal("webhook", "https", "elsewhere", "192.168.3.4") is not None


def test_the_table_of_addresses_is_the_rule() -> None:
    never, reserved, private, _ = table("Whom it calls")

    def samples(cell: str) -> list[str]:
        """An address of each network, and the names."""
        found = re.findall(r"`([^`]+)`", cell)
        return [
            word.replace("0.0/16", "9.9").replace("0.0/10", "9.9").replace("::/10", "::1").replace("::/32", "::1")
            for word in found
        ]

    everything = Reach(["0.0.0.0/0", "::/0"])
    for row in (never, reserved):
        assert row[1:] == ["never", "never"]
        for sample in samples(row[0]):
            host = f"[{sample}]" if ":" in sample else sample
            assert all(everything.complaint(purpose, f"https://{host}/") for purpose in PURPOSES), sample
    for sample in [*samples(private[0]), "127.0.0.1", "10.0.0.1"]:
        assert [Reach().complaint(purpose, f"http://{sample}/") is None for purpose in PURPOSES] == [
            purpose == "provider" for purpose in PURPOSES
        ]
    spellings = re.search(r"The spelling does not matter: (.*?) NAT64", PAGE, re.S)
    assert spellings is not None
    for sample in re.findall(r"`([^`]+)`", spellings[1]):
        url = sample if sample.startswith("http") else f"http://{sample}/"
        assert "169.254.169.254" in (Reach().complaint("provider", url) or "").replace("a9fe:a9fe", "169.254.169.254")


def test_the_table_of_limits_has_the_defaults_of_the_schema() -> None:
    defaults = LimitsConfig()
    shown = {}
    for _, key, default, _ in table("Limits"):
        name = re.match(r"`(\w+)`", key)
        if name is not None:
            number, _, unit = default.replace(",", "").partition(" ")
            shown[name[1]] = float(number) * {"KiB": 1 << 10, "MiB": 1 << 20}.get(unit, 1)
    assert shown == {name: getattr(defaults, name) for name in shown}
    elsewhere = {"upstream_connections_max", "connect_timeout_secs", "drain_timeout_secs"}
    assert set(LimitsConfig.__struct_fields__) - set(shown) == elsewhere


def test_the_threat_model_has_its_parts() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    assert re.findall(r"^## (.+)$", page, re.M) == [
        *("Reporting a weakness", "What is worth protecting", "Who is trusted, with what"),
        *("What is defended, and how", "What is not", "Hardening"),
    ]
