"""What a chunk of a stream remembers beyond its events, so that it can be written back exactly.

The reader takes what is an event out of the chunk's JSON. What is left is the skeleton; each `Slot` says which fact
of which event goes back where. What every chunk repeats (id, model, creation time) is kept once, in `Started`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    CitationDelta,
    Event,
    RedactedThinking,
    RefusalDelta,
    SignatureDelta,
    Started,
    Stopped,
    TextDelta,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.native import own_fields
from busbar.protocols.openai.answer import write_own_citation
from busbar.protocols.openai.stops import finish_word
from busbar.protocols.openai.usage import write_usage
from busbar.protocols.openai.words import DIALECT

Path: TypeAlias = tuple[str | int, ...]

Slot: TypeAlias = tuple[int, str, Path]
"""(the event's place in the chunk, which of its facts, where it stood)"""

ENVELOPE = ("id", "model", "created")


class ChunkForm(msgspec.Struct, frozen=True):
    """`skeleton` is the wire event without what its events and its leftovers carry; `done` is the `[DONE]` frame."""

    skeleton: dict[str, Any] = {}
    slots: list[Slot] = []
    repeats: tuple[str, ...] = ()
    event: str = ""
    done: bool = False


class Draft:
    """The events and slots of the chunk that is being read."""

    __slots__ = ("events", "slots")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.slots: list[Slot] = []

    def add(self, event: Event) -> None:
        """An event that the chunk implies."""
        self.events.append(event)

    def take(self, event: Event, fact: str, holder: dict[Any, Any], path: Path) -> None:
        """An event that the chunk states: its fact is taken out of `holder`, where `path` ends."""
        self.slots.append((len(self.events), fact, path))
        self.events.append(event)
        del holder[path[-1]]

    def take_more(self, fact: str, holder: dict[Any, Any], path: Path) -> None:
        """Another fact of the event that was taken last."""
        self.slots.append((len(self.events) - 1, fact, path))
        del holder[path[-1]]


def restore(form: ChunkForm, left: dict[str, Any], events: list[Event], started: Started | None) -> dict[str, Any]:
    """The wire event's JSON. Nothing that the chunk holds is changed."""
    document: dict[str, Any] = _copied({**form.skeleton, **left})
    if started is not None:
        document |= {key: getattr(started, key) for key in form.repeats}
    for at, fact, path in form.slots:
        holder: Any = document
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = _fact(events[at], fact)
    return document


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _fact(event: Event, fact: str) -> Any:
    match event:
        case TextDelta() | ThinkingDelta() | RefusalDelta():
            return event.text
        case ArgumentsDelta():
            return msgspec.json.decode(event.fragment) if fact == "object" else event.fragment
        case SignatureDelta():
            return event.signature
        case CitationDelta():
            return write_own_citation(event.citation, own_fields(event.citation, DIALECT))
        case BlockStart(part=ToolUse() as use):
            return use.id if fact == "id" else use.name
        case BlockStart(part=RedactedThinking() as redacted):
            return redacted.data
        case Stopped():
            return event.stop.sequence if fact == "sequence" else finish_word(event.stop)
        case UsageSeen():
            return write_usage(event.usage)
        case Started():
            return getattr(event, fact)
        case _:
            raise AssertionError(f"{type(event).__name__} holds nothing that a chunk states")
