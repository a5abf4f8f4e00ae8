"""The dialect's fixed words: its name, its ids, its roles, and its reasons to stop, both ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from busbar.protocols.ids import ANSWER_PREFIXES, IdStyle, mint_id
from busbar.protocols.ir import Stop, StopReason
from busbar.protocols.native import Native, is_own, own_form
from busbar.protocols.receipt import Receipt

DIALECT = "gemini"

OWN = Native(DIALECT)
"""Marks a node as this dialect's where there is nothing else to keep."""

TOOL_CALL_ID = IdStyle("call_")
"""Ids are free text here; those that had none are minted so that everybody knows them for what they are."""
ANSWER_ID = IdStyle("")
REQUEST_ID = IdStyle("req_")

NO_SIGNATURE = "skip_thought_signature_validator"
"""What Gemini 3 takes in place of a signature that another provider's call cannot have (documented)."""

_NO_PREFILL = re.compile(r"gemini-(?:3\.5-flash-lite|3\.[6-9]|[4-9]|\d\d)|-latest\Z")
_SIGNS_CALLS = re.compile(r"gemini-(?:[3-9]|\d\d)|-latest\Z")


def answer_id(foreign: str, nonce: str) -> str:
    """Another dialect's answer id without its prefix, as ids here have none; minted where there is none."""
    prefix = next((known for known in ANSWER_PREFIXES if foreign.startswith(known)), "")
    return foreign.removeprefix(prefix) or mint_id(ANSWER_ID, nonce)


def signs_calls(model: str) -> bool:
    """Whether `model` may refuse calls of the running turn that are not signed: Gemini 3, and names that move on."""
    return _SIGNS_CALLS.search(model) is not None


def continues_turns(model: str) -> bool:
    """Whether `model` goes on with a last turn of its own: models from July 2026 on refuse one ("Requests ending with
    a model turn are not supported unless the last part is a function response"), and so may names that move on."""
    return _NO_PREFILL.search(model) is None


_FILTERED = (
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
)
_FAILED = (
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "NO_IMAGE",
    "IMAGE_OTHER",
)
_REASONS: Mapping[Any, StopReason] = {
    "STOP": StopReason.END_TURN,
    "MAX_TOKENS": StopReason.MAX_TOKENS,
    **dict.fromkeys(_FILTERED, StopReason.CONTENT_FILTER),
    **dict.fromkeys(_FAILED, StopReason.ERROR),
    # Enums as integers (`$alt=json;enum-encoding=int`). From 6 on the two Google services count differently; what
    # both of them have there are filters up to 8, and a malformed call after that.
    1: StopReason.END_TURN,
    2: StopReason.MAX_TOKENS,
    3: StopReason.CONTENT_FILTER,
    4: StopReason.CONTENT_FILTER,
    7: StopReason.CONTENT_FILTER,
    8: StopReason.CONTENT_FILTER,
    9: StopReason.ERROR,
    10: StopReason.ERROR,
}

_WORDS: Mapping[StopReason, str] = {
    StopReason.END_TURN: "STOP",
    StopReason.STOP_SEQUENCE: "STOP",
    StopReason.MAX_TOKENS: "MAX_TOKENS",
    StopReason.TOOL_USE: "STOP",
    StopReason.REFUSAL: "SAFETY",
    StopReason.CONTENT_FILTER: "SAFETY",
    StopReason.PAUSE_TURN: "STOP",
    StopReason.CONTEXT_WINDOW: "MAX_TOKENS",
    StopReason.ERROR: "OTHER",
    StopReason.OTHER: "OTHER",
}
_SAYS_LESS = frozenset({StopReason.PAUSE_TURN, StopReason.CONTEXT_WINDOW, StopReason.ERROR, StopReason.OTHER})


def is_stop_word(word: Any) -> bool:
    """Whether a `finishReason` is stated. Zero and the unspecified value say that it is not."""
    return (type(word) is int and word > 0) or (isinstance(word, str) and word != "")


def read_stop(word: str | int, *, called_tool: bool) -> Stop:
    """An answer that calls tools ends with `STOP` like any other."""
    reason = _REASONS.get(word, StopReason.OTHER)
    if reason is StopReason.END_TURN and called_tool:
        reason = StopReason.TOOL_USE
    return Stop(reason=reason, native=Native(DIALECT, form=word))


def finish_word(stop: Stop) -> str | int:
    """`finishReason` for `stop`: the word it came with, or this dialect's for its reason."""
    word = own_form(stop, DIALECT)
    return word if isinstance(word, str | int) else _WORDS[stop.reason]


def report_stop(stop: Stop, path: str, receipt: Receipt) -> None:
    """Reports what another dialect's stop, at `path`, says and `finishReason` does not."""
    if is_own(stop, DIALECT):
        return
    if stop.sequence is not None:
        receipt.dropped(f"{path}.sequence", "this dialect does not name the sequence that was met")
    if stop.reason in _SAYS_LESS:
        receipt.changed(f"{path}.reason", f"{stop.reason.value} is said as {_WORDS[stop.reason]}")
