"""Chunks that differ from the one before in a piece of text alone, as nearly all of a stream do.

Such a chunk is not parsed: what is before and behind the text is compared, and only the text is decoded. All else
that was read of the chunk before holds for it too.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from busbar.protocols.ir import Chunk, TextDelta, ThinkingDelta
from busbar.protocols.native import Native
from busbar.protocols.openai.stream_form import ChunkForm

_SAID = ("content", "reasoning_content", "reasoning")
_MORE_SAID = ("refusal", "annotations", "tool_calls", "function_call", "reasoning_details", *_SAID)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_decode_text = msgspec.json.Decoder(str).decode


class Alike:
    """What a chunk is like, of which the only event is the delta `said`. Whoever reads another kind of chunk after it
    must forget this: it is true only while nothing else happens."""

    __slots__ = ("_event", "_head", "_native", "_said", "_short", "_tail")

    def __init__(self, event: str, head: bytes, tail: bytes, said: TextDelta | ThinkingDelta, native: Native) -> None:
        self._event = event
        self._head = head
        self._tail = tail
        self._short = len(head) + len(tail) + len(b'""')
        """As long is a chunk that says nothing."""
        self._said = said
        self._native = native

    def read(self, event: str, data: bytes) -> Chunk | None:
        """The chunk, if it is like this one."""
        head, tail = self._head, self._tail
        if len(data) <= self._short or not data.startswith(head) or not data.endswith(tail) or event != self._event:
            return None
        try:
            text = _decode_text(data[len(head) : -len(tail)])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        said = self._said
        return Chunk(events=[type(said)(choice=said.choice, index=said.index, text=text)], native=self._native)


def like(event: str, data: bytes, chunk: Chunk) -> Alike | None:
    """What further chunks may be like, once `data`, of the event that is called `event`, was read as `chunk`. None:
    they will have to be parsed."""
    native = chunk.native
    if len(chunk.events) != 1 or native is None or not isinstance(form := native.form, ChunkForm):
        return None
    said = chunk.events[0]
    if not isinstance(said, TextDelta | ThinkingDelta) or len(form.slots) != 1 or not said.text:
        return None
    path = form.slots[0][2]
    if len(path) != 4 or path[2] != "delta" or path[3] not in _SAID or _says_more(form.skeleton):
        return None
    key = b'"%b":' % str(path[3]).encode()
    found = _STRING.match(data, data.find(key) + len(key))
    if found is None or data.count(key) != 1:
        return None
    return Alike(event, data[: found.start()], data[found.end() :], said, native)


def _says_more(skeleton: dict[str, Any]) -> bool:
    """Whether a chunk says anything beside the text that was taken out of it."""
    choices = skeleton["choices"]
    if len(choices) != 1:
        return True
    entry = choices[0]
    return bool(entry.get("text")) or any(entry["delta"].get(key) for key in _MORE_SAID)
