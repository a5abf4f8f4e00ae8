"""What a dialect has to stand that was added as docs/new-protocol.md says. Run by `test_new_protocol_page.py`, in a
process of its own, with a copy of the package to which the page's files and lines were added.

A provider that speaks the dialect, a gateway in front of it and of an embedded one, and callers of two dialects.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import aiohttp
import openai
from aiohttp import web

from busbar.cli import main
from busbar.config import loads
from busbar.demo.configuration import DEMO_KEY
from busbar.demo.providers import DemoProviders
from busbar.gateway import BusbarGateway
from busbar.protocols.registry import PROTOCOLS
from tests.protocols import test_all_dialects as battery

KEY = "memo-key"
USED = {"in": 3, "out": 2}
WIRE = (
    b'data: {"id": "memo_7", "model": "small"}\n\n'
    b'data: {"text": "Two "}\n\n'
    b'data: {"text": "words"}\n\n'
    b'data: {"end": "done", "used": {"in": 3, "out": 2}}\n\n'
)
CONFIG = """
listen: "127.0.0.1:0"
providers:
  notes: {{protocol: memo, base_url: "{memo}", api_key_env: MEMO_KEY}}
  demo: {{protocol: anthropic, base_url: "{demo}", api_key_env: DEMO_KEY}}
models:
  memo: {{provider: notes, upstream_model: small}}
  claude: {{provider: demo, upstream_model: demo}}
pools:
  both: {{members: [{{target: memo, weight: 9}}, {{target: claude}}]}}
"""


class MemoProvider:
    """Says two words to everybody, or that it is busy."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.busy = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        asked = await request.json()
        self.asked.append(asked)
        if self.busy:
            return web.json_response({"error": {"code": "busy", "message": "not now"}}, status=500)
        if asked.get("stream"):
            return web.Response(body=WIRE, content_type="text/event-stream")
        return web.json_response({"id": "memo_7", "model": "small", "text": "Two words", "end": "done", "used": USED})


async def on_sockets() -> None:
    provider = MemoProvider()
    runner = web.AppRunner(_app(provider))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    memo = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    async with DemoProviders(keys=frozenset({DEMO_KEY})) as demo:
        config = loads(CONFIG.format(memo=memo, demo=demo.base_url), env={"MEMO_KEY": KEY, "DEMO_KEY": DEMO_KEY})
        async with BusbarGateway(config) as gateway:
            await another_dialects_caller(gateway.url, provider)
            async with aiohttp.ClientSession(gateway.url) as http:
                await its_own_callers(http, provider)
                await failures(http, provider)
    await runner.cleanup()


def _app(provider: MemoProvider) -> web.Application:
    app = web.Application()
    app.router.add_post("/memo/ask", provider.answer)
    return app


async def another_dialects_caller(url: str, provider: MemoProvider) -> None:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused")
    asked: dict[str, Any] = {
        "model": "memo",
        "seed": 7,
        "max_tokens": 20,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    }
    raw = await client.chat.completions.with_raw_response.create(**asked, extra_headers={"x-busbar-receipt": "1"})
    answer = raw.parse()
    assert answer.choices[0].message.content == "Two words"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 2)
    assert raw.headers["x-busbar-dropped"] == "seed"
    assert provider.asked == [
        {"model": "small", "brief": "Be brief.", "lines": [{"by": "user", "text": "Hello"}], "most": 20}
    ]
    stream = await client.chat.completions.create(**asked, stream=True)
    said = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
    assert "".join(said) == "Two words"
    await client.close()


async def its_own_callers(http: aiohttp.ClientSession, provider: MemoProvider) -> None:
    lines = [{"by": "user", "text": "Hello"}]
    async with http.post("/memo/ask", json={"model": "claude", "lines": lines}) as response:
        answer = await response.json()
        assert (answer["text"], answer["end"]) == ("You said: Hello", "done")
    async with http.post("/memo/ask", json={"model": "claude", "lines": lines, "stream": True}) as response:
        events = [json.loads(line[6:]) for line in (await response.text()).splitlines() if line]
        assert "".join(event.get("text", "") for event in events) == "You said: Hello"
        assert events[-1]["end"] == "done"
    async with http.post("/memo/ask", json={"model": "memo", "lines": lines, "tone": "dry", "stream": True}) as same:
        assert await same.read() == WIRE
        assert provider.asked[-1] == {"model": "small", "lines": lines, "tone": "dry", "stream": True}
    async with http.post("/memo/ask", json={"model": "nobody", "lines": lines}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "not_found")
    async with http.post("/memo/ask", json={"model": "claude", "lines": []}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "bad_request")


async def failures(http: aiohttp.ClientSession, provider: MemoProvider) -> None:
    """Its word for an overload is understood: the member is charged, the request goes to the next one."""
    provider.busy = True
    asked = {"model": "both", "lines": [{"by": "user", "text": "Hello"}]}
    async with http.post("/memo/ask", json=asked) as response:
        assert (await response.json())["text"] == "You said: Hello"
        journey = f"/stats/requests/{response.headers['x-busbar-request-id']}"
    async with http.get(journey) as response:
        steps = (await response.json())["steps"]
        assert [(step["chosen"], step["attempt"]["result"]) for step in steps] == [
            ("memo", "overloaded"),
            ("claude", "ok"),
        ]


def as_all_dialects() -> None:
    """What the battery asks of each dialect, but for what only those can that have tools and thinking."""
    memo = PROTOCOLS["memo"]
    for check in (
        battery.test_any_error_body_is_read,
        battery.test_any_answer_is_inspected,
        battery.test_any_document_is_read_or_refused,
        battery.test_any_stream_is_survived,
        battery.test_a_stream_that_breaks_says_so,
        battery.test_a_context_error_is_known_again,
    ):
        random.seed(0)
        check(protocol=memo)
    for kind in battery.ErrorKind:
        battery.test_every_error_is_native_json(memo, kind)


if __name__ == "__main__":
    as_all_dialects()
    asyncio.run(on_sockets())
    main(["translate", "--from", "openai", "--to", "memo", "--kind", "request", "-"])
