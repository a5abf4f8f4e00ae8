"""Keys that are refused, change or are minted, over real sockets: who is asked how often, what the caller gets."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from busbar.config import loads
from busbar.gateway import BusbarGateway

from .asks import PATHS, ask
from .keyed import Keyed, Midway, Refusal, Tokens, configured, gateway
from .world import AWS_KEY, Answer, World

TWO = "auth: bearer, api_keys: [{env: A}, {env: B}]"
ENV = {"A": "key-a", "B": "key-b"}


class Asking:
    """A caller of one gateway."""

    def __init__(self, gateway: BusbarGateway, http: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.http = http

    async def post(self, model: str = "m", **more: Any) -> Answer:
        async with self.http.post(f"{self.gateway.url}{PATHS['openai']}", json=ask("openai", model, **more)) as got:
            return Answer(got.status, got.headers, await got.read())

    async def page(self, path: str) -> Any:
        async with self.http.get(f"{self.gateway.url}{path}") as got:
            return await got.json()

    async def account(self, provider: str = "p") -> dict[str, Any]:
        shown: dict[str, Any] = (await self.page("/stats"))["credentials"][provider]
        return shown

    async def member(self, name: str = "m") -> dict[str, Any]:
        found: dict[str, Any] = next(it for it in (await self.page("/stats"))["members"] if it["model"] == name)
        return found

    async def attempts(self, answer: Answer) -> list[dict[str, Any]]:
        trace = await self.page(f"/stats/requests/{answer.headers['x-busbar-request-id']}")
        return [step["attempt"] for step in trace["steps"]]


@asynccontextmanager
async def served(
    provider: Keyed, keys: str, *, config: str = "", env: Mapping[str, str] = ENV
) -> AsyncIterator[Asking]:
    async with gateway(provider, keys, config=config, env=dict(env)) as made, aiohttp.ClientSession() as http:
        yield Asking(made, http)


@pytest.fixture
async def provider() -> AsyncIterator[Keyed]:
    async with Keyed() as provider:
        yield provider


@pytest.fixture
async def tokens() -> AsyncIterator[Tokens]:
    async with Tokens() as tokens:
        yield tokens


# --- several keys


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (403, "auth"), (402, "billing")])
async def test_a_dead_key_is_not_the_callers_affair(provider: Keyed, status: int, kind: str) -> None:
    provider.answers["key-a"] = Refusal(status)
    async with served(provider, TWO) as caller:
        first = await caller.post()
        assert (first.status, provider.keys) == (200, ["key-a", "key-b"])
        assert [(await caller.post(model)).status for model in ("m", "n")] == [200, 200]
        assert provider.keys == ["key-a", "key-b", "key-b", "key-b"], "the second from then on, for all models"
        member = await caller.member()
        assert (member["err"], member["ok"], member["usable"]) == (0, 2, True)
        attempts = await caller.attempts(first)
        assert [(it["result"], it["refused_keys"]) for it in attempts] == [("ok", [[1, kind]])]
        account = await caller.account()
        assert (account["kind"], account["used"], len(account["keys"])) == ("keys", 2, 2)
        assert (account["keys"][0]["benched_for"], 1790 < account["keys"][0]["benched_s"] <= 1800) == (kind, True)
        assert "key-" not in str(await caller.page("/stats"))


async def test_a_throttled_key_rests_for_the_model_that_it_is_throttled_for(provider: Keyed) -> None:
    provider.answers["key-a"] = Refusal(429, retry_after="40", models=("m",))
    async with served(provider, TWO) as caller:
        assert [(await caller.post(model)).status for model in ("m", "n", "m", "n")] == [200] * 4
        assert provider.keys == ["key-a", "key-b", "key-a", "key-b", "key-a"]
        account = await caller.account()
        assert (account["used"], account["used_by_model"]) == (1, {"m": 2})
        assert 30 < account["keys"][0]["throttled_s"]["m"] <= 40


async def test_when_all_keys_are_throttled_the_caller_is_told_when_the_first_is_back(provider: Keyed) -> None:
    provider.answers = {"key-a": Refusal(429, retry_after="20"), "key-b": Refusal(429, retry_after="50")}
    async with served(provider, TWO) as caller:
        answer = await caller.post()
        assert (answer.status, provider.keys) == (429, ["key-a", "key-b"])
        assert answer.headers["retry-after"] in ("19", "20")
        assert answer.json()["error"]["message"] == "not with key-b", "the last one's words"
        assert (await caller.member())["err"] == 1


async def test_a_dead_key_beside_a_throttled_one_does_not_kill_the_member(provider: Keyed) -> None:
    provider.answers = {"key-a": Refusal(429, retry_after="20"), "key-b": Refusal(401)}
    async with served(provider, TWO) as caller:
        answer = await caller.post()
        assert (answer.status, provider.keys) == (429, ["key-a", "key-b"])
        cells = (await caller.member())["cells"]
        assert [cell["state"] for cell in cells.values()] == ["closed"] * len(cells)
        provider.answers.clear()
        assert (await caller.post()).status == 200


async def test_when_all_keys_are_dead_another_member_answers(provider: Keyed) -> None:
    provider.answers = {"key-a": Refusal(401), "key-b": Refusal(403)}
    async with served(provider, TWO) as caller:
        assert (await caller.post("pool")).status == 200
        assert provider.keys == ["key-a", "key-b", "spare"]
        assert (await caller.member())["cells"]["pool"]["state"] == "open"
        assert (await caller.post("pool")).status == 200
        assert provider.keys[3:] == ["spare"]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_other_errors_are_no_matter_of_keys(provider: Keyed, status: int) -> None:
    provider.answers["key-a"] = Refusal(status)
    async with served(provider, TWO) as caller:
        assert (await caller.post()).status == (502 if status == 500 else status) or status in (500, 503)
        assert provider.keys == ["key-a"]
        assert (await caller.account())["used"] == 1


async def test_a_stream_is_begun_with_the_key_that_is_taken(provider: Keyed) -> None:
    provider.answers["key-a"] = Refusal(401)
    async with served(provider, TWO) as caller:
        client = openai.AsyncOpenAI(base_url=f"{caller.gateway.url}/v1", api_key="x", max_retries=0)
        said = [{"role": "user", "content": "Hello"}]
        stream = await client.chat.completions.create(model="m", messages=said, stream=True)  # type: ignore[call-overload]
        text = [chunk.choices[0].delta.content async for chunk in stream]
        assert "".join(it or "" for it in text) == "Hello"
        assert provider.keys == ["key-a", "key-b"]


@pytest.mark.parametrize(
    ("recovery", "said", "keys"),
    [
        ("none", "Hel", ["key-a"]),
        ("hold:60000", "Hello", ["key-a", "spare"]),
        ("continue", "Hello", ["key-a", "spare"]),
    ],
)
async def test_a_stream_that_has_content_is_not_begun_again_with_another_key(
    recovery: str, said: str, keys: list[str]
) -> None:
    """An error inside of it that speaks of the key comes too late: what the caller has would come twice."""
    async with Midway({"key-a"}) as provider:
        text = configured(provider, TWO).replace("pool: {", f"pool: {{stream_recovery: '{recovery}', ")
        if "hold" in recovery:
            provider.go_on.set()
        async with BusbarGateway(loads(text, env={"SPARE": "spare", **ENV})) as made, aiohttp.ClientSession() as http:
            body = b""
            question = ask("openai", "pool", stream=True)
            async with http.post(f"{made.url}{PATHS['openai']}", json=question) as got:
                async for chunk in got.content.iter_any():
                    body += chunk
                    if b'"Hel"' in body:
                        provider.go_on.set()
            assert ("".join(re.findall(r'"content": ?"(\w+)"', body.decode())), provider.keys) == (said, keys)
            shown = (await Asking(made, http).account())["keys"]
            assert [key["benched_for"] for key in shown] == [None, None]


async def test_many_requests_at_once_leave_a_dead_key_together(provider: Keyed) -> None:
    provider.answers["key-a"] = Refusal(401)
    async with served(provider, TWO) as caller:
        answers = await asyncio.gather(*(caller.post() for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert provider.keys.count("key-b") == 20
        assert (await caller.account())["used"] == 2


async def test_one_fixed_key_is_as_it_always_was(provider: Keyed) -> None:
    provider.answers["key-a"] = Refusal(429, retry_after="20")
    async with served(provider, "auth: bearer, api_key_env: A") as caller:
        answer = await caller.post()
        assert (answer.status, answer.headers["retry-after"], provider.keys) == (429, "20", ["key-a"])
        assert (await caller.page("/stats"))["credentials"] == {}


async def test_a_probe_goes_through_the_keys_as_well(provider: Keyed) -> None:
    provider.answers["key-a"] = Refusal(401)
    async with served(provider, f"{TWO}, health: {{mode: active, interval_secs: 0.05}}") as caller:
        async with asyncio.timeout(10):
            while provider.keys.count("key-b") < 4:
                await asyncio.sleep(0.01)
        assert provider.keys.count("key-a") <= 2, "the two models' first probes"
        assert (await caller.member())["err"] == 0


# --- files and programs


async def test_a_key_in_a_file_is_read_again_when_the_provider_refuses_it(provider: Keyed, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old\n")
    async with served(provider, f"auth: bearer, api_key_file: '{path}'") as caller:
        assert (await caller.post()).status == 200
        provider.only = {"new"}
        path.write_text("new\n")
        assert (await caller.post()).status == 200
        assert provider.keys in (["old", "old", "new"], ["old", "new"])
        member = await caller.member()
        assert (member["ok"], member["err"]) == (2, 0)


async def test_a_file_that_changes_is_read_without_any_refusal(provider: Keyed, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    async with served(provider, f"auth: bearer, api_key_file: '{path}'") as caller:
        assert (await caller.post()).status == 200
        (tmp_path / "next").write_text("new")
        os.replace(tmp_path / "next", path)
        async with asyncio.timeout(10):
            while (await caller.account())["keys"][0]["mints"] < 2:
                await asyncio.sleep(0.02)
        assert (await caller.post()).status == 200
        assert provider.keys == ["old", "new"]


async def test_a_file_that_is_gone_or_spoilt_leaves_the_last_good_key(
    provider: Keyed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "key"
    path.write_text("old")
    async with served(provider, f"auth: bearer, api_key_file: '{path}'") as caller:
        assert (await caller.post()).status == 200
        path.write_text("spoilt secret")
        async with asyncio.timeout(10):
            while (await caller.account())["keys"][0]["failures"] < 2:
                await asyncio.sleep(0.02)
        assert (await caller.post()).status == 200
    told = [record.getMessage() for record in caplog.records if record.name == "busbar.credentials"]
    complaint = "the credential contains spaces, control or non-ASCII characters"
    assert told == [f"p: no credential for key 1: {path}: {complaint}"], "once, without the content"
    assert "spoilt" not in caplog.text


async def test_a_file_that_is_not_there_yet_makes_nobody_wait_once_it_is(provider: Keyed, tmp_path: Path) -> None:
    """A sidecar that writes it may start after the gateway."""
    path = tmp_path / "late"
    async with served(provider, f"auth: bearer, api_key_file: '{path}'") as caller:
        assert (await caller.post("pool")).status == 200
        assert ((await caller.post("m")).status, provider.keys) == (503, ["spare"])
        path.write_text("key")
        async with asyncio.timeout(10):
            while not (await caller.account())["keys"][0]["ready"]:
                await asyncio.sleep(0.02)
        assert ((await caller.post("m")).status, provider.keys) == (200, ["spare", "key"])


def program(path: Path, code: str) -> str:
    path.write_text(code)
    return f"auth: bearer, api_key_command: ['{sys.executable}', '-I', '-S', '{path}']"


async def test_a_program_is_asked_again_when_the_provider_refuses_its_key(provider: Keyed, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    code = f"from pathlib import Path; runs = Path({str(runs)!r}); runs.open('a').write('x'); "
    keys = program(tmp_path / "give.py", f"{code}print(f'given-{{runs.stat().st_size}}')")
    provider.only = {"given-1"}
    async with served(provider, keys) as caller:
        assert (await caller.post()).status == 200
        provider.only = {"given-2"}
        assert (await caller.post()).status == 200
        assert provider.keys == ["given-1", "given-1", "given-2"]
        provider.only = {"none"}
        assert (await caller.post("pool")).status in (200, 401, 403, 502)
    assert runs.read_text() == "xx", "it was asked just now: no sense in a third time"


async def test_a_program_that_hangs_keeps_nobody_from_starting(provider: Keyed, tmp_path: Path) -> None:
    keys = program(tmp_path / "hang.py", "import time; time.sleep(600)")
    text = configured(provider, keys, "limits: {drain_timeout_secs: 0.1}")
    text = text.replace("{target: m, ", "{target: m, attempt_timeout_ms: 200, ")
    made = BusbarGateway(loads(text, env={"SPARE": "spare"}))
    async with made, aiohttp.ClientSession() as http:
        caller = Asking(made, http)
        assert (await caller.post("other")).status == 200
        assert (await caller.post("pool")).status == 200, "it waited as long as the member may take, and went on"
        assert provider.keys == ["spare", "spare"]
        account = await caller.account()
        assert (account["keys"][0]["minting"], account["waiting"]) == (True, 0)


# --- tokens


def oauth(tokens: Tokens) -> str:
    identity = f"{{token_url: '{tokens.url}/token', client_id: us, client_secret: '${{SECRET}}'}}"
    return f"auth: oauth, identity: {identity}"


TOKEN_ENV = {"SECRET": "client-secret-of-ours"}


async def test_requests_that_come_before_the_first_token_share_one_mint(provider: Keyed, tokens: Tokens) -> None:
    tokens.go_on.clear()
    async with served(provider, oauth(tokens), env=TOKEN_ENV) as caller:
        asking = [asyncio.ensure_future(caller.post()) for _ in range(15)]
        async with asyncio.timeout(10):
            while (await caller.account())["waiting"] < 15:
                await asyncio.sleep(0.01)
        tokens.go_on.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        assert (tokens.asked, provider.keys) == ({"client_credentials": 1}, ["token-1"] * 15)
        account = await caller.account()
        assert (account["kind"], account["keys"][0]["mints"]) == ("oauth", 1)
        assert 3590 < account["keys"][0]["remaining_s"] <= 3600


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_token_is_replaced_and_the_request_tried_once_more(
    provider: Keyed, tokens: Tokens, stream: bool
) -> None:
    async with served(provider, oauth(tokens), env=TOKEN_ENV) as caller:
        assert (await caller.post()).status == 200
        provider.only = {"token-2"}
        answer = await caller.post(stream=stream)
        assert (answer.status, provider.keys) == (200, ["token-1", "token-1", "token-2"])
        assert tokens.given == 2
        member = await caller.member()
        assert (member["ok"], member["err"]) == (2, 0)
        assert (await caller.attempts(answer))[0]["refused_keys"] == [[1, "auth"]]


async def test_a_new_token_that_is_refused_as_well_is_the_members_failure(
    provider: Keyed, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.only = {"nobody's"}
    async with served(provider, oauth(tokens), env=TOKEN_ENV) as caller:
        provider.only.add("spare")
        assert (await caller.post("pool")).status == 200
        assert provider.keys == ["token-1", "token-2", "spare"]
        assert (tokens.given, (await caller.member())["err"]) == (2, 1)
        answer = await caller.post("n")
        assert answer.status in (500, 502, 503)
        assert b"token-" not in answer.body
        assert provider.keys[3:] == ["token-2"], "no third token for the same complaint"
    assert "token-1" not in caplog.text
    assert "token-2" not in caplog.text


PARTS = {"contents": [{"parts": [{"text": "Hello"}]}]}
ASKED = {
    "openai": ("/v1/chat/completions", ask("openai", "m"), 503),
    "responses": ("/v1/responses", {"model": "m", "input": "Hello"}, 503),
    "anthropic": ("/v1/messages", ask("anthropic", "m"), 529),
    "gemini": ("/v1beta/models/m:generateContent", PARTS, 503),
    "bedrock": ("/model/m/converse", {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}, 503),
    "cohere": ("/v2/chat", ask("openai", "m"), 503),
}


@pytest.mark.parametrize("dialect", ASKED)
@pytest.mark.parametrize(
    ("refusal", "other"), [((401, "invalid_client"), 0), ((429, "slow_down"), 0), ((503, "server_error"), 502)]
)
async def test_a_caller_is_told_in_its_dialect_that_there_is_no_token(
    provider: Keyed, tokens: Tokens, dialect: str, refusal: tuple[int, str], other: int
) -> None:
    """Never as its own key's fault, or as its own limit; and when to come back."""
    tokens.refusal = refusal
    path, body, status = ASKED[dialect]
    status = (500 if dialect == "bedrock" else other) if other else status
    async with served(provider, oauth(tokens), env=TOKEN_ENV) as caller:
        async with caller.http.post(f"{caller.gateway.url}{path}", json=body) as got:
            text = await got.text()
            assert (got.status, got.headers["retry-after"]) == (status, "1")
            assert "x-should-retry" not in got.headers
        assert "The model is not available at the moment." in text
        assert provider.keys == []


