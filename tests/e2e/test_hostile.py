"""What strangers may send to an open port, over real sockets and in all six dialects: every answer is native, nothing
hangs, no provider hears of it, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket

import pytest

from busbar.protocols.registry import PROTOCOLS

from .raw_http import question
from .strangers import SECRET, assert_native, assert_still_well, good, head, last_to, say
from .world import World

DIALECTS = sorted(PROTOCOLS)
QUICK = "limits: {header_timeout_secs: 1, body_timeout_secs: 1, idle_timeout_secs: 1, write_timeout_secs: 0.5}"


MALFORMED: dict[str, tuple[bytes, ...]] = {
    "both lengths": (b"content-length: 5", b"transfer-encoding: chunked"),
    "both lengths, the other way round": (b"transfer-encoding: chunked", b"content-length: 5"),
    "two lengths": (b"content-length: 5", b"content-length: 6"),
    "two equal lengths": (b"content-length: 5", b"content-length: 5"),
    "a list of lengths": (b"content-length: 5, 5",),
    "a negative length": (b"content-length: -1",),
    "a signed length": (b"content-length: +5",),
    "a hexadecimal length": (b"content-length: 0x5",),
    "an endless length": (b"content-length: 99999999999999999999999999",),
    "no length": (b"content-length: five",),
    "chunks in something else": (b"transfer-encoding: chunked, gzip",),
    "something else in chunks": (b"transfer-encoding: gzip, chunked",),
    "chunks twice": (b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
    "chunks by another name": (b"transfer-encoding: xchunked",),
    "a folded header": (b"x-a: b", b" c: d", b"content-length: 0"),
    "a bare line feed": (b"x-a: b\nx-b: c", b"content-length: 0"),
    "a bare carriage return": (b"x-a: b\rx-b: c", b"content-length: 0"),
    "a space before the colon": (b"content-length : 5",),
    "a header without a name": (b": x",),
    "a header without a colon": (b"nonsense",),
    "a NUL in a header": (b"x-a: b\0c", b"content-length: 0"),
    "a control character in a name": (b"x-\x01a: b",),
    "two hosts": (b"host: elsewhere.example", b"content-length: 0"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_is_no_http_is_refused_natively_and_ends_the_connection(dialect: str) -> None:
    """One world for all of them: what one leaves behind, the next would meet. What follows the head must never be
    read as a request of its own (request smuggling)."""
    async with World() as world:
        for name, fields in MALFORMED.items():
            heard = await say(world, head(dialect, *fields) + b"0\r\n\r\n" + good(dialect))
            assert [(answer.status, answer.closed) for answer in heard] == [(400, True)], name
            assert SECRET not in heard[0].body, name
            assert_native(dialect, heard[0])
        await assert_still_well(world)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_head_that_is_too_large_is_a_native_431(dialect: str) -> None:
    heads = {
        "a long field": (b"x-a: " + b"a" * 40_000,),
        "a long name": (b"x" * 40_000 + b": a",),
        "many fields": tuple(b"x-%d: a" % number for number in range(120)),
        "much in all": tuple(b"x-%d: " % number + b"a" * 8000 for number in range(9)),
    }
    async with World() as world:
        for name, fields in heads.items():
            (heard,) = await say(world, head(dialect, *fields, b"content-length: 0"))
            assert (heard.status, heard.closed, SECRET in heard.body) == (431, True, False), name
            assert_native(dialect, heard)
        await assert_still_well(world)
    async with World(config="limits: {headers_max_bytes: 2048}") as world:
        (heard,) = await say(world, head(dialect, b"x-a: " + b"a" * 3000, b"content-length: 0"))
        assert heard.status == 431
        (heard,) = await say(world, head(dialect, b"x-a: " + b"a" * 1000, b"connection: close", b"content-length: 0"))
        assert heard.status == 400, "there is no body"


async def test_a_head_without_an_end_is_cut_off() -> None:
    async with World() as world, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n")
        answer = b""
        try:
            for number in range(100_000):
                writer.write(b"x-%d: %s\r\n" % (number, b"a" * 1000))
                await writer.drain()
            answer = await reader.read()
        except ConnectionError:
            pass
        writer.transport.abort()
        assert answer[:12] in (b"", b"HTTP/1.1 431")
        await assert_still_well(world)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_encoded_bodies_are_refused_and_not_opened(dialect: str) -> None:
    _, body = question(dialect, "gpt", 3, stream=False)
    bomb = gzip.compress(b"[" * (32 << 20), 9)
    async with World() as world:
        for encoding, data in ((b"gzip", gzip.compress(body)), (b"gzip", bomb), (b"br", body), (b"gzip, gzip", body)):
            fields = (b"content-encoding: " + encoding, b"content-length: %d" % len(data))
            (heard,) = await say(world, head(dialect, *fields), data)
            assert (heard.status, heard.headers["accept-encoding"]) == (415, "identity")
            assert "send it as it is" in assert_native(dialect, heard)
        await assert_still_well(world)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_broken_chunks_are_a_native_error(dialect: str) -> None:
    chunked = head(dialect, b"transfer-encoding: chunked")
    async with World(config=QUICK) as world:
        for body in (
            b"5\r\nhello!!\r\n0\r\n\r\n",
            b"xyz\r\nhello\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\n0\n\n",
            b"FFFFFFFFFFFFFFFFFF\r\nhello",
            b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
        ):
            (heard,) = await say(world, chunked, body)
            assert (heard.status, heard.closed) in ((400, True), (408, True)), body[:20]
            assert_native(dialect, heard)
        await assert_still_well(world)


@pytest.mark.parametrize(
    "request_line",
    [
        *(b"PRI * HTTP/2.0", b"CONNECT evil.example:443 HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        *(b"GET http://evil.example/healthz HTTP/1.1", b"POST http://evil.example/v1/messages HTTP/1.1"),
        *(b"GET ../../etc/passwd HTTP/1.1", b"GET  /healthz HTTP/1.1", b"GET /healthz", b"GET /hea\0lthz HTTP/1.1"),
        *(
            b"GET /healthz HTTP/9.9",
            b"GET /healthz HTTP/1.1 x",
            b"get /healthz HTTP/1.1",
            b"\x16\x03\x01\x02\x00\x01\x00",
        ),
        *(b"G\xc3\x8bT /healthz HTTP/1.1", b"EVIL /healthz HTTP/1.1", b"GET /" + b"a" * 40_000 + b" HTTP/1.1"),
    ],
)
async def test_a_request_line_that_leads_nowhere_is_refused(request_line: bytes) -> None:
    async with World(config=QUICK) as world:
        heard = await say(world, request_line + b"\r\nhost: localhost\r\n\r\n" + b"SM\r\n\r\n" + good("openai"))
        assert [answer.status // 100 for answer in heard] == [4]
        assert heard[0].closed
        assert_native("openai", heard[0])
        await assert_still_well(world)


PATHS = [
    *(
        "/v1/../admin/keys",
        "/v1/%2e%2e/admin/keys",
        "/ui/../admin/keys",
        "/ui/..%2fapp.py",
        "/ui/%2e%2e%2f%2e%2e%2fetc/passwd",
    ),
    *(
        "/ui/....//",
        "/ui/..\\..\\x",
        "/ui//etc/passwd",
        "//stats",
        "/stats/",
        "/./stats",
        "/STATS",
        "/stats%2frequests",
    ),
    *(
        "/stats%00",
        "/stats;x",
        "/stats/requests/../..",
        "/stats/requests/%00",
        "/model/%2e%2e%2fadmin/converse",
        "/%",
    ),
    *("/%zz/v1/messages", "/\xff", "/admin", "/admin/", "/admin/members//reinstate"),
]


@pytest.mark.parametrize("path", PATHS)
async def test_no_way_around_through_the_path(path: str) -> None:
    async with World() as world:
        for method in (b"GET", b"POST"):
            line = (
                method
                + b" "
                + path.encode("latin-1")
                + b" HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}"
            )
            (heard, *_) = await say(world, line.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
            assert heard.status in (400, 404, 405)
            if not path.startswith("/ui"):
                assert heard.json()
        await assert_still_well(world)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_odd_names_and_queries_are_native_errors(dialect: str) -> None:
    path, body = question(dialect, "NAME", 3, stream=False)
    async with World() as world:
        for name in ("%00", "%0d%0aset-cookie%3a%20x", "a" * 9000, "%ff%fe", "..%2f..%2fadmin"):
            if "NAME" in path:
                asked, sent = path.replace("NAME", name), body
            else:
                asked, sent = path, body.replace(b"NAME", name.replace("%", "\\\\u00").encode())
            (heard,) = await say(world, last_to(asked, sent))
            assert heard.status == 404
            assert "set-cookie" not in heard.headers
            assert len(assert_native(dialect, heard)) < 400
        query = "&".join(f"k{number}={'v' * 20}" for number in range(1000))
        path, body = question(dialect, "gpt", 3, stream=False)
        (heard,) = await say(world, last_to(f"{path}?{query}", body))
        assert heard.status == 200


# --- floods and snails


async def test_a_flood_of_pipelined_requests_is_answered_in_order_and_held_back() -> None:
    count = 500
    asked = b"".join(b"GET /healthz?%d HTTP/1.1\r\nhost: localhost\r\n\r\n" % number for number in range(count))
    async with World() as world:
        last = b"GET /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        heard = await say(world, asked + last)
        assert [answer.status for answer in heard] == [200] * count + [404]
        await assert_still_well(world)


async def test_connections_over_the_bound_are_closed_at_once() -> None:
    async with World(config="limits: {connections_max: 3}") as world, asyncio.timeout(5):
        held = [await asyncio.open_connection(world.gateway.host, world.gateway.port) for _ in range(3)]
        assert await say(world, good("openai")) == []
        for _, writer in held:
            writer.transport.abort()
        while not (
            heard := await say(world, good("openai").replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
        ):
            pass
        assert heard[0].status == 200


async def test_a_kept_connection_on_which_nothing_is_asked_is_closed() -> None:
    async with World(config="limits: {idle_timeout_secs: 0.1}") as world:
        heard = await say(world, good("openai"))
        assert [(answer.status, answer.closed) for answer in heard] == [(200, True)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_that_reads_nothing_loses_its_provider(dialect: str, stream: bool) -> None:
    """The embedded provider answers with as many words as it is asked: megabytes, which no socket's buffers hold."""
    limits = "limits: {write_timeout_secs: 0.3, body_max_bytes: 67108864, answer_max_bytes: 268435456}"
    async with World(config=limits) as world, asyncio.timeout(20):
        words = 60_000 if stream else 1_000_000  # an event each, or eight bytes
        path, body = question(dialect, "gpt", words, stream=stream, max_tokens=2_000_000)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, (world.gateway.host, world.gateway.port))
            text = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
            await loop.sock_sendall(deaf, text.encode() + body)
            await world.providers.until(lambda: len(world.providers.requests) == 1)
            front = world.gateway._front
            assert front is not None
            began = loop.time()
            while front.connections:
                await asyncio.sleep(0.01)
            assert loop.time() - began > 0.2, "it was given its time"
            await world.providers.until(lambda: world.providers.open_requests == 0)
            assert world.providers.cancelled == (1 if stream else 0)
            while any(member["inflight"] for member in (await world.stats())["members"]):
                await asyncio.sleep(0.01)
        assert {member["err"] for member in (await world.stats())["members"]} == {0}


async def test_a_control_page_that_fails_says_nothing_of_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from busbar.http import traces

    def fail(_: object) -> None:
        raise RuntimeError(SECRET.decode())

    monkeypatch.setattr(traces, "recent", fail)
    async with World() as world, world.http.get("/stats/requests") as answer:
        body = await answer.read()
        assert (answer.status, SECRET in body) == (500, False)
        assert re.search(rb'"message": ?"An internal error occurred\."', body)
