"""Callers of all dialects: some patient, some gone in the middle."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable

import aiohttp
import msgspec

from busbar.protocols.ir import Message, Request, Text
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS

GIVES_UP = 0.25
"""The share of callers that go away before they have a whole answer."""

PATIENCE_SECS = (0.0, 0.08)
"""How long such a caller waits."""

ANSWER_SECS_MAX = 20.0
"""An answer that takes longer hangs."""

WORDS = ("harbour", "lantern", "orchard", "granite", "whistle", "meadow", "copper", "thistle")


class Hanging(Exception):
    """A caller got no end of its answer in time."""


class Callers:
    """`count` of them at once, each with one request after the other, until `stop`."""

    def __init__(self, base_url: str, models: Iterable[str], count: int, seed: int) -> None:
        self._base_url = base_url
        self._models = list(models)
        self._count = count
        self._seed = seed
        self._stopping = False
        self.outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        """Raises `Hanging`."""
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(self._base_url, connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            for number in range(self._count):
                group.create_task(self._call_on_and_on(session, random.Random(self._seed + number)))

    def stop(self) -> None:
        self._stopping = True

    async def _call_on_and_on(self, session: aiohttp.ClientSession, rng: random.Random) -> None:
        while not self._stopping:
            path, body = self._ask(rng)
            patience = rng.uniform(*PATIENCE_SECS) if rng.random() < GIVES_UP else None
            try:
                async with asyncio.timeout(ANSWER_SECS_MAX if patience is None else patience):
                    async with session.post(path, data=body, headers={"content-type": "application/json"}) as answer:
                        async for _ in answer.content.iter_any():
                            pass
                        self.outcomes[f"{answer.status // 100}xx"] += 1
            except TimeoutError:
                if patience is None:
                    raise Hanging(path) from None
                self.outcomes["went away"] += 1
            except aiohttp.ClientError:
                self.outcomes["broken off"] += 1

    def _ask(self, rng: random.Random) -> tuple[str, bytes]:
        """A path and a body."""
        protocol = PROTOCOLS[rng.choice(sorted(PROTOCOLS))]
        model, stream = rng.choice(self._models), rng.random() < 0.7
        text = " ".join(rng.choices(WORDS, k=rng.choice((3, 10, 60))))
        request = Request(
            model=model, messages=[Message(role="user", parts=[Text(text=text)])], max_tokens=500, stream=stream
        )
        document = protocol.write_request(request, Hop(model=model), Receipt())
        return protocol.egress_path(model, stream), msgspec.json.encode(document)
