"""The tap on a stream that stays in this dialect: what passes is only looked at, and parsed where it must be."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from busbar.protocols.errors import ErrorReport
from busbar.protocols.framing.sse import SseEvent
from busbar.protocols.framing.tap import SseTap
from busbar.protocols.meter import Marks
from busbar.protocols.protocol import Hop
from busbar.protocols.responses.answer_write import response_frame
from busbar.protocols.responses.errors import error_in_answer, signal_of_error
from busbar.protocols.responses.stream_write import failed_event
from busbar.protocols.responses.usage import read_usage

MARKS = Marks(event=b'.delta"', texts=(b"delta",), call=b'"arguments":""', call_tokens=12)
"""By which a stream is metered that was cut, or states no usage."""


_MATTERS = re.compile(rb'"type"\s*:\s*"(response\.(completed|incomplete|failed|cancelled)|error)"')
"""What makes an event worth parsing once content was seen. Inside of texts quotation marks are escaped, so none of
these is ever found in what a model says."""

_NAMED = (
    b"event: response.completed",
    b"event: response.incomplete",
    b"event: response.failed",
    b"event: response.cancelled",
)
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d{1,9})')
_OPENING = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDING = frozenset({"response.completed", "response.incomplete"})
_FAILING = frozenset({"response.failed", "response.cancelled", "error"})
_SILENT = frozenset(
    {
        *("response.content_part.added", "response.content_part.done", "response.output_text.done"),
        *("response.refusal.done", "response.function_call_arguments.done", "keepalive"),
        *("response.reasoning_summary_part.added", "response.reasoning_summary_part.done"),
        *("response.reasoning_part.added", "response.reasoning_part.done"),
        *("response.reasoning_summary_text.done", "response.reasoning_text.done"),
    }
)
"""Events that say nothing which deltas do not say."""
_ITEMS = frozenset({"response.output_item.added", "response.output_item.done"})
_DECODER = msgspec.json.Decoder()


class _Look:
    """What the tap needs to remember beyond its notes: whose answer it is, and the frame that passed last, so that a
    break can be told as the next event of the same response."""

    __slots__ = ("_last", "_response")

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._last = b""

    def inspect(self, tap: SseTap, event: SseEvent) -> None:
        if tap.ended or tap.error is not None:
            return
        try:
            document = _DECODER.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        self._last = event.data
        if isinstance(document, dict):
            kind = document.get("type")
            self._note(tap, kind if isinstance(kind, str) and kind else event.event, document)

    def only_content(self, frame: bytes) -> bool:
        self._last = frame
        if frame.startswith(b"event: response."):  # as nearly all frames do: the name says it
            return not frame.startswith(_NAMED)
        return not frame.startswith(b"event: error") and _MATTERS.search(frame) is None

    def write_error(self, report: ErrorReport) -> bytes:
        stated = self._response
        frame = response_frame("", str(stated.get("model", "")), 0, Hop())
        frame |= {key: stated[key] for key in ("id", "created_at") if key in stated}
        found = _SEQUENCE.search(self._last)
        return failed_event(frame, report, int(found[1]) + 1 if found else 0)

    def _note(self, tap: SseTap, kind: str, document: dict[str, Any]) -> None:
        response = document.get("response")
        if kind in _OPENING:
            self._response = response if isinstance(response, dict) else {}
        elif kind in _FAILING:
            failed = isinstance(response, dict)
            tap.error = (
                error_in_answer({**response, "status": "failed"})
                if failed and response is not None
                else signal_of_error(document.get("error") or document)
            )
            self._note_usage(tap, response)
        elif kind in _ENDING:
            tap.finished = tap.ended = True
            if isinstance(response, dict):
                items = response.get("output")
                tap.content = tap.content or any(map(_is_content, items if isinstance(items, list) else ()))
                self._note_usage(tap, response)
        elif not tap.content and kind not in _SILENT:
            tap.content = _says_something(kind, document)

    def _note_usage(self, tap: SseTap, response: Any) -> None:
        if isinstance(response, dict) and isinstance(usage := response.get("usage"), dict):
            tap.usage = read_usage(usage)


def _says_something(kind: str, document: dict[str, Any]) -> bool:
    """A delta with text, or an item that is more than the beginning of a message or of a thought."""
    if kind in _ITEMS:
        return _is_content(document.get("item"), done=kind.endswith("done"))
    return bool(document.get("delta")) if kind.endswith(".delta") else True


def _is_content(item: Any, *, done: bool = True) -> bool:
    if not isinstance(item, dict):
        return False
    if item.get("type") not in ("message", "reasoning"):
        return True
    return done and bool(item.get("content") or item.get("summary") or item.get("encrypted_content"))


def stream_tap(framing: str = "") -> SseTap:
    del framing  # there is only one
    look = _Look()
    return SseTap(look.inspect, look.write_error, only_content=look.only_content)
