"""When providers fail: what the caller is told, what the member is charged with, who is asked next."""

from __future__ import annotations

import asyncio

import pytest

from .asks import INGRESSES, PATHS, ask, error_of, events
from .world import World

POOL = "pools: {pool: {members: [{target: first, weight: 100}, {target: second, weight: 1}]}}"


def upstream_models(world: World) -> list[str | None]:
    return [request.model for request in world.providers.requests]


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("second", ["anthropic:demo", "openai:demo"])
@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        *(
            (fault, stream)
            for stream in (False, True)
            for fault in ("429", "500", "502-html", "529", "401", "billing")
        ),
        ("cut-start", False),
        ("cut-start", True),
        ("cut", False),
        ("garbage", True),
        ("error-200", False),
        ("error-200", True),
        ("error-first", True),
        ("context", False),
    ],
)
async def test_a_failure_before_the_first_byte_fails_over(
    ingress: str, second: str, fault: str, stream: bool
) -> None:
    """Also across dialects: the second attempt starts from the caller's own body."""
    models = {"first": f"anthropic:fault-{fault}", "second": second}
    async with World(models, POOL) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "pool", stream=stream))
        assert answer.status == 200
        assert b"You" in answer.body
        assert upstream_models(world) == [f"fault-{fault}", "demo"]


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("egress", INGRESSES)
async def test_a_callers_mistake_is_relayed_and_not_tried_elsewhere(ingress: str, egress: str) -> None:
    models = {"first": f"{egress}:fault-400", "second": f"{egress}:demo"}
    async with World(models, POOL) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "pool"))
        kind, _, _ = error_of(ingress, answer.body)
        member = await world.member("first")
        assert (answer.status, kind) == (400, "invalid_request_error")
        assert upstream_models(world) == ["fault-400"]
        assert (member["ok"], member["err"], member["client_fault"]) == (0, 0, 1)
        assert member["cells"]["pool"]["outcomes"] == 0


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("egress", INGRESSES)
async def test_a_lone_members_429_stays_a_429_with_its_retry_after(ingress: str, egress: str) -> None:
    async with World({"m": f"{egress}:fault-429"}) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "m"))
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        assert error_of(ingress, answer.body)[0] in ("rate_limit_error", "requests", "rate_limit_exceeded", "tokens")


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("egress", INGRESSES)
@pytest.mark.parametrize("fault", ["401", "403", "402", "billing"])
async def test_trouble_with_our_account_is_never_the_callers(ingress: str, egress: str, fault: str) -> None:
    """A clean 502, without the provider's text; the cell opens at once, for half an hour."""
    async with World({"m": f"{egress}:fault-{fault}"}) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "m"))
        _, _, message = error_of(ingress, answer.body)
        cell = (await world.member("m"))["cells"]["m"]
        assert (answer.status, message) == (502, "The model is not available at the moment.")
        assert answer.headers["x-should-retry"] == "false"
        assert (cell["state"], cell["trips"]) == ("open", 1)
        assert 1790 <= cell["cooldown_remaining_s"] <= 1800


@pytest.mark.parametrize("ingress", INGRESSES)
async def test_when_the_only_cell_is_open_the_caller_is_told_when_to_come_back(ingress: str) -> None:
    async with World({"m": "openai:fault-401"}) as world:
        await world.post(PATHS[ingress], ask(ingress, "m"))
        answer = await world.post(PATHS[ingress], ask(ingress, "m"))
        kind, _, _ = error_of(ingress, answer.body)
        status, word = {"anthropic": (529, "overloaded_error"), "openai": (503, kind)}[ingress]
        assert (answer.status, kind) == (status, word)
        assert 1790 <= int(answer.headers["retry-after"]) <= 1800
        assert len(world.providers.requests) == 1


@pytest.mark.parametrize("ingress", INGRESSES)
async def test_a_saturated_pool_answers_at_once(ingress: str) -> None:
    async with World({"m": "openai:fault-slow"}) as world:
        slots = [asyncio.ensure_future(world.post(PATHS[ingress], ask(ingress, "m"))) for _ in range(20)]
        await world.providers.until(lambda: world.providers.open_requests == 20)
        answer = await world.post(PATHS[ingress], ask(ingress, "m"))
        assert answer.status in (503, 529)
        assert answer.headers["retry-after"] == "2"
        world.providers.release()
        assert {answer.status for answer in await asyncio.gather(*slots)} == {200}
        assert (await world.member("m"))["free_slots"] == 20


@pytest.mark.parametrize("ingress", INGRESSES)
async def test_context_length_fails_over_only_to_a_larger_or_unknown_member(ingress: str) -> None:
    models = {"small": "openai:fault-context", "tiny": "openai:demo-tiny", "large": "anthropic:demo-large"}
    pool = (
        "pools: {pool: {members: [{target: small, weight: 100, context_max: 8000},"
        " {target: tiny, weight: 50, context_max: 4000}, {target: large, context_max: 200000}]}}"
    )
    async with World(models, pool) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "pool"))
        assert answer.status == 200
        assert upstream_models(world) == ["fault-context", "demo-large"]
        assert (await world.member("small"))["err"] == 0


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("egress", INGRESSES)
async def test_a_context_error_that_nobody_can_help_is_told_in_the_callers_dialect(ingress: str, egress: str) -> None:
    async with World({"m": f"{egress}:fault-context"}) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "m"))
        kind, code, _ = error_of(ingress, answer.body)
        assert (answer.status, kind) == (400, "invalid_request_error")
        assert code == {"anthropic": None, "openai": "context_length_exceeded"}[ingress]