async def test_a_client_that_the_token_server_does_not_know_is_no_verdict_for_half_an_hour(
    provider: Keyed, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """The account knows when somebody has mended it; its member is back in that moment."""
    caplog.set_level(logging.DEBUG)
    tokens.refusal = (401, "invalid_client")
    async with served(provider, oauth(tokens), env=TOKEN_ENV) as caller:
        assert (await caller.post("pool")).status == 200
        assert provider.keys == ["spare"]
        assert (await caller.member())["cells"]["pool"]["state"] == "closed"
        alone = await caller.post("m")
        assert (alone.status, alone.headers["retry-after"]) == (503, "1")
        assert alone.json()["error"]["message"] == "The model is not available at the moment."
        assert (await caller.account())["keys"][0]["failing"] == "auth"
        tokens.refusal = None
        async with asyncio.timeout(10):
            while not (await caller.account())["keys"][0]["ready"]:
                await asyncio.sleep(0.02)
        assert (await caller.post("m")).status == 200
        assert provider.keys == ["spare", "token-1"]
    assert "client-secret-of-ours" not in caplog.text


async def test_a_token_server_that_is_away_is_a_failure_that_passes(provider: Keyed, tokens: Tokens) -> None:
    tokens.refusal = (503, "temporarily_unavailable")
    async with served(provider, oauth(tokens), env=TOKEN_ENV) as caller:
        answer = await caller.post()
        assert (answer.status >= 500, provider.keys) == (True, [])
        assert "retry-after" in answer.headers
        tokens.refusal = None
        async with asyncio.timeout(10):
            while not (await caller.account())["keys"][0]["ready"]:
                await asyncio.sleep(0.02)
        assert (await caller.post()).status == 200
        assert provider.keys == ["token-1"]


async def test_short_tokens_are_replaced_ahead_of_their_end(provider: Keyed) -> None:
    async with (
        Tokens(lifetime_secs=2) as tokens,
        served(provider, oauth(tokens), env=TOKEN_ENV) as caller,
    ):
        async with asyncio.timeout(10):
            while tokens.given < 2:
                assert (await caller.post()).status == 200
                await asyncio.sleep(0.02)
        assert (await caller.member())["err"] == 0


async def test_aws_s_own_chain_signs_without_a_configured_key(monkeypatch: pytest.MonkeyPatch) -> None:
    access, _, secret = AWS_KEY.partition(":")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    keys = {"demo-bedrock": "api_key_env: null, identity: {region: us-east-1}"}
    async with World({"m": "bedrock:demo"}, provider_keys=keys) as world:
        assert (await world.post(PATHS["openai"], ask("openai", "m"))).status == 200
        shown = (await world.stats())["credentials"]["demo-bedrock"]
        assert (shown["kind"], shown["keys"][0]["mints"]) == ("sigv4", 1)


# --- a reload


async def test_a_reload_keeps_the_account_that_has_not_changed(provider: Keyed, tokens: Tokens) -> None:
    text = configured(provider, oauth(tokens))
    env = {"SPARE": "spare", **TOKEN_ENV}
    texts = [text.replace("n: {provider: p}", "late: {provider: p}"), text.replace("client_id: us", "client_id: we")]
    made = BusbarGateway(loads(text, env=env), load=lambda: loads(texts.pop(0), env=env))
    async with made, aiohttp.ClientSession() as http:
        caller = Asking(made, http)
        assert (await caller.post()).status == 200
        await made.reloader.reload("test")
        assert [(await caller.post(model)).status for model in ("m", "late")] == [200, 200]
        assert (tokens.given, set(provider.keys)) == (1, {"token-1"})
        await made.reloader.reload("test")
        assert (await caller.post()).status == 200
        assert (tokens.given, provider.keys[-1]) == (2, "token-2")
