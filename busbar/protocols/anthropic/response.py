"""A whole answer (`message`), both ways, and the light look at one that passes by."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.anthropic.blocks_read import read_answer_block
from busbar.protocols.anthropic.blocks_write import write_block
from busbar.protocols.anthropic.fit_parts import PartFitter
from busbar.protocols.anthropic.usage import (
    StatedUsage,
    counts_of,
    read_usage,
    write_foreign_usage,
    write_usage,
)
from busbar.protocols.anthropic.words import (
    DIALECT,
    MESSAGE_ID,
    OWN_FORM,
    foreign_stop_word,
    read_stop,
    stop_word,
)
from busbar.protocols.error_body import signal_of
from busbar.protocols.fields import take_text
from busbar.protocols.ids import answer_id
from busbar.protocols.ir import Choice, Part, Refusal, Response, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.protocol import Document, Hop, Inspection, InvalidRequest
from busbar.protocols.receipt import Receipt


def read_response(document: Document) -> Response:
    """Raises `InvalidRequest` when the document has no content. Blocks are read leniently."""
    left = dict(document)
    content = left.pop("content", None)
    if not isinstance(content, list):
        raise InvalidRequest("content", "expected an array of content blocks")
    parts = [read_answer_block(block, f"content[{index}]") for index, block in enumerate(content)]
    take_constants(left)
    stop = None
    if isinstance(left.get("stop_reason"), str):
        word = left.pop("stop_reason")
        sequence = left.pop("stop_sequence") if isinstance(left.get("stop_sequence"), str) else None
        stop = read_stop(word, sequence)
    usage = read_usage(left.get("usage"))
    if usage is not None:
        del left["usage"]
    return Response(
        id=take_text(left, "id") or "",
        model=take_text(left, "model") or "",
        choices=[Choice(parts=parts, stop=stop)],
        usage=usage,
        native=Native(DIALECT, left, OWN_FORM),
    )


def write_response(response: Response, hop: Hop, receipt: Receipt) -> Document:
    """The `message` for a caller. Only the first choice has a place; further ones are reported."""
    if own_form(response, DIALECT) is not None:
        return _write_own(response)
    report_leftovers(response, DIALECT, "", receipt)
    for choice in response.choices[1:]:
        receipt.dropped(f"choices[{choice.index}]", "an answer is one message")
    first = response.choices[0] if response.choices else Choice()
    report_leftovers(first, DIALECT, "choices[0]", receipt)
    fitted = PartFitter(receipt, hop.nonce).fit_all(first.parts, "answer", "choices[0].content")
    return {
        "id": answer_id(response.id, MESSAGE_ID, hop.nonce),
        "type": "message",
        "role": "assistant",
        "model": response.model or hop.model,
        "content": [write_block(part) for part in fitted],
        "stop_reason": foreign_stop_word(
            first.stop, tool_used=_holds(fitted, ToolUse), refused=_holds(first.parts, Refusal)
        ),
        "stop_sequence": None if first.stop is None else first.stop.sequence,
        "usage": write_foreign_usage(response.usage),
    }


def take_constants(left: Document) -> None:
    """Takes what every message says of itself."""
    if left.get("type") == "message":
        del left["type"]
    if left.get("role") == "assistant":
        del left["role"]


def _write_own(response: Response) -> Document:
    choice = response.choices[0] if response.choices else Choice()
    written: Document = {
        "id": response.id,
        "type": "message",
        "role": "assistant",
        "model": response.model,
        "content": [write_block(part) for part in choice.parts],
        "stop_reason": None if choice.stop is None else stop_word(choice.stop),
        "stop_sequence": None if choice.stop is None else choice.stop.sequence,
    }
    if response.usage is not None:
        written["usage"] = write_usage(response.usage)
    written.update(own_fields(response, DIALECT))
    return written


def _holds(parts: list[Part], kind: type) -> bool:
    return any(isinstance(part, kind) for part in parts)


class _Peek(msgspec.Struct):
    """What matters in an answer that passes by; everything else is skipped undecoded."""

    type: Any = None
    content: msgspec.Raw = msgspec.Raw()
    usage: Any = None
    error: Any = None
    base_resp: Any = None


class _Glance(msgspec.Struct):
    """The same of an answer as it nearly always is."""

    type: str = ""
    usage: StatedUsage | None = None
    error: Any = None
    base_resp: Any = None


_peek = msgspec.json.Decoder(_Peek).decode
_glance = msgspec.json.Decoder(_Glance).decode
_decode = msgspec.json.Decoder().decode


def inspect_response(body: bytes) -> Inspection:
    """Usage and in-band error of a whole 200 answer. Never raises. What has content is no error."""
    try:
        seen = _glance(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _inspect_closely(body)
    if seen.error or seen.base_resp or seen.type == "error":
        return _inspect_closely(body)
    return Inspection(usage=None if seen.usage is None else counts_of(seen.usage))


def _inspect_closely(body: bytes) -> Inspection:
    try:
        seen = _peek(body)
        failed = seen.type == "error" or bool(seen.error or seen.base_resp)
        if failed and bytes(memoryview(seen.content)[:1]) != b"[":
            return Inspection(error=signal_of(_decode(body)))
        return Inspection(usage=read_usage(seen.usage))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Inspection(readable=False)
