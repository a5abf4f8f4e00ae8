"""Why did this request go there? Every answer's `x-busbar-request-id` leads to the steps that its request took."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from busbar.actors.messages import Refusal
from busbar.http import traces
from busbar.http.lean import AutoUpstream, LeanUpstream
from busbar.http.upstream_aiohttp import AiohttpUpstream

from .asks import INGRESSES, PATHS, ask
from .world import Answer, World

PAIR = "pools: {pool: {members: [{target: first, weight: 100}, {target: second}]}}"


async def get(world: World, path: str, **headers: str) -> tuple[int, Any]:
    async with world.http.get(path, headers=headers) as response:
        return response.status, await response.json()


async def trace_of(world: World, answer: Answer) -> dict[str, Any]:
    status, trace = await get(world, f"/stats/requests/{answer.headers['x-busbar-request-id']}")
    assert status == 200
    found: dict[str, Any] = trace
    return found


def way(trace: dict[str, Any]) -> list[tuple[str, str | None, str | None, dict[str, str], str | None]]:
    """The steps without their times: (pool, chosen, chosen by, why not the others, what came of it)."""
    return [
        (
            step["pool"],
            step["chosen"],
            step["chosen_by"],
            step["not_chosen"],
            None if step["attempt"] is None else step["attempt"]["result"],
        )
        for step in trace["steps"]
    ]


def timeless(trace: dict[str, Any]) -> dict[str, Any]:
    """Checks that times run forward and fit into the request's own, and takes them away."""
    ends = [0.0]
    for step in trace["steps"]:
        assert step.pop("waited_ms") >= 0
        ends.append(step.pop("at_ms"))
        if (attempt := step["attempt"]) is not None:
            began, lasted, first = attempt.pop("at_ms"), attempt.pop("latency_ms"), attempt.pop("first_byte_ms")
            assert first is None or 0 < first <= lasted
            ends += [began, round(began + lasted, 1)]
    ends.append(trace.pop("latency_ms"))
    # Each is rounded by itself.
    assert all(later >= earlier - 0.2 for earlier, later in itertools.pairwise(ends)), ends
    assert trace.pop("time") > 1.7e9
    trace.pop("ttft_ms")
    return trace


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failover_is_told_step_by_step(ingress: str, stream: bool) -> None:
    async with World({"first": "openai:fault-429-9", "second": "openai:demo"}, PAIR) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "pool", stream=stream))
        trace = timeless(await trace_of(world, answer))
        assert bool(trace.pop("dropped_fields")) == (ingress != "openai")
        code = trace["steps"][0]["attempt"].pop("code")
        assert code in ("rate_limit_exceeded", "rate_limit_error")
        refused = {"member": "first", "result": "rate_limit", "status": 429, "retry_after_s": 9.0}
        served = {"member": "second", "result": "ok", "status": None, "code": None, "retry_after_s": None}
        where = {"provider": "demo-openai", "protocol": "openai"}
        step = {"pool": "pool", "chosen_by": "weighted", "probe": False}
        assert trace == {
            "request_id": answer.headers["x-busbar-request-id"],
            "ingress_protocol": ingress,
            "pool": "pool",
            "member": "second",
            "outcome": "ok",
            "status": 200,
            "attempts": 2,
            "failovers": 1,
            "operation": "chat",
            "stream": stream,
            "session_affinity": False,
            "translated_to": None if ingress == "openai" else "openai",
            "steps": [
                {**step, "chosen": "first", "not_chosen": {"second": "not_its_turn"}, "attempt": where | refused},
                {**step, "chosen": "second", "not_chosen": {"first": "tried_already"}, "attempt": where | served},
            ],
        }


