"""The way to providers, over real sockets: reuse of connections, broken ones, cancellation."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, ItemsView
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from busbar.http.bodies import read_whole
from busbar.http.lean import AutoUpstream
from busbar.http.ports import AnswerTooLarge, Upstream, UpstreamBroken, UpstreamRequest
from busbar.http.upstream_aiohttp import AiohttpUpstream
from busbar.protocols.failures import FailureClass

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
Open = Callable[..., AbstractAsyncContextManager[Upstream]]


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


@pytest.fixture(params=[AiohttpUpstream, AutoUpstream], ids=["aiohttp", "lean"])
def upstream(request: pytest.FixtureRequest) -> Open:
    """Both ways to providers; `AutoUpstream` is the lean one wherever there is no proxy."""

    @asynccontextmanager
    async def opened(connections_max: int = 10) -> AsyncIterator[Upstream]:
        way = request.param(connect_timeout_secs=1, connections_max=connections_max)
        try:
            yield way
        finally:
            await way.close()

    return opened


async def whole(way: Upstream, url: str, limit: int = 1000) -> bytes:
    answer = await way.send(UpstreamRequest(url, {}, b"x"))
    try:
        return await read_whole(answer, limit)
    finally:
        answer.close()


async def read_request(reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(1)


async def test_a_connection_is_used_again(upstream: Open) -> None:
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


async def test_a_connection_that_was_closed_while_idle_costs_nobody_a_failure(upstream: Open) -> None:
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


async def test_a_new_connection_that_is_closed_without_an_answer_is_a_failure_at_once(upstream: Open) -> None:
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
async def test_half_an_answer_is_broken(upstream: Open, answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(answer)

    async with provider(script) as url, upstream() as way:
        with pytest.raises(UpstreamBroken) as broken:
            await whole(way, url)
        assert broken.value.kind is FailureClass.NETWORK


async def test_an_answer_is_read_no_further_than_its_bound(upstream: Open) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000)
        await reader.read()

    async with provider(script) as url, upstream() as way:
        with pytest.raises(AnswerTooLarge):
            await whole(way, url)


async def test_redirects_are_not_followed(upstream: Open) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with provider(script) as url, upstream() as way:
        answer = await way.send(UpstreamRequest(url, {}, b"x"))
        assert answer.status == 307
        answer.close()


async def test_an_answer_that_is_closed_early_closes_its_connection(upstream: Open) -> None:
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


async def test_compressed_answers_are_opened(upstream: Open) -> None:
    packed = gzip.compress(b"unpacked")

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed
        )
        await reader.read()

    async with provider(script) as url, upstream() as way:
        assert await whole(way, url) == b"unpacked"


async def test_the_environments_proxy_is_used_and_its_exceptions_are_kept(
    upstream: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def test_a_netrc_file_is_nobodys_business(
    upstream: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def read_after_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    await read_request(reader)
    writer.write(answer)
    await reader.read()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: </x>\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nx-sum: 1\r\n\r\n", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["informational", "chunked", "empty"],
)
async def test_answers_are_framed_by_their_headers(upstream: Open, answer: bytes, body: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_after_request(reader, writer, answer)

    async with provider(script) as url, upstream() as way:
        assert await whole(way, url) == body


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_answer_without_framing_ends_with_its_connection(upstream: Open, version: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/%b 200 OK\r\nX-A: b\r\n\r\nall" % version)

    async with provider(script) as url, upstream() as way:
        answer = await way.send(UpstreamRequest(url, {}, b"x"))
        assert (answer.status, answer.headers, await read_whole(answer, 10)) == (200, {"x-a": "b"}, b"all")
        answer.close()


@pytest.mark.parametrize(
    "answer",
    [OK + OK, b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"],
    ids=["bytes-after-it", "said-close"],
)
async def test_a_connection_that_cannot_be_trusted_with_another_request_is_not(upstream: Open, answer: bytes) -> None:
    seen: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        seen.append(number)
        await read_after_request(reader, writer, answer)

    async with provider(script) as url, upstream() as way:
        assert [await whole(way, url) for _ in range(2)] == [b"ok", b"ok"]
        assert seen == [1, 2]


async def test_what_the_sink_raises_reaches_whoever_streams(upstream: Open) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        await writer.drain()
        await streaming.wait()
        writer.write(b"o")
        await reader.read()

    def sink(_: bytes) -> None:
        raise ZeroDivisionError

    streaming = asyncio.Event()
    async with provider(script) as url, upstream() as way:
        answer = await way.send(UpstreamRequest(url, {}, b"x"))
        stream = asyncio.ensure_future(answer.stream(sink))
        await asyncio.sleep(0)
        streaming.set()
        with pytest.raises(ZeroDivisionError):
            await stream
        answer.close()


async def test_a_cancelled_request_closes_its_connection(upstream: Open) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        arrived.set()
        assert await reader.read() == b""
        gone.set()

    async with provider(script) as url, upstream() as way:
        sending = asyncio.ensure_future(way.send(UpstreamRequest(url, {}, b"x")))
        await arrived.wait()
        sending.cancel()
        async with asyncio.timeout(1):
            await gone.wait()
        assert sending.cancelled()


async def test_a_slow_sink_slows_the_provider_down(upstream: Open) -> None:
    chunk, chunks = b"x" * 65536, 512
    written = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(chunk) * chunks))
        for _ in range(chunks):
            writer.write(chunk)
            await writer.drain()
            written += 1
        await reader.read()

    taken = 0
    first, go_on = asyncio.Event(), asyncio.Event()

    def sink(data: bytes) -> Awaitable[None] | None:
        nonlocal taken
        taken += len(data)
        return None if go_on.is_set() else hold()

    async def hold() -> None:
        first.set()
        await go_on.wait()

    async with provider(script) as url, upstream() as way:
        answer = await way.send(UpstreamRequest(url, {}, b"x"))
        stream = asyncio.ensure_future(answer.stream(sink))
        await first.wait()
        before = -1
        while written != before:
            before = written
            for _ in range(50):
                await asyncio.sleep(0)
        assert written < chunks * 3 / 4  # the rest waits in the provider: the kernel's buffers hold less than this
        go_on.set()
        await stream
        assert taken == len(chunk) * chunks
        answer.close()


async def test_requests_over_the_limit_wait_for_a_connection(upstream: Open) -> None:
    seen: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            await read_request(reader)
            seen.append(number)
            writer.write(OK)

    async with provider(script) as url, upstream(1) as way:
        assert await asyncio.gather(*(whole(way, url) for _ in range(4))) == [b"ok"] * 4
        assert seen == [1, 1, 1, 1]


async def test_a_header_with_a_line_break_is_refused(upstream: Open) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await reader.read()

    async with provider(script) as url, upstream() as way:
        with pytest.raises(ValueError):
            await way.send(UpstreamRequest(url, {"x-key": "a\r\nx-evil: b"}, b"x"))


async def test_what_is_kept_of_a_request_is_right_for_another_body(upstream: Open) -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            seen.append(head + await reader.readexactly(length))
            writer.write(OK)

    async with provider(script) as url, upstream() as way:
        kept: dict[str, object] = {}
        for body in (b"one", b"another one", b""):
            answer = await way.send(UpstreamRequest(url, {"x-key": "k"}, body, kept=kept))
            assert await read_whole(answer, 10) == b"ok"
            answer.close()
        bare = [request.partition(b"\r\n\r\n") for request in seen]
        assert [body for _, _, body in bare] == [b"one", b"another one", b""]
        assert len({head.lower().partition(b"content-length")[0] for head, _, _ in bare}) == 1
        assert all(b"x-key: k\r\n" in head.lower() for head, _, _ in bare)


class ReadOnce(dict[str, str]):
    """Headers that may be looked at once."""

    looks = 0

    def items(self) -> ItemsView[str, str]:
        self.looks += 1
        assert self.looks == 1, "they were kept"
        return super().items()


async def test_the_lean_way_looks_once_at_headers_that_are_always_the_same() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    async with provider(script) as url:
        way = AutoUpstream(connect_timeout_secs=1, connections_max=1)
        headers, kept = ReadOnce({"x-key": "k"}), dict[str, object]()
        for _ in range(3):
            assert (await way.send(UpstreamRequest(url, headers, b"x", kept=kept))).status == 200
        await way.close()


async def test_of_a_request_that_is_refused_nothing_is_kept(upstream: Open) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await reader.read()

    async with provider(script) as url, upstream() as way:
        kept: dict[str, object] = {}
        for _ in range(2):
            with pytest.raises(ValueError):
                await way.send(UpstreamRequest(url, {"x-key": "a\nb"}, b"x", kept=kept))


@pytest.mark.parametrize(
    "framing", ["content-length: 6\r\n\r\nanswer", "transfer-encoding: chunked\r\n\r\n6\r\nanswer\r\n0\r\n\r\n"]
)
async def test_an_answer_that_came_in_one_piece_is_bounded_like_any(upstream: Open, framing: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            await read_request(reader)
            writer.write(f"HTTP/1.1 200 OK\r\n{framing}".encode())

    async with provider(script) as url, upstream() as way:
        assert await whole(way, url, 6) == b"answer"
        with pytest.raises(AnswerTooLarge):
            await whole(way, url, 5)
        assert await whole(way, url, 6) == b"answer"


async def test_a_provider_that_nobody_listens_for_is_a_network_failure(upstream: Open) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None: ...

    async with provider(script) as url:
        pass
    async with upstream() as way:
        with pytest.raises(UpstreamBroken) as broken:
            await whole(way, url)
        assert broken.value.kind is FailureClass.NETWORK
