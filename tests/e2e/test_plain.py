"""Plain requests and others on one connection, over real sockets: whoever reads them, a caller sees no difference."""

from __future__ import annotations

import asyncio
import json

import pytest

from .test_wire import ASK, answer, connected, request
from .world import KEY, World

KEYED = 'auth: {mode: token, client_tokens: ["${CALLER_KEY}"]}'
QUICK = "limits: {header_timeout_secs: 1, body_timeout_secs: 1, idle_timeout_secs: 1}"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_wherever_a_request_is_cut_into_pieces_it_gets_its_answer(stream: bool) -> None:
    whole = request(stream=stream)
    async with World() as world, connected(world) as (reader, writer):
        for cut in range(1, len(whole), 7):
            writer.write(whole[:cut])
            await asyncio.sleep(0)
            writer.write(whole[cut:])
            line, _, body = await answer(reader)
            assert (line, b"You said" in body or b"said" in body) == (b"HTTP/1.1 200 OK", True), cut
    async with World() as world, connected(world) as (reader, writer):
        for byte in whole:
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await answer(reader))[0] == b"HTTP/1.1 200 OK"


async def test_heads_that_differ_in_their_lengths_only_carry_bodies_of_their_own() -> None:
    async with World() as world, connected(world) as (reader, writer):
        for words in (1, 40, 3, 400, 1):
            text = " ".join(["word"] * words)
            writer.write(request(messages=[{"role": "user", "content": text}]))
            _, _, body = await answer(reader)
            assert text in json.loads(body)["choices"][0]["message"]["content"]


async def test_a_key_counts_for_the_head_that_it_stands_in() -> None:
    async with World(config=KEYED, env={"CALLER_KEY": "right"}) as world, connected(world) as (reader, writer):
        for key, status in (("right", 200), ("wrong", 401), ("right", 200), ("right", 200), ("wrong", 401)):
            writer.write(request("1.1", f"authorization: Bearer {key}"))
            assert int((await answer(reader))[0].split()[1]) == status, key


async def test_requests_of_both_kinds_take_turns_on_a_connection() -> None:
    """Once one is not plain, aiohttp reads the others, too."""
    body = json.dumps(ASK).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    health = b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n"
    async with World() as world:
        for pieces in ([request(), health, request(), chunked, request()], [health, request(), health]):
            async with connected(world) as (reader, writer):
                for piece in pieces:
                    writer.write(piece)
                    assert (await answer(reader))[0] == b"HTTP/1.1 200 OK"
            async with connected(world) as (reader, writer):
                writer.write(b"".join(pieces))
                for piece in pieces:
                    _, _, body = await answer(reader)
                    assert (b"chat.completion" in body) == (piece != health)


async def test_what_follows_a_body_that_is_refused_is_not_read_as_a_request() -> None:
    smuggled = request("1.1", "authorization: Bearer right")
    head, _, _ = request("1.1", "authorization: Bearer wrong").partition(b"{")
    async with World(config=KEYED, env={"CALLER_KEY": "right"}) as world, connected(world) as (reader, writer):
        writer.write(head.replace(b"content-length: ", b"content-length: 9"))
        line, headers, _ = await answer(reader)
        assert (line[9:12], headers["connection"]) == (b"401", "close")
        writer.write(smuggled)
        assert await reader.read() == b""
        assert not world.providers.requests


async def test_a_body_that_is_short_of_its_length_is_not_waited_for_longer_than_configured() -> None:
    async with World(config=QUICK) as world, connected(world) as (reader, writer):
        writer.write(request()[:-5])
        async with asyncio.timeout(4):
            line, headers, _ = await answer(reader)
            assert (line[9:12], headers["connection"]) == (b"408", "close")
            assert await reader.read() == b""


async def test_a_connection_on_which_nothing_is_asked_any_more_is_closed() -> None:
    async with World(config=QUICK) as world, connected(world) as (reader, writer):
        for _ in range(2):
            writer.write(request())
            await answer(reader)
        async with asyncio.timeout(4):
            assert await reader.read() == b""


async def test_half_a_head_is_waited_for_no_longer_than_configured() -> None:
    async with World(config=QUICK) as world, connected(world) as (reader, writer):
        writer.write(request())
        await answer(reader)
        writer.write(request()[:40])
        async with asyncio.timeout(4):
            assert await reader.read() == b""


async def test_what_is_pipelined_has_a_bound() -> None:
    """A caller that sends on and on while its first answer is made is slowed down, and gets all its answers."""
    async with World({"gpt": "openai:fault-slow"}) as world, connected(world) as (reader, writer):
        writer.write(request(messages=[{"role": "user", "content": "word " * 2000}]) * 40)
        for _ in range(40):
            await world.providers.until(lambda: world.providers.open_requests == 1)
            world.providers.release()
            assert (await answer(reader))[0] == b"HTTP/1.1 200 OK"
        assert len(world.providers.requests) == 40


async def test_a_drain_waits_for_a_large_answer_that_is_read_slowly() -> None:
    text = "word " * 2_000_000
    async with World() as world:
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port, limit=1024)
        writer.write(request(messages=[{"role": "user", "content": text}]))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        stopping = asyncio.ensure_future(world.gateway.stop())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not stopping.done()
        body = await reader.readexactly(length)
        await stopping
        assert json.loads(body)["choices"][0]["message"]["content"].count("word") == 2_000_000
        writer.close()


async def test_the_callers_key_reaches_nobody() -> None:
    async with World(config=KEYED, env={"CALLER_KEY": "right"}) as world, connected(world) as (reader, writer):
        for _ in range(2):
            writer.write(request("1.1", "authorization: Bearer right"))
            await answer(reader)
        sent = [seen.headers["authorization"] for seen in world.providers.requests]
        assert sent == [f"Bearer {KEY}"] * 2
