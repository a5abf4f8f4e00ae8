"""A new configuration for a running gateway: over real sockets, by signal and by the administration."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI

from busbar.config import Config, loads
from busbar.gateway import BusbarGateway

from .asks import PATHS, ask
from .governed import ADMIN, ADMIN_TOKEN, GovernedWorld
from .served import Served
from .test_wire import answer, connected, request
from .world import KEY, World

TOKEN = 'governance: {admin_token: "${ADMIN}"}'


class FiledWorld(World):
    """A world whose configuration is read again when it is told to: `text` is the file."""

    def __init__(self, config: str = TOKEN, **more: Any) -> None:
        super().__init__(config=config, env={"ADMIN": ADMIN_TOKEN, "OTHER": KEY, "WRONG": "no-such-key"}, **more)
        self.text = ""

    async def __aenter__(self) -> FiledWorld:
        await super().__aenter__()
        await self.gateway.stop()
        self.text = self._text()
        self.gateway = BusbarGateway(self.load(), load=self.load)
        await self.gateway.start()
        await self.http.close()
        self.http = aiohttp.ClientSession(self.gateway.url, connector=aiohttp.TCPConnector(force_close=True))
        return self

    def load(self) -> Config:
        return loads(self.text, env=self._env)

    def change(self, before: str, after: str) -> None:
        assert before in self.text, self.text
        self.text = self.text.replace(before, after)

    async def reload(self, query: str = "", status: int = 200) -> dict[str, Any]:
        answer = await self.post(f"/admin/config/reload{query}", b"", ADMIN)
        assert answer.status == status, answer
        document: dict[str, Any] = answer.json()
        return document

    async def says(self, model: str) -> int:
        return (await self.post(PATHS["openai"], ask("openai", model))).status


@asynccontextmanager
async def world(config: str = TOKEN, **more: Any) -> AsyncIterator[FiledWorld]:
    async with FiledWorld(config, **more) as made:
        assert isinstance(made, FiledWorld)
        yield made


async def test_a_model_that_is_added_answers_and_one_that_is_gone_does_not() -> None:
    async with world() as it:
        assert await it.says("mini") == 404
        it.change("models:\n", "models:\n  mini: {provider: demo-openai, upstream_model: demo}\n")
        it.change("  gpt:\n", "  other:\n")
        reloaded = await it.reload()
        assert reloaded == {
            "generation": 2,
            "changes": [
                {"path": "models.gpt", "kind": "removed", "before": None, "after": None},
                {"path": "models.mini", "kind": "added", "before": None, "after": None},
                {"path": "models.other", "kind": "added", "before": None, "after": None},
            ],
            "notes": [],
        }
        assert [await it.says(model) for model in ("mini", "other", "gpt", "claude")] == [200, 200, 404, 200]
        assert (await it.stats())["gateway"]["generation"] == 2


async def test_a_file_that_is_wrong_changes_nothing_and_says_why() -> None:
    async with world() as it:
        it.change("models:\n", "models:\n  bad: {provider: demo-opnai}\n")
        refused = await it.reload(status=422)
        assert refused["error"]["message"] == "The configuration was not reloaded; nothing has changed."
        (problem,) = refused["error"]["problems"]
        assert problem.endswith("models.bad.provider: there is no provider of this name, did you mean `demo-openai`?")
        assert (await it.stats())["gateway"]["generation"] == 1
        assert await it.says("gpt") == 200


async def test_what_needs_a_restart_is_refused_whole() -> None:
    async with world() as it:
        it.change("models:\n", "models:\n  mini: {provider: demo-openai}\n")
        it.text += "\nlimits: {connect_timeout_secs: 3}\n"
        refused = await it.reload(status=422)
        assert refused["error"]["problems"] == [
            "limits.connect_timeout_secs: this key takes effect at a restart only"
        ]
        assert await it.says("mini") == 404


async def test_a_dry_run_only_tells() -> None:
    async with world() as it:
        it.change("upstream_model: demo\n", "upstream_model: demo\n    max_concurrent: 3\n")
        told = await it.reload("?dry_run=1")
        assert (told["generation"], [change["path"] for change in told["changes"]]) == (
            None,
            ["models.claude.max_concurrent", "models.gpt.max_concurrent"],
        )
        assert (await it.member("gpt"))["max_concurrent"] == 20
        assert (await it.reload())["generation"] == 2
        assert (await it.member("gpt"))["max_concurrent"] == 3


async def test_a_file_that_is_the_same_does_nothing() -> None:
    async with world() as it:
        assert await it.reload() == {"generation": None, "changes": [], "notes": []}
        assert (await it.stats())["gateway"]["generation"] == 1


async def test_members_keep_their_figures_and_streams_run_through() -> None:
    async with world(models={"gpt": "openai:fault-paced-50"}) as it:
        client = AsyncOpenAI(base_url=f"{it.gateway.url}/v1", api_key="unused")
        stream = await client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        first = await anext(stream)
        it.change("models:\n", "models:\n  mini: {provider: demo-openai, upstream_model: demo}\n")
        await it.reload()
        member = await it.member("gpt")
        assert (member["inflight"], member["ok"]) == (1, 0)
        rest = [chunk async for chunk in stream]
        assert rest[-1].choices[0].finish_reason == "stop"
        assert {chunk.id for chunk in rest} == {first.id}
        for _ in range(100):  # the caller has its answer a moment before the member hears of it
            member = await it.member("gpt")
            if not member["inflight"]:
                break
        assert (member["inflight"], member["ok"]) == (0, 1)
        await client.close()


async def test_a_stream_of_a_model_that_is_gone_runs_to_its_end() -> None:
    async with world(models={"gpt": "openai:fault-paced-50", "claude": "anthropic:demo"}) as it:
        client = AsyncOpenAI(base_url=f"{it.gateway.url}/v1", api_key="unused")
        stream = await client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        await anext(stream)
        it.change("  gpt:\n", "  other:\n")
        await it.reload()
        rest = [chunk async for chunk in stream]
        assert rest[-1].choices[0].finish_reason == "stop"
        await client.close()


async def test_a_key_that_is_put_right_is_used_at_once_though_the_breaker_was_open() -> None:
    wrong = {"demo-openai": 'api_key: "${WRONG}", api_key_env: null'}
    async with world(provider_keys=wrong) as it:
        assert await it.says("gpt") == 502
        assert (await it.member("gpt"))["availability"] == "breaker_open"
        it.change("${WRONG}", "${OTHER}")
        reloaded = await it.reload()
        assert reloaded["changes"] == [
            {
                "path": "providers.demo-openai.keys",
                "kind": "changed",
                "before": [{**_SOURCE, "value": "***"}],
                "after": [{**_SOURCE, "value": "***"}],
            }
        ]
        assert await it.says("gpt") == 200
        assert (await it.member("gpt"))["availability"] == "available"


_SOURCE = {"env": None, "file": None, "command": None, "refresh_secs": 300}


async def test_tokens_of_callers_and_limits_change() -> None:
    async with world() as it:
        assert await it.says("gpt") == 200
        it.text += '\nauth: {mode: token, client_tokens: ["${OTHER}"]}\nlimits: {body_max_bytes: 1024}\n'
        await it.reload()
        assert await it.says("gpt") == 401
        known = {"authorization": f"Bearer {KEY}"}
        assert (await it.post(PATHS["openai"], ask("openai", "gpt"), known)).status == 200
        assert (await it.post(PATHS["openai"], b" " * 2000, known)).status == 413


async def test_a_token_that_is_gone_opens_nothing_on_a_connection_that_stays() -> None:
    """Nor does the provider's key that went with the last request of the same head."""
    auth = 'auth: {mode: token, client_tokens: ["${%s}"]}'
    async with world() as it:
        it.text += f"\n{auth % 'OTHER'}\n"
        await it.reload()
        async with connected(it) as (reader, writer):
            asked = request("1.1", f"authorization: Bearer {KEY}")
            for _ in range(2):
                writer.write(asked)
                assert (await answer(reader))[0] == b"HTTP/1.1 200 OK"
            it.change(auth % "OTHER", auth % "WRONG")
            await it.reload()
            writer.write(asked)
            assert (await answer(reader))[0] == b"HTTP/1.1 401 Unauthorized"


