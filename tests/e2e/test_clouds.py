"""The official SDKs call the gateway; the gateway calls the clouds with tokens that were minted for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from credentials.issuers import Issuers
from credentials.token_server import TokenServer

from busbar.config import loads
from busbar.demo.providers import DemoProviders
from busbar.gateway import BusbarGateway

from .cloud import VERTEX, Cloud
from .speakers import Ingress, Question, Reply
from .ways import SPEAKERS
from .world import AWS_KEY, ENGINE

HELLO = Question(turns=("Hello",))
MODELS = f"{VERTEX}/anthropic/models"


class CloudWorld:
    """A cloud, its issuers, and a gateway that knows both."""

    def __init__(self, cloud: Cloud, issuers: Issuers, server: TokenServer, folder: Path) -> None:
        self.cloud = cloud
        self.issuers = issuers
        self.server = server
        self._folder = folder

    async def __aenter__(self) -> CloudWorld:
        key = self._folder / "key.json"
        self.issuers.audience = f"{self.server.url}/token"
        self.issuers.wants_new_assertions = False
        key.write_text(json.dumps(self.issuers.service_account(token_uri=f"{self.server.url}/token")))
        (self._folder / "secret").write_text(self.issuers.client_secret)
        vertex = {
            "base_url": f"{self.cloud.url}/v1",
            "variables": {"project": "project-1", "location": "europe-west1"},
            "identity": {"credentials_file": str(key)},
        }
        azure = {
            "base_url": f"{self.cloud.url}/openai",
            "auth": "entra",
            "identity": {
                "tenant": "tenant-1",
                "client_id": "client-1",
                "client_secret_file": str(self._folder / "secret"),
                "authority": self.server.url,
            },
        }
        config = {
            "listen": "127.0.0.1:0",
            "providers": {"vertex-anthropic": vertex, "vertex-gemini": vertex, "azure-openai": azure},
            "models": {
                "claude": {"provider": "vertex-anthropic", "upstream_model": "demo-claude"},
                "gemini": {"provider": "vertex-gemini", "upstream_model": "demo-gemini"},
                "gpt": {"provider": "azure-openai", "upstream_model": "demo-gpt"},
            },
            "security": {"allow_private": ["127.0.0.1"]},
            **({} if ENGINE is None else {"upstream_engine": ENGINE}),
        }
        self.gateway = BusbarGateway(loads(json.dumps(config), env={}))
        await self.gateway.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.gateway.stop()

    async def ask(self, ingress: Ingress, model: str, *, streamed: bool = False) -> Reply:
        return await asked(self.gateway.url, ingress, model, streamed=streamed)


async def asked(url: str, ingress: Ingress, model: str, *, streamed: bool) -> Reply:
    speaker = SPEAKERS[ingress](url, "unused", 0)
    try:
        return await speaker.ask(model, HELLO, streamed=streamed)
    finally:
        await speaker.aclose()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[CloudWorld]:
    issuers = Issuers()
    with TokenServer(issuers.answer, issuers.clock) as server:
        async with Cloud(issuers.is_good) as cloud, CloudWorld(cloud, issuers, server, tmp_path) as it:
            yield it


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("ingress", ["anthropic", "openai"])
async def test_claude_on_vertex(world: CloudWorld, ingress: Ingress, streamed: bool) -> None:
    """The model is in the path, not in the body, which has `anthropic_version`; streams have a path of their own."""
    reply = await world.ask(ingress, "claude", streamed=streamed)
    assert reply.text == "You said: Hello"
    (seen,) = world.cloud.seen
    assert seen.path == f"{MODELS}/demo-claude:{'streamRawPredict' if streamed else 'rawPredict'}"
    assert seen.body["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in seen.body
    assert world.issuers.is_good(seen.headers["authorization"])


async def test_claude_s_tokens_are_counted_on_vertex(world: CloudWorld) -> None:
    speaker = SPEAKERS["anthropic"](world.gateway.url, "unused", 0)
    counted = await speaker.client.messages.count_tokens(
        model="claude", messages=[{"role": "user", "content": "one two three"}]
    )
    await speaker.aclose()
    assert counted.input_tokens > 0
    (seen,) = world.cloud.seen
    assert seen.path == f"{MODELS}/count-tokens:rawPredict"
    assert seen.body["model"] == "demo-claude"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("ingress", ["gemini", "openai"])
async def test_gemini_on_vertex(world: CloudWorld, ingress: Ingress, streamed: bool) -> None:
    reply = await world.ask(ingress, "gemini", streamed=streamed)
    assert reply.text == "You said: Hello"
    (seen,) = world.cloud.seen
    method, query = ("streamGenerateContent", "alt=sse") if streamed else ("generateContent", "")
    assert (seen.path, seen.query) == (f"{VERTEX}/google/models/demo-gemini:{method}", query)
    assert world.issuers.is_good(seen.headers["authorization"])


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_azure_with_entra(world: CloudWorld, streamed: bool) -> None:
    reply = await world.ask("openai", "gpt", streamed=streamed)
    assert reply.text == "You said: Hello"
    (seen,) = world.cloud.seen
    assert (seen.path, seen.body["model"]) == ("/openai/v1/chat/completions", "demo-gpt")


async def test_one_token_is_for_many_requests(world: CloudWorld) -> None:
    for _ in range(5):
        await world.ask("anthropic", "claude")
    assert len({seen.headers["authorization"] for seen in world.cloud.seen}) == 1


async def test_a_token_that_the_cloud_does_not_want_any_more_is_replaced_at_once(world: CloudWorld) -> None:
    """The caller sees nothing of it."""
    await world.ask("openai", "gpt")
    world.issuers.given.clear()
    reply = await world.ask("openai", "gpt")
    assert reply.text == "You said: Hello"
    first, refused, again = (seen.headers["authorization"] for seen in world.cloud.seen)
    assert first == refused != again


async def test_bedrock_with_keys_of_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web identity, exchanged at STS; the provider checks the signature of each request."""
    issuers = Issuers()
    issuers.aws_key = AWS_KEY
    (tmp_path / "token").write_text("subject-1")
    with TokenServer(issuers.answer, issuers.clock) as server:
        for name, value in {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
            "AWS_ENDPOINT_URL_STS": server.url,
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        async with DemoProviders(keys=frozenset({AWS_KEY})) as demo:
            config = {
                "listen": "127.0.0.1:0",
                "providers": {"bedrock": {"base_url": demo.base_url}},
                "models": {"claude": {"provider": "bedrock", "upstream_model": "demo-claude"}},
            }
            async with BusbarGateway(loads(json.dumps(config), env={})) as gateway:
                for ingress in ("bedrock", "anthropic"):
                    reply = await asked(gateway.url, ingress, "claude", streamed=False)  # type: ignore[arg-type]
                    assert reply.text == "You said: Hello"
        assert [asked.form["Action"] for asked in server.asked] == ["AssumeRoleWithWebIdentity"]
