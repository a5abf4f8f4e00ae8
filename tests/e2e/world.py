"""A whole world in three lines: embedded providers, and a gateway in front of them, on real sockets.

async with World() as world:
    client = AsyncOpenAI(base_url=world.gateway.url + "/v1", api_key="unused")
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import aiohttp
import msgspec
import yaml

from busbar.config import loads
from busbar.config.support import SUPPORTED_PROTOCOLS
from busbar.demo.providers import DemoProviders
from busbar.gateway import BusbarGateway

ENGINE = os.environ.get("BUSBAR_TEST_ENGINE")
"""The `upstream_engine` that every world has; the default of the gateway where it is not set."""

KEY = "provider-key"
AWS_KEY = "AKIDPROVIDER:provider-secret"
AWS_CREDENTIAL = f"{AWS_KEY}::us-east-1"
"""The key, no session, and the region that no host names here."""

AUTH = {
    "anthropic": "x-api-key",
    "openai": "bearer",
    "responses": "bearer",
    "gemini": "x-goog-api-key",
    "bedrock": "sigv4",
    "cohere": "bearer",
}
"""How each dialect's provider wants to be shown the key."""

PROVIDERS = {
    f"demo-{dialect}": {
        "protocol": dialect,
        "auth": AUTH[dialect],
        "api_key_env": "AWS_PROVIDER_KEY" if AUTH[dialect] == "sigv4" else "PROVIDER_KEY",
    }
    for dialect in SUPPORTED_PROTOCOLS
}


class World:
    """`models`: name → "dialect:upstream model" (the upstream's name decides what the embedded provider does).
    `config` is added to the configuration as it stands. `provider_keys` and `model_keys`: more keys of single
    providers and models, as flow YAML without its braces; they win over the world's own, and null takes one away.
    """

    def __init__(
        self,
        models: Mapping[str, str] | None = None,
        config: str = "",
        env: Mapping[str, str] | None = None,
        provider_keys: Mapping[str, str] | None = None,
        model_keys: Mapping[str, str] | None = None,
    ) -> None:
        self._models = models if models is not None else {"claude": "anthropic:demo", "gpt": "openai:demo"}
        self._config = config
        self._env = {"PROVIDER_KEY": KEY, "AWS_PROVIDER_KEY": AWS_CREDENTIAL, **(env or {})}
        self._provider_keys = provider_keys or {}
        self._model_keys = model_keys or {}
        self.providers = DemoProviders(host="127.0.0.1", port=0, keys=frozenset({KEY, AWS_KEY}))

    async def __aenter__(self) -> World:
        await self.providers.start()
        self.gateway = BusbarGateway(loads(self._text(), env=self._env))
        await self.gateway.start()
        self.http = aiohttp.ClientSession(self.gateway.url, connector=aiohttp.TCPConnector(force_close=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()
        await self.gateway.stop()
        await self.providers.stop()

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """A raw request; `body` is sent as JSON unless it is bytes."""
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.http.post(path, headers=headers, **data) as response:
            return Answer(response.status, response.headers, await response.read())

    async def stats(self) -> dict[str, Any]:
        async with self.http.get("/stats") as response:
            stats: dict[str, Any] = await response.json()
            return stats

    async def member(self, name: str) -> dict[str, Any]:
        """One member, as `/stats` shows it."""
        members = {member["model"]: member for member in (await self.stats())["members"]}
        found: dict[str, Any] = members[name]
        return found

    def _text(self) -> str:
        providers = {
            name: _without_nulls(
                {**own, "base_url": self.providers.base_url, **_flow(self._provider_keys.get(name, ""))}
            )
            for name, own in PROVIDERS.items()
        }
        models = {}
        for name, place in self._models.items():
            dialect, _, upstream = place.partition(":")
            models[name] = {
                "provider": f"demo-{dialect}",
                "upstream_model": upstream,
                **_flow(self._model_keys.get(name, "")),
            }
        ours: dict[str, Any] = {"listen": "127.0.0.1:0", "providers": providers, "models": models}
        if ENGINE is not None and "upstream_engine" not in self._config:
            ours["upstream_engine"] = ENGINE
        return f"{yaml.safe_dump(ours, sort_keys=False)}\n{self._config}"


def _flow(keys: str) -> dict[str, Any]:
    flow: dict[str, Any] = yaml.safe_load(f"{{{keys}}}")
    return flow


def _without_nulls(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


class Answer:
    """A raw answer, read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.body[:500]!r})"
