"""TLS to providers: verified, named, resumed. The authority and its certificate are made for the test."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from busbar.http.bodies import read_whole
from busbar.http.lean import LeanUpstream
from busbar.http.lean.dial import SessionContext, client_context
from busbar.http.ports import UpstreamBroken, UpstreamRequest
from busbar.protocols.failures import FailureClass

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

CA = ("-subj", "/CN=Test authority", "-addext", "basicConstraints=critical,CA:TRUE")
LEAF = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ca.pem`, `leaf.pem` and `leaf.key`."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key")
    for arguments in (
        (*new, "-keyout", "ca.key", "-out", "ca.pem", *CA),
        (*new, "-keyout", "leaf.key", "-out", "leaf.pem", *LEAF, *signed),
    ):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


class Provider:
    """Answers each request on a connection; notes the names that were asked for, and which sessions were resumed."""

    def __init__(self, certificates: Path) -> None:
        self.names: list[str | None] = []
        self.resumed: list[bool] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates / "leaf.pem", certificates / "leaf.key")
        self._context.sni_callback = lambda _socket, name, _context: self.names.append(name)

    async def __aenter__(self) -> Provider:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.resumed.append(writer.get_extra_info("ssl_object").session_reused)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(1)
            writer.write(OK)
            await writer.drain()
        finally:
            writer.close()


def trusting(certificates: Path) -> SessionContext:
    context = client_context()
    context.load_verify_locations(certificates / "ca.pem")
    return context


def lean(context: SessionContext | None) -> LeanUpstream:
    return LeanUpstream(connect_timeout_secs=5, connections_max=2, context=context)


async def body_of(way: LeanUpstream, url: str) -> bytes:
    answer = await way.send(UpstreamRequest(url, {}, b"x"))
    body = await read_whole(answer, 100)
    answer.close()
    return body


async def test_a_trusted_provider_is_reached_by_its_name_and_its_session_is_resumed(certificates: Path) -> None:
    async with Provider(certificates) as provider:
        way = lean(trusting(certificates))
        url = f"https://localhost:{provider.port}/v1"
        assert [await body_of(way, url) for _ in range(3)] == [b"ok"] * 3
        await way.close()
    assert provider.names == ["localhost"] * 3
    assert provider.resumed == [False, True, True]


async def test_a_provider_whose_authority_is_unknown_is_a_network_failure(certificates: Path) -> None:
    async with Provider(certificates) as provider:
        way = lean(None)
        with pytest.raises(UpstreamBroken) as broken:
            await body_of(way, f"https://localhost:{provider.port}/")
        await way.close()
    assert (broken.value.kind, str(broken.value)) == (FailureClass.NETWORK, "SSLCertVerificationError")


async def test_a_provider_with_another_name_is_a_network_failure(certificates: Path) -> None:
    async with Provider(certificates) as provider:
        way = lean(trusting(certificates))
        with pytest.raises(UpstreamBroken) as broken:
            await body_of(way, f"https://127.0.0.1:{provider.port}/")
        await way.close()
    assert (broken.value.kind, str(broken.value)) == (FailureClass.NETWORK, "SSLCertVerificationError")


async def test_a_handshake_that_never_ends_is_a_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        way = LeanUpstream(connect_timeout_secs=0.05, connections_max=1)
        with pytest.raises(UpstreamBroken) as broken:
            await body_of(way, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await way.close()
    assert broken.value.kind is FailureClass.TIMEOUT
