"""The tap on a stream that stays in this dialect: what passes is only looked at, and parsed where it must be."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from busbar.protocols.framing.sse import SseEvent
from busbar.protocols.framing.tap import SseTap
from busbar.protocols.meter import Marks
from busbar.protocols.openai.errors import write_stream_error
from busbar.protocols.openai.stream_read import DONE, choice_index, error_of, usage_of
from busbar.protocols.openai.usage import read_usage
from busbar.protocols.usage import merged

MARKS = Marks(
    event=b'"delta"',
    texts=(b"content", b"reasoning_content", b"reasoning", b"arguments", b"refusal", b"transcript"),
    quotes=(b"annotations", b"executed_tools"),
    call=b'"name":"',
    call_tokens=10,
)
"""By which a stream is metered that was cut, or states no usage."""


_MATTERS = re.compile(
    rb'"usage"\s*:\s*\{|"finish_reason"\s*:\s*"|"error"\s*:\s*[^\sn]|"index"\s*:\s*[1-9]'
    rb'|"base_resp"|"success"\s*:\s*false'
)
"""What makes a chunk worth parsing once content was seen. Inside of texts quotation marks are escaped, so none of
these is ever found in what a model says."""

_SAYS = (
    "content",
    "tool_calls",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "refusal",
    "function_call",
    "annotations",
    "audio",
)
_DECODER = msgspec.json.Decoder()


class _Look:
    """What the tap needs to remember beyond its notes: which choices were seen, and which have finished."""

    __slots__ = ("_finished", "_seen")

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._finished: set[int] = set()

    def inspect(self, tap: SseTap, event: SseEvent) -> None:
        if tap.ended or tap.error is not None:
            return
        if event.data.strip() == DONE:
            tap.ended = True
        else:
            self._parse(tap, event)

    def complete(self, tap: SseTap) -> bool:
        """Some providers omit `[DONE]`: an answer whose choices all finished is whole."""
        return tap.finished and tap.error is None

    def _parse(self, tap: SseTap, event: SseEvent) -> None:
        try:
            document = _DECODER.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if not isinstance(document, dict):
            return
        choices = document.get("choices")
        for entry in choices if isinstance(choices, list) else ():
            if isinstance(entry, dict):
                self._look_at(tap, entry)
        tap.finished = bool(self._seen) and self._seen == self._finished
        if (usage := usage_of(document)) is not None:
            tap.usage = merged(tap.usage, read_usage(usage))
        tap.error = error_of(document, event.event)

    def _look_at(self, tap: SseTap, entry: dict[str, Any]) -> None:
        index = choice_index(entry)
        self._seen.add(index)
        if isinstance(reason := entry.get("finish_reason"), str) and reason:
            self._finished.add(index)
        delta = entry.get("delta")
        if not tap.content and isinstance(delta, dict):
            tap.content = any(delta.get(key) for key in _SAYS)


def stream_tap(framing: str = "") -> SseTap:
    del framing  # there is only one
    look = _Look()
    return SseTap(look.inspect, write_stream_error, look.complete, _only_content, said=b'"content":"')


def _only_content(frame: bytes) -> bool:
    """A chunk, not `[DONE]` nor a named event, in which nothing matters."""
    return frame.startswith(b"data: {") and _MATTERS.search(frame) is None
