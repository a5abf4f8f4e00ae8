"""`busbar check --live`: what each provider says to its key, told so that one knows what to do."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from busbar.cli import main
from busbar.cli.verdicts import credential_of
from busbar.config import loads
from busbar.demo.configuration import DEMO_KEY, TEMPLATE
from busbar.demo.providers import DemoProviders

SECRET = "sk-live-0123456789abcdef"


@pytest.fixture
async def providers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DemoProviders]:
    monkeypatch.setenv("DEMO_KEY", DEMO_KEY)
    monkeypatch.setenv("OTHER_KEY", SECRET)
    async with DemoProviders(keys=frozenset({DEMO_KEY})) as demo:
        yield demo


async def live(tmp_path: Path, text: str, *arguments: str) -> int:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return await asyncio.to_thread(main, ["check", "--config", str(file), "--live", "--timeout", "5", *arguments])


def one(base_url: str, *, model: str = "m", key: str = "DEMO_KEY", more: str = "", protocol: str = "openai") -> str:
    auth = f"auth: bearer, api_key_env: {key}" if key else "auth: none"
    return (
        f'providers: {{p: {{protocol: {protocol}, base_url: "{base_url}", {auth}{more}}}}}\n'
        f"models: {{m: {{provider: p, upstream_model: {model}}}}}\n"
    )


async def test_each_provider_is_asked_for_one_token(
    providers: DemoProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TEMPLATE.format(base_url=providers.base_url, listen="127.0.0.1:0")
    assert await live(tmp_path, text) == 0
    lines = capsys.readouterr().out.splitlines()[-6:]
    assert [line.split()[:2] for line in lines] == [
        [f"demo-{name}", "ok"] for name in ("openai", "responses", "anthropic", "gemini", "bedrock", "cohere")
    ]
    assert sorted(request.dialect for request in providers.requests) == sorted(
        ["openai", "responses", "anthropic", "gemini", "bedrock", "cohere"]
    )
    asked = next(request for request in providers.requests if request.dialect == "anthropic")
    assert asked.message["max_tokens"] == 1
    assert asked.streams is False


async def test_without_live_there_is_no_network(
    providers: DemoProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(one(providers.base_url))
    assert await asyncio.to_thread(main, ["check", "--config", str(file)]) == 0
    assert (len(providers.requests), capsys.readouterr().out) == (0, "ok: 1 providers, 1 models, 0 pools\n")


@pytest.mark.parametrize(
    ("model", "key", "verdict", "words"),
    [
        ("m", "OTHER_KEY", "auth", "check $OTHER_KEY"),
        ("fault-402", "DEMO_KEY", "billing", "$DEMO_KEY has no credit left"),
        (
            "fault-404",
            "DEMO_KEY",
            "client_error",
            '(upstream_model: fault-404): "The model `fault-404` does not exist',
        ),
        ("fault-429", "DEMO_KEY", "rate_limit", "the key works"),
        ("fault-500", "DEMO_KEY", "server_error", "look at its status page"),
        ("fault-cut-start", "DEMO_KEY", "network", "closed the connection without an answer"),
    ],
)
async def test_a_failure_is_told_with_what_to_do(
    providers: DemoProviders,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    key: str,
    verdict: str,
    words: str,
) -> None:
    assert await live(tmp_path, one(providers.base_url, model=model, key=key)) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split()[:2] == ["p", verdict]
    assert words in line
    assert SECRET not in line


async def test_a_provider_that_hangs_is_given_up(
    providers: DemoProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await live(tmp_path, one(providers.base_url, model="fault-hang"), "--timeout", "0.2") == 1
    assert "no answer in time" in capsys.readouterr().out


async def test_a_name_that_does_not_resolve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await live(tmp_path, one("https://nowhere.invalid", key="")) == 1
    assert "network        the name nowhere.invalid does not resolve" in capsys.readouterr().out


async def test_a_port_that_nobody_listens_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await live(tmp_path, one("http://127.0.0.1:9", key="")) == 1
    assert "127.0.0.1:9 cannot be connected to" in capsys.readouterr().out


async def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    providers: DemoProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider itself could be reached: it is the proxy that cannot."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    assert await live(tmp_path, one(providers.base_url)) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert "through the proxy 127.0.0.1:9 ($HTTPS_PROXY, $HTTP_PROXY): 127.0.0.1:9 cannot be connected to" in line
    assert "secret" not in line


async def test_a_server_that_speaks_no_tls(
    providers: DemoProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await live(tmp_path, one(providers.base_url.replace("http:", "https:"))) == 1
    assert "does not speak it as it should" in capsys.readouterr().out


async def test_a_certificate_that_nobody_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    out = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run([*made.split(), *out], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await live(tmp_path, one(f"https://localhost:{port}", key="")) == 1
    assert "TLS: the certificate of localhost is not accepted: self" in capsys.readouterr().out


TOO_SMALL = (
    b'{"error":{"message":"Invalid \'max_output_tokens\': integer below minimum value. Expected >= 16.","code":"x"}}'
)
ECHOES = (
    b'{"error":{"message":"No such model. You sent sk-live-0123456789abcdef\\n\\u001b[2J'
    + b"x" * 500
    + b'","code":"x"}}'
)


async def _answers(body: bytes) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def test_a_model_that_only_wants_more_room_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with await _answers(TOO_SMALL) as server:
        port = server.sockets[0].getsockname()[1]
        assert await live(tmp_path, one(f"http://127.0.0.1:{port}", key="")) == 0
    assert "(it wants more than one token)" in capsys.readouterr().out


async def test_a_providers_words_are_cut_and_cleaned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", SECRET)
    async with await _answers(ECHOES) as server:
        port = server.sockets[0].getsockname()[1]
        assert await live(tmp_path, one(f"http://127.0.0.1:{port}", key="OTHER_KEY")) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert SECRET not in line
    assert "You sent *** �[2Jxxx" in line
    assert len(line) < 400


async def test_who_has_no_model_or_no_key_is_not_asked(
    providers: DemoProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = one(providers.base_url)
    lonely = text.replace("models: ", "models: {} #").replace("api_key_env: DEMO_KEY", "api_key_env: DEMO_KEY")
    assert await live(tmp_path, lonely) == 1
    assert "not asked      no model of yours is there" in capsys.readouterr().out
    assert await live(tmp_path, text + "auth: {mode: passthrough}\n") == 1
    assert "not asked      auth.mode is passthrough" in capsys.readouterr().out
    assert len(providers.requests) == 0


async def test_one_provider_may_be_named(
    providers: DemoProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TEMPLATE.format(base_url=providers.base_url, listen="127.0.0.1:0")
    assert await live(tmp_path, text, "--provider", "demo-cohere") == 0
    assert [request.dialect for request in providers.requests] == ["cohere"]
    assert await live(tmp_path, text, "--provider", "demo-cohre") == 2
    assert "did you mean `demo-cohere`?" in capsys.readouterr().err


async def test_a_pool_does_not_hide_the_model_that_is_asked(providers: DemoProviders, tmp_path: Path) -> None:
    text = one(providers.base_url, model="fault-401") + "pools: {m: {members: [{target: n}]}}\n"
    text = text.replace("models: {", "models: {n: {provider: q}, ").replace(
        "providers: {", f'providers: {{q: {{protocol: openai, base_url: "{providers.base_url}", auth: none}}, '
    )
    assert await live(tmp_path, text, "--provider", "p") == 1


def test_a_provider_is_named_with_live_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--provider", "x"]) == 2
    assert "--live" in capsys.readouterr().err


@pytest.mark.parametrize("secs", ["0", "nan", "601", "soon"])
def test_the_timeout_is_a_number_of_seconds(secs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["check", "--live", "--timeout", secs])
    assert done.value.code == 2
    assert "expected a number of seconds from 0.1 to 600" in capsys.readouterr().err


async def test_a_credential_that_cannot_be_had_is_no_trouble_of_the_providers(
    providers: DemoProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = f"auth: entra, identity: {{tenant: t, client_id: c, client_secret_file: {tmp_path}/none}}"
    text = one(providers.base_url, key="").replace("auth: none", identity)
    assert await live(tmp_path, text) == 1
    shown = capsys.readouterr()
    line = shown.out.splitlines()[-1]
    assert line.split()[:2] == ["p", "auth"]
    assert line.endswith(
        "no credential from its `identity`: identity.client_secret_file cannot be read: No such file or directory"
    )
    assert (shown.err, len(providers.requests)) == ("", 0)
    assert await asyncio.to_thread(main, ["try", "m", "hi", "--config", str(tmp_path / "config.yaml")]) == 1
    shown = capsys.readouterr()
    assert "m at p could not be asked after" in shown.err
    assert "\np: no credential from its `identity`: identity.client_secret_file cannot be read" in shown.err


def test_where_a_credential_comes_from_is_named() -> None:
    text = (
        "providers: {vertex-gemini-global: {variables: {project: p}}, bedrock: {}, ollama: {},"
        " mine: {protocol: gemini, base_url: 'https://h', auth: gcp-oauth,"
        " identity: {credentials_file: /etc/sa.json}}}\n"
    )
    named = {name: credential_of(it) for name, it in loads(text, env={}).providers.items()}
    assert named == {
        "vertex-gemini-global": "Google's own order ($GOOGLE_APPLICATION_CREDENTIALS, gcloud, the metadata server)",
        "bedrock": "AWS's own chain of credentials",
        "ollama": "nothing: auth is none",
        "mine": "its `identity`",
    }


async def test_an_aws_chain_without_a_credential_is_told_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert await live(tmp_path, "providers: {bedrock: {}}\nmodels: {m: {provider: bedrock}}\n") == 1
    assert capsys.readouterr().out.splitlines()[-1].split(maxsplit=2)[1:] == [
        "auth",
        "no credential from AWS's own chain of credentials: nothing in the AWS chain has a credential",
    ]
