"""Every key of the configuration that works changes something that a caller or a provider can see.

(Paths, keys, limits on callers, failover and affinity have their tests in `test_http` and `test_failures`. What
a breaker's settings do is shown on the virtual clock in `tests/actors`; that they arrive there, below.)
"""

from __future__ import annotations

import asyncio
import socket

import pytest
from msgspec.structs import replace

from busbar.actors.gateway import PoolLine, PoolPlan
from busbar.actors.member import MemberSpec
from busbar.actors.messages import Terms
from busbar.actors.supervision import BreakerSettings
from busbar.config import loads
from busbar.plan import plan_of

from .asks import PATHS, ask, error_of
from .world import KEY, World


async def test_path_replaces_the_protocols_own() -> None:
    async with World(provider_keys={"demo-openai": "path: /elsewhere"}) as world:
        answer = await world.post(PATHS["openai"], ask("openai", "gpt"))
        assert answer.status == 404, "the embedded provider has nothing there"
        assert (await world.post(PATHS["openai"], ask("openai", "claude"))).status == 200


async def test_headers_of_the_provider_are_sent_and_win() -> None:
    keys = {"demo-anthropic": 'headers: {anthropic-version: "2023-06-01", x-team: "${TEAM}"}'}
    async with World(provider_keys=keys, env={"TEAM": "blue"}) as world:
        await world.post(PATHS["anthropic"], ask("anthropic", "claude"), {"anthropic-version": "2026-10-21"})
        headers = world.providers.requests[0].headers
        assert (headers["x-team"], headers["anthropic-version"]) == ("blue", "2023-06-01")


@pytest.mark.parametrize(
    ("extra", "fault", "expected"),
    [
        ("error_map: {invalid_request_error: overloaded}", "400", "err"),
        ("error_status: {400: billing}", "400", "err"),
        ("error_texts: {'bad request': rate_limit, 'invalid': rate_limit}", "400", "err"),
        ("error_map: {server_error: client_error}", "500", "client_fault"),
        ("error_status: {500: client_error}", "500", "client_fault"),
    ],
)
async def test_a_provider_may_mean_something_else_by_its_errors(extra: str, fault: str, expected: str) -> None:
    async with World({"m": f"openai:fault-{fault}"}, provider_keys={"demo-openai": extra}) as world:
        await world.post(PATHS["openai"], ask("openai", "m"))
        member = await world.member("m")
        assert {key: member[key] for key in ("err", "client_fault")} == {"err": 0, "client_fault": 0} | {expected: 1}


async def test_api_key_may_be_written_as_a_variable() -> None:
    keys = {"demo-openai": 'api_key: "${OTHER}", api_key_env: null'}  # one of the two
    async with World(provider_keys=keys, env={"OTHER": KEY}) as world:
        assert (await world.post(PATHS["openai"], ask("openai", "gpt"))).status == 200


async def test_auth_style_decides_the_header() -> None:
    async with World(provider_keys={"demo-openai": "auth: api-key"}) as world:
        assert (await world.post(PATHS["openai"], ask("openai", "gpt"))).status == 200
        headers = world.providers.requests[0].headers
        assert (headers["api-key"], "authorization" in headers) == (KEY, False)


async def test_max_concurrent_is_the_number_of_slots() -> None:
    async with World({"m": "openai:fault-slow"}, model_keys={"m": "max_concurrent: 1"}) as world:
        first = asyncio.ensure_future(world.post(PATHS["openai"], ask("openai", "m")))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        second = await world.post(PATHS["openai"], ask("openai", "m"))
        world.providers.release()
        assert (second.status, second.headers["retry-after"], (await first).status) == (503, "2", 200)


async def test_max_requests_is_spent_once_and_given_back_for_answers_that_never_began() -> None:
    async with World({"m": "openai:fault-flaky-1"}, model_keys={"m": "max_requests: 3"}) as world:
        statuses = [(await world.post(PATHS["openai"], ask("openai", "m"))).status for _ in range(4)]
        assert statuses == [500, 200, 200, 503]
        assert (await world.member("m"))["availability"] == "budget_exhausted"


async def test_a_request_that_was_never_sent_costs_no_budget() -> None:
    async with World({"m": "anthropic:demo"}, model_keys={"m": "max_requests: 1"}) as world:
        unreadable = await world.post(PATHS["openai"], {"model": "m", "messages": 7})
        assert (unreadable.status, (await world.member("m"))["budget"]) == (400, 1)
        assert (await world.post(PATHS["openai"], ask("openai", "m"))).status == 200


