"""What a model answered: choices made of parts, why it stopped, usage."""

from __future__ import annotations

import enum

from busbar.protocols.ir.parts import Part
from busbar.protocols.native import Node
from busbar.protocols.usage import Usage


class StopReason(enum.Enum):
    END_TURN = "end_turn"
    STOP_SEQUENCE = "stop_sequence"
    MAX_TOKENS = "max_tokens"
    TOOL_USE = "tool_use"
    REFUSAL = "refusal"
    """The model declined."""
    CONTENT_FILTER = "content_filter"
    """The provider's filter cut or replaced the answer."""
    PAUSE_TURN = "pause_turn"
    """The provider paused a long turn; the caller sends it back to go on."""
    CONTEXT_WINDOW = "context_window"
    """The context window was full before the answer was."""
    ERROR = "error"
    OTHER = "other"
    """A word that only the dialect knows: on the node as `native.form`."""


class Stop(Node, kw_only=True):
    """Why an answer ended. `sequence` is the stop sequence that was met, where the dialect tells."""

    reason: StopReason
    sequence: str | None = None


class Choice(Node, kw_only=True):
    index: int = 0
    parts: list[Part] = []
    stop: Stop | None = None


class Response(Node, kw_only=True):
    id: str
    model: str
    created: int | None = None
    """Unix seconds."""
    choices: list[Choice] = []
    usage: Usage | None = None
