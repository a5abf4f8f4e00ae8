"""Why an answer ended, as documents and streams state it: `stopReason`, and the stop sequence that was met among the
model's own fields, where the caller asked for it (`additionalModelResponseFieldPaths: ["/stop_sequence"]`)."""

from __future__ import annotations

from typing import Any

from busbar.protocols.bedrock.places import look_at, put_at, take_from
from busbar.protocols.bedrock.words import read_stop, stop_word
from busbar.protocols.ir import Stop

_SEQUENCE = ("additionalModelResponseFields", "stop_sequence")


def take_stop(left: dict[str, Any]) -> Stop | None:
    """Takes the reason to stop, and the sequence; None when there is no reason."""
    if not isinstance(left.get("stopReason"), str):
        return None
    word = left.pop("stopReason")
    sequence = take_from(left, _SEQUENCE) if isinstance(look_at(left, _SEQUENCE), str) else None
    return read_stop(word, sequence)


def stated_stop(stop: Stop | None, word: str | None = None) -> dict[str, Any]:
    """The fields that state `stop`; `word` where it is not the stop's own."""
    written: dict[str, Any] = {}
    if stop is not None or word is not None:
        written["stopReason"] = word or stop_word(stop)
    if stop is not None and stop.sequence is not None:
        put_at(written, _SEQUENCE, stop.sequence)
    return written
