"""The official SDKs against the gateway, over real sockets: each ingress and egress, whole and streamed.

A case is a question, and what the answer has to be whatever the dialects are; where these cannot say the same, the
case says for which egress what holds. On the way every answer is held against the SDK's own types.
"""

from __future__ import annotations

import base64

import msgspec
import pytest

from .speakers import Attachment, Call, Counts, Question, Reply, Result, Tool, User
from .ways import BOTH, CALLS, CLOCK, EGRESS, WEATHER, Way, ask, every_way, hello, nameless, received
from .world import World

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = base64.b64encode(b"%PDF-1.4 a very short paper").decode()
REFUSAL = "I'm sorry, but I can't assist with that."
QUERY = '{"city": "Paris", "deep": {"quote": "\\""}}'
SEARCH = Tool(
    "search",
    {"type": "object", "properties": {"query": {"type": "string", "enum": [QUERY]}}, "required": ["query"]},
)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


# --- one question, one answer ----------------------------------------------------------------------------------


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`upstream` chooses what the provider does."""

    name: str
    question: Question
    upstream: str = ""
    text: str = ""
    calls: tuple[Call, ...] = ()
    stop: str = "end"


def shown(*attachments: Attachment) -> Question:
    return Question(turns=(User("Look", attachments=attachments),))


NOISY = ("split", "crlf", "comments", "paced-1")

CASES = [
    Case(name="text", question=hello(), text="You said: Hello"),
    Case(
        name="characters",
        question=hello('Grüße 🎉\ndata: \\ "x" \u2028'),
        text='You said: Grüße 🎉\ndata: \\ "x" \u2028',
    ),
    Case(name="system", question=hello(system="Be brief."), text="[system: Be brief.] You said: Hello"),
    Case(
        name="several turns",
        question=Question(turns=("One", Reply(turn={"role": "assistant", "content": "Uno"}), "Two"), system="Count."),
        text="[system: Count.] [turn 2] You said: Two",
    ),
    Case(name="parallel calls", question=BOTH, calls=CALLS, stop="tools"),
    Case(name="interleaved calls", question=BOTH, upstream="-interleaved", calls=CALLS, stop="tools"),
    Case(
        name="text and calls",
        question=BOTH,
        upstream="-preface",
        text="Let me check that.",
        calls=CALLS,
        stop="tools",
    ),
    Case(
        name="serial calls",
        question=msgspec.structs.replace(BOTH, parallel=False),
        calls=CALLS[:1],
        stop="tools",
    ),
    Case(
        name="no calls",
        question=msgspec.structs.replace(BOTH, choice="none"),
        text="You said: What is the weather in Paris and Rome?",
    ),
    Case(
        name="a call required",
        question=hello(tools=(CLOCK,), choice="required"),
        calls=(Call("get_time", {}),),
        stop="tools",
    ),
    Case(
        name="one tool forced",
        question=hello(tools=(WEATHER, CLOCK), choice="get_time"),
        calls=(Call("get_time", {}),),
        stop="tools",
    ),
    Case(
        name="an argument that is JSON",
        question=hello(tools=(SEARCH,), choice="required"),
        calls=(Call("search", {"query": QUERY}),),
        stop="tools",
    ),
    Case(
        name="image",
        question=shown(Attachment("image", data=PNG)),
        text=f"I see 1 image (image/png, {len(base64.b64decode(PNG))} bytes) You said: Look",
    ),
    Case(
        name="images by URL",
        question=shown(
            Attachment("image", url="https://example.com/a.png"), Attachment("image", url="https://example.com/b.png")
        ),
        text="I see 2 images (https://example.com/a.png; https://example.com/b.png) You said: Look",
    ),
    Case(
        name="PDF",
        question=shown(Attachment("document", data=PDF, media_type="application/pdf")),
        text=f"I see 1 document (application/pdf, {len(base64.b64decode(PDF))} bytes) You said: Look",
    ),
    Case(name="structured output", question=hello(schema=PERSON), text='{"name":"text","age":0}'),
    Case(name="max tokens", question=hello("one two three", max_tokens=3), text="You said: one ", stop="length"),
    Case(
        name="content filter",
        question=hello(),
        upstream="-filter",
        text="You said: ",
        stop="refusal",
    ),
    *(
        Case(name=f"noise: {noise}", question=hello(), upstream=f"-fault-{noise}", text="You said: Hello")
        for noise in NOISY
    ),
    *(
        Case(name=f"noise and calls: {noise}", question=BOTH, upstream=f"-fault-{noise}", calls=CALLS, stop="tools")
        for noise in NOISY[:1]
    ),
]


@every_way
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_question_is_answered_alike_on_every_way(case: Case, way: Way) -> None:
    async with way.world(case.upstream) as world:
        reply = await ask(world, way, case.question)
        assert (reply.text, nameless(reply.calls), reply.stop) == (case.text, case.calls, case.stop)
        assert len({call.id for call in reply.calls}) == len(reply.calls)
        assert len(world.providers.requests) == 1


@every_way
async def test_tool_results_reach_their_calls_in_the_next_turn(way: Way) -> None:
    """Ids go back as the provider made them. A failure is said where the dialect has a word for it."""
    async with way.world() as world:
        first = await ask(world, way, BOTH)
        paris, rome = first.calls
        results = User("So?", results=(Result(paris.id, "sunny"), Result(rome.id, "no such city", failed=True)))
        reply = await ask(world, way, Question(turns=(BOTH.turns[0], first, results), tools=BOTH.tools))
        failed = "no such city"
        if way.ingress == "anthropic":
            failed = {"claude": f"{failed} (error)", "gpt": f"Error: {failed}"}[way.egress]
        assert reply.text == f"[turn 2] Results: sunny; {failed} You said: So?"
        assert reply.stop == "end"


@every_way
async def test_usage_counts_every_token_once(way: Way) -> None:
    """12 words in, 14 out; a third of the prompt was in the cache."""
    async with way.world("-cached") as world:
        reply = await ask(world, way, hello("one two three four five six seven eight nine ten eleven twelve"))
        assert reply.usage == Counts(input=8, output=14, cache_read=4)


@every_way
async def test_usage_of_tool_calls_and_thinking(way: Way) -> None:
    async with World({"claude": "anthropic:demo-claude", "gpt": "openai:demo-gpt-reason"}) as world:
        reply = await ask(world, way, hello(thinking=True))
        assert reply.usage == Counts(input=1, output=6, reasoning=3)


@pytest.mark.parametrize("egress", EGRESS)
async def test_a_stream_of_openai_states_usage_only_when_asked(egress: str) -> None:
    async with World(EGRESS) as world:
        reply = await ask(world, Way("openai", egress, True), hello(usage=False))
        assert reply.text == "You said: Hello"
        assert reply.usage is None
        assert all("usage" not in chunk.to_dict() for chunk in reply.raw)  # type: ignore[attr-defined]


@pytest.mark.parametrize("streamed", [False, True])
async def test_cache_breakpoints_reach_a_provider_that_knows_them_and_are_reported_elsewhere(streamed: bool) -> None:
    marked = {"type": "text", "text": "a long system prompt", "cache_control": {"type": "ephemeral"}}
    question = hello(native={"system": [marked]})
    async with World(EGRESS) as world:
        way = Way("anthropic", "claude", streamed)
        written, read = await ask(world, way, question), await ask(world, way, question)
        assert written.usage == Counts(input=1, output=8, cache_write=4)
        assert read.usage == Counts(input=1, output=8, cache_read=4)
        other = await ask(world, Way("anthropic", "gpt", streamed), question)
        assert other.usage == Counts(input=5, output=8)
        assert other.dropped == {"system[0].cache_control"}


# --- stops -----------------------------------------------------------------------------------------------------


@every_way
async def test_a_stop_sequence_ends_the_answer(way: Way) -> None:
    """Only Anthropic says which one it was; OpenAI does not even tell it from the end of a turn."""
    async with way.world() as world:
        reply = await ask(world, way, hello("one two three", stops=("two", "nine")))
        named = way.ingress == "anthropic" and way.egress == "claude"
        stop = ("stop_sequence", "two") if named else ("end", None)
        assert (reply.text, reply.stop, reply.stop_sequence) == ("You said: one ", *stop)


@every_way
async def test_a_refusal_is_one(way: Way) -> None:
    """OpenAI's providers refuse in words that are no text, and end as usual; Anthropic's give a reason to stop."""
    async with way.world("-refuse") as world:
        reply = await ask(world, way, hello())
        words = REFUSAL if way.egress == "gpt" else ""
        native = way.ingress == "openai" and way.egress == "gpt"
        assert (reply.refusal, reply.stop) == (words, "end" if native else "refusal")


# --- thinking --------------------------------------------------------------------------------------------------

THINKERS = {"claude": "anthropic:demo-claude", "gpt": "openai:demo-gpt-reason"}


@every_way
async def test_thinking_is_shown_apart_from_the_text(way: Way) -> None:
    async with World(THINKERS) as world:
        reply = await ask(world, way, hello(thinking=True))
        assert (reply.thinking, reply.text) == ("Thinking about: Hello", "You said: Hello")
        assert bool(reply.signature) == (way.ingress == "anthropic" and way.egress == "claude")
        asked = received(world)
        if way.egress == "claude":
            assert asked["thinking"] == {"type": "enabled", "budget_tokens": 1024}
        else:
            assert asked["reasoning_effort"] == "minimal"


@every_way
async def test_after_thinking_and_a_tool_the_next_turn_is_accepted(way: Way) -> None:
    """Anthropic refuses changed thinking, and thinking that is missing while more is asked for."""
    question = msgspec.structs.replace(BOTH, thinking=True)
    async with World(THINKERS) as world:
        first = await ask(world, way, question)
        assert first.thinking == f"Thinking about: {question.turns[0]}"
        results = User(results=tuple(Result(call.id, call.arguments["city"]) for call in first.calls))
        turns = (*question.turns, first, results)
        reply = await ask(world, way, msgspec.structs.replace(question, turns=turns))
        assert reply.text == "[turn 2] Results: Paris; Rome"
        assert reply.thinking
        if way.egress == "claude":
            block = received(world)["messages"][1]["content"][0]
            assert (block["type"], block["thinking"]) == ("thinking", first.thinking)
            assert block["signature"] == first.signature or way.ingress == "openai", (
                "kept aside where it was not shown"
            )


@every_way
async def test_a_conversation_that_thought_goes_on_at_the_other_dialects_provider(way: Way) -> None:
    """A pool of both kinds may change the member between two turns: thinking without Anthropic's signature must not
    get the next turn refused."""
    question = msgspec.structs.replace(BOTH, thinking=True)
    other = {"claude": "gpt", "gpt": "claude"}[way.egress]
    async with World(THINKERS) as world:
        first = await ask(world, way, question)
        results = User(results=tuple(Result(call.id, "fine") for call in first.calls))
        turns = (*question.turns, first, results)
        next_way = Way(way.ingress, other, way.streamed)
        reply = await ask(world, next_way, msgspec.structs.replace(question, turns=turns))
        assert reply.text == "[turn 2] Results: fine; fine"


@pytest.mark.parametrize("streamed", [False, True])
async def test_redacted_thinking_goes_back_as_it_came_and_never_reaches_an_openai_caller(streamed: bool) -> None:
    question = msgspec.structs.replace(BOTH, thinking=True)
    async with World({"claude": "anthropic:demo-claude-redacted"}) as world:
        way = Way("anthropic", "claude", streamed)
        first = await ask(world, way, question)
        results = User(results=tuple(Result(call.id, "fine") for call in first.calls))
        await ask(world, way, msgspec.structs.replace(question, turns=(*question.turns, first, results)))
        assert received(world)["messages"][1]["content"][0] == first.turn["content"][0]
        assert first.turn["content"][0]["type"] == "redacted_thinking"
        way = Way("openai", "claude", streamed)
        other = await ask(world, way, question)
        assert (other.thinking, nameless(other.calls)) == ("", CALLS)
        results = User(results=tuple(Result(call.id, "fine") for call in other.calls))
        await ask(world, way, msgspec.structs.replace(question, turns=(*question.turns, other, results)))
        assert received(world)["messages"][1]["content"][0]["type"] == "redacted_thinking", "kept aside"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_with_a_long_name_is_called_by_its_own_name(streamed: bool) -> None:
    """Anthropic takes 128 characters, OpenAI 64: the caller never sees the shortened name."""
    name = "mcp__" + "very_long_server_name_" * 4 + "__weather"
    question = msgspec.structs.replace(BOTH, tools=(msgspec.structs.replace(BOTH.tools[0], name=name),))
    async with World(THINKERS) as world:
        reply = await ask(world, Way("anthropic", "gpt", streamed), question)
        sent = received(world)["tools"][0]["function"]["name"]
        assert len(sent) <= 64
        assert {call.name for call in reply.calls} == {name}


# --- settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
async def test_openai_settings_are_brought_into_anthropics_range_or_reported(streamed: bool) -> None:
    native = {"temperature": 1.5, "n": 2, "seed": 7, "presence_penalty": 0.5, "user": "u-1"}
    async with World(EGRESS) as world:
        reply = await ask(world, Way("openai", "claude", streamed), hello(max_tokens=None, native=native))
        sent = received(world)
        assert (sent["temperature"], sent["max_tokens"], sent["metadata"]) == (1, 4096, {"user_id": "u-1"})
        assert reply.dropped == {"n", "seed", "presence_penalty"}
        assert "response.delta" not in reply.headers["x-busbar-dropped"]
        assert reply.others == ()


@pytest.mark.parametrize("streamed", [False, True])
async def test_several_choices_pass_through_to_openai(streamed: bool) -> None:
    async with World(EGRESS) as world:
        reply = await ask(world, Way("openai", "gpt", streamed), hello(native={"n": 2, "temperature": 1.5}))
        assert (reply.text, reply.others) == ("You said: Hello", ("You said: Hello (choice 2)",))
        assert received(world)["temperature"] == 1.5
        assert reply.dropped == set()


@pytest.mark.parametrize("streamed", [False, True])
async def test_anthropic_settings_reach_openai_or_are_reported(streamed: bool) -> None:
    native = {"metadata": {"user_id": "u-1"}, "extra_body": {"temperature": 0.3, "top_p": 0.9, "top_k": 5}}
    async with World(EGRESS) as world:
        reply = await ask(world, Way("anthropic", "gpt", streamed), hello(max_tokens=50, native=native))
        sent = received(world)
        assert (sent["temperature"], sent["top_p"], sent["user"], sent["max_completion_tokens"]) == (
            0.3,
            0.9,
            "u-1",
            50,
        )
        assert reply.dropped == {"top_k"}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("egress", EGRESS)
async def test_developer_messages_instruct_any_provider(egress: str, streamed: bool) -> None:
    instructed = ({"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."})
    question = Question(turns=(*(Reply(turn=message) for message in instructed), "Hello"))
    async with World(EGRESS) as world:
        reply = await ask(world, Way("openai", egress, streamed), question)
        assert reply.text == "[system: Be brief.\nBe kind.] You said: Hello"
