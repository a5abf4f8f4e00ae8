"""A whole answer, both ways, and the light look at one that passes by."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from busbar.protocols.cohere.answer import MessageForm, read_answer, write_own_answer
from busbar.protocols.cohere.calls import TOOL_CALLS, call_id, minted_call_id, write_call
from busbar.protocols.cohere.citations import write_citation
from busbar.protocols.cohere.errors import failed_answer
from busbar.protocols.cohere.usage import StatedUsage, counts_of, read_usage, write_foreign_usage, write_usage
from busbar.protocols.cohere.words import DIALECT, FAILED, answer_id, read_stop, report_stop, stop_word
from busbar.protocols.error_body import signal_of
from busbar.protocols.ir import Choice, Refusal, Response, Text, Thinking, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.protocol import Document, Hop, Inspection, InvalidRequest
from busbar.protocols.receipt import Receipt


class ResponseForm(Struct, frozen=True):
    """Whether an answer stated its id."""

    id: bool


def read_response(document: Document) -> Response:
    """Raises `InvalidRequest` when the document has no message. An answer does not name its model."""
    left = dict(document)
    message = left.pop("message", None)
    if not isinstance(message, dict):
        raise InvalidRequest("message", "expected an object")
    kept = dict(message)
    role = kept.pop("role") if kept.get("role") == "assistant" else ""
    parts, spelled = read_answer(kept, "message")
    stop = None
    if isinstance(left.get("finish_reason"), str):
        stop = read_stop(left.pop("finish_reason"))
    usage = read_usage(left.get("usage"))
    if usage is not None:
        del left["usage"]
    stated = isinstance(left.get("id"), str)
    given_id = left.pop("id") if stated else ""
    choice = Choice(parts=parts, stop=stop, native=Native(DIALECT, kept, MessageForm(content=spelled, role=role)))
    native = Native(DIALECT, left, ResponseForm(stated))
    return Response(id=given_id, model="", choices=[choice], usage=usage, native=native)


def write_response(response: Response, hop: Hop, receipt: Receipt) -> Document:
    """The answer for a caller. Only the first choice has a place; further ones are reported."""
    form = own_form(response, DIALECT)
    if isinstance(form, ResponseForm):
        return _write_own(response, form)
    report_leftovers(response, DIALECT, "", receipt)
    for choice in response.choices[1:]:
        receipt.dropped(f"choices[{choice.index}]", "an answer is one message")
    first = response.choices[0] if response.choices else Choice()
    report_leftovers(first, DIALECT, "choices[0]", receipt)
    message = _write_message(first, hop, receipt)
    if first.stop is not None:
        report_stop(first.stop, "choices[0].stop", receipt)
    if response.usage is not None:
        report_leftovers(response.usage, DIALECT, "usage", receipt)
    return {
        "id": answer_id(response.id, hop),
        "message": message,
        "finish_reason": stop_word(first.stop, tool_used=TOOL_CALLS in message),
        "usage": write_foreign_usage(response.usage, receipt),
    }


def _write_own(response: Response, form: ResponseForm) -> Document:
    written: Document = {**own_fields(response, DIALECT)}
    if form.id:
        written["id"] = response.id
    choice = response.choices[0]
    spelled = own_form(choice, DIALECT)
    message = write_own_answer(choice.parts, own_fields(choice, DIALECT), spelled.content)
    written["message"] = {"role": spelled.role, **message} if spelled.role else message
    if choice.stop is not None:
        written["finish_reason"] = stop_word(choice.stop)
    if response.usage is not None:
        written["usage"] = write_usage(response.usage)
    return written


def _write_message(choice: Choice, hop: Hop, receipt: Receipt) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    citations: list[dict[str, Any]] = []
    for at, part in enumerate(choice.parts):
        where = f"choices[0].content[{at}]"
        match part:
            case Text():
                report_leftovers(part, DIALECT, where, receipt)
                _report_signature(part, where, receipt)
                for nth, citation in enumerate(part.citations):
                    report_leftovers(citation, DIALECT, f"{where}.citations[{nth}]", receipt)
                    citations.append(write_citation(citation, len(content), part.text, len(part.text)))
                content.append({"type": "text", "text": part.text})
            case Refusal():
                receipt.changed(where, "a refusal is written as text")
                content.append({"type": "text", "text": part.text})
            case Thinking():
                report_leftovers(part, DIALECT, where, receipt)
                _report_signature(part, where, receipt)
                if part.text:
                    content.append({"type": "thinking", "thinking": part.text})
            case ToolUse():
                report_leftovers(part, DIALECT, where, receipt)
                _report_signature(part, where, receipt)
                own = call_id(part.id) or minted_call_id(part.name, hop.nonce, at)
                calls.append(write_call(own, part.name, part.arguments or "{}"))
            case _:
                receipt.dropped(where, "no place in an answer of this dialect")
    message: dict[str, Any] = {"role": "assistant"}
    if content or not calls:
        message["content"] = content or [{"type": "text", "text": ""}]
    if calls:
        message[TOOL_CALLS] = calls
    if citations:
        message["citations"] = citations
    return message


def _report_signature(part: Text | Thinking | ToolUse, path: str, receipt: Receipt) -> None:
    if part.signature:
        receipt.dropped(f"{path}.signature", "no place in this dialect")


class _Peek(Struct):
    """What matters in an answer that passes by; everything else is skipped undecoded."""

    message: msgspec.Raw = msgspec.Raw()
    finish_reason: Any = None
    usage: Any = None
    error: Any = None


class _Something(Struct):
    """An object, whatever is in it."""


class _Glance(Struct):
    """The same of an answer as it nearly always is."""

    message: _Something | None = None
    finish_reason: str | None = None
    usage: StatedUsage | None = None


_peek = msgspec.json.Decoder(_Peek).decode
_glance = msgspec.json.Decoder(_Glance).decode
_decode = msgspec.json.Decoder().decode


def inspect_response(body: bytes) -> Inspection:
    """Usage and in-band error of a whole 200 answer. Never raises."""
    try:
        seen = _glance(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _inspect_closely(body)
    if seen.message is None or seen.finish_reason in FAILED:
        return _inspect_closely(body)
    return Inspection(usage=None if seen.usage is None else counts_of(seen.usage))


def _inspect_closely(body: bytes) -> Inspection:
    try:
        seen = _peek(body)
        usage = read_usage(seen.usage)
        if isinstance(seen.finish_reason, str) and seen.finish_reason in FAILED:
            return Inspection(usage=usage, error=failed_answer(seen.finish_reason, seen.error))
        if bytes(memoryview(seen.message)[:1]) != b"{" and (seen.error or bytes(seen.message)):
            return Inspection(usage=usage, error=signal_of(_decode(body)))
        return Inspection(usage=usage)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Inspection(readable=False)
