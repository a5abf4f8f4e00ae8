"""The command line: as a user's shell sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest

from busbar import __version__
from busbar.cli import main, parser
from busbar.demo.providers import DemoProviders
from busbar.protocols.registry import PROTOCOLS

GOOD = """
listen: "127.0.0.1:0"
providers: {mine: {protocol: openai, base_url: "http://127.0.0.1:9", auth: none}}
models: {m: {provider: mine}}
"""


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return str(file)


# --- help, version, check


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert (done.value.code, capsys.readouterr().out) == (0, f"busbar {__version__}\n" * 2)


@pytest.mark.parametrize("command", [[], ["serve"], ["check"], ["demo"], ["simulate"], ["translate"]])
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parser().parse_args([*command, "--help"])
    text = capsys.readouterr().out
    assert done.value.code == 0
    assert text.startswith("usage: busbar")
    assert command or all(name in text for name in ("serve", "check", "demo", "simulate", "translate", "exit codes"))


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["translate"], ["serve", "--nonsense"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2


def test_a_good_configuration_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", written(tmp_path, GOOD)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok: 1 providers, 1 models, 0 pools"


def test_every_mistake_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD + "pools:\n  p:\n    members: [{target: nobody, wieght: 1}]\n    strategy: fastest\n"
    text += "governance: {enabled: true}\n"
    assert main(["check", "--config", written(tmp_path, text)]) == 1
    report = capsys.readouterr().err
    assert "config.yaml:7: pools.p.members[0].wieght: unknown key, did you mean `weight`?" in report
    assert "pools.p.members[0].target" in report
    assert "governance.admin_token" in report


def test_serve_stops_at_the_same_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--config", written(tmp_path, "listen: nowhere\n")]) == 1
    assert "listen" in capsys.readouterr().err


def test_serve_refuses_an_address_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--config", written(tmp_path, GOOD), "--listen", "nowhere"]) == 2
    assert main(["demo", "--listen", "nowhere"]) == 2
    assert capsys.readouterr().err.count("expected HOST:PORT") == 2


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "/nowhere/config.yaml"]) == 1
    assert "/nowhere/config.yaml" in capsys.readouterr().err


# --- serve, as a process


async def serve(*arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    """A running `busbar serve`, and the address that it logged."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "busbar", "serve", *arguments, stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"listening on" not in (line := await process.stderr.readline()):
            assert line, "it ended before it listened"
    return process, line.decode().split("listening on ")[1].split()[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_exits_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    async with DemoProviders() as providers:
        text = GOOD.replace("http://127.0.0.1:9", providers.base_url).replace("auth: none", "api_key_env: KEY")
        text = text.replace("{provider: mine}", "{provider: mine, upstream_model: fault-slow}")
        os.environ["KEY"] = "demo-key"
        try:
            process, url = await serve("--config", written(tmp_path, text))
        finally:
            del os.environ["KEY"]
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        async with aiohttp.ClientSession(url) as http:
            running = asyncio.ensure_future(http.post("/v1/chat/completions", json=body))
            await providers.until(lambda: providers.open_requests == 1)
            process.send_signal(number)
            assert process.stderr is not None
            while b"draining" not in await process.stderr.readline():
                pass
            providers.release()
            answer = await running
            assert (answer.status, (await answer.json())["choices"][0]["finish_reason"]) == (200, "stop")
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_an_address_that_is_taken_is_exit_code_3(tmp_path: Path) -> None:
    process, url = await serve("--config", written(tmp_path, GOOD))
    taken = url.removeprefix("http://")
    second = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "busbar",
        "serve",
        "--config",
        written(tmp_path, GOOD),
        "--listen",
        taken,
        stderr=asyncio.subprocess.PIPE,
    )
    _, log = await asyncio.wait_for(second.communicate(), 20)
    assert (second.returncode, b"cannot listen on" in log) == (3, True)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_the_demo_works_at_once() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "busbar", "demo", "--once", "--listen", "127.0.0.1:0", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert out.decode().count("200: You said: Hello") == 7


async def test_the_demo_runs_until_it_is_told_to_stop() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "busbar", "demo", "--listen", "127.0.0.1:0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        shown = await process.stdout.readuntil(b"Stop with Ctrl-C.")
    assert b"/stats" in shown
    assert b"curl" in shown
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 0


# --- translate

REQUEST = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}], "seed": 7}
STREAM = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}\n\n'
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


def translate(tmp_path: Path, data: bytes, *arguments: str) -> int:
    file = tmp_path / "document"
    file.write_bytes(data)
    return main(["translate", *arguments, str(file)])


