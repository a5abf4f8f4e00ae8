"""A little traffic for the demo, so that there is something to look at: six dialects, whole and streamed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

SAYINGS = (
    "What is the weather like?",
    "Tell me of busbars.",
    "Count to ten, slowly, and say something kind about each number.",
    "Hi",
)
TARGETS = ("smart", "smart", "resilient", "gpt-demo", "claude-demo", "gemini-demo")


@contextlib.asynccontextmanager
async def traffic(url: str, per_second: float, seed: int = 0) -> AsyncIterator[None]:
    """Asks while the block runs, at random times, so often on average. 0: not at all."""
    if per_second <= 0:
        yield
        return
    task = asyncio.create_task(_ask_on(url, per_second, random.Random(seed)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _ask_on(url: str, per_second: float, source: random.Random) -> None:
    async with aiohttp.ClientSession(url) as http, asyncio.TaskGroup() as running:
        while True:
            await asyncio.sleep(source.expovariate(per_second))
            path, body = _request(source)
            running.create_task(_ask(http, path, body))


async def _ask(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> None:
    with contextlib.suppress(aiohttp.ClientError):
        async with http.post(path, json=body) as answer:
            await answer.read()


def _request(source: random.Random) -> tuple[str, dict[str, Any]]:
    model, text, stream = source.choice(TARGETS), source.choice(SAYINGS), source.random() < 0.5
    messages = [{"role": "user", "content": text}]
    contents = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return source.choice(
        (
            ("/v1/chat/completions", {"model": model, "messages": messages, "stream": stream}),
            ("/v1/messages", {"model": model, "max_tokens": 200, "messages": messages, "stream": stream}),
            ("/v1/responses", {"model": model, "input": text, "stream": stream}),
            ("/v2/chat", {"model": model, "messages": messages, "stream": stream}),
            (f"/v1beta/models/{model}:{verb}", contents),
        )
    )
