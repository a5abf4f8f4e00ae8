"""The same answer as it streams: blocks that start, grow and stop."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from busbar.protocols.failures import FailureSignal
from busbar.protocols.ir.parts import Citation, Part
from busbar.protocols.ir.response import Stop
from busbar.protocols.native import Native, Node
from busbar.protocols.usage import Usage


class Started(Node, kw_only=True):
    """The first event. Usage may be known already (Anthropic states the prompt's here)."""

    id: str
    model: str
    created: int | None = None
    usage: Usage | None = None


class BlockStart(Node, kw_only=True):
    """A block opens. `part` is its empty or first form: `Text("")`, `ToolUse(id, name, "")`, or an `Opaque`.

    `index` counts the blocks of a choice from 0 without gaps. Several blocks may be open at once (parallel tool
    calls may interleave). Every start has exactly one `BlockStop`, at the latest before `Stopped`.
    """

    choice: int = 0
    index: int
    part: Part


class TextDelta(Node, kw_only=True):
    choice: int = 0
    index: int
    text: str


class ThinkingDelta(Node, kw_only=True):
    choice: int = 0
    index: int
    text: str


class SignatureDelta(Node, kw_only=True):
    """The signature of a thinking block, issued by the dialect `signer`."""

    signer: str
    choice: int = 0
    index: int
    signature: str


class ArgumentsDelta(Node, kw_only=True):
    """A fragment of a tool call's JSON text; fragments join to `ToolUse.arguments`."""

    choice: int = 0
    index: int
    fragment: str


class CitationDelta(Node, kw_only=True):
    choice: int = 0
    index: int
    citation: Citation


class RefusalDelta(Node, kw_only=True):
    choice: int = 0
    index: int
    text: str


class BlockStop(Node, kw_only=True):
    choice: int = 0
    index: int


class Stopped(Node, kw_only=True):
    """The choice is complete. Usage may still come."""

    choice: int = 0
    stop: Stop


class UsageSeen(Node, kw_only=True):
    """Usage as far as it is known now; later ones replace what they state (`Usage.merged`)."""

    usage: Usage


class Ping(Node, kw_only=True):
    """Nothing happened, and the connection lives."""


class Ended(Node, kw_only=True):
    """The dialect's terminal event: the answer is whole. Nothing follows."""


class Errored(Node, kw_only=True):
    """An error event inside the stream. Nothing follows but the end of the connection."""

    signal: FailureSignal


class OpaqueEvent(Struct, kw_only=True, frozen=True):
    """One whole stream event that only `dialect` knows."""

    dialect: str
    kind: str
    value: Any


Event: TypeAlias = (
    Started
    | BlockStart
    | TextDelta
    | ThinkingDelta
    | SignatureDelta
    | ArgumentsDelta
    | CitationDelta
    | RefusalDelta
    | BlockStop
    | Stopped
    | UsageSeen
    | Ping
    | Ended
    | Errored
    | OpaqueEvent
)


class Chunk(Struct, kw_only=True, gc=False):
    """What one wire event said: the unit in which streams are read and written.

    A dialect that packs several facts into one wire event (OpenAI's chunks) gives several events here; events that
    the reader infers (a block that must have ended) belong to the chunk that proved it. `native` is what the
    source dialect's wire event held beyond its events.
    """

    events: list[Event]
    native: Native | None = None