async def test_the_log_says_in_a_line_what_was_tried(caplog: pytest.LogCaptureFixture) -> None:
    """For requests of which there is something to tell; one that was simply answered leaves no line."""
    caplog.set_level("INFO", "busbar.relay")
    models = {"first": "openai:fault-401", "second": "openai:demo"}
    pools = PAIR.removesuffix("}") + ", lone: {members: [{target: first}]}}"
    async with World(models, pools) as world:
        told = [await world.post(PATHS["openai"], ask("openai", name)) for name in ("pool", "second", "lone", "lone")]
    ids = [answer.headers["x-busbar-request-id"] for answer in told]
    assert [record.getMessage() for record in caplog.records if record.name == "busbar.relay"] == [
        f"{ids[0]}: pool: first auth, then second ok; told ok (200)",
        f"{ids[2]}: lone: first auth; told error (502)",
        f"{ids[3]}: lone: first breaker_open; told exhausted (503)",
    ]


async def test_metrics_count_failovers_by_pool_and_reason() -> None:
    async with World({"first": "openai:fault-429", "second": "openai:fault-500"}, PAIR) as world:
        await world.post(PATHS["openai"], ask("openai", "pool"))
        assert (await world.stats())["metrics"]["failovers"] == [{"pool": "pool", "reason": "rate_limit", "count": 1}]


async def test_each_member_that_was_not_chosen_has_its_reason() -> None:
    models = {name: f"openai:demo-{name}" for name in ("taken", "tripped", "drained", "excluded", "fresh", "spare")}
    models["tripped"] = "openai:fault-401"
    members = ", ".join(f"{{target: {name}, weight: {0 if name == 'drained' else 1}}}" for name in models)
    pool = f"pools: {{pool: {{members: [{members}], failover: {{exclusions: [excluded]}}}}}}"
    models["taken"] = "openai:fault-slow"
    async with World(models, pool, model_keys={"taken": "max_concurrent: 1"}) as world:
        holding = asyncio.ensure_future(world.post(PATHS["openai"], ask("openai", "pool")))
        await world.providers.until(lambda: world.providers.open_requests == 1)
        await world.post(PATHS["openai"], ask("openai", "pool"))  # meets the 401, goes on to `fresh`
        answer = await world.post(PATHS["openai"], ask("openai", "pool"))
        world.providers.release()
        assert (await holding).status == 200
        assert way(await trace_of(world, answer)) == [
            (
                "pool",
                "spare",
                "weighted",
                {
                    "taken": "at_capacity",
                    "tripped": "breaker_open",
                    "drained": "draining",
                    "excluded": "excluded",
                    "fresh": "not_its_turn",
                },
                "ok",
            )
        ]


async def test_a_member_that_has_just_failed_is_benched() -> None:
    async with World({"first": "openai:fault-flaky-1", "second": "openai:demo"}, PAIR) as world:
        await world.post(PATHS["openai"], ask("openai", "pool"))
        answer = await world.post(PATHS["openai"], ask("openai", "pool"))
        assert way(await trace_of(world, answer)) == [("pool", "second", "weighted", {"first": "benched"}, "ok")]


async def test_an_exhausted_request_shows_that_nobody_could_be_asked() -> None:
    models = {"first": "openai:fault-401", "second": "anthropic:fault-billing"}
    async with World(models, PAIR) as world:
        failed = await world.post(PATHS["openai"], ask("openai", "pool"))
        exhausted = await world.post(PATHS["openai"], ask("openai", "pool"))
        assert way(await trace_of(world, failed)) == [
            ("pool", "first", "weighted", {"second": "not_its_turn"}, "auth"),
            ("pool", "second", "weighted", {"first": "tried_already"}, "billing"),
            ("pool", None, None, {"first": "tried_already", "second": "tried_already"}, None),
        ]
        trace = await trace_of(world, exhausted)
        assert way(trace) == [("pool", None, None, {"first": "breaker_open", "second": "breaker_open"}, None)]
        assert (exhausted.status, trace["outcome"], trace["status"], trace["member"]) == (503, "exhausted", 503, None)


