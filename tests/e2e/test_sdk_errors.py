"""What goes wrong, as the official SDKs raise it: their own exceptions, and retries only where they can help."""

from __future__ import annotations

import anthropic
import openai
import pytest

from .speakers import Ingress
from .ways import INGRESS, WAYS, Way, every_way, hello, speak
from .world import World

PLACES = {"claude": "anthropic:demo", "gpt": "openai:demo"}
SDK = {"openai": openai, "anthropic": anthropic}
SECRETS = ("api key", "x-api-key", "credit", "billing", "quota", "organization", "permission", "platform.openai.com")
"""Words by which a provider speaks of an account that is not the caller's."""

POOL = "pools: {pool: {members: [{target: bad, weight: 100}, {target: good, weight: 1}]}}"
every_streamed_way = pytest.mark.parametrize("way", [way for way in WAYS if way.streamed], ids=str)
every_whole_way = pytest.mark.parametrize("way", [way for way in WAYS if not way.streamed], ids=str)


def failing(way: Way, fault: str, config: str = "", more: dict[str, str] | None = None) -> World:
    """A world in which the way's egress has a fault."""
    place = f"{PLACES[way.egress]}-fault-{fault}"
    return World({way.egress: place, **(more or {})}, config)


async def error_of(
    world: World, way: Way, model: str = "", *, retries: int = 0
) -> openai.APIError | anthropic.APIError:
    """What the SDK raises; fails when it does not."""
    async with speak(way.ingress, world, retries=retries) as speaker:
        with pytest.raises((openai.APIError, anthropic.APIError)) as raised:
            await speaker.ask(model or way.egress, hello("one two three four"), streamed=way.streamed)
    return raised.value


def named(error: object, way: Way) -> tuple[str, int]:
    """Class and status of a status error, which has to be of the SDK that was asked."""
    assert isinstance(error, SDK[way.ingress].APIStatusError)
    return type(error).__name__, error.status_code


def words_of(error: openai.APIError | anthropic.APIError) -> tuple[str | None, str | None]:
    """(type, code) in the envelope."""
    body = error.body
    assert isinstance(body, dict)
    return (error.type, error.code) if isinstance(error, openai.APIError) else (body["error"]["type"], None)


def header(error: object, name: str) -> str | None:
    value: str | None = error.response.headers.get(name)  # type: ignore[attr-defined]
    return value


# --- the caller's own mistakes ---------------------------------------------------------------------------------


@every_way
async def test_a_bad_request_is_the_callers_and_touches_no_member(way: Way) -> None:
    pool = f"pools: {{pool: {{members: [{{target: {way.egress}, weight: 100}}, {{target: good, weight: 1}}]}}}}"
    async with failing(way, "400", pool, {"good": "openai:demo"}) as world:
        error = await error_of(world, way, "pool", retries=2)
        member = await world.member(way.egress)
        assert named(error, way) == ("BadRequestError", 400)
        assert words_of(error)[0] == "invalid_request_error"
        assert "the demo refuses this request" in error.message
        assert len(world.providers.requests) == 1
        assert (member["err"], member["client_fault"], member["usable"]) == (0, 1, True)


@pytest.mark.parametrize("ingress", INGRESS)
async def test_a_value_of_the_wrong_type_is_refused_before_anybody_is_asked(ingress: Ingress) -> None:
    way = Way(ingress, "gpt" if ingress == "anthropic" else "claude", False)
    async with World(PLACES) as world, speak(ingress, world) as speaker:
        with pytest.raises(SDK[ingress].BadRequestError):
            await speaker.ask(way.egress, hello(native={"messages": 7}))
        assert len(world.providers.requests) == 0


@every_whole_way
async def test_the_gateways_own_tokens_are_wanted(way: Way) -> None:
    token = "auth: {mode: token, client_tokens: ['${TOKEN}']}"
    async with World(PLACES, token, {"TOKEN": "client-token"}) as world:
        error = await error_of(world, way, retries=2)
        assert named(error, way) == ("AuthenticationError", 401)
        expected = ("authentication_error", None) if way.ingress == "anthropic" else (None, "invalid_api_key")
        assert expected[0] in (None, words_of(error)[0])
        assert expected[1] in (None, words_of(error)[1])
        assert len(world.providers.requests) == 0
        async with speak(way.ingress, world, key="client-token") as speaker:
            assert (await speaker.ask(way.egress, hello())).text == "You said: Hello"
        sent = world.providers.requests[-1].headers
        assert "client-token" not in " ".join(sent.values())


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("ingress", INGRESS)
async def test_an_unknown_model_is_not_found(ingress: Ingress, streamed: bool) -> None:
    way = Way(ingress, "claude", streamed)
    async with World(PLACES) as world:
        error = await error_of(world, way, "gpt-9", retries=2)
        assert named(error, way) == ("NotFoundError", 404)
        kind = {"openai": ("invalid_request_error", "model_not_found"), "anthropic": ("not_found_error", None)}
        assert words_of(error) == kind[ingress]
        assert len(world.providers.requests) == 0


@every_way
async def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_look_for(way: Way) -> None:
    async with failing(way, "context") as world:
        error = await error_of(world, way, retries=2)
        assert named(error, way) == ("BadRequestError", 400)
        kind = {"openai": "context_length_exceeded", "anthropic": None}
        if way.crosses:
            assert words_of(error) == ("invalid_request_error", kind[way.ingress])
        if way.ingress == "anthropic":
            assert "prompt is too long" in error.message.lower()
        assert len(world.providers.requests) == 1