async def test_new_members_are_in_the_metrics_from_the_start() -> None:
    async with world() as it:
        await it.says("gpt")
        it.change("models:\n", "models:\n  mini: {provider: demo-openai, upstream_model: demo}\n")
        await it.reload()
        async with it.http.get("/metrics") as response:
            text = await response.text()
        assert 'busbar_upstream_attempts_total{lane="mini",pool="mini"} 0.0' in text
        assert 'busbar_upstream_attempts_total{lane="gpt",pool="gpt"} 1.0' in text


async def test_the_effective_configuration_is_shown_to_the_administrator_without_secrets() -> None:
    async with world() as it:
        async with it.http.get("/admin/config", headers=ADMIN) as response:
            text = await response.text()
        document = json.loads(text)
        assert document["models"]["gpt"] == {
            **document["models"]["claude"],
            "provider": "demo-openai",
        }
        assert document["limits"]["body_max_bytes"] == 32 << 20
        assert KEY not in text
        assert ADMIN_TOKEN not in text
        for path, method in (("/admin/config", "GET"), ("/admin/config/reload", "POST")):
            async with it.http.request(method, path) as refused:
                assert refused.status == 401


async def test_without_an_admin_token_there_is_nothing_there() -> None:
    async with world(config="") as it, it.http.get("/admin/config") as response:
        assert response.status == 404