async def test_default_max_tokens_is_what_anthropic_is_told_when_nobody_said() -> None:
    async with World(model_keys={"claude": "default_max_tokens: 777"}) as world:
        await world.post(PATHS["openai"], ask("openai", "claude"))
        body = world.providers.requests[0].body
        assert body is not None
        assert body["max_tokens"] == 777


async def test_an_answer_over_the_limit_is_a_failure() -> None:
    async with World(config="limits: {answer_max_bytes: 1024}") as world:
        answer = await world.post(PATHS["openai"], ask("openai", "gpt", "x" * 2000))
        error_of("openai", answer.body)
        assert (answer.status, (await world.member("gpt"))["err"]) == (502, 1)


async def test_upstream_connections_are_bounded() -> None:
    config = "limits: {upstream_connections_max: 1}"
    async with World({"m": "openai:fault-slow"}, config) as world:
        both = [asyncio.ensure_future(world.post(PATHS["openai"], ask("openai", "m"))) for _ in range(2)]
        await world.providers.until(lambda: world.providers.open_requests == 1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert world.providers.open_requests == 1
        world.providers.release()
        await world.providers.until(lambda: len(world.providers.requests) == 2)
        world.providers.release()
        assert {answer.status for answer in await asyncio.gather(*both)} == {200}


async def test_connecting_is_bounded() -> None:
    """A port whose queue of connections is full answers no handshake."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        address = silent.getsockname()
        filling = [socket.socket() for _ in range(4)]
        for one in filling:
            one.setblocking(False)
            one.connect_ex(address)
        keys = {"demo-openai": f'base_url: "http://127.0.0.1:{address[1]}"'}
        async with World(config="limits: {connect_timeout_secs: 0.1}", provider_keys=keys) as world:
            async with asyncio.timeout(5):
                answer = await world.post(PATHS["openai"], ask("openai", "gpt"))
            error_of("openai", answer.body)
            assert answer.status == 504
        for one in filling:
            one.close()


async def test_a_provider_that_is_not_there_is_a_502() -> None:
    async with World(provider_keys={"demo-openai": 'base_url: "http://127.0.0.1:9"'}) as world:
        for ingress, path in PATHS.items():
            answer = await world.post(path, ask(ingress, "gpt"))
            _, _, message = error_of(ingress, answer.body)
            assert (answer.status, message) == (502, "The model's provider could not be reached.")


def test_the_rest_of_the_configuration_arrives_at_the_actors() -> None:
    text = """
providers: {p: {protocol: anthropic, base_url: "http://x", auth: none}}
models: {m: {provider: p, max_concurrent: 3, max_requests: 9}, n: {provider: p}}
pools:
  pool:
    members: [{target: m, weight: 4, context_max: 100}, {target: n, weight: 0}]
    failover: {exclusions: [n]}
    breaker: {base_cooldown_secs: 2, max_cooldown_secs: 7, trip: {mode: consecutive, window_secs: 9, threshold: 0.25,
      min_requests: 6, consecutive_n: 4}}
"""
    plan = plan_of(loads(text, env={}))
    assert tuple(replace(spec, identity=None) for spec in plan.members) == (
        MemberSpec(model="m", provider="p", protocol="anthropic", max_concurrent=3, max_requests=9),
        MemberSpec(model="n", provider="p", protocol="anthropic", max_concurrent=20, max_requests=-1),
    )
    assert plan.pools == (
        PoolPlan(
            name="pool",
            members=(
                PoolLine(model="m", weight=4, excluded=False, terms=Terms(context_max=100)),
                PoolLine(model="n", weight=0, excluded=True),
            ),
            breaker=BreakerSettings(
                base_cooldown_secs=2,
                max_cooldown_secs=7,
                mode="consecutive",
                window_secs=9,
                threshold=0.25,
                min_requests=6,
                consecutive_n=4,
            ),
        ),
    )


@pytest.mark.parametrize(("engine", "status"), [("aiohttp", 502), ("auto", 502), ("lean", 200)])
async def test_the_upstream_engine_decides_whether_the_environments_proxy_is_taken(
    engine: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy at which nobody listens: whoever goes to it finds no provider."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("HTTP_PROXY", nobody)
    monkeypatch.setenv("http_proxy", nobody)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with World(config=f"upstream_engine: {engine}") as world:
        answer = await world.post(PATHS["openai"], ask("openai", "gpt"))
        assert answer.status == status
        assert len(world.providers.requests) == (status == 200)
