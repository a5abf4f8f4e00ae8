"""The request log of a running gateway: a file and a webhook get every request, and no request waits for them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from busbar.telemetry.records import RequestRecord

from .governed import GovernedWorld
from .world import KEY, World

PROMPT = "a question that is nobody's business"
BODY = {"model": "gpt", "messages": [{"role": "user", "content": PROMPT}]}

HANDED_ON_SECS = 5.0
"""Longer than a record takes from Metrics to where it goes."""


class Receiver:
    """Takes deliveries, and hangs once it is told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.signatures: list[str] = []
        self.hang = False
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/hook", self._take)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/hook"))

    @property
    def records(self) -> list[dict[str, Any]]:
        return [record for body in self.bodies for record in msgspec.json.decode(body)]

    async def _take(self, request: web.Request) -> web.Response:
        if self.hang:
            await asyncio.sleep(60)
        self.bodies.append(await request.read())
        self.signatures.append(request.headers["x-busbar-signature"])
        return web.Response(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.server.start_server()
    yield receiver
    await receiver.server.close()


def configured(path: Path, url: str) -> str:
    return (
        f"observability: {{request_log_file: '{path}', request_log_webhook_url: '{url}', "
        "request_log_webhook_secret: '${HOOK}'}\nsecurity: {allow_private: [127.0.0.1]}"
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


async def test_a_request_is_written_and_sent_with_its_way_and_its_cost(tmp_path: Path, receiver: Receiver) -> None:
    path = tmp_path / "requests.jsonl"
    pools = "pools: {both: {members: [{target: gpt}, {target: claude}]}}"
    config = f"{configured(path, receiver.url)}\n{pools}"
    models = {"gpt": "openai:fault-500", "claude": "anthropic:demo"}
    async with GovernedWorld(tmp_path, models, config, env={"HOOK": "shared"}) as world:
        key = await world.key()
        headers = {"authorization": f"Bearer {key.secret}"}
        answer = await world.post("/v1/chat/completions", {**BODY, "model": "both"}, headers)
        usage = await world.usage(key)
    [record] = lines(path)
    assert receiver.records == [record]
    assert tuple(record) == RequestRecord.__struct_fields__
    assert (record["pool"], record["outcome"], record["status"]) == ("both", "ok", answer.status)
    assert [(each["lane"], each["disposition"]) for each in record["attempts"]][-2:] == [
        ("gpt", "server_error"),
        ("claude", "ok"),
    ]
    assert record["key_id"] == key.id
    assert record["translated_to"] == "anthropic"
    assert record["usage"]["input"] == usage["input_tokens"] > 0
    assert record["cost"]["nanodollars"] > 0
    body = receiver.bodies[0]
    assert receiver.signatures == ["sha256=" + hmac.new(b"shared", body, hashlib.sha256).hexdigest()]
    for secret in (PROMPT, key.secret, KEY, "shared"):
        assert secret.encode() not in path.read_bytes() + body


async def test_what_was_told_last_is_written_and_sent_at_the_stop(tmp_path: Path, receiver: Receiver) -> None:
    path = tmp_path / "requests.jsonl"
    async with World(config=configured(path, receiver.url), env={"HOOK": "shared"}) as world:
        for _ in range(5):
            await world.post("/v1/chat/completions", BODY)
    assert [record["outcome"] for record in lines(path)] == ["ok"] * 5
    assert receiver.records == lines(path)


async def test_records_come_while_the_gateway_runs(tmp_path: Path, receiver: Receiver) -> None:
    path = tmp_path / "requests.jsonl"
    async with World(config=configured(path, receiver.url), env={"HOOK": "shared"}) as world:
        await world.post("/v1/chat/completions", BODY)
        async with asyncio.timeout(HANDED_ON_SECS):
            while not (receiver.records and lines(path)):
                await asyncio.sleep(0.05)
        actors = {actor["name"] for actor in (await world.stats())["actors"]}
    assert {"request-log:file", "request-log:webhook"} <= actors


async def test_a_receiver_that_hangs_and_a_folder_that_is_missing_hold_nobody_up(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    receiver.hang = True
    config = configured(tmp_path / "missing" / "requests.jsonl", receiver.url)
    world = World(config=config, env={"HOOK": "shared"})
    async with world:
        answers = [await world.post("/v1/chat/completions", BODY) for _ in range(100)]
        began = time.monotonic()
    assert [answer.status for answer in answers] == [200] * 100
    assert time.monotonic() - began < 4.0  # the gateway's stop: two seconds for what waits
    assert "/hook" not in caplog.text


async def test_a_receiver_that_is_dead_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        config = configured(tmp_path / "requests.jsonl", f"http://127.0.0.1:{unused.getsockname()[1]}/")
        async with World(config=config, env={"HOOK": "shared"}) as world:
            assert (await world.post("/v1/chat/completions", BODY)).status == 200
    [record] = lines(tmp_path / "requests.jsonl")
    assert record["outcome"] == "ok"