# --- the provider's ----------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("fault", ["401", "403", "402", "billing"])
async def test_trouble_with_our_account_is_not_the_callers_and_is_not_tried_again(fault: str, way: Way) -> None:
    """With the SDK's usual retries: one call is made, and nobody hears of keys or money."""
    async with failing(way, fault) as world:
        error = await error_of(world, way, retries=2)
        assert named(error, way) == ("InternalServerError", 502)
        assert header(error, "x-should-retry") == "false"
        assert [word for word in SECRETS if word in str(error).lower()] == []
        assert len(world.providers.requests) == 1


@every_way
async def test_a_lone_members_rate_limit_says_when_to_come_back(way: Way) -> None:
    async with failing(way, "429") as world:
        error = await error_of(world, way)
        assert named(error, way) == ("RateLimitError", 429)
        assert header(error, "retry-after") == "7"


@every_way
async def test_when_all_members_broke_the_caller_is_told_and_does_not_multiply_the_load(way: Way) -> None:
    pool = f"pools: {{pool: {{members: [{{target: {way.egress}}}, {{target: other}}]}}}}"
    async with failing(way, "500", pool, {"other": "openai:fault-500"}) as world:
        error = await error_of(world, way, "pool", retries=2)
        assert isinstance(error, SDK[way.ingress].InternalServerError)
        assert 500 <= error.status_code <= 502
        assert header(error, "x-should-retry") == "false"
        assert len(world.providers.requests) == 2


@every_way
@pytest.mark.parametrize("fault", ["cut-start", "garbage", "502-html", "error-200"])
async def test_an_answer_that_is_none_is_a_server_error(fault: str, way: Way) -> None:
    async with failing(way, fault) as world:
        error = await error_of(world, way)
        assert isinstance(error, SDK[way.ingress].InternalServerError)
        assert "<html" not in str(error)


@every_whole_way
async def test_a_whole_answer_that_was_cut_is_a_server_error(way: Way) -> None:
    async with failing(way, "cut") as world:
        assert named(await error_of(world, way), way) == ("InternalServerError", 502)


@every_way
async def test_a_tripped_pool_says_when_to_come_back(way: Way) -> None:
    """OpenAI's SDK reads a 503, Anthropic's a 529; both obey `Retry-After`."""
    pool = (
        f"pools: {{pool: {{members: [{{target: {way.egress}}}], "
        "breaker: {trip: {mode: consecutive, consecutive_n: 1}}}}"
    )
    overloaded = {"openai": ("InternalServerError", 503), "anthropic": ("OverloadedError", 529)}[way.ingress]
    async with failing(way, "529", pool) as world:
        first = await error_of(world, way, "pool")
        second = await error_of(world, way, "pool")
        assert isinstance(first, SDK[way.ingress].InternalServerError)
        assert named(second, way) == overloaded
        assert header(first, "x-should-retry") == "false"
        assert 1 <= int(header(second, "retry-after") or 0) <= 17
        assert len(world.providers.requests) == 1


@every_whole_way
async def test_a_deadline_is_a_timeout(way: Way) -> None:
    pool = f"pools: {{pool: {{members: [{{target: {way.egress}}}], failover: {{deadline_secs: 0.1}}}}}}"
    async with failing(way, "hang", pool) as world:
        error = await error_of(world, way, "pool")
        timed_out = {"openai": ("InternalServerError", 504), "anthropic": ("GatewayTimeoutError", 504)}
        assert named(error, way) == timed_out[way.ingress]


# --- streams -----------------------------------------------------------------------------------------------------


@every_streamed_way
@pytest.mark.parametrize("fault", ["error-mid", "cut", "eof", "eof-mid"])
async def test_a_broken_stream_raises_and_never_ends_cleanly(fault: str, way: Way) -> None:
    """After content: the error comes inside of the stream, natively."""
    async with failing(way, fault) as world:
        error = await error_of(world, way)
        member = await world.member(way.egress)
        kind = {
            "openai": {"error-mid": "service_unavailable_error"},
            "anthropic": {"error-mid": "overloaded_error"},
        }[way.ingress].get(fault, {"openai": "server_error", "anthropic": "api_error"}[way.ingress])
        assert words_of(error)[0] == kind
        assert not isinstance(error, openai.APIConnectionError | anthropic.APIConnectionError)
        assert member["err"] == 1


@every_streamed_way
async def test_an_error_before_content_fails_over(way: Way) -> None:
    pool = f"pools: {{pool: {{members: [{{target: {way.egress}, weight: 100}}, {{target: good, weight: 1}}]}}}}"
    async with failing(way, "error-first", pool, {"good": PLACES[way.egress]}) as world:
        async with speak(way.ingress, world) as speaker:
            reply = await speaker.ask("pool", hello(), streamed=True)
        assert reply.text == "You said: Hello"
        assert len(world.providers.requests) == 2


@every_streamed_way
async def test_an_error_before_content_of_a_lone_member_has_a_status(way: Way) -> None:
    async with failing(way, "error-first") as world:
        overloaded = {"openai": ("InternalServerError", 503), "anthropic": ("OverloadedError", 529)}[way.ingress]
        assert named(await error_of(world, way), way) == overloaded