def test_translate_writes_the_document_and_the_receipt(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    data = msgspec.json.encode(REQUEST)
    code = translate(
        tmp_path, data, "--from", "openai", "--to", "anthropic", "--kind", "request", "--model", "claude"
    )
    shown = capsysbinary.readouterr()
    document, receipt = msgspec.json.decode(shown.out), msgspec.json.decode(shown.err)
    assert code == 0
    turn = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    assert document == {"model": "claude", "max_tokens": 4096, "messages": [turn]}
    said = {(entry["change"], entry["path"]) for entry in receipt["receipt"]}
    assert said == {("dropped", "seed"), ("added", "max_tokens")}, receipt


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("request", msgspec.json.encode(REQUEST)),
        ("stream", STREAM),
        (
            "response",
            b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
            b'{"role":"assistant","content":"Hi"},"finish_reason":"stop","extra":1}]}',
        ),
    ],
)
def test_the_identity_can_be_checked(tmp_path: Path, kind: str, data: bytes) -> None:
    for seed in ("0", "1"):
        arguments = ("--from", "openai", "--to", "openai", "--kind", kind, "--check", "--seed", seed)
        assert translate(tmp_path, data, *arguments) == 0


def test_a_check_that_does_not_hold_shows_a_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = msgspec.json.encode(REQUEST)
    code = translate(tmp_path, data, "--from", "openai", "--to", "anthropic", "--kind", "request", "--check")
    report = capsys.readouterr().err
    assert code == 1
    assert '-  "seed": 7' in report
    assert '+  "max_tokens": 4096,' in report


def test_a_stream_is_translated_event_by_event(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert translate(tmp_path, STREAM, "--from", "openai", "--to", "anthropic", "--kind", "stream") == 0
    shown = capsysbinary.readouterr()
    assert shown.out.startswith(b"event: message_start\n")
    assert b'"text":"Hello"' in shown.out
    assert b"event: message_stop\n" in shown.out
    assert msgspec.json.decode(shown.err)["ended"] is True


def test_an_error_is_told_in_the_other_dialect(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    data = b'{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    arguments = ("--from", "openai", "--to", "anthropic", "--kind", "error", "--status", "429")
    assert translate(tmp_path, data, *arguments) == 0
    shown = capsysbinary.readouterr()
    assert msgspec.json.decode(shown.out)["error"] == {"type": "rate_limit_error", "message": "Rate limit reached"}
    told = msgspec.json.decode(shown.err)
    assert (told["class"], told["answer"]["status"]) == ("rate_limit", 429)


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        (b"nonsense", ("--kind", "request")),
        (b"[]", ("--kind", "request")),
        (b'{"messages": 7}', ("--kind", "request")),
        (b"nonsense", ("--kind", "response")),
        (b"{}", ("--kind", "error", "--check")),
    ],
)
def test_what_cannot_be_read_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, arguments: tuple[str, ...]
) -> None:
    assert translate(tmp_path, data, "--from", "openai", "--to", "anthropic", *arguments) == 2
    assert capsys.readouterr().err


def test_a_missing_file_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--from", "openai", "--to", "openai", "--kind", "request", "/nowhere/at/all"]
    assert main(["translate", *arguments]) == 2
    assert "/nowhere/at/all" in capsys.readouterr().err


@pytest.mark.parametrize("target", sorted(PROTOCOLS))
@pytest.mark.parametrize("kind", ["request", "stream"])
def test_every_dialect_is_translated_to_and_is_identical_to_itself(tmp_path: Path, kind: str, target: str) -> None:
    """A stream as the dialect frames it, eventstream bytes and all."""
    given = msgspec.json.encode(REQUEST) if kind == "request" else STREAM
    busbar = [sys.executable, "-m", "busbar", "translate", "--kind", kind]
    written = subprocess.run(
        [*busbar, "--from", "openai", "--to", target, "-"], input=given, capture_output=True, check=True, timeout=60
    ).stdout
    if kind == "stream":
        assert len(PROTOCOLS[target].stream_as_values(written)) >= 2
    again = [*busbar, "--from", target, "--to", target, "--check", "--seed", "3", "-"]
    assert subprocess.run(again, input=written, capture_output=True, check=False, timeout=60).returncode == 0


def test_a_stream_is_written_and_read_as_a_json_array(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    given = tmp_path / "stream"
    given.write_bytes(STREAM)
    ways = ["translate", "--kind", "stream", "--framing", "array"]
    assert main([*ways, "--from", "openai", "--to", "gemini", str(given)]) == 0
    array = capfdbinary.readouterr().out
    assert [set(each) >= {"candidates"} for each in msgspec.json.decode(array)] == [True] * 2
    (tmp_path / "array").write_bytes(array)
    assert main([*ways, "--from", "gemini", "--to", "gemini", "--check", str(tmp_path / "array")]) == 0


def test_a_framing_that_the_dialect_does_not_have_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    ways = ["translate", "--kind", "stream", "--framing", "array", "--from", "openai", "--to", "cohere", "-"]
    assert main(ways) == 2
    assert "cohere has no framing array" in capsys.readouterr().err


def test_whoever_reads_only_the_beginning_sees_no_traceback() -> None:
    command = [sys.executable, "-m", "busbar", "schema"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None, "it is a pipe"
    process.stdout.close()
    _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, b"")