async def test_a_fallback_pool_is_a_step_further() -> None:
    pools = """pools:
      main: {members: [{target: first}], on_exhausted: "fallback_pool:other"}
      other: {members: [{target: first}, {target: second}]}"""
    async with World({"first": "openai:fault-slow", "second": "anthropic:demo"}, pools) as world:
        slots = [asyncio.ensure_future(world.post(PATHS["openai"], ask("openai", "main"))) for _ in range(20)]
        await world.providers.until(lambda: world.providers.open_requests == 20)
        answer = await world.post(PATHS["openai"], ask("openai", "main"))
        world.providers.release()
        await asyncio.gather(*slots)
        trace = await trace_of(world, answer)
        assert (trace["pool"], trace["member"], trace["translated_to"]) == ("main", "second", "anthropic")
        assert way(trace) == [
            ("main", None, None, {"first": "at_capacity"}, None),
            ("other", "second", "weighted", {"first": "at_capacity"}, "ok"),
        ]


async def test_another_try_at_the_same_member_and_the_wait_for_it_are_told() -> None:
    pool = (
        "pools: {pool: {members: [{target: first, weight: 100}, {target: second}],"
        " retry: {same_member: 1, retry_after_max_secs: 1}}}"
    )
    async with World({"first": "openai:fault-429-ms-30", "second": "openai:demo"}, pool) as world:
        trace = await trace_of(world, await world.post(PATHS["openai"], ask("openai", "pool")))
        assert way(trace) == [
            ("pool", "first", "weighted", {"second": "not_its_turn"}, "rate_limit"),
            ("pool", "first", "retry", {"second": "same_member_first"}, "rate_limit"),
            ("pool", "second", "weighted", {"first": "tried_already"}, "ok"),
        ]
        assert [step["waited_ms"] >= 30 for step in trace["steps"]] == [False, True, False]
        assert trace["steps"][0]["attempt"]["retry_after_s"] == 0.03


async def test_a_context_that_is_too_small_is_a_reason() -> None:
    pool = (
        "pools: {pool: {members: [{target: small, weight: 100, context_max: 8000},"
        " {target: tiny, weight: 50, context_max: 4000}, {target: large}]}}"
    )
    models = {"small": "openai:fault-context", "tiny": "openai:demo", "large": "openai:demo"}
    async with World(models, pool) as world:
        trace = await trace_of(world, await world.post(PATHS["openai"], ask("openai", "pool")))
        assert way(trace)[1] == (
            "pool",
            "large",
            "weighted",
            {"small": "tried_already", "tiny": "context_too_small"},
            "ok",
        )


async def test_affinity_says_that_the_session_chose() -> None:
    pool = "pools: {pool: {members: [{target: first}, {target: second}], affinity: {mode: session}}}"
    async with World({"first": "openai:demo", "second": "openai:demo"}, pool) as world:
        for header, chosen_by in (({"x-session-id": "s"}, "session"), ({}, "weighted")):
            trace = await trace_of(world, await world.post(PATHS["openai"], ask("openai", "pool"), header))
            assert (trace["session_affinity"], trace["steps"][0]["chosen_by"]) == (bool(header), chosen_by)


async def test_counting_tokens_passes_over_those_who_speak_otherwise() -> None:
    async with World({"first": "openai:demo", "second": "anthropic:demo"}, PAIR) as world:
        answer = await world.post("/v1/messages/count_tokens", ask("anthropic", "pool"))
        trace = await trace_of(world, answer)
        assert trace["operation"] == "count_tokens"
        assert way(trace) == [("pool", "second", "weighted", {"first": "other_dialect"}, "ok")]


async def test_a_stream_that_broke_is_no_success() -> None:
    async with World({"m": "openai:fault-cut"}) as world:
        body = ask("openai", "m", "one two three four five", stream=True)
        trace = await trace_of(world, await world.post(PATHS["openai"], body))
        assert (trace["outcome"], way(trace)) == ("error", [("m", "m", "weighted", {}, "network")])


