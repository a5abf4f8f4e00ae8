"""Bytes that strangers may send, and what they hear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from .raw_http import question
from .world import World

SECRET = b"sk-do-not-repeat-me"
"""In each head that is sent; in no answer."""


class Heard(Struct):
    """One answer; `closed`: the gateway ended the connection after it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    closed: bool = False

    def json(self) -> Any:
        return json.loads(self.body)


async def say(world: World, *pieces: bytes, timeout_secs: float = 5) -> list[Heard]:
    """Everything that is answered until the gateway closes the connection, or says nothing for a moment."""
    reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
    heard: list[Heard] = []
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(timeout_secs):
            while (answer := await _answer(reader)) is not None:
                heard.append(answer)
        if heard:
            heard[-1].closed = True
    except (ConnectionError, asyncio.IncompleteReadError):
        if heard:
            heard[-1].closed = True
    finally:
        writer.transport.abort()
    return heard


async def _answer(reader: asyncio.StreamReader) -> Heard | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *fields = head.split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Heard(int(first.split()[1]), headers, body)


def assert_native(dialect: str, heard: Heard) -> str:
    """Its message, after a look at the envelope."""
    document = heard.json()
    assert heard.headers["content-type"].startswith("application/json")
    match dialect:
        case "anthropic":
            assert (document["type"], set(document["error"])) == ("error", {"type", "message"})
            message = document["error"]["message"]
        case "openai" | "responses":
            assert set(document["error"]) == {"message", "type", "param", "code"}
            message = document["error"]["message"]
        case "gemini":
            assert document["error"]["code"] == heard.status
            assert document["error"]["status"].isupper()
            message = document["error"]["message"]
        case "bedrock":
            assert heard.headers["x-amzn-errortype"].endswith("Exception")
            message = document["message"]
        case _:
            message = document["message"]
    assert isinstance(message, str)
    assert message
    return message


def head(dialect: str, *fields: bytes, version: bytes = b"1.1", host: bytes = b"host: localhost\r\n") -> bytes:
    """Of a POST to the dialect's own path, a credential among its fields."""
    path, _ = question(dialect, "gpt", 3, stream=False)
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST %s HTTP/%s\r\n%sauthorization: Bearer %s\r\n%s\r\n" % (path.encode(), version, host, SECRET, lines)


def last_to(path: str, body: bytes) -> bytes:
    """A POST that ends its connection."""
    fields = f"host: localhost\r\nconnection: close\r\ncontent-length: {len(body)}"
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body


def good(dialect: str) -> bytes:
    _, body = question(dialect, "gpt", 3, stream=False)
    return head(dialect, b"content-type: application/json", b"content-length: %d" % len(body)) + body


async def assert_still_well(world: World, requests: int = 0) -> None:
    """So many requests have reached a provider, the gateway answers, and no slot, request or task is left over."""
    assert len(world.providers.requests) == requests
    (answer,) = await say(world, good("openai").replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
    assert answer.status == 200
    async with asyncio.timeout(5):
        while any(member["inflight"] for member in (await world.stats())["members"]):
            await asyncio.sleep(0)
    stats = await world.stats()
    assert {member["free_slots"] for member in stats["members"]} == {20}
    assert {member["err"] for member in stats["members"]} == {0}
