"""What was checked is what is dialled: by both engines, the webhook and the exporter of traces, over real sockets.
Only DNS is played: a zone says what each look-up answers, and the last answer stays."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from busbar.actors.request_log import Batch, Failed, Result, Sent
from busbar.actors.telemetry import RequestDone, TraceContext
from busbar.actors.traces import Parcel, Traced
from busbar.config.reach import Reach
from busbar.http.bodies import read_whole
from busbar.http.lean import AutoUpstream, LeanUpstream
from busbar.http.ports import Upstream, UpstreamBroken, UpstreamRequest
from busbar.http.upstream_aiohttp import AiohttpUpstream
from busbar.protocols.failures import FailureClass
from busbar.telemetry.otel import OtlpExport
from busbar.telemetry.webhook import Webhook
from tests.certificates import Certificates

METADATA, PUBLIC, LOOPBACK = "169.254.169.254", "8.8.8.8", "127.0.0.1"
HOST = "host.example"
ALLOWED = Reach([HOST])
TRACE = TraceContext(trace_id=0xABC, span_id=0x11, parent_id=0x10, flags=1, state="")
DONE = RequestDone(request_id="r", ingress="openai", pool="p", outcome="ok", status=200, latency_ms=5.0, trace=TRACE)
ENGINES: list[Callable[..., Upstream]] = [LeanUpstream, AiohttpUpstream, AutoUpstream]


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


class Zone:
    """What DNS answers for `HOST`, one list of addresses after another."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self.answers: list[list[str]] = []
        self.asked = 0
        self._real = real

    def __call__(self, host: str, port: int, *arguments: Any, **options: Any) -> list[Any]:
        if host != HOST:
            return self._real(host, port, *arguments, **options)  # type: ignore[no-any-return]
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [info for address in addresses for info in self._real(address, port, *arguments, **options)]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Zone:
    zone = Zone(socket.getaddrinfo)
    monkeypatch.setattr(socket, "getaddrinfo", zone)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return zone


