"""A whole answer, both ways, and the light look at one that passes by. Answers here have no id and name no model."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.bedrock.blocks_read import read_answer
from busbar.protocols.bedrock.blocks_write import write_content
from busbar.protocols.bedrock.fit_parts import PartFitter
from busbar.protocols.bedrock.places import merge
from busbar.protocols.bedrock.stops import stated_stop, take_stop
from busbar.protocols.bedrock.usage import StatedUsage, counts_of, read_usage, write_foreign_usage, write_usage
from busbar.protocols.bedrock.words import DIALECT, OWN_FORM, foreign_stop_word
from busbar.protocols.error_body import signal_of
from busbar.protocols.fields import as_object
from busbar.protocols.ir import Choice, Part, Refusal, Response, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.protocol import Document, Hop, Inspection, InvalidRequest
from busbar.protocols.receipt import Receipt


def read_response(document: Document) -> Response:
    """Raises `InvalidRequest` when the document has no message with content. Blocks are read leniently."""
    left = dict(document)
    output = as_object(left.pop("output", None), "output")
    message = as_object(output.pop("message", None), "output.message")
    content = message.pop("content", None)
    if not isinstance(content, list):
        raise InvalidRequest("output.message.content", "expected an array of content blocks")
    if message.get("role") == "assistant":
        del message["role"]
    if message:
        output["message"] = message
    if output:
        left["output"] = output
    stop = take_stop(left)
    usage = read_usage(left.get("usage"))
    if usage is not None:
        del left["usage"]
    return Response(
        id="",
        model="",
        choices=[Choice(parts=read_answer(content), stop=stop)],
        usage=usage,
        native=Native(DIALECT, left, OWN_FORM),
    )


def write_response(response: Response, hop: Hop, receipt: Receipt) -> Document:
    """The answer for a caller. Only the first choice has a place; further ones are reported."""
    if own_form(response, DIALECT) is not None:
        return _write_own(response)
    report_leftovers(response, DIALECT, "", receipt)
    for choice in response.choices[1:]:
        receipt.dropped(f"choices[{choice.index}]", "an answer is one message")
    first = response.choices[0] if response.choices else Choice()
    report_leftovers(first, DIALECT, "choices[0]", receipt)
    fitted = PartFitter(receipt, hop.nonce).fit_all(first.parts, "answer", "choices[0].content")
    word = foreign_stop_word(first.stop, tool_used=_holds(fitted, ToolUse), refused=_holds(first.parts, Refusal))
    return {
        "output": {"message": {"role": "assistant", "content": write_content(fitted)}},
        **stated_stop(first.stop, word),
        "usage": write_foreign_usage(response.usage),
        "metrics": {"latencyMs": 0},
    }


def _write_own(response: Response) -> Document:
    choice = response.choices[0] if response.choices else Choice()
    written: Document = {
        "output": {"message": {"role": "assistant", "content": write_content(choice.parts)}},
        **stated_stop(choice.stop),
    }
    if response.usage is not None:
        written["usage"] = write_usage(response.usage)
    merge(written, own_fields(response, DIALECT))
    return written


def _holds(parts: list[Part], kind: type) -> bool:
    return any(isinstance(part, kind) for part in parts)


class _Peek(msgspec.Struct):
    """What matters in an answer that passes by; everything else is skipped undecoded."""

    output: msgspec.Raw = msgspec.Raw()
    usage: Any = None


class _Something(msgspec.Struct):
    """An object, whatever is in it."""


class _Glance(msgspec.Struct):
    """The same of an answer as it nearly always is."""

    output: _Something | None = None
    usage: StatedUsage | None = None


_peek = msgspec.json.Decoder(_Peek).decode
_glance = msgspec.json.Decoder(_Glance).decode
_decode = msgspec.json.Decoder().decode


def inspect_response(body: bytes) -> Inspection:
    """Usage and in-band error of a whole 200 answer. Never raises. What has an output is no error; of the rest, what
    has a message is one, as AWS front ends are known to send it."""
    try:
        seen = _glance(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _inspect_closely(body)
    if seen.output is None:
        return _inspect_closely(body)
    return Inspection(usage=None if seen.usage is None else counts_of(seen.usage))


def _inspect_closely(body: bytes) -> Inspection:
    try:
        seen = _peek(body)
        if bytes(memoryview(seen.output)[:1]) == b"{":
            return Inspection(usage=read_usage(seen.usage))
        said = signal_of(_decode(body))
        return Inspection(error=said if said.message or said.code or said.type else None)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Inspection(readable=False)