async def test_reloads_that_come_together_are_applied_one_after_the_other() -> None:
    async with world() as it:
        it.change("models:\n", "models:\n  mini: {provider: demo-openai, upstream_model: demo}\n")
        done = await asyncio.gather(*(it.reload() for _ in range(5)))
        assert sorted(answer["generation"] or 0 for answer in done) == [0, 0, 0, 0, 2]


async def test_requests_go_on_while_it_is_reloaded_again_and_again() -> None:
    async with world() as it:
        statuses: list[int] = []

        async def ask_on() -> None:
            while len(statuses) < 200:
                statuses.append(await it.says("gpt"))

        async def reload_on() -> None:
            for number in range(20):
                it.text = it.text.replace("models:\n", f"models:\n  m{number}: {{provider: demo-openai}}\n", 1)
                await it.reload()

        await asyncio.gather(reload_on(), *(ask_on() for _ in range(4)))
        assert set(statuses) == {200}
        assert (await it.stats())["gateway"]["generation"] == 21


async def test_administration_and_reloads_are_in_one_audit_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with world(f"{TOKEN}\nobservability: {{audit_log_file: '{path}'}}") as it:
        await it.post("/admin/members/gpt/reinstate", b"", ADMIN)
        await it.post("/admin/faults", {"member": "gpt", "kind": "500", "secs": 60}, ADMIN)
        it.change("models:\n", "models:\n  mini: {provider: demo-openai}\n")
        await it.reload()
        it.change("models:\n", "models:\n  bad: {}\n")
        await it.reload(status=422)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [{key: value for key, value in line.items() if key != "ts"} for line in lines] == [
        {"who": "admin", "action": "reinstate", "member": "gpt"},
        {"who": "admin", "action": "inject", "member": "gpt", "fault": "500", "secs": "60"},
        {"who": "admin", "action": "reload", "generation": 2, "changes": 1, "outcome": "done"},
        {"who": "admin", "action": "reload", "problems": 1, "outcome": "refused"},
        {"who": "busbar", "action": "lift", "member": "gpt", "fault": "500"},
    ]
    assert all(line["ts"].endswith("Z") for line in lines)


async def test_keys_are_in_it_too_and_prices_change_what_was_spent(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with GovernedWorld(tmp_path, config=f"observability: {{audit_log_file: '{path}'}}") as it:
        text = it._text()
        it.gateway.reloader._load = lambda: loads(text, env=it._env)
        key = await it.key(max_budget_cents=100)
        own = {"authorization": f"Bearer {key.secret}"}
        assert (await it.post(PATHS["openai"], ask("openai", "gpt"), own)).status == 200
        before = (await it.post("/admin/config/reload", b"", ADMIN)).json()
        assert before["generation"] is None
        spent = await _spent(it, key.id)
        text = text.replace("input: 1, output: 2", "input: 10, output: 20")
        text = text.replace("cache_read: 0.1, cache_write: 1.25, reasoning: 4", "reasoning: 40")
        assert (await it.post("/admin/config/reload", b"", ADMIN)).json()["generation"] == 2
        assert (await it.post(PATHS["openai"], ask("openai", "gpt"), own)).status == 200
        assert await _spent(it, key.id) == pytest.approx(20 * spent)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["action"] for line in lines] == ["create", "reload", "reload"]
    assert lines[0]["id"] == key.id


async def _spent(it: GovernedWorld, key: str) -> float:
    async with it.http.get(f"/admin/keys/{key}/usage", headers=ADMIN) as response:
        spent: float = (await response.json())["spend_cents"]
        return spent


async def test_a_hangup_has_a_running_process_read_its_files_again(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    text = (
        "listen: 127.0.0.1:0\n"
        "providers: {local: {protocol: openai, base_url: 'http://127.0.0.1:9', auth: none}}\n"
        "models: {one: {provider: local}}\n"
    )
    file.write_text(text, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "busbar", "serve", "--config", str(file)), stderr=asyncio.subprocess.PIPE
    )
    served = Served(process)
    try:
        await served.listening()
        file.write_text(text.replace("models: {one", "models: {two: {provider: local}, one"), encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        await _until(lambda: "who=signal action=reload generation=2 changes=1 done" in served.log)
        assert [it["model"] for it in (await served.page("/stats"))["members"]] == ["two", "one"]
        file.write_text("models: nonsense\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        await _until(lambda: "action=reload problems=1 refused" in served.log)
        assert "not reloaded: " in served.log
        assert [it["model"] for it in (await served.page("/stats"))["members"]] == ["two", "one"]
    finally:
        process.terminate()
        assert await served.ended() == 0


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)