@pytest.mark.parametrize("cap", [0, 1, 2])
async def test_the_cap_bounds_further_attempts(cap: int) -> None:
    models = {name: f"openai:fault-500-{name}" for name in ("a", "b", "c", "d")}
    members = ", ".join(f"{{target: {name}}}" for name in models)
    pool = f"pools: {{pool: {{members: [{members}], failover: {{cap: {cap}}}}}}}"
    async with World(models, pool) as world:
        answer = await world.post(PATHS["openai"], ask("openai", "pool"))
        assert answer.status >= 500
        assert answer.headers["x-should-retry"] == "false"
        assert len(world.providers.requests) == cap + 1


async def test_two_pools_keep_their_own_failover_settings() -> None:
    models = {"bad": "openai:fault-500", "good": "openai:demo"}
    members = "[{target: bad, weight: 100}, {target: good}]"
    pools = f"pools: {{brave: {{members: {members}}}, timid: {{members: {members}, failover: {{cap: 0}}}}}}"
    async with World(models, pools) as world:
        assert (await world.post(PATHS["openai"], ask("openai", "timid"))).status == 500
        assert (await world.post(PATHS["openai"], ask("openai", "brave"))).status == 200


async def test_the_deadline_ends_the_search_with_a_native_504() -> None:
    pool = "pools: {pool: {members: [{target: first}, {target: second}], failover: {deadline_secs: 0.2}}}"
    models = {"first": "openai:fault-hang", "second": "openai:fault-hang"}
    async with World(models, pool) as world:
        for ingress in INGRESSES:
            answer = await world.post(PATHS[ingress], ask(ingress, "pool"))
            assert answer.status == 504
            error_of(ingress, answer.body)
        # Nobody is blamed for having been given a fifth of a second.
        assert (await world.member("first"))["err"] == 0


async def test_excluded_members_are_reachable_by_direct_route_only() -> None:
    pool = "pools: {pool: {members: [{target: first}, {target: second}], failover: {exclusions: [first]}}}"
    async with World({"first": "openai:demo-1", "second": "openai:demo-2"}, pool) as world:
        for _ in range(4):
            await world.post(PATHS["openai"], ask("openai", "pool"))
        await world.post(PATHS["openai"], ask("openai", "first"))
        assert upstream_models(world) == ["demo-2"] * 4 + ["demo-1"]


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("egress", INGRESSES)
@pytest.mark.parametrize("fault", ["cut", "eof-mid", "error-mid-20"])
async def test_a_stream_that_breaks_says_so_natively_and_never_ends_cleanly(
    ingress: str, egress: str, fault: str
) -> None:
    models = {"first": f"{egress}:fault-{fault}", "second": f"{egress}:demo"}
    async with World(models, POOL) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "pool", "one two three four five", stream=True))
        frames = events(answer.body)
        stats = await world.stats()
        assert answer.status == 200
        if ingress == "anthropic":
            name, data = frames[-1]
            assert (name, data["type"], set(data["error"]) >= {"type", "message"}) == ("error", "error", True)
            assert "message_stop" not in [name for name, _ in frames]
        else:
            assert set(frames[-1][1]["error"]) >= {"message", "type", "code"}
            assert "[DONE]" not in [data for _, data in frames]
        assert len(world.providers.requests) == 1, "no failover after the first byte"
        member = next(member for member in stats["members"] if member["model"] == "first")
        assert (member["ok"], member["err"], member["free_slots"]) == (0, 1, 20)
        assert stats["metrics"]["requests"][0]["outcome"] == "error"


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("egress", INGRESSES)
@pytest.mark.parametrize("manner", ["split", "crlf", "comments", "malformed-chunk"])
async def test_odd_but_whole_streams_arrive_whole(ingress: str, egress: str, manner: str) -> None:
    async with World({"m": f"{egress}:fault-{manner}"}) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "m", "one two three", stream=True))
        member = await world.member("m")
        assert answer.status == 200
        assert (member["ok"], member["err"]) == (1, 0)
        ending = b"message_stop" if ingress == "anthropic" else b"[DONE]"
        assert ending in answer.body


async def test_a_hundred_good_streams_are_no_failures() -> None:
    async with World() as world:
        for _ in range(50):
            await world.post(PATHS["anthropic"], ask("anthropic", "gpt", stream=True))
            await world.post(PATHS["anthropic"], ask("anthropic", "claude", stream=True))
        for model in ("claude", "gpt"):
            member = await world.member(model)
            assert (member["ok"], member["err"], member["client_fault"]) == (50, 0, 0)
