"""The request log's webhook, against a real receiver: what it is sent, and what becomes of each of its answers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from busbar.actors.request_log import Batch, Failed, Rejected, Result, Sent
from busbar.config.reach import Reach
from busbar.config.secret import Secret
from busbar.telemetry.webhook import Webhook

LOCAL = Reach(["127.0.0.1"])
BATCH = Batch("delivery-1", (b'{"request_id":"r1"}', b'{"request_id":"r2"}'))


class Receiver:
    """Answers with what is in `answers`, then with 204; `hang`: with nothing."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.hang = False
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/hook?token=of-the-path"))

    async def _answer(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        if self.hang:
            await asyncio.sleep(60)
        status, headers = self.answers.pop(0) if self.answers else (204, {})
        return web.Response(status=status, headers=headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.server.start_server()
    yield receiver
    await receiver.server.close()


def submit(webhook: Webhook, batch: Batch = BATCH) -> asyncio.Future[Result]:
    heard: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    webhook.submit(batch, heard.set_result)
    return heard


async def test_a_batch_is_an_array_with_a_signature_that_can_be_verified(receiver: Receiver) -> None:
    webhook = Webhook(receiver.url, Secret("shared"), reach=LOCAL)
    assert await submit(webhook) == Sent()
    await webhook.close(2.0)
    [(headers, body)] = receiver.got
    assert json.loads(body) == [{"request_id": "r1"}, {"request_id": "r2"}]
    sent = {name.lower(): value for name, value in headers.items()}
    expected = hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    assert sent["x-busbar-signature"] == f"sha256={expected}"
    assert sent["x-busbar-delivery"] == "delivery-1"
    assert sent["content-type"] == "application/json"
    assert sent["user-agent"] == "busbar"


async def test_without_a_secret_there_is_no_signature(receiver: Receiver) -> None:
    webhook = Webhook(receiver.url, reach=LOCAL)
    assert await submit(webhook) == Sent()
    await webhook.close(2.0)
    assert "x-busbar-signature" not in {name.lower() for name in receiver.got[0][0]}


@pytest.mark.parametrize(
    ("status", "headers", "result"),
    [
        (200, {}, Sent()),
        (299, {}, Sent()),
        (302, {"location": "/elsewhere"}, Rejected("it answered 302")),
        (400, {}, Rejected("it answered 400")),
        (404, {"retry-after": "5"}, Rejected("it answered 404")),
        (408, {}, Failed("it answered 408")),
        (429, {"retry-after": "17"}, Failed("it answered 429", 17.0)),
        (500, {}, Failed("it answered 500")),
        (503, {"retry-after": "7200"}, Failed("it answered 503", 7200.0)),
        (503, {"retry-after": "soon"}, Failed("it answered 503")),
    ],
)
async def test_what_an_answer_means(receiver: Receiver, status: int, headers: dict[str, str], result: Result) -> None:
    receiver.answers = [(status, headers)]
    webhook = Webhook(receiver.url, reach=LOCAL)
    assert await submit(webhook) == result
    assert len(receiver.got) == 1  # no redirect was followed
    await webhook.close(2.0)


async def test_the_same_batch_again_is_the_same_delivery(receiver: Receiver) -> None:
    receiver.answers = [(500, {})]
    webhook = Webhook(receiver.url, Secret("shared"), reach=LOCAL)
    assert await submit(webhook) == Failed("it answered 500")
    assert await submit(webhook) == Sent()
    await webhook.close(2.0)
    first, again = receiver.got
    assert first == again


async def test_a_dead_receiver_and_a_silent_one_may_be_tried_again(receiver: Receiver) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = Webhook(f"http://127.0.0.1:{unused.getsockname()[1]}/token-in-path", reach=LOCAL)
        assert await submit(dead) == Failed("ClientConnectorError")
        await dead.close(2.0)
    receiver.hang = True
    silent = Webhook(receiver.url, reach=LOCAL, deadline_secs=0.1)
    assert await submit(silent) == Failed("no answer within 0.1 s")
    receiver.hang = False
    assert await submit(silent) == Sent()
    await silent.close(2.0)


async def test_batches_are_sent_one_after_another_and_all_before_the_close(receiver: Receiver) -> None:
    webhook = Webhook(receiver.url, reach=LOCAL)
    heard = [submit(webhook, Batch(str(number), (b"{}",))) for number in range(5)]
    await webhook.close(2.0)
    assert [each.result() for each in heard] == [Sent()] * 5
    delivered: list[Any] = [headers.get("x-busbar-delivery") for headers, _ in receiver.got]
    assert delivered == ["0", "1", "2", "3", "4"]
    assert await submit(webhook) == Failed("it is closed")


async def test_a_silent_receiver_holds_up_the_close_no_longer_than_its_time(receiver: Receiver) -> None:
    receiver.hang = True
    webhook = Webhook(receiver.url, reach=LOCAL)
    heard = [submit(webhook), submit(webhook)]
    began = time.monotonic()
    await webhook.close(0.2)
    assert time.monotonic() - began < 1.5
    assert [each.result() for each in heard] == [Failed("there was no time left")] * 2


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://hooks.example.com/services/T0/B0/secret?key=secret", "https://hooks.example.com"),
        ("http://user:secret@10.0.0.1:8080/x", "http://10.0.0.1:8080"),
    ],
)
async def test_its_name_shows_no_credential(url: str, name: str) -> None:
    assert Webhook(url).name == name
    assert repr(Webhook(url, Secret("x"))) == f"<Webhook {name}>"


async def test_a_url_that_is_none_is_a_failure_and_no_crash() -> None:
    webhook = Webhook("http://exa mple:port/", reach=LOCAL)
    assert isinstance(await submit(webhook), Failed | Rejected)
    await webhook.close(2.0)
