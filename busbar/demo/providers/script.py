"""What the embedded providers answer, whatever the dialect.

A dialect reads its request into an `Ask`; `play(ask)` decides; the dialect writes the `Answer` down. Nothing
here knows a wire format, so both dialects answer the same question with the same words, and a test of a
translated hop can compare them. Everything is a pure function of the request.

Words in a model's name choose a role:

| word | effect |
|---|---|
| `refuse` | refusal (anthropic `stop_reason`; openai, responses a part; cohere text; gemini, bedrock no content) |
| `filter` | half an answer, then the dialect's word for a filter or guardrail; anthropic: as `refuse` |
| `reason` | openai: reasons aloud in `reasoning_content`; responses, cohere: thinks unasked |
| `redacted` | anthropic, bedrock: thinking is redacted |
| `strict`, `gemini-3` | gemini: wants the thought signatures of the current turn back |
| `blocked` | gemini: the prompt is blocked |
| `preface` | says something before it calls a tool (cohere: its `tool_plan`) |
| `-interleaved` (end) | openai streams: deltas of parallel calls alternate |
| `-cached` (end) | a third of the prompt was read from the cache |
| `fault-…` | see `faults.py` |
"""

import re
from typing import Any, Literal

import msgspec

from .schema import minimal_instance, type_of

Stop = Literal["end", "length", "stop_sequence", "tools", "refusal", "filter"]

REFUSAL = "I'm sorry, but I can't assist with that."
PREFACE = "Let me check that."
WEATHER = re.compile(r"weather in (\w+)(?: and (\w+))?", re.IGNORECASE)


class Tool(msgspec.Struct, frozen=True):
    """A tool the request offers; `schema` is the JSON schema of its arguments."""

    name: str
    schema: dict[str, Any]


class Call(msgspec.Struct, frozen=True):
    """One tool call of the answer."""

    name: str
    arguments: dict[str, Any]


class Marked(msgspec.Struct, frozen=True):
    """A prompt prefix that ends in a cache breakpoint."""

    digest: str
    tokens: int
    ttl: Literal["5m", "1h"] = "5m"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the script sees it. A turn is a run of messages of one side; tool results are the user's."""

    model: str
    seed: str
    """Digest of the request; ids are derived from it."""
    system: str = ""
    turns: int = 1
    """User turns in the conversation, the last one included."""
    text: str = ""
    """Text of the last user turn, blocks joined by a newline."""
    attachments: tuple[tuple[str, str], ...] = ()
    """(kind, description) of what the last user turn carries beside text."""
    results: tuple[str, ...] = ()
    """Tool results in the last user turn."""
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    forced_tool: str | None = None
    parallel: bool = True
    thinking: bool = False
    schema: dict[str, Any] | None = None
    """Structured output is wanted in this schema; `{}` accepts any object."""
    prefill: str = ""
    """What a final assistant turn has already said."""
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    prompt_tokens: int = 0
    marked: tuple[Marked, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says, in the order thinking, text, calls. `thinking` is None when it did not think."""

    thinking: str | None = None
    redacted: bool = False
    text: str = ""
    calls: tuple[Call, ...] = ()
    stop: Stop = "end"
    stop_sequence: str | None = None


def play(ask: Ask) -> Answer:
    """The answer to `ask`."""
    if "refuse" in ask.model:
        return Answer(stop="refusal")
    thinking = f"Thinking about: {ask.text or 'the results'}" if ask.thinking else None
    calls = _calls(ask)
    text = _text(ask) if not calls else PREFACE if "preface" in ask.model else ""
    if "filter" in ask.model:
        return Answer(thinking=thinking, text="".join(words(text)[:2]), stop="filter")
    answer = Answer(
        thinking=thinking,
        redacted="redacted" in ask.model,
        text=text,
        calls=calls,
        stop="tools" if calls else "end",
    )
    return _fit(_halt(answer, ask.stops), ask.max_tokens)


def words(text: str) -> list[str]:
    """`text` in pieces of one word and the space after it; joined they are `text`. A piece is a token."""
    return re.findall(r"^\s+|\S+\s*", text)


def call_tokens(call: Call) -> int:
    """The name, and one for each argument."""
    return 1 + len(call.arguments)


def _text(ask: Ask) -> str:
    if ask.schema is not None:
        instance = minimal_instance(ask.schema) if ask.schema else {"answer": ask.text}
        return msgspec.json.encode(instance).decode()
    parts = [
        f"[system: {ask.system}]" if ask.system else "",
        f"[turn {ask.turns}]" if ask.turns > 1 else "",
        f"Results: {'; '.join(ask.results)}".rstrip() if ask.results else "",
        *_sights(ask.attachments),
        f"You said: {ask.text}" if ask.text else "",
    ]
    text = " ".join(part for part in parts if part) or "You said nothing."
    if not ask.prefill:
        return text
    return text[len(ask.prefill) :] if text.startswith(ask.prefill) else f" (continued) {text}"


def _sights(attachments: tuple[tuple[str, str], ...]) -> list[str]:
    kinds = dict.fromkeys(kind for kind, _ in attachments)
    seen = {kind: [what for other, what in attachments if other == kind] for kind in kinds}
    return [
        f"I see {len(what)} {kind}{'s' if len(what) > 1 else ''} ({'; '.join(what)})" for kind, what in seen.items()
    ]


def _calls(ask: Ask) -> tuple[Call, ...]:
    forced = ask.tool_choice == "required" or ask.forced_tool is not None
    if not ask.tools or ask.tool_choice == "none" or (ask.results and not forced):
        return ()
    tool = next((tool for tool in ask.tools if tool.name == ask.forced_tool), ask.tools[0])
    match = WEATHER.search(ask.text)
    if match is None:
        return (Call(tool.name, _arguments(tool)),) if forced else ()
    cities = [city for city in match.groups() if city]
    return tuple(Call(tool.name, _arguments(tool, city)) for city in cities[: None if ask.parallel else 1])


def _arguments(tool: Tool, city: str | None = None) -> dict[str, Any]:
    """The smallest arguments the schema takes, with `city` in the property of that name or the first string."""
    arguments = minimal_instance({"type": "object", **tool.schema})
    if city is not None:
        properties = tool.schema.get("properties") or {"city": {}}
        strings = [name for name, spec in properties.items() if type_of(spec) == "string"]
        arguments["city" if "city" in properties or not strings else strings[0]] = city
    return dict(arguments)


def _halt(answer: Answer, stops: tuple[str, ...]) -> Answer:
    """Cut at the first stop sequence in the text; what would have come after it is never said."""
    found = [(answer.text.index(stop), stop) for stop in stops if stop in answer.text]
    if not found:
        return answer
    at, stop = min(found)
    return msgspec.structs.replace(answer, text=answer.text[:at], calls=(), stop="stop_sequence", stop_sequence=stop)


def _fit(answer: Answer, max_tokens: int | None) -> Answer:
    """Cut where the tokens run out. A call that does not fit whole is not made."""
    if max_tokens is None:
        return answer
    left = max_tokens
    thinking = None
    if answer.thinking is not None:
        kept = words(answer.thinking)[:left]
        thinking, left = "".join(kept), left - len(kept)
    text = words(answer.text)[:left]
    left -= len(text)
    calls: list[Call] = []
    for call in answer.calls:
        if (left := left - call_tokens(call)) < 0:
            break
        calls.append(call)
    fitted = msgspec.structs.replace(answer, thinking=thinking, text="".join(text), calls=tuple(calls))
    if fitted == answer:
        return answer
    return msgspec.structs.replace(fitted, stop="length", stop_sequence=None)
