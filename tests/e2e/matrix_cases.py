"""The cases of the matrix, as data: what is asked, and what the answer is for each ingress and egress."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from .speakers import Attachment, Call, Counts, Question, Reply, Result, Tool, User

INGRESSES = ("openai", "responses", "anthropic", "gemini", "bedrock", "cohere")

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SIZE = len(base64.b64decode(PNG))
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = Tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
CLOCK = Tool("get_time", {"type": "object", "properties": {"zone": {"type": "string"}}})
BOTH = Question(turns=("What is the weather in Paris and Rome?",), tools=(WEATHER, CLOCK))
CALLS = (Call("get_weather", {"city": "Paris"}), Call("get_weather", {"city": "Rome"}))
TWELVE = "one two three four five six seven eight nine ten eleven twelve"
TWENTY = f"{TWELVE} thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer has to be."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    stop: str = "end"
    thinking: str = ""
    usage: Counts | None = None
    """None: whatever it is."""
    dropped: frozenset[str] | None = frozenset()
    """The fields of the question that have no place there, without their indices; None: whatever they are."""


STAYS_IN_ITS_PROTOCOL = {"responses": frozenset({"store"})}
"""What an SDK's every question holds that no other dialect has a place for."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`upstream(egress)` is added to the name of the upstream model, where it chooses what the provider does. With
    `then`, the answer that is looked at is the one to the next turn. `askers`: who can ask this in its dialect;
    `answerers`: whose provider can answer it."""

    name: str
    question: Question
    expected: Callable[[str, str], Expected]
    """(ingress, egress) → the answer."""
    upstream: Callable[[str], str] = lambda egress: ""
    then: Callable[[Reply], User] | None = None
    askers: frozenset[str] = frozenset(INGRESSES)
    answerers: frozenset[str] = frozenset(INGRESSES)


def alike(**expected: Any) -> Callable[[str, str], Expected]:
    """The same answer for every pair."""
    answer = Expected(**expected)
    return lambda ingress, egress: answer


# --- tools -----------------------------------------------------------------------------------------------------

SAYS_THAT_A_TOOL_FAILED = frozenset({"anthropic", "gemini", "bedrock"})
"""Dialects with a place for it; in the others it is a word in the text."""


def _with_a_failure(first: Reply) -> User:
    paris, rome = first.calls
    return User("So?", results=(Result(paris.id, "sunny"), Result(rome.id, "no such city", failed=True)))


def _after_a_failure(ingress: str, egress: str) -> Expected:
    failed = "no such city"
    if ingress in SAYS_THAT_A_TOOL_FAILED:
        failed = f"{failed} (error)" if egress in SAYS_THAT_A_TOOL_FAILED else f"Error: {failed}"
    return Expected(text=f"[turn 2] Results: sunny; {failed} You said: So?", dropped=None)


def _cities(first: Reply) -> User:
    return User(results=tuple(Result(call.id, call.arguments["city"]) for call in first.calls))


# --- stops -----------------------------------------------------------------------------------------------------

STOPS_AT = {
    "openai": "stop",
    "anthropic": "stop_sequences",
    "gemini": "generationConfig.stopSequences",
    "bedrock": "inferenceConfig.stopSequences",
    "cohere": "stop_sequences",
}
"""Where each dialect asks for stop sequences; `responses` has none."""
TELLS_A_STOP_SEQUENCE = frozenset({"anthropic", "bedrock", "cohere"})
"""Dialects that tell it from the end of a turn."""


def _stopped(ingress: str, egress: str) -> Expected:
    if egress == "responses":
        return Expected(text="You said: one two three", dropped=frozenset({STOPS_AT[ingress]}))
    told = {ingress, egress} <= TELLS_A_STOP_SEQUENCE
    return Expected(text="You said: one ", stop="stop_sequence" if told else "end")


# --- refusals --------------------------------------------------------------------------------------------------

REFUSAL = "I'm sorry, but I can't assist with that."
_HAS_A_PLACE = frozenset({"openai", "responses"})
"""Dialects in which the words of a refusal are no text."""


def _refused(ingress: str, egress: str) -> Expected:
    """OpenAI's providers refuse in words of their own kind, Cohere's in plain text, the others by why they stop."""
    if egress == "cohere":
        return Expected(text=REFUSAL, dropped=None)
    if egress not in _HAS_A_PLACE:
        return _filtered(ingress, egress, text="")
    text = "" if ingress in _HAS_A_PLACE else REFUSAL
    words_say_it = ingress in ("openai", "gemini", "cohere")
    return Expected(text=text, stop="end" if words_say_it else "refusal", dropped=None)


def _filtered(ingress: str, egress: str, text: str = "You said: ") -> Expected:
    """Cohere has one word for all that cuts an answer short."""
    return Expected(text=text, stop="error" if ingress == "cohere" else "refusal", dropped=None)


def _before_calls(ingress: str, egress: str) -> Expected:
    """Cohere's models plan what they call: that is a thought."""
    said = {"thinking" if egress == "cohere" else "text": "Let me check that."}
    return Expected(calls=CALLS, stop="tools", **said)


