"""The listener's TLS, by real handshakes: whom it lets in, what it says is wrong, and certificates that change while
connections are open."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from busbar.cli import main
from busbar.config import loads
from busbar.gateway import BusbarGateway
from busbar.http import tls as tls_module
from busbar.http.tls import TlsUnusable, server_context
from tests.certificates import Certificates

CONFIG = """
listen: "127.0.0.1:0"
providers: {{p: {{protocol: openai, auth: none, base_url: "http://127.0.0.1:1"}}}}
models: {{m: {{provider: p}}}}
tls: {{certificate: "{folder}/tls.pem", key: "{folder}/tls.key"{more}}}
{limits}
"""


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, certificates: Certificates) -> Path:
    """With `tls.pem` and `tls.key`, the listener's own."""
    install(tmp_path, certificates.server("localhost", "127.0.0.1"))
    return tmp_path


def install(folder: Path, pair: tuple[Path, Path]) -> None:
    for source, name in zip(pair, ("tls.pem", "tls.key"), strict=True):
        shutil.copy(source, folder / "new")
        (folder / "new").rename(folder / name)


def text(folder: Path, more: str = "", limits: str = "") -> str:
    return CONFIG.format(folder=folder, more=more and f", {more}", limits=limits)


@asynccontextmanager
async def gateway(folder: Path, more: str = "", limits: str = "") -> AsyncIterator[BusbarGateway]:
    async with BusbarGateway(loads(text(folder, more, limits), env={})) as running:
        yield running


def trusting(certificates: Certificates, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.authority))
    if client is not None:
        context.load_cert_chain(*client)
    return context


async def health(running: BusbarGateway, context: ssl.SSLContext) -> int:
    """The status of one request over a connection of its own. Raises what aiohttp raises."""
    async with aiohttp.ClientSession() as http, http.get(f"{running.url}/healthz", ssl=context) as answer:
        return answer.status


async def serial(running: BusbarGateway, context: ssl.SSLContext) -> object:
    """Of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection(running.host, running.port, ssl=context)
    try:
        return writer.get_extra_info("peercert")["serialNumber"]
    finally:
        writer.transport.abort()


async def test_the_gateway_speaks_https_with_the_configured_certificate(
    folder: Path, certificates: Certificates
) -> None:
    async with gateway(folder) as running:
        assert running.url == f"https://127.0.0.1:{running.port}"
        context = trusting(certificates)
        context.set_alpn_protocols(["h2", "http/1.1"])
        assert await health(running, context) == 200
        _, writer = await asyncio.open_connection(running.host, running.port, ssl=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.transport.abort()
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await health(running, ssl.create_default_context())


@pytest.mark.parametrize(
    ("mode", "shown", "allowed"),
    [
        ("required", "ours", True),
        ("required", "strangers", False),
        ("required", None, False),
        ("optional", "ours", True),
        ("optional", "strangers", False),
        ("optional", None, True),
    ],
)
async def test_client_certificates(
    mode: str, shown: str | None, allowed: bool, folder: Path, certificates: Certificates, tmp_path: Path
) -> None:
    (folder / "strangers").mkdir()
    clients = {"ours": certificates.client("me"), "strangers": Certificates(folder / "strangers").client("me")}
    more = f"client_ca: {certificates.authority}, client_certificates: {mode}"
    async with gateway(folder, more) as running:
        context = trusting(certificates, clients[shown] if shown else None)
        if allowed:
            assert await health(running, context) == 200
        else:
            with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
                await health(running, context)


@pytest.mark.parametrize(("minimum", "allowed"), [("1.2", True), ("1.3", False)])
async def test_the_lowest_version_is_kept(
    minimum: str, allowed: bool, folder: Path, certificates: Certificates
) -> None:
    async with gateway(folder, f"min_version: '{minimum}'") as running:
        context = trusting(certificates)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if allowed:
            assert await health(running, context) == 200
        else:
            with pytest.raises(aiohttp.ClientConnectorError):  # the handshake fails
                await health(running, context)
        assert await health(running, trusting(certificates)) == 200


async def test_a_new_certificate_is_taken_while_old_connections_go_on(
    folder: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls_module, "LOOK_SECS", 0.0)
    caplog.set_level(logging.INFO, "busbar.tls")
    context = trusting(certificates)
    async with gateway(folder) as running, aiohttp.ClientSession() as http:
        async with http.get(f"{running.url}/healthz", ssl=context) as answer:
            assert answer.status == 200
            before = await serial(running, context)
            chain, key = certificates.server("localhost", "127.0.0.1")
            shutil.copy(chain, folder / "tls.pem")  # half of it: the key is still the old one
            for _ in range(3):
                assert await serial(running, context) == before
            shutil.copy(key, folder / "tls.key")
            after = await serial(running, context)
        assert after != before
        async with http.get(f"{running.url}/healthz", ssl=context) as answer:  # over the kept connection
            assert answer.status == 200
        os.remove(folder / "tls.key")
        assert await serial(running, context) == after
    assert [record.getMessage() for record in caplog.records] == [
        f"tls.key: {folder}/tls.key is not the key of {folder}/tls.pem; the certificate from before is kept",
        "the certificate was read again",
        f"tls.key: {folder}/tls.key: No such file or directory; the certificate from before is kept",
    ]


async def test_files_are_looked_at_once_a_second(folder: Path, certificates: Certificates) -> None:
    context = server_context(loads(text(folder), env={}).tls)  # type: ignore[arg-type]
    install(folder, certificates.server("localhost"))
    current = context._current
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    assert context._current is current
    context._look_at = 0
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    assert context._current is not current


@pytest.mark.parametrize(
    "opening", [b"", b"\x16\x03\x01\x02\x00", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"]
)
async def test_a_handshake_that_never_ends_is_ended(opening: bytes, folder: Path, certificates: Certificates) -> None:
    async with gateway(folder, limits="limits: {header_timeout_secs: 0.2}") as running, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(running.host, running.port)
        writer.write(opening)
        await reader.read()
        writer.transport.abort()
        assert await health(running, trusting(certificates)) == 200


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")
def test_all_of_it_holds_on_uvloop(
    folder: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`busbar serve` runs on it, the other tests do not."""
    import uvloop

    monkeypatch.setattr(tls_module, "LOOK_SECS", 0.0)

    async def scenario() -> None:
        limits = "limits: {header_timeout_secs: 0.2, idle_timeout_secs: 0.2}"
        context = trusting(certificates)
        async with gateway(folder, limits=limits) as running, asyncio.timeout(10):
            before = await serial(running, context)
            install(folder, certificates.server("localhost", "127.0.0.1"))
            assert await serial(running, context) != before
            assert await health(running, context) == 200
            for tls in (None, context):  # a handshake that is never begun; a request that never is
                reader, writer = await asyncio.open_connection(running.host, running.port, ssl=tls)
                assert await reader.read() == b""
                writer.transport.abort()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# --- what is wrong with files


