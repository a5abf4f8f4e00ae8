"""Why an answer ended: `finish_reason`, in OpenAI's words and in those of its clones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from busbar.protocols.ir import Stop, StopReason
from busbar.protocols.native import Native, is_own, own_form
from busbar.protocols.openai.words import DIALECT
from busbar.protocols.receipt import Receipt

REASONS: Mapping[str, StopReason] = {
    "stop": StopReason.END_TURN,
    "length": StopReason.MAX_TOKENS,
    "tool_calls": StopReason.TOOL_USE,
    "function_call": StopReason.TOOL_USE,
    "content_filter": StopReason.CONTENT_FILTER,
    # clones
    "eos": StopReason.END_TURN,
    "end_turn": StopReason.END_TURN,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "max_tokens": StopReason.MAX_TOKENS,
    "tool_call": StopReason.TOOL_USE,
    "tool_use": StopReason.TOOL_USE,
    "sensitive": StopReason.CONTENT_FILTER,
    "model_length": StopReason.CONTEXT_WINDOW,
    "model_context_window_exceeded": StopReason.CONTEXT_WINDOW,
    "insufficient_system_resource": StopReason.ERROR,
    "network_error": StopReason.ERROR,
    "error": StopReason.ERROR,
}

WORDS: Mapping[StopReason, str] = {
    StopReason.END_TURN: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.MAX_TOKENS: "length",
    StopReason.TOOL_USE: "tool_calls",
    StopReason.REFUSAL: "content_filter",
    StopReason.CONTENT_FILTER: "content_filter",
    StopReason.PAUSE_TURN: "stop",
    StopReason.CONTEXT_WINDOW: "length",
    StopReason.ERROR: "stop",
    StopReason.OTHER: "stop",
}


def read_stop(entry: Mapping[str, Any], *, called_tool: bool) -> Stop | None:
    """The stop that a choice states, or None while it states none. Takes nothing out of `entry`.

    A forced tool call ends with `stop` at OpenAI: what counts is that a tool was called. vLLM and its kin name
    the stop sequence they met in `stop_reason`.
    """
    word = entry.get("finish_reason")
    if not isinstance(word, str) or not word:
        return None
    reason = REASONS.get(word, StopReason.OTHER)
    sequence = stop_sequence(entry)
    if reason is StopReason.END_TURN and sequence is not None:
        reason = StopReason.STOP_SEQUENCE
    elif reason is StopReason.END_TURN and called_tool:
        reason = StopReason.TOOL_USE
    return Stop(reason=reason, sequence=sequence, native=Native(DIALECT, form=word))


def stop_sequence(entry: Mapping[str, Any]) -> str | None:
    """The stop sequence that was met, where a clone tells it."""
    met = entry.get("stop_reason")
    return met if isinstance(met, str) and entry.get("finish_reason") == "stop" else None


_SAYS_LESS = frozenset({StopReason.REFUSAL, StopReason.PAUSE_TURN, StopReason.ERROR, StopReason.OTHER})


def report_stop(stop: Stop, path: str, receipt: Receipt) -> None:
    """Reports what another dialect's stop, at `path`, says and `finish_reason` does not."""
    if is_own(stop, DIALECT):
        return
    if stop.sequence is not None:
        receipt.dropped(f"{path}.sequence", "this dialect does not name the sequence that was met")
    if stop.reason in _SAYS_LESS:
        receipt.changed(f"{path}.reason", f"{stop.reason.value} is said as {WORDS[stop.reason]}")


def finish_word(stop: Stop) -> str:
    """`finish_reason` for `stop`: the word it came with, or this dialect's for its reason."""
    word = own_form(stop, DIALECT)
    return word if isinstance(word, str) else WORDS[stop.reason]
