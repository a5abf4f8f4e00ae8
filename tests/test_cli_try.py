"""`busbar try`: one call, over real sockets, to the embedded providers."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from busbar.cli import main
from busbar.config import loads
from busbar.demo.configuration import DEMO_KEY, TEMPLATE, demo_configuration
from busbar.demo.providers import DemoProviders
from busbar.gateway import BusbarGateway

TOKEN = "a-clients-token"


@pytest.fixture
async def providers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DemoProviders]:
    monkeypatch.setenv("DEMO_KEY", DEMO_KEY)
    async with DemoProviders(keys=frozenset({DEMO_KEY})) as demo:
        yield demo


@pytest.fixture
def config(providers: DemoProviders, tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(TEMPLATE.format(base_url=providers.base_url, listen="127.0.0.1:0"))
    return file


async def tried(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["try", *arguments])


SUMMARY = re.compile(
    r"(\S+) → (\S+) at (\S+) · \d+ \+ \d+ tokens · first token \d+ ms · \d+ ms in all · (\d) attempts?\Z"
)


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-demo", "demo-openai"),
        ("gpt-responses-demo", "demo-responses"),
        ("claude-demo", "demo-anthropic"),
        ("gemini-demo", "demo-gemini"),
        ("bedrock-demo", "demo-bedrock"),
        ("cohere-demo", "demo-cohere"),
    ],
)
async def test_each_provider_is_asked_in_its_own_dialect(
    config: Path, capsys: pytest.CaptureFixture[str], model: str, provider: str, stream: str
) -> None:
    assert await tried(model, "hi there", "--config", str(config), stream) == 0
    said, _, summary = capsys.readouterr().out.partition("\n\n")
    assert said == "You said: hi there"
    match = SUMMARY.match(summary.strip())
    assert match is not None, summary
    assert match.groups() == (model, model, provider, "1")


async def test_another_dialect_may_be_asked_for(config: Path, providers: DemoProviders) -> None:
    assert await tried("claude-demo", "hi", "--config", str(config), "--dialect", "openai", "--max-tokens", "7") == 0
    (request,) = providers.requests
    assert (request.dialect, request.message["max_tokens"]) == ("anthropic", 7)


async def test_a_failover_is_shown_step_by_step(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await tried("resilient", "hi", "--config", str(config)) == 0
    shown = capsys.readouterr().out
    assert "resilient → claude-demo at demo-anthropic" in shown
    assert "2 attempts" in shown
    assert re.search(r"1\. resilient: gpt-broken at demo-openai failed \(500, .*\) after \d+ ms: server_error", shown)
    assert "not claude-demo: not its turn" in shown


async def test_a_failure_is_the_native_error_and_why(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await tried("gpt-broken", "hi", "--config", str(config)) == 1
    shown = capsys.readouterr()
    assert (shown.out, "server_error" in shown.err) == ("", True)
    assert '"message":"The server had an error' in shown.err
    assert re.search(r"gpt-broken: HTTP 500 after \d+ ms\n", shown.err)
    assert "2. gpt-broken: nobody could be asked\n     not gpt-broken: tried already" in shown.err


async def test_a_stream_that_breaks_is_a_failure(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace("fault-500", "fault-cut"))
    assert await tried("gpt-broken", "tell me a very long story", "--config", str(config)) == 1
    assert "gpt-broken: the stream broke off after" in capsys.readouterr().err


async def test_why_a_provider_cannot_be_reached_is_looked_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "providers:\n"
        "  dead: {protocol: openai, base_url: 'http://127.0.0.1:9', auth: none}\n"
        "  lost: {protocol: openai, base_url: 'https://nowhere.invalid', auth: none}\n"
        "models: {a: {provider: dead}, b: {provider: lost}}\n"
        "pools: {p: {members: [{target: a}, {target: b}]}}\n"
    )
    assert await tried("p", "hi", "--config", str(config)) == 1
    assert sorted(capsys.readouterr().err.splitlines()[-2:]) == [
        "dead: 127.0.0.1:9 cannot be connected to: Connection refused",
        "lost: the name nowhere.invalid does not resolve: check base_url (or its variables), and this machine's DNS",
    ]


def test_ctrl_c_stops_it_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = tmp_path / "config.yaml"
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config.write_text(
            f"providers: {{p: {{protocol: openai, base_url: '{url}', auth: none}}}}\nmodels: {{m: {{provider: p}}}}\n"
        )
        command = [sys.executable, "-m", "busbar", "try", "m", "hi", "--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        asked, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        asked.close()
    assert (process.returncode, out, err) == (1, "", "\nstopped\n")


DOORS = [
    "auth: {mode: token, client_tokens: ['${TOKEN}']}\n",
    "governance: {enabled: true, admin_token: '${TOKEN}', db_path: '%s/keys.db'}\n",
    "observability: {request_log_file: '%s/requests.jsonl'}\n",
]


@pytest.mark.parametrize("door", DOORS)
async def test_the_configurations_doors_and_files_are_left_alone(
    config: Path, door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)
    config.write_text(config.read_text() + door.replace("%s", str(tmp_path)))
    before = sorted(tmp_path.iterdir())
    assert await tried("smart", "hi", "--config", str(config)) == 0
    assert sorted(tmp_path.iterdir()) == before
    assert TOKEN not in "".join(capsys.readouterr())


async def test_passthrough_wants_the_callers_own_key(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text() + "auth: {mode: passthrough}\n")
    assert await tried("gpt-demo", "hi", "--config", str(config)) == 2
    assert "--key-env" in capsys.readouterr().err
    assert await tried("gpt-demo", "hi", "--config", str(config), "--key-env", "DEMO_KEY") == 0
    assert "gpt-demo → gpt-demo at demo-openai" in capsys.readouterr().out
    monkeypatch.setenv("WRONG", "sk-wrong-key-123456")
    assert await tried("gpt-demo", "hi", "--config", str(config), "--key-env", "WRONG") == 1
    shown = capsys.readouterr().err
    assert "gpt-demo at demo-openai refused the key" in shown
    assert "sk-wrong-key-123456" not in shown


@pytest.mark.parametrize("ending", ["", "/", "/v1"])
async def test_a_gateway_that_runs_is_asked(
    providers: DemoProviders, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with BusbarGateway(demo_configuration(providers.base_url, "127.0.0.1:0")) as gateway:
        assert await tried("smart", "hi", "--url", gateway.url + ending) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("You said: hi")
    assert " · 1 attempt\n" in shown


async def test_the_key_of_a_gateway_that_runs_is_in_a_variable(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    doored = config.read_text() + "auth: {mode: token, client_tokens: ['${TOKEN}']}\n"
    async with BusbarGateway(loads(doored, env={"TOKEN": TOKEN, "DEMO_KEY": DEMO_KEY})) as gateway:
        assert await tried("smart", "hi", "--url", gateway.url) == 1
        assert "smart: HTTP 401 after" in capsys.readouterr().err
        monkeypatch.setenv("MY_KEY", TOKEN)
        assert await tried("smart", "hi", "--url", gateway.url, "--key-env", "MY_KEY") == 0


async def test_nobody_there_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert await tried("smart", "hi", "--url", "http://127.0.0.1:9") == 1
    assert capsys.readouterr().err == "http://127.0.0.1:9: Connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["smrat", "hi"], "did you mean `smart`?"),
        (["smart", "hi", "--url", "nowhere"], "--url: expected"),
        (["smart", "hi", "--url", "http://user:secret@h"], "--url: expected"),
        (["smart", "hi", "--key-env", "NOBODY_SET_THIS"], "$NOBODY_SET_THIS is not set"),
        (["smart", "hi", "--key-env", "SPACED"], "$SPACED holds spaces"),
    ],
)
async def test_wrong_usage_is_exit_code_2(
    config: Path,
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SPACED", "a key")
    assert await tried(*arguments, "--config", str(config)) == 2
    assert complaint in capsys.readouterr().err


async def test_a_configuration_that_does_not_hold_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("listen: nowhere\n")
    assert await tried("m", "hi", "--config", str(tmp_path / "config.yaml")) == 1
    assert "listen" in capsys.readouterr().err