WRONG = {
    "nothing there": (
        lambda folder: (folder / "tls.pem").unlink(),
        "tls.certificate: FOLDER/tls.pem: No such file or directory",
    ),
    "no key there": (
        lambda folder: (folder / "tls.key").unlink(),
        "tls.key: FOLDER/tls.key: No such file or directory",
    ),
    "a folder": (
        lambda folder: [(folder / "tls.key").unlink(), (folder / "tls.key").mkdir()],
        "tls.key: FOLDER/tls.key: Is a directory",
    ),
    "no certificate": (
        lambda folder: (folder / "tls.pem").write_text("hello"),
        "tls.certificate: FOLDER/tls.pem holds no certificate in PEM",
    ),
    "no key": (
        lambda folder: shutil.copy(folder / "tls.pem", folder / "tls.key"),
        "tls.key: FOLDER/tls.key holds no private key in PEM",
    ),
    "half a certificate": (
        lambda folder: (folder / "tls.pem").write_bytes((folder / "tls.pem").read_bytes()[:300]),
        "tls.certificate: FOLDER/tls.pem and FOLDER/tls.key cannot be used",
    ),
}


@pytest.mark.parametrize("how", WRONG)
async def test_what_is_wrong_with_a_file_is_told_before_anybody_is_served(
    how: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it, message = WRONG[how]
    break_it(folder)
    message = message.replace("FOLDER", str(folder))
    with pytest.raises(TlsUnusable) as unusable:
        async with gateway(folder):
            pass
    assert str(unusable.value) == message
    (folder / "config.yaml").write_text(text(folder))
    assert await asyncio.to_thread(main, ["check", "--config", str(folder / "config.yaml")]) == 1
    assert capsys.readouterr().err == f"{message}\n"


async def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    plain = serialization.load_pem_private_key((folder / "tls.key").read_bytes(), None)
    locked = plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "tls.key").write_bytes(locked)
    with pytest.raises(TlsUnusable, match="wants a passphrase, and nobody is there to type it"):
        server_context(loads(text(folder), env={}).tls)  # type: ignore[arg-type]


async def test_authorities_that_cannot_be_read_let_nobody_in(folder: Path) -> None:
    (folder / "ca.pem").write_text("nothing")
    with pytest.raises(TlsUnusable, match=r"tls\.client_ca: .*ca\.pem holds no certificate in PEM"):
        async with gateway(folder, f"client_ca: {folder}/ca.pem, client_certificates: required"):
            pass


def test_check_says_nothing_of_files_that_are_good(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.yaml").write_text(text(folder))
    assert main(["check", "--config", str(folder / "config.yaml")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok: 1 providers, 1 models, 0 pools"


async def test_the_port_is_free_again_after_a_start_that_failed(folder: Path) -> None:
    (folder / "tls.key").unlink()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TlsUnusable):
        async with BusbarGateway(loads(text(folder).replace("127.0.0.1:0", f"127.0.0.1:{port}"), env={})):
            pass
    socket.create_server(("127.0.0.1", port)).close()
