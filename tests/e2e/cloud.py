"""The clouds' doors to models, as strict as they are, in front of the embedded providers.

Vertex AI takes the model from the path and wants none in the body, and `anthropic_version` in its place; Azure OpenAI
takes a deployment's name. All want a bearer token that their own issuer gave and that is not over, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import web
from msgspec import Struct

from busbar.demo.providers import DemoProviders

from .world import KEY

VERTEX = "/v1/projects/project-1/locations/europe-west1/publishers"
_MODEL = re.compile(r"(?P<publisher>anthropic|google)/models/(?P<model>[^/:]+):(?P<method>\w+)\Z")
_CREDENTIALS = frozenset({"x-api-key", "x-goog-api-key", "api-key"})


class Seen(Struct, frozen=True):
    path: str
    query: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class Cloud:
    """`is_good` says whether an `Authorization` header has a token that is good now."""

    def __init__(self, is_good: Callable[[str], bool]) -> None:
        self._is_good = is_good
        self._demo = DemoProviders(host="127.0.0.1", port=0, keys=frozenset({KEY}))
        self.seen: list[Seen] = []

    async def __aenter__(self) -> Cloud:
        await self._demo.start()
        self._http = aiohttp.ClientSession(self._demo.base_url)
        app = web.Application()
        app.router.add_post("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()
        await self._demo.stop()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.path, request.query_string, headers, body))
        if _CREDENTIALS & headers.keys():
            return _error(400, "INVALID_ARGUMENT")
        if not self._is_good(request.headers.get("authorization", "")):
            return _error(401, "UNAUTHENTICATED")
        door = self._door(request, body)
        if door is None:
            return _error(404, "NOT_FOUND")
        path, credential, onward = door
        async with self._http.post(path, json=onward, headers=credential) as answer:
            kind = {"content-type": answer.headers["content-type"]}
            response = web.StreamResponse(status=answer.status, headers=kind)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    def _door(self, request: web.Request, body: dict[str, Any]) -> tuple[str, dict[str, str], dict[str, Any]] | None:
        """Where it goes on to, with what, and as what; None: there is no such door, or not for this body."""
        if request.path == "/openai/v1/chat/completions":
            return "/v1/chat/completions", {"authorization": f"Bearer {KEY}"}, body
        found = _MODEL.fullmatch(request.path.removeprefix(f"{VERTEX}/"))
        if found is None:
            return None
        if found["publisher"] == "google":
            query = f"?{request.query_string}" if request.query_string else ""
            path = f"/v1beta/models/{found['model']}:{found['method']}{query}"
            return path, {"x-goog-api-key": KEY}, body
        claude = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
        onward = {key: value for key, value in body.items() if key != "anthropic_version"}
        streamed = {"rawPredict": False, "streamRawPredict": True}.get(found["method"])
        if body.get("anthropic_version") != "vertex-2023-10-16":
            return None
        if found["model"] == "count-tokens" and "model" in body:
            return "/v1/messages/count_tokens", claude, onward
        if "model" in body or bool(body.get("stream")) is not streamed:
            return None
        return "/v1/messages", claude, {**onward, "model": found["model"]}


def _error(status: int, word: str) -> web.Response:
    error = {"code": status, "message": "no", "status": word}
    return web.Response(status=status, body=json.dumps({"error": error}), content_type="application/json")
