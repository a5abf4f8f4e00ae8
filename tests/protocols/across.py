"""Recorded answers on their way between the dialects: every ordered pair, and what an answer says, whoever says it.

What is said is read from the recording by its own dialect's reader, which the identity tests hold to its word. What
is told is heard by the target's SDK (`sdk_models`, `sdk_heard`), and read once more by the target's reader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from busbar.protocols.failures import FailureSignal
from busbar.protocols.ids import fit_name
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    Choice,
    Ended,
    Errored,
    Event,
    Part,
    Refusal,
    RefusalDelta,
    Response,
    Started,
    Stopped,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.protocol import Hop
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.usage import Usage, merged
from tests.protocols.anthropic.test_identity import messages_of
from tests.protocols.bedrock import wire as bedrock
from tests.protocols.sdk_heard import Heard, decoded
from tests.recordings import Recording, recordings, with_answer, with_stream

HOP = Hop(model="there", now=1_700_000_000, nonce="n")

NO_ANSWER = {
    ("openai", 4): "an error in a 200",
    ("bedrock", 67): "an `InvokeModel` of another API",
    ("responses", 131): "frames of some older shape, of which nobody can tell what they mean",
}

SAID_AS: dict[str, dict[StopReason | None, StopReason | None]] = {
    "anthropic": {
        StopReason.CONTENT_FILTER: StopReason.REFUSAL,
        StopReason.ERROR: StopReason.END_TURN,
        StopReason.OTHER: StopReason.END_TURN,
        None: StopReason.END_TURN,
    },
    "openai": {
        StopReason.STOP_SEQUENCE: StopReason.END_TURN,
        StopReason.REFUSAL: StopReason.CONTENT_FILTER,
        StopReason.PAUSE_TURN: StopReason.END_TURN,
        StopReason.ERROR: StopReason.END_TURN,
        StopReason.OTHER: StopReason.END_TURN,
        None: StopReason.END_TURN,
    },
    "responses": {
        StopReason.STOP_SEQUENCE: StopReason.END_TURN,
        StopReason.REFUSAL: StopReason.CONTENT_FILTER,
        StopReason.PAUSE_TURN: StopReason.END_TURN,
        StopReason.OTHER: StopReason.END_TURN,
        None: StopReason.END_TURN,
    },
    "gemini": {
        StopReason.STOP_SEQUENCE: StopReason.END_TURN,
        StopReason.REFUSAL: StopReason.CONTENT_FILTER,
        StopReason.PAUSE_TURN: StopReason.END_TURN,
        None: StopReason.END_TURN,
    },
    "bedrock": {
        StopReason.REFUSAL: StopReason.CONTENT_FILTER,
        StopReason.PAUSE_TURN: StopReason.END_TURN,
        StopReason.OTHER: StopReason.END_TURN,
        None: StopReason.END_TURN,
    },
    "cohere": {
        StopReason.REFUSAL: StopReason.ERROR,
        StopReason.CONTENT_FILTER: StopReason.ERROR,
        StopReason.PAUSE_TURN: StopReason.END_TURN,
        StopReason.OTHER: StopReason.END_TURN,
        None: StopReason.END_TURN,
    },
}
"""Reasons to stop that a dialect has no word of its own for, and what it says instead. None: the recording states no
reason, or one of the provider's own."""

HAVE_REFUSALS = {"openai", "responses"}
"""Dialects that tell a refusal in words from a text."""

REFUSED_AS = {"anthropic": StopReason.REFUSAL, "bedrock": StopReason.CONTENT_FILTER}
"""Dialects that have no block for a refusal in words: the reason to stop says that it is one."""

NAMES_FIT = {"openai"}
"""Dialects whose writer keeps to the letters that names have there: providers' own tools may have others."""

OBJECTS_ONLY = {"gemini", "bedrock", "anthropic"}
"""Dialects in which a whole call's arguments are an object: what else a model wrote comes as its `input`."""


def answered(kind: Callable[[Recording], bool]) -> list[Any]:
    """The recordings of every dialect that hold an answer of the kind, as pytest parameters."""
    return [
        parameter
        for source in PROTOCOLS
        for parameter in recordings(source, lambda it: kind(it) and (it.protocol, it.number) not in NO_ANSWER)
    ]


def others(recording: Recording) -> list[str]:
    """The dialects that an answer is told in. A test tells it in all of them, as pytest's own work on a case costs
    several times what a translation does."""
    return [dialect for dialect in PROTOCOLS if dialect != recording.protocol]


def whole(recording: Recording) -> bool:
    return with_answer(recording) and not streamed(recording)


