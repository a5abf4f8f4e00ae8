"""Two gateways behind a balancer that follows `/healthz`: one after the other is told to stop, drains and is
replaced, while callers of two SDKs stream. No stream breaks, and no request fails, though no SDK tries anything
twice."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from busbar.demo.providers import DemoProviders

CONFIG = """
listen: "127.0.0.1:0"
providers:
  one: {{protocol: openai, base_url: "{url}", api_key_env: KEY}}
  two: {{protocol: anthropic, base_url: "{url}", api_key_env: KEY}}
models:
  gpt: {{provider: one, upstream_model: fault-paced-10}}
  claude: {{provider: two, upstream_model: fault-paced-10}}
"""

QUESTION = " ".join(f"word{number}" for number in range(40))
START_SECS_MAX = 30.0

TURNED_AWAY = (b"HTTP/1.1 503 ", b"HTTP/1.1 529 ")
"""What a gateway that drains says to new requests; the latter in Anthropic's dialect."""

Caller = Callable[[], Awaitable[str]]


class Replica:
    """A `busbar serve`, and what the balancer knows of it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0
        self.running = 0
        self.answered = 0

    @classmethod
    async def start(cls, config: Path) -> Replica:
        command = (sys.executable, "-m", "busbar", "serve", "--config", str(config))
        env = {**os.environ, "KEY": "demo-key"}
        replica = cls(await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, env=env))
        replica.port = int((await replica.said(rb"listening on http://127.0.0.1:(\d+)"))[1])
        return replica

    async def said(self, pattern: bytes) -> re.Match[bytes]:
        assert self.process.stderr is not None, "it is a pipe"
        async with asyncio.timeout(START_SECS_MAX):
            while line := await self.process.stderr.readline():
                if (found := re.search(pattern, line)) is not None:
                    return found
        raise AssertionError(f"it ended without saying {pattern!r}")

    async def healthy(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n")
        with suppress(OSError):
            return (await reader.read()).startswith(b"HTTP/1.1 200 ")
        return False


class Balancer:
    """Hands each request to the next replica that is well. One that turns it away before any answer has begun is not
    asked again for it: another one is, as proxies do that are told to."""

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self.port = 0
        self.turned_away = 0
        self._changed = asyncio.Event()

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def until(self, predicate: Callable[[], bool]) -> None:
        async with asyncio.timeout(START_SECS_MAX):
            while not predicate():
                await self._changed.wait()

    async def _serve(self, caller: asyncio.StreamReader, to_caller: asyncio.StreamWriter) -> None:
        head = await caller.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.I)
        body = await caller.readexactly(int(length[1]) if length else 0)
        request = re.sub(rb"\r\nconnection: [^\r]*", b"", head, flags=re.I)[:-2] + b"connection: close\r\n\r\n" + body
        self.replicas.append(self.replicas.pop(0))
        tried: list[Replica] = []
        while (replica := next((each for each in self.replicas if each not in tried), None)) is not None:
            if await replica.healthy() and await self._hand_on(replica, request, to_caller):
                break
            tried.append(replica)
        else:
            to_caller.write(b"HTTP/1.1 502 Nobody\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        to_caller.close()

    async def _hand_on(self, replica: Replica, request: bytes, to_caller: asyncio.StreamWriter) -> bool:
        try:
            answer, to_replica = await asyncio.open_connection("127.0.0.1", replica.port)
            to_replica.write(request)
            piece = await answer.read(65536)
        except OSError:
            piece = b""
        if not piece or piece.startswith(TURNED_AWAY):
            self.turned_away += 1
            return False
        self._count(replica, +1)
        try:
            while piece:
                to_caller.write(piece)
                await to_caller.drain()
                piece = await answer.read(65536)
        finally:
            self._count(replica, -1)
            replica.answered += 1
            to_replica.close()
        return True

    def _count(self, replica: Replica, change: int) -> None:
        replica.running += change
        self._changed.set()
        self._changed = asyncio.Event()


def callers(base_url: str) -> list[Caller]:
    """Each asks once, reads to the end, and gives what it has heard, with how it ended."""
    openai = AsyncOpenAI(base_url=f"{base_url}/v1", api_key="unused", max_retries=0, timeout=30)
    anthropic = AsyncAnthropic(base_url=base_url, api_key="unused", max_retries=0, timeout=30)

    async def openai_stream(model: str) -> str:
        stream = await openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        choices = [chunk.choices[0] async for chunk in stream if chunk.choices]
        return "".join(choice.delta.content or "" for choice in choices) + f" ({choices[-1].finish_reason})"

    async def anthropic_stream(model: str) -> str:
        async with anthropic.messages.stream(
            model=model, max_tokens=200, messages=[{"role": "user", "content": QUESTION}]
        ) as stream:
            said = "".join([text async for text in stream.text_stream])
            return f"{said} ({(await stream.get_final_message()).stop_reason})"

    async def openai_whole(model: str) -> str:
        answer = await openai.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
        return f"{answer.choices[0].message.content} ({answer.choices[0].finish_reason})"

    asked = [(ask, model) for ask in (openai_stream, anthropic_stream, openai_whole) for model in ("gpt", "claude")]
    return [lambda ask=ask, model=model: ask(model) for ask, model in asked]  # type: ignore[misc]


async def test_replicas_are_replaced_one_after_the_other_and_nobody_notices(tmp_path: Path) -> None:
    config, balancer = tmp_path / "config.yaml", Balancer()
    async with DemoProviders() as providers, await balancer.start():
        config.write_text(CONFIG.format(url=providers.base_url))
        first = await asyncio.gather(Replica.start(config), Replica.start(config))
        balancer.replicas = list(first)
        over = asyncio.Event()
        asking = callers(f"http://127.0.0.1:{balancer.port}")
        expected = await asyncio.gather(*(ask() for ask in asking))

        async def ask_on(ask: Caller) -> list[str]:
            heard = []
            while not over.is_set():
                heard.append(await ask())
            return heard

        asked = [asyncio.ensure_future(ask_on(ask)) for ask in asking]
        second = []
        for old in first:
            await balancer.until(lambda old=old: old.running >= 2)  # type: ignore[misc]
            in_flight, before = old.running, old.answered
            old.process.terminate()
            await old.said(rb"draining")
            second.append(await Replica.start(config))
            balancer.replicas.append(second[-1])
            await old.said(rb"stopped")
            assert await asyncio.wait_for(old.process.wait(), START_SECS_MAX) == 0
            await balancer.until(lambda old=old: old.running == 0)  # type: ignore[misc]
            assert old.answered >= before + in_flight >= before + 2
            balancer.replicas.remove(old)
        await balancer.until(lambda: all(replica.answered >= 2 for replica in second))
        over.set()
        for heard, whole in zip(await asyncio.gather(*asked), expected, strict=True):
            assert set(heard) == {whole}
        for replica in second:
            replica.process.terminate()
        assert await asyncio.gather(*(replica.process.wait() for replica in second)) == [0, 0]
