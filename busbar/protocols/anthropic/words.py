"""The dialect's fixed words: its name, how its ids look, and its reasons to stop, both ways."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.protocols.ids import IdStyle
from busbar.protocols.ir import Stop, StopReason
from busbar.protocols.native import native, own_form

DIALECT = "anthropic"

MESSAGE_ID = IdStyle("msg_")
TOOL_USE_ID = IdStyle("toolu_")
TOOL_NAME_CHARS_MAX = 128
REQUEST_ID = IdStyle("req_")

OWN_FORM = "own"
"""The form of a document that was read from this dialect and has nothing else to remember."""

_STOP_REASONS: Mapping[str, StopReason] = {
    "end_turn": StopReason.END_TURN,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "max_tokens": StopReason.MAX_TOKENS,
    "tool_use": StopReason.TOOL_USE,
    "refusal": StopReason.REFUSAL,
    "pause_turn": StopReason.PAUSE_TURN,
    "model_context_window_exceeded": StopReason.CONTEXT_WINDOW,
}

_STOP_WORDS: Mapping[StopReason, str] = {
    **{reason: word for word, reason in _STOP_REASONS.items()},
    StopReason.CONTENT_FILTER: "refusal",
    StopReason.ERROR: "end_turn",
    StopReason.OTHER: "end_turn",
}


def read_stop(word: str, sequence: str | None) -> Stop:
    """A reason to stop; a word that is not known becomes `OTHER` and stays on the node."""
    reason = _STOP_REASONS.get(word, StopReason.OTHER)
    return Stop(
        reason=reason, sequence=sequence, native=native(DIALECT, {}, word if reason is StopReason.OTHER else None)
    )


def stop_word(stop: Stop | None) -> str:
    """The `stop_reason` for `stop`; an answer that does not say why it ended has ended its turn."""
    if stop is None:
        return "end_turn"
    word = own_form(stop, DIALECT)
    return word if isinstance(word, str) else _STOP_WORDS[stop.reason]


def foreign_stop_word(stop: Stop | None, *, tool_used: bool, refused: bool) -> str:
    """The `stop_reason` of another dialect's answer, which is made to agree with what the answer holds.

    Clients of this dialect run tools when, and only when, they read `tool_use`; other dialects' providers are known
    to end an answer that calls tools with a plain stop. A refusal in words has no block here: its reason says so.
    """
    word = stop_word(stop)
    if tool_used:
        return "tool_use" if word == "end_turn" else word
    if word == "tool_use":
        return "end_turn"
    return "refusal" if refused and word == "end_turn" else word