def streamed(recording: Recording) -> bool:
    """As server-sent events, as eventstream, or as a JSON array."""
    if recording.protocol == "bedrock":
        return bedrock.with_stream(recording)
    ok = recording.response.status < 400
    return with_stream(recording) or (ok and isinstance(recording.response.body, list))


def streams_of(recording: Recording) -> list[bytes]:
    match recording.protocol:
        case "anthropic":
            return messages_of(recording)
        case "bedrock":
            return [bedrock.stream_of(recording)]
        case _:
            return [recording.response.wire]


class Said(msgspec.Struct, frozen=True):
    """What the first choice of an answer says. `error`: its stream's, where it told one; not `ended`: it broke off,
    with or without a word."""

    heard: Heard
    reason: StopReason | None
    refused: bool = False
    ended: bool = True
    error: FailureSignal | None = None


def said_by(response: Response) -> Said:
    choice = response.choices[0] if response.choices else Choice()
    return Said(
        heard=Heard(
            text="".join(part.text for part in choice.parts if isinstance(part, Text | Refusal)),
            thinking="".join(part.text for part in choice.parts if isinstance(part, Thinking)),
            calls=[(part.name, decoded(part.arguments)) for part in choice.parts if isinstance(part, ToolUse)],
            tokens=totals(response.usage),
        ),
        reason=None if choice.stop is None else choice.stop.reason,
        refused=any(isinstance(part, Refusal) for part in choice.parts),
    )


def expected(said: Said, target: str, *, calls_whole: bool) -> Said:
    """What is to be told of it in `target`. `calls_whole`: calls are not told in fragments of their text."""
    calls = said.heard.calls
    if target in NAMES_FIT:
        calls = [(fit_name(name, 64), arguments) for name, arguments in calls]
    if target in OBJECTS_ONLY and calls_whole:
        calls = [(name, it if isinstance(it, dict) else {"input": it}) for name, it in calls]
    reason = said.reason
    if said.refused and reason is StopReason.END_TURN:
        reason = REFUSED_AS.get(target, reason)
    return msgspec.structs.replace(
        said,
        heard=msgspec.structs.replace(said.heard, calls=calls),
        reason=SAID_AS[target].get(reason, reason),
        refused=said.refused and target in HAVE_REFUSALS,
    )


def totals(usage: Usage | None) -> tuple[int, int]:
    return (0, 0) if usage is None else (usage.prompt_tokens, usage.output_tokens or 0)


def events_of(dialect: str, wire: bytes) -> list[Event]:
    """The events of a stream's first choice."""
    reader = PROTOCOLS[dialect].stream_reader()
    chunks = reader.feed(wire) + reader.close()
    assert reader.malformed == 0
    return [event for chunk in chunks for event in chunk.events if getattr(event, "choice", 0) == 0]


def said_by_events(events: list[Event]) -> Said:
    parts: list[Part] = []
    choice = Choice(parts=parts)
    usage: Usage | None = None
    error: FailureSignal | None = None
    ended = False
    for event in events:
        match event:
            case BlockStart():
                parts.append(msgspec.structs.replace(event.part))
            case TextDelta() | ThinkingDelta() | RefusalDelta() | ArgumentsDelta():
                _grow(parts[event.index], event)
            case Stopped():
                choice.stop = event.stop
            case Started() | UsageSeen():
                usage = merged(usage, event.usage)
            case Errored():
                error = event.signal
            case Ended():
                ended = True
            case _:
                pass
    said = said_by(Response(id="", model="", choices=[choice], usage=usage))
    return msgspec.structs.replace(said, ended=ended, error=error)


def _grow(part: Part, delta: TextDelta | ThinkingDelta | RefusalDelta | ArgumentsDelta) -> None:
    match part, delta:
        case (Text() | Thinking() | Refusal(), TextDelta() | ThinkingDelta() | RefusalDelta()):
            part.text += delta.text
        case (ToolUse(), ArgumentsDelta()):
            part.arguments += delta.fragment
        case _:
            raise AssertionError(f"a {type(delta).__name__} in a {type(part).__name__}")


def known_paths(value: Any, path: str = "") -> set[str]:
    """Every path that a document has: dots between keys, `[0]` for an item."""
    inner: list[tuple[str, Any]] = []
    if isinstance(value, list):
        inner = [(f"{path}[{at}]", each) for at, each in enumerate(value)]
    elif isinstance(value, dict):
        inner = [(f"{path}.{key}" if path else key, each) for key, each in value.items()]
    return {path} | {known for at, each in inner for known in known_paths(each, at)}