class Place:
    """A server on loopback: notes the header Host of each request; answers `status`, with `location`."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.status, self.location = 200, ""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.hosts.append(request.headers["host"])
        await request.read()
        return web.Response(status=self.status, headers={"location": self.location} if self.location else {})

    @property
    def authority(self) -> str:
        return f"{HOST}:{self.server.port}"


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    await place.server.start_server()
    yield place
    await place.server.close()


async def send(upstream: Upstream, url: str) -> int:
    try:
        answer = await upstream.send(UpstreamRequest(url=url, headers={}, body=b"{}"))
        await read_whole(answer, 1000)
        return answer.status
    finally:
        await upstream.close()


# --- providers


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("scheme", "address"),
    [("https", METADATA), ("http", METADATA), ("http", PUBLIC), ("https", "0.0.0.0"), ("http", "::")],
)
async def test_a_provider_that_resolves_to_what_is_not_called_is_not_dialled(
    engine: Callable[..., Upstream], scheme: str, address: str, zone: Zone, caplog: pytest.LogCaptureFixture
) -> None:
    zone.answers = [[address]]
    with pytest.raises(UpstreamBroken) as broken:
        await send(engine(connect_timeout_secs=5, connections_max=2), f"{scheme}://{HOST}:1/")
    assert (broken.value.kind, str(broken.value)) == (FailureClass.NETWORK, "RefusedAddress")
    assert [record.name for record in caplog.records if HOST in record.getMessage()] == ["busbar.reach"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("host", ["2852039166", "0xA9FEA9FE", "[::ffff:169.254.169.254]"])
async def test_an_address_in_the_url_is_checked_by_every_engine(engine: Callable[..., Upstream], host: str) -> None:
    with pytest.raises(UpstreamBroken, match="RefusedAddress"):
        await send(engine(connect_timeout_secs=5, connections_max=2), f"http://{host}:1/")


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_second_look_up_cannot_lead_elsewhere(
    engine: Callable[..., Upstream], zone: Zone, place: Place
) -> None:
    zone.answers = [[METADATA, LOOPBACK], [METADATA]]
    upstream = engine(connect_timeout_secs=5, connections_max=2)
    assert await send(upstream, f"http://{place.authority}/") == 200
    assert (zone.asked, place.hosts) == (1, [place.authority])


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_redirect_is_an_answer_like_any(engine: Callable[..., Upstream], zone: Zone, place: Place) -> None:
    zone.answers = [[LOOPBACK]]
    place.status, place.location = 307, f"http://{METADATA}/latest"
    assert await send(engine(connect_timeout_secs=5, connections_max=2), f"http://{place.authority}/") == 307
    assert len(place.hosts) == 1


# --- the webhook


async def posted(url: str, reach: Reach) -> Result:
    webhook = Webhook(url, reach=reach)
    heard: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    webhook.submit(Batch("delivery-1", (b"{}",)), heard.set_result)
    result = await heard
    await webhook.close(1)
    return result


async def test_a_webhook_is_dialled_only_where_it_may_be(zone: Zone, place: Place) -> None:
    url = f"http://{place.authority}/"
    refused = Failed("RefusedAddress")
    zone.answers = [[LOOPBACK]]
    assert await posted(url, Reach(["10.0.0.0/8"])) == refused
    assert await posted(f"http://{LOOPBACK}:{place.server.port}/", Reach()) == refused
    assert place.hosts == []
    assert await posted(url, Reach(["127.0.0.0/8"])) == Sent()
    zone.answers, zone.asked = [[LOOPBACK], [METADATA]], 0
    assert await posted(url, ALLOWED) == Sent()
    assert (zone.asked, place.hosts) == (1, [place.authority] * 2)
    assert await posted(url, ALLOWED) == refused


# --- traces


async def exported(url: str, reach: Reach) -> bool:
    port = OtlpExport(url, {}, {"claude": ("m", "https://p.example"), "gpt": ("m", "https://p.example")}, 0.5, reach)
    taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    port.submit(Parcel((Traced(DONE),)), taken.set_result)
    result = await taken
    await asyncio.to_thread(port.close)
    return result


async def test_traces_go_only_where_they_may(zone: Zone, place: Place) -> None:
    url = f"http://{place.authority}/v1/traces"
    zone.answers = [[LOOPBACK]]
    assert not await exported(url, Reach(["10.0.0.0/8"]))
    assert not await exported(f"http://{LOOPBACK}:{place.server.port}/v1/traces", Reach())
    assert place.hosts == []
    zone.answers, zone.asked = [[METADATA, LOOPBACK], [METADATA]], 0
    assert await exported(url, ALLOWED)
    assert (zone.asked, place.hosts) == (1, [place.authority])


async def test_traces_follow_no_redirect(zone: Zone, place: Place) -> None:
    zone.answers = [[LOOPBACK]]
    place.status, place.location = 307, f"http://localhost:{place.server.port}/v1/traces"
    assert not await exported(f"http://{place.authority}/v1/traces", ALLOWED)
    assert set(place.hosts) == {place.authority}


async def test_traces_over_tls_know_the_receiver_by_its_name(
    zone: Zone, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the address is dialled, the certificate must be the name's."""
    zone.answers = [[LOOPBACK]]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    for name, expected in ((HOST, True), ("other.example", False)):
        place = Place()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.server(name))
        await place.server.start_server(ssl=context)
        assert await exported(f"https://{place.authority}/v1/traces", ALLOWED) is expected
        await place.server.close()


async def test_logins_of_the_home_directory_are_nobodys_business(
    zone: Zone, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    zone.answers = [[LOOPBACK]]
    headers: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        headers.append(request.headers.get("authorization"))
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", note)
    server = TestServer(app)
    await server.start_server()
    assert await exported(f"http://{HOST}:{server.port}/v1/traces", ALLOWED)
    assert await posted(f"http://{HOST}:{server.port}/", ALLOWED) == Sent()
    await server.close()
    assert headers == [None, None]


async def test_a_refusal_is_said_once_a_minute(zone: Zone, caplog: pytest.LogCaptureFixture) -> None:
    zone.answers = [[METADATA]]
    upstream = LeanUpstream(connect_timeout_secs=5, connections_max=2)
    with caplog.at_level(logging.WARNING, "busbar.reach"):
        for _ in range(3):
            with pytest.raises(UpstreamBroken):
                await upstream.send(UpstreamRequest(url=f"https://{HOST}/", headers={}, body=b""))
    await upstream.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"provider {HOST} is not called: {METADATA} is link-local or a metadata server, which is never called"
    ]