# --- the table -------------------------------------------------------------------------------------------------

THINKERS = {"openai": "-reason", "gemini": "-gemini-3", "bedrock": "-anthropic.claude"}
"""What the upstream model's name has to hold for its provider to think, or to be strict about thoughts."""


def _thought(ingress: str, egress: str) -> Expected:
    """Chat Completions cannot ask to see what the model thinks; the Responses API shows it to those who ask."""
    shown = (ingress, egress) != ("openai", "responses")
    return Expected(
        text="[turn 2] Results: Paris; Rome", thinking="Thinking about: the results" if shown else "", dropped=None
    )


CASES = (
    Case(name="text", question=Question(turns=("Hello",)), expected=alike(text="You said: Hello")),
    Case(
        name="system, several turns",
        question=Question(turns=("One", Reply(text="Uno"), "Two"), system="Count."),
        expected=alike(text="[system: Count.] [turn 2] You said: Two"),
    ),
    Case(
        name="tool call",
        question=Question(turns=("What is the weather in Paris?",), tools=(WEATHER, CLOCK)),
        expected=alike(calls=CALLS[:1], stop="tools"),
    ),
    Case(
        name="parallel tool calls",
        question=BOTH,
        upstream=lambda egress: "-interleaved" if egress == "openai" else "",
        expected=alike(calls=CALLS, stop="tools"),
    ),
    Case(name="tool results", question=BOTH, then=_with_a_failure, expected=_after_a_failure),
    Case(
        name="image",
        question=Question(turns=(User("Look", attachments=(Attachment("image", data=PNG),)),)),
        expected=alike(text=f"I see 1 image (image/png, {SIZE} bytes) You said: Look"),
    ),
    Case(
        name="structured output",
        question=Question(turns=("Hello",), schema=PERSON),
        expected=alike(text='{"name":"text","age":0}', dropped=None),
    ),
    Case(
        name="thinking, then tool results",
        question=msgspec.structs.replace(BOTH, thinking=True),
        upstream=lambda egress: THINKERS.get(egress, ""),
        then=_cities,
        expected=_thought,
    ),
    Case(
        name="usage with cache",
        question=Question(turns=(TWELVE,)),
        upstream=lambda egress: "-cached",
        expected=alike(text=f"You said: {TWELVE}", usage=Counts(input=8, output=14, cache_read=4)),
    ),
    Case(
        name="max tokens",
        question=Question(turns=(TWENTY,), max_tokens=16),
        expected=alike(text=f"You said: {TWELVE} thirteen fourteen ", stop="length"),
    ),
    Case(
        name="stop sequence",
        question=Question(turns=("one two three",), stops=("two", "nine")),
        askers=frozenset(STOPS_AT),
        expected=_stopped,
    ),
    Case(
        name="text before calls",
        question=BOTH,
        upstream=lambda egress: "-preface",
        expected=_before_calls,
    ),
    Case(
        name="a call required",
        question=Question(turns=("Hello",), tools=(WEATHER,), choice="required"),
        expected=alike(calls=(Call("get_weather", {"city": "text"}),), stop="tools"),
    ),
    Case(
        name="one tool forced",
        question=Question(turns=("Hello",), tools=(CLOCK, WEATHER), choice="get_weather"),
        askers=frozenset(INGRESSES) - {"cohere"},
        expected=alike(calls=(Call("get_weather", {"city": "text"}),), stop="tools", dropped=None),
    ),
    Case(
        name="an answer in bytes",
        question=BOTH,
        upstream=lambda egress: "-fault-split",
        expected=alike(calls=CALLS, stop="tools"),
    ),
    Case(
        name="refusal",
        question=Question(turns=("Hello",)),
        upstream=lambda egress: "-refuse",
        expected=_refused,
    ),
    Case(
        name="half an answer, filtered",
        question=Question(turns=("Hello",)),
        upstream=lambda egress: "-filter",
        answerers=frozenset(INGRESSES) - {"cohere"},
        expected=_filtered,
    ),
    Case(
        name="characters",
        question=Question(turns=('Grüße 🎉\ndata: \\ "x" \u2028',)),
        expected=alike(text='You said: Grüße 🎉\ndata: \\ "x" \u2028'),
    ),
)
