"""Every entry of the packaged catalog, ready to be called: at its own address, and at a recorder's on this machine.

What an operator would have to give (variables, keys) is given here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import msgspec
from aiohttp import web

from busbar.cli.described import described
from busbar.config import Config, loads
from busbar.config.files import packaged_providers
from busbar.config.known import known_providers
from busbar.demo.providers import DemoProviders
from busbar.http.headers import media_type
from busbar.http.lanes import Lane, build_lanes
from busbar.http.ports import UpstreamRequest
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.signing import make_signer
from busbar.testing.clock import VirtualClock

Kind = Literal["whole", "stream", "count"]
Document = dict[str, Any]

CATALOG = known_providers(packaged_providers(), {})
MODEL = "vendor/model-1:x"
"""What a percent-encoding can get wrong."""
KEY, TOKEN, AWS = "the-key", "the-token", "AKIDCATALOG:secret::us-east-1"
NOW = 1_790_000_000.0


def config(recorder: str | None = None) -> Config:
    """Each entry as a provider, with a model of the same name. With `recorder`, the scheme and host of each address
    are that, and the entry's name stands before the address's own path."""
    providers: Document = {}
    for name, entry in CATALOG.items():
        about = described(entry, CATALOG, {})
        missing = {it: f"the-{it.replace('_', '-')}" for it, value in about.variables.items() if value is None}
        own: Document = {"variables": missing}
        if about.auth == "sigv4":
            own["api_key_env"] = "AWS"
        elif about.auth == "gcp-oauth" and recorder is not None:  # what minting gives, without minting
            own |= {"auth": "bearer", "api_key_env": "TOKEN"}
        elif about.auth not in ("none", "gcp-oauth"):
            own["api_key_env"] = "KEY"
        if recorder is not None:
            path = re.sub(r"https?://[^/]+", "", entry.base_url)
            own["base_url"] = f"{recorder}/{name}{path}"
        providers[name] = own
    models = {f"of-{name}": {"provider": name, "upstream_model": MODEL} for name in CATALOG}
    text = json.dumps({"listen": "127.0.0.1:0", "providers": providers, "models": models})
    return loads(text, env={"KEY": KEY, "AWS": AWS, "TOKEN": TOKEN})


def lanes(of: Config) -> dict[str, Lane]:
    """By entry."""
    return {lane.provider: lane for lane in build_lanes(of).values()}


def kinds(name: str) -> tuple[Kind, ...]:
    """What can be asked of an entry."""
    counts = PROTOCOLS[CATALOG[name].protocol].count_path is not None
    return ("whole", "stream", "count") if counts else ("whole", "stream")


def call(lane: Lane, kind: Kind) -> UpstreamRequest:
    """What goes out for a request without a word in it."""
    head = lane.head(stream=kind == "stream", operation="count_tokens" if kind == "count" else "chat", forwarded={})
    signer = make_signer("bearer", TOKEN) if lane.auth_style == "gcp-oauth" else None
    return head.request(b"{}", None, VirtualClock(time=NOW), signer)


def asked(dialect: str, model: str, kind: Kind) -> tuple[str, Document]:
    """A caller's request to the gateway: path and body."""
    stream = {"stream": True} if kind == "stream" else {}
    hello = [{"role": "user", "content": "hello"}]
    match dialect:
        case "anthropic" if kind == "count":
            return "/v1/messages/count_tokens", {"model": model, "messages": hello}
        case "anthropic":
            return "/v1/messages", {"model": model, "max_tokens": 9, "messages": hello, **stream}
        case "openai":
            usage = {"stream_options": {"include_usage": True}} if stream else {}
            return "/v1/chat/completions", {"model": model, "messages": hello, **stream, **usage}
        case "responses":
            return "/v1/responses", {"model": model, "input": "hello", **stream}
        case "cohere":
            return "/v2/chat", {"model": model, "messages": hello, **stream}
        case "bedrock":
            said: Document = {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}
            return f"/model/{model}/converse{'-stream' if stream else ''}", said
        case _:
            verb = {"whole": "generateContent", "stream": "streamGenerateContent?alt=sse", "count": "countTokens"}[
                kind
            ]
            return f"/v1beta/models/{model}:{verb}", {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


class Answer(msgspec.Struct, frozen=True):
    content_type: str
    body: bytes


async def answers() -> dict[tuple[str, Kind], Answer]:
    """What providers of each dialect say, as the embedded ones do."""
    found: dict[tuple[str, Kind], Answer] = {}
    async with DemoProviders(keys=frozenset({KEY})) as demo, aiohttp.ClientSession() as http:
        for name, protocol in PROTOCOLS.items():
            key = make_signer({"bedrock": "bearer"}.get(name, _STYLES.get(name, "bearer")), KEY)
            for kind in ("whole", "stream", "count")[: 3 if protocol.count_path else 2]:
                path, body = asked(name, "demo", kind)
                headers = {**protocol.required_headers, **key.sign("POST", path, {}, b"", NOW)}
                async with http.post(demo.base_url + path, json=body, headers=headers) as answer:
                    assert answer.status == 200, (name, kind, await answer.text())
                    found[name, kind] = Answer(answer.headers["content-type"], await answer.read())
    return found


_STYLES = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}


class Recorder:
    """A server that keeps what it was sent, and answers what it was told to."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.answer = Answer("application/json", b"{}")

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._record)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.host = f"{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _record(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = json.loads(await request.read())
        self.requests.append(Recorded(request.method, request.raw_path, headers, body))
        content_type = media_type(self.answer.content_type)
        return web.Response(body=self.answer.body, headers={"content-type": content_type})


class Recorded(msgspec.Struct, frozen=True):
    method: str
    target: str
    headers: Mapping[str, str]
    body: Document
