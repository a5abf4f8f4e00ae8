"""Answers on the wire, byte by byte: framing, keep-alive, pipelining, old clients, slow ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from .world import World

ASK = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}


@asynccontextmanager
async def connected(world: World) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(version: str = "1.1", *headers: str, method: str = "POST", path: str = "", **more: object) -> bytes:
    body = json.dumps({**ASK, **more}).encode()
    path = path or "/v1/chat/completions"
    lines = [f"{method} {path} HTTP/{version}", "host: here", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, str], bytes]:
    """(status line, headers, body), read as their framing says and no further."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-2])}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        assert await reader.readexactly(2) == b"\r\n"
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return head[0].encode(), headers, body


async def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order() -> None:
    async with World() as world, connected(world) as (reader, writer):
        for _ in range(2):
            writer.write(request() + request(stream=True) + request(model="nobody"))
            whole, streamed, refused = [await answer(reader) for _ in range(3)]
            assert (whole[0], streamed[0], refused[0][:12]) == (
                b"HTTP/1.1 200 OK",
                b"HTTP/1.1 200 OK",
                b"HTTP/1.1 404",
            )
            assert msgspec.json.decode(whole[2])["object"] == "chat.completion"
            assert streamed[2].endswith(b"data: [DONE]\n\n")
            assert not {"connection"} & {*whole[1], *streamed[1], *refused[1]}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_who_asks_to_close_is_told_so_and_closed(stream: bool) -> None:
    async with World() as world, connected(world) as (reader, writer):
        writer.write(request("1.1", "connection: close", stream=stream))
        status, headers, body = await answer(reader)
        assert (status, headers["connection"]) == (b"HTTP/1.1 200 OK", "close")
        assert body
        assert await reader.read() == b""


async def test_an_old_client_gets_no_chunks_and_keeps_its_connection_only_if_it_asks_to() -> None:
    async with World() as world:
        async with connected(world) as (reader, writer):
            writer.write(request("1.0", "connection: keep-alive"))
            status, headers, body = await answer(reader)
            assert (status, headers["connection"]) == (b"HTTP/1.0 200 OK", "keep-alive")
            writer.write(request("1.0"))
            status, headers, body = await answer(reader)
            assert "connection" not in headers
            assert await reader.read() == b""
        async with connected(world) as (reader, writer):
            writer.write(request("1.0", "connection: keep-alive", stream=True))
            status, headers, body = await answer(reader)
            assert status == b"HTTP/1.0 200 OK"
            assert not {"transfer-encoding", "content-length"} & headers.keys()
            assert body.endswith(b"data: [DONE]\n\n")


async def test_a_body_that_nobody_read_ends_the_connection() -> None:
    config = "limits: {body_max_bytes: 2048}"
    async with World(config=config) as world, connected(world) as (reader, writer):
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\ncontent-length: 99999\r\n\r\n" + b"x" * 4000
        )
        status, headers, _ = await answer(reader)
        assert (status[:12], headers["connection"]) == (b"HTTP/1.1 413", "close")
        writer.write(b"x" * 95_999)
        assert await reader.read() == b""


async def test_a_stream_that_breaks_ends_the_connection() -> None:
    async with World({"gpt": "openai:demo-fault-cut"}) as world, connected(world) as (reader, writer):
        writer.write(request(stream=True))
        status, _, body = await answer(reader)
        assert status == b"HTTP/1.1 200 OK"
        assert b'"error"' in body
        assert await reader.read() == b""


async def test_head_and_other_methods_are_answered_without_a_body_that_nobody_expects() -> None:
    async with World() as world, connected(world) as (reader, writer):
        writer.write(b"HEAD /healthz HTTP/1.1\r\nhost: here\r\n\r\nGET /healthz HTTP/1.1\r\nhost: here\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200")
        status, _, body = await answer(reader)
        assert (status, body) == (b"HTTP/1.1 200 OK", b"ok\n")


async def test_a_large_answer_reaches_a_caller_who_reads_in_small_sips() -> None:
    text = "word " * 60_000
    async with World() as world, connected(world) as (reader, writer):
        writer.write(request(messages=[{"role": "user", "content": text}]))
        status, headers, body = await answer(reader)
        assert status == b"HTTP/1.1 200 OK"
        assert len(body) == int(headers["content-length"]) > 250_000
        assert msgspec.json.decode(body)["choices"][0]["message"]["content"].count("word") == 60_000


async def test_every_answer_has_a_date_and_its_own_id() -> None:
    async with World() as world, connected(world) as (reader, writer):
        writer.write(request() * 3)
        answers = [await answer(reader) for _ in range(3)]
        assert len({headers["x-busbar-request-id"] for _, headers, _ in answers}) == 3
        assert all(headers["date"].endswith(" GMT") for _, headers, _ in answers)
