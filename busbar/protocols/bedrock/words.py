"""The dialect's fixed words: its name, how its ids look, and its reasons to stop, both ways."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.protocols.ids import IdStyle
from busbar.protocols.ir import Stop, StopReason
from busbar.protocols.native import native, own_form

DIALECT = "bedrock"
SIGNER = "anthropic"
"""Who signs thinking here: Claude, and its signatures hold at every provider that serves it (Anthropic's docs,
extended thinking: signature values are compatible across platforms)."""

TOOL_USE_ID = IdStyle("tooluse_", 64)
TOOL_NAME_CHARS_MAX = 64

OWN_FORM = "own"
"""The form of a document that was read from this dialect and has nothing else to remember."""

_STOP_REASONS: Mapping[str, StopReason] = {
    "end_turn": StopReason.END_TURN,
    "tool_use": StopReason.TOOL_USE,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "content_filtered": StopReason.CONTENT_FILTER,
    "guardrail_intervened": StopReason.CONTENT_FILTER,
    "malformed_model_output": StopReason.ERROR,
    "malformed_tool_use": StopReason.ERROR,
    "model_context_window_exceeded": StopReason.CONTEXT_WINDOW,
}

_STOP_WORDS: Mapping[StopReason, str] = {
    StopReason.END_TURN: "end_turn",
    StopReason.TOOL_USE: "tool_use",
    StopReason.MAX_TOKENS: "max_tokens",
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.REFUSAL: "content_filtered",
    StopReason.CONTENT_FILTER: "content_filtered",
    StopReason.CONTEXT_WINDOW: "model_context_window_exceeded",
    StopReason.PAUSE_TURN: "end_turn",
    StopReason.ERROR: "malformed_model_output",
    StopReason.OTHER: "end_turn",
}


def read_stop(word: str, sequence: str | None) -> Stop:
    """A reason to stop; a word that the IR has no reason of its own for stays on the node."""
    reason = _STOP_REASONS.get(word, StopReason.OTHER)
    form = None if _STOP_WORDS[reason] == word and reason is not StopReason.OTHER else word
    return Stop(reason=reason, sequence=sequence, native=native(DIALECT, {}, form))


def stop_word(stop: Stop | None) -> str:
    """The `stopReason` for `stop`; an answer that does not say why it ended has ended its turn."""
    if stop is None:
        return "end_turn"
    word = own_form(stop, DIALECT)
    return word if isinstance(word, str) else _STOP_WORDS[stop.reason]


def foreign_stop_word(stop: Stop | None, *, tool_used: bool, refused: bool) -> str:
    """The `stopReason` of another dialect's answer, which is made to agree with what the answer holds.

    Clients of this dialect run tools when, and only when, they read `tool_use`; other dialects' providers are known
    to end an answer that calls tools with a plain stop. A refusal in words has no block here: its reason says so.
    """
    word = stop_word(stop)
    if tool_used:
        return "tool_use" if word == "end_turn" else word
    if word == "tool_use":
        return "end_turn"
    return "content_filtered" if refused and word == "end_turn" else word