async def test_a_request_that_never_got_to_a_pool_has_a_trace_without_steps() -> None:
    async with World() as world:
        answer = await world.post(PATHS["openai"], ask("openai", "nobody-of-this-name"))
        trace = await trace_of(world, answer)
        assert (trace["pool"], trace["outcome"], trace["status"]) == ("unresolved", "client_error", 404)
        assert (trace["steps"], trace["attempts"]) == ([], 0)


async def test_nothing_that_was_said_is_in_a_trace() -> None:
    """The embedded provider's errors quote the model's name; real ones quote prompts and keys."""
    async with World({"m": "openai:fault-context", "n": "anthropic:fault-400"}) as world:
        for model in ("m", "n"):
            answer = await world.post(PATHS["openai"], ask("openai", model, "a secret of mine"))
            _, trace = await get(world, f"/stats/requests/{answer.headers['x-busbar-request-id']}")
            text = str(trace)
            assert "secret" not in text
            assert "provider-key" not in text
            assert "message" not in text


async def test_recent_requests_are_listed_newest_first_in_short() -> None:
    async with World() as world:
        answers = [await world.post(PATHS["openai"], ask("openai", "gpt", str(number))) for number in range(4)]
        ids = [answer.headers["x-busbar-request-id"] for answer in answers]
        status, recent = await get(world, "/stats/requests")
        assert status == 200
        assert [request["request_id"] for request in recent["requests"]] == ids[::-1]
        line = recent["requests"][0]
        assert {key: line[key] for key in ("pool", "member", "outcome", "status", "attempts", "failovers")} == {
            "pool": "gpt",
            "member": "gpt",
            "outcome": "ok",
            "status": 200,
            "attempts": 1,
            "failovers": 0,
        }
        assert "steps" not in line
        _, two = await get(world, "/stats/requests?limit=2")
        assert [request["request_id"] for request in two["requests"]] == ids[:1:-1]
        for nonsense in ("x", "-1", "1e3", "99999", ""):
            status, error = await get(world, f"/stats/requests?limit={nonsense}")
            assert (status, error) == (400, {"error": {"message": "limit: expected a number from 0 to 1000"}})


@pytest.mark.parametrize("unknown", ["req_0", "%2e%2Freq_0", "a/b", "x" * 500])
async def test_an_unknown_id_is_a_plain_404(unknown: str) -> None:
    async with World() as world:
        status, error = await get(world, f"/stats/requests/{unknown}")
        expected = {"error": {"message": "There is no such request among the latest 1000."}}
        assert (status, error) == (404, expected)


def test_every_reason_is_explained_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "requests.md").read_text(encoding="utf-8")
    derived = [value for name, value in vars(traces).items() if name.isupper() and isinstance(value, str)]
    assert len(derived) == 7
    for word in (*derived, *(refusal.value for refusal in Refusal)):
        assert f"`{word}`" in page, word


async def test_traces_are_behind_the_same_door_as_stats() -> None:
    config = 'auth: {mode: token, client_tokens: ["${TOKEN}"]}'
    async with World(config=config, env={"TOKEN": "callers-token"}) as world:
        for path in ("/stats/requests", "/stats/requests/req_0"):
            assert (await get(world, path))[0] == 401
        assert (await get(world, "/stats/requests", authorization="Bearer callers-token"))[0] == 200
        assert (await get(world, "/stats/requests/req_0", authorization="Bearer callers-token"))[0] == 404


async def test_a_request_that_failed_inside_is_found_by_what_its_caller_was_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(*_: object) -> None:
        raise ZeroDivisionError

    for engine in (AiohttpUpstream, AutoUpstream, LeanUpstream):
        monkeypatch.setattr(engine, "send", breaks)
    async with World() as world:
        answer = await world.post(PATHS["openai"], ask("openai", "gpt"))
        trace = await trace_of(world, answer)
        assert (answer.status, trace["outcome"], trace["status"]) == (500, "error", 500)
        assert way(trace) == [("gpt", "gpt", "weighted", {}, "cancelled")]
        assert f"{trace['request_id']} failed unexpectedly" in caplog.messages
