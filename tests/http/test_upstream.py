"""The way to providers, over real sockets: reuse of connections, broken ones, cancellation."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from busbar.http.bodies import read_whole
from busbar.http.ports import AnswerTooLarge, UpstreamBroken, UpstreamRequest
from busbar.http.upstream_aiohttp import AiohttpUpstream
from busbar.protocols.failures import FailureClass

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


@asynccontextmanager
async def provider(script: Script) -> AsyncIterator[str]:
    """A server that runs `script` for each connection; gives its URL."""
    made = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        try:
            await script(reader, writer, made)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/"


@asynccontextmanager
async def upstream() -> AsyncIterator[AiohttpUpstream]:
    way = AiohttpUpstream(connect_timeout_secs=1, connections_max=10)
    try:
        yield way
    finally:
        await way.close()


async def whole(way: AiohttpUpstream, url: str, limit: int = 1000) -> bytes:
    answer = await way.send(UpstreamRequest(url, {}, b"x"))
    try:
        return await read_whole(answer, limit)
    finally:
        answer.close()


async def read_request(reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(1)


async def test_a_connection_is_used_again() -> None:
    seen: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            await read_request(reader)
            seen.append(number)
            writer.write(OK)

    async with provider(script) as url, upstream() as way:
        for _ in range(3):
            assert await whole(way, url) == b"ok"
        assert seen == [1, 1, 1]


async def test_a_connection_that_was_closed_while_idle_costs_nobody_a_failure() -> None:
    seen: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        seen.append(number)
        writer.write(OK)
        if number == 1:
            await read_request(reader)  # the second request arrives, and is not answered

    async with provider(script) as url, upstream() as way:
        assert await whole(way, url) == b"ok"
        assert await whole(way, url) == b"ok"
        assert seen == [1, 2]


async def test_a_new_connection_that_is_closed_without_an_answer_is_a_failure_at_once() -> None:
    seen: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        seen.append(number)

    async with provider(script) as url, upstream() as way:
        with pytest.raises(UpstreamBroken) as broken:
            await whole(way, url)
        assert (broken.value.kind, seen) == (FailureClass.NETWORK, [1])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense",
        b"HTTP/1.1 200 OK\r\nbroken",
        b"nonsense\r\n\r\n",
    ],
)
async def test_half_an_answer_is_broken(answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(answer)

    async with provider(script) as url, upstream() as way:
        with pytest.raises(UpstreamBroken) as broken:
            await whole(way, url)
        assert broken.value.kind is FailureClass.NETWORK


async def test_an_answer_is_read_no_further_than_its_bound() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000)
        await reader.read()

    async with provider(script) as url, upstream() as way:
        with pytest.raises(AnswerTooLarge):
            await whole(way, url)


async def test_redirects_are_not_followed() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with provider(script) as url, upstream() as way:
        answer = await way.send(UpstreamRequest(url, {}, b"x"))
        assert answer.status == 307
        answer.close()


async def test_an_answer_that_is_closed_early_closes_its_connection() -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        assert await reader.read() == b""
        gone.set()

    async with provider(script) as url, upstream() as way:
        answer = await way.send(UpstreamRequest(url, {}, b"x"))
        answer.close()
        async with asyncio.timeout(1):
            await gone.wait()


async def test_compressed_answers_are_opened() -> None:
    packed = gzip.compress(b"unpacked")

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed
        )
        await reader.read()

    async with provider(script) as url, upstream() as way:
        assert await whole(way, url) == b"unpacked"


async def test_the_environments_proxy_is_used_and_its_exceptions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        seen.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1)
        writer.write(OK)

    async with provider(script) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "127.0.0.1,internal.example")
        async with upstream() as way:
            assert await whole(way, "http://provider.example/v1") == b"ok"
            assert await whole(way, proxy) == b"ok"
    assert seen == [b"POST http://provider.example/v1 HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n"]


async def test_a_netrc_file_is_nobodys_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(1)
        writer.write(OK)

    async with provider(script) as url, upstream() as way:
        answer = await way.send(UpstreamRequest(url, {"authorization": "Bearer ours"}, b"x"))
        answer.close()
        await whole(way, url)
    assert b"authorization: bearer ours" in heads[0].lower()
    assert b"authorization" not in heads[1].lower()
