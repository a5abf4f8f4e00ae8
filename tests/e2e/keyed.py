"""A provider that tells keys apart, and a token server, on real sockets; both count what they were asked.

async with Keyed() as provider:
    provider.answers["key-a"] = Refusal(429, retry_after="7")
"""

from __future__ import annotations

import abc
import asyncio
import json
from collections import Counter
from types import TracebackType
from typing import Any

from aiohttp import web
from msgspec import Struct

from busbar.config import loads
from busbar.gateway import BusbarGateway

from .world import ENGINE

CHUNKS = ("Hel", "lo")


class Refusal(Struct, frozen=True):
    """What a key is answered with. `models`: only there; empty: everywhere."""

    status: int
    code: str = "refused"
    retry_after: str | None = None
    models: tuple[str, ...] = ()


class Served(abc.ABC):
    """One small HTTP server on a port of its own."""

    def __init__(self) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", self.answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        self.url = ""

    @abc.abstractmethod
    async def answer(self, request: web.Request) -> web.StreamResponse:
        """To any POST."""

    async def __aenter__(self) -> Any:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


class Keyed(Served):
    """Speaks Chat Completions to every key that is not in `answers`; with `only`, to no other than those."""

    def __init__(self, *only: str) -> None:
        super().__init__()
        self.only = set(only)
        self.answers: dict[str, Refusal] = {}
        self.keys: list[str] = []
        """As they came."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        key = request.headers["authorization"].removeprefix("Bearer ")
        self.keys.append(key)
        body = await request.json()
        refusal = self.answers.get(key)
        if refusal is None and self.only and key not in self.only:
            refusal = Refusal(401, "invalid_api_key")
        if refusal is not None and (not refusal.models or body["model"] in refusal.models):
            headers = {} if refusal.retry_after is None else {"retry-after": refusal.retry_after}
            error = {"message": f"not with {key}", "type": "t", "param": None, "code": refusal.code}
            return web.json_response({"error": error}, status=refusal.status, headers=headers)
        return await self._stream(request) if body.get("stream") else web.json_response(_whole())

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for delta in ({"role": "assistant"}, *({"content": text} for text in CHUNKS)):
            await response.write(_frame(delta, None))
        await response.write(_frame({}, "stop") + b"data: [DONE]\n\n")
        return response


class Midway(Keyed):
    """Has streams of `spoilt` keys end after their first word, with an error that speaks of the key; when it is told
    to go on."""

    def __init__(self, spoilt: set[str]) -> None:
        super().__init__()
        self._spoilt = spoilt
        self.go_on = asyncio.Event()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.keys[-1] not in self._spoilt:
            return await super()._stream(request)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(_frame({"role": "assistant"}, None) + _frame({"content": CHUNKS[0]}, None))
        await self.go_on.wait()
        error = {"message": "no", "type": "invalid_request_error", "code": "invalid_api_key", "param": None}
        await response.write(f"data: {json.dumps({'error': error})}\n\n".encode())
        return response


class Tokens(Served):
    """Gives `token-1`, `token-2`, … to one client. `refusal`: (status, error); `held`: it takes its time."""

    def __init__(self, lifetime_secs: float = 3600) -> None:
        super().__init__()
        self.lifetime_secs = lifetime_secs
        self.refusal: tuple[int, str] | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked: Counter[str] = Counter()
        self.given = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        self.asked[str(form["grant_type"])] += 1
        await self.go_on.wait()
        if self.refusal is not None:
            status, error = self.refusal
            return web.json_response({"error": error, "error_description": "client-secret-of-ours"}, status=status)
        self.given += 1
        document = {"access_token": f"token-{self.given}", "token_type": "Bearer", "expires_in": self.lifetime_secs}
        return web.json_response(document)


def gateway(provider: Keyed, keys: str, *, config: str = "", env: dict[str, str] | None = None) -> BusbarGateway:
    """`keys`: how the provider `p` is authenticated to, as flow YAML without its braces. Its models are `m` and `n`;
    `q` with the fixed key `spare` holds `other`, and the pool `pool` has `m` before `other`."""
    return BusbarGateway(loads(configured(provider, keys, config), env={"SPARE": "spare", **(env or {})}))


def configured(provider: Keyed, keys: str, config: str = "") -> str:
    engine = "" if ENGINE is None or "upstream_engine" in config else f"upstream_engine: {ENGINE}"
    return f"""
listen: "127.0.0.1:0"
auth: {{mode: none}}
security: {{allow_private: [127.0.0.1]}}
providers:
  p: {{protocol: openai, base_url: "{provider.url}", {keys}}}
  q: {{protocol: openai, base_url: "{provider.url}", auth: bearer, api_key_env: SPARE}}
models: {{m: {{provider: p}}, n: {{provider: p}}, other: {{provider: q}}}}
pools: {{pool: {{members: [{{target: m, weight: 1000000}}, {{target: other, weight: 1}}]}}}}
{engine}
{config}
"""


def _whole() -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(CHUNKS)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
    }


def _frame(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n".encode()
