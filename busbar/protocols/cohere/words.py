"""The dialect's fixed words: its name, how its ids look, and its reasons to stop, both ways."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping

from busbar.protocols.ids import IdStyle
from busbar.protocols.ir import Stop, StopReason
from busbar.protocols.native import Native, is_own, own_form
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

DIALECT = "cohere"

OWN = Native(DIALECT)
"""Marks a node as this dialect's where there is nothing else to keep."""

TOOL_CALL_ID = IdStyle("", length_max=128)
"""Cohere makes ids of a tool's name and some letters (`get_time_dg5wwc00d8v5`), and takes any."""

FAILED = frozenset({"ERROR", "TIMEOUT"})
"""Reasons to stop that say that there is no answer."""

_REASONS: Mapping[str, StopReason] = {
    "COMPLETE": StopReason.END_TURN,
    "STOP_SEQUENCE": StopReason.STOP_SEQUENCE,
    "MAX_TOKENS": StopReason.MAX_TOKENS,
    "TOOL_CALL": StopReason.TOOL_USE,
    "ERROR": StopReason.ERROR,
    "TIMEOUT": StopReason.ERROR,
    # the first version of the API
    "ERROR_TOXIC": StopReason.CONTENT_FILTER,
    "ERROR_LIMIT": StopReason.CONTEXT_WINDOW,
}
_WORDS: Mapping[StopReason, str] = {
    StopReason.END_TURN: "COMPLETE",
    StopReason.STOP_SEQUENCE: "STOP_SEQUENCE",
    StopReason.MAX_TOKENS: "MAX_TOKENS",
    StopReason.TOOL_USE: "TOOL_CALL",
    StopReason.REFUSAL: "ERROR",
    StopReason.CONTENT_FILTER: "ERROR",
    StopReason.PAUSE_TURN: "COMPLETE",
    StopReason.CONTEXT_WINDOW: "MAX_TOKENS",
    StopReason.ERROR: "ERROR",
    StopReason.OTHER: "COMPLETE",
}
_SAYS_LESS = frozenset(
    {
        StopReason.REFUSAL,
        StopReason.CONTENT_FILTER,
        StopReason.PAUSE_TURN,
        StopReason.CONTEXT_WINDOW,
        StopReason.OTHER,
    }
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def read_stop(word: str) -> Stop:
    """A reason to stop; one that is not known is `OTHER`, and stays on the node."""
    return Stop(reason=_REASONS.get(word, StopReason.OTHER), native=Native(DIALECT, form=word))


def stop_word(stop: Stop | None, *, tool_used: bool = False) -> str:
    """The `finish_reason` for `stop`. Another dialect's is made to agree with what the answer holds: an answer that
    calls tools ends with `TOOL_CALL`, whatever its provider said."""
    if stop is None:
        return "TOOL_CALL" if tool_used else "COMPLETE"
    word = own_form(stop, DIALECT)
    if isinstance(word, str):
        return word
    if stop.reason is StopReason.END_TURN and tool_used:
        return "TOOL_CALL"
    return _WORDS[stop.reason]


def report_stop(stop: Stop, path: str, receipt: Receipt) -> None:
    """Reports what another dialect's stop, at `path`, says and `finish_reason` does not."""
    if is_own(stop, DIALECT):
        return
    if stop.sequence is not None:
        receipt.dropped(f"{path}.sequence", "this dialect does not name the sequence that was met")
    if stop.reason in _SAYS_LESS:
        receipt.changed(f"{path}.reason", f"{stop.reason.value} is said as {_WORDS[stop.reason]}")


def answer_id(foreign: str, hop: Hop) -> str:
    """An answer's id: a UUID. The same foreign id always gives the same one; without any, the nonce does."""
    return foreign if _UUID.match(foreign) else uuid_of(foreign or hop.nonce)


def uuid_of(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
