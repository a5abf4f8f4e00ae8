"""Whole answers of the Chat Completions dialect."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from busbar.protocols.fields import as_object
from busbar.protocols.ids import answer_id
from busbar.protocols.ir import Choice, Citation, Refusal, Response, Text, Thinking, ToolUse, is_plain_text
from busbar.protocols.leftovers import report_leftovers, says_nothing
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.openai.answer import MessageForm, read_answer
from busbar.protocols.openai.answer_write import write_call, write_citation, write_own_answer
from busbar.protocols.openai.errors import error_in_answer
from busbar.protocols.openai.stops import finish_word, read_stop, report_stop
from busbar.protocols.openai.usage import StatedUsage, counts_of, read_usage, write_usage
from busbar.protocols.openai.words import ANSWER_ID, DIALECT
from busbar.protocols.protocol import Document, Hop, Inspection, InvalidRequest
from busbar.protocols.receipt import Receipt


class ChoiceForm(Struct, frozen=True, kw_only=True):
    """How a choice spelled what it carries. What its message held beyond that is a leftover, under `message`."""

    message: MessageForm
    message_tags: dict[str, Any] | None
    """The message's role and what else of it says nothing; None: there was no message, as where Azure's filter
    took it."""
    index: bool = True


class ResponseForm(Struct, frozen=True, kw_only=True):
    """Which fields a response had at all."""

    stated: tuple[str, ...]
    tags: dict[str, Any]


def read_response(document: Document) -> Response:
    """Raises `InvalidRequest` for a document without choices: nothing was answered."""
    left = dict(document)
    choices = left.pop("choices", None)
    if not isinstance(choices, list):
        raise InvalidRequest("choices", "expected an array")
    usage = left.pop("usage") if isinstance(left.get("usage"), dict) else None
    created = left.pop("created") if type(left.get("created")) is int else None
    taken = {key: left.pop(key) for key in ("id", "model") if isinstance(left.get(key), str)}
    tags = {"object": left.pop("object")} if left.get("object") == "chat.completion" else {}
    return Response(
        id=taken.get("id", ""),
        model=taken.get("model", ""),
        created=created,
        choices=[_read_choice(choice, f"choices[{at}]") for at, choice in enumerate(choices)],
        usage=None if usage is None else read_usage(usage),
        native=Native(DIALECT, left, ResponseForm(stated=tuple(taken), tags=tags)),
    )


def _read_choice(value: Any, path: str) -> Choice:
    left = as_object(value, path)
    message = dict(left.pop("message")) if isinstance(left.get("message"), dict) else None
    message_left = message or {}
    parts, form = read_answer(message_left, f"{path}.message")
    tags = {key: value for key, value in message_left.items() if key == "role" or says_nothing(value)}
    if rest := {key: value for key, value in message_left.items() if key not in tags}:
        left["message"] = rest
    stop = read_stop(left, called_tool=any(isinstance(part, ToolUse) for part in parts))
    if stop is not None:
        if stop.sequence is not None:
            del left["stop_reason"]
        del left["finish_reason"]
    has_index = type(left.get("index")) is int
    index = left.pop("index") if has_index else 0
    choice_form = ChoiceForm(message=form, message_tags=None if message is None else tags, index=has_index)
    return Choice(index=index, parts=parts, stop=stop, native=Native(DIALECT, left, choice_form))


def write_response(response: Response, hop: Hop, receipt: Receipt) -> Document:
    form = own_form(response, DIALECT)
    if isinstance(form, ResponseForm):
        document = {**own_fields(response, DIALECT), **form.tags}
        document |= {key: getattr(response, key) for key in form.stated}
        if response.created is not None:
            document["created"] = response.created
    else:
        report_leftovers(response, DIALECT, "", receipt)
        document = {
            "id": answer_id(response.id, ANSWER_ID, hop.nonce),
            "object": "chat.completion",
            "created": hop.now if response.created is None else response.created,
            "model": response.model or hop.model,
        }
    document["choices"] = [
        _write_choice(choice, f"choices[{at}]", hop, receipt) for at, choice in enumerate(response.choices)
    ]
    if response.usage is not None:
        report_leftovers(response.usage, DIALECT, "usage", receipt)
        document["usage"] = write_usage(response.usage)
    return document


def _write_choice(choice: Choice, path: str, hop: Hop, receipt: Receipt) -> dict[str, Any]:
    form = own_form(choice, DIALECT)
    document: dict[str, Any] = {**own_fields(choice, DIALECT)}
    if isinstance(form, ChoiceForm):
        left = {**(form.message_tags or {}), **document.pop("message", {})}
        if form.message_tags is not None:
            document["message"] = write_own_answer(choice.parts, left, form.message, receipt)
    else:
        report_leftovers(choice, DIALECT, path, receipt)
        document["message"] = _write_message(choice, path, hop, receipt)
        document |= {"logprobs": None, "finish_reason": "stop"}
    if not isinstance(form, ChoiceForm) or form.index:
        document["index"] = choice.index
    if choice.stop is not None:
        report_stop(choice.stop, f"{path}.stop", receipt)
        document["finish_reason"] = finish_word(choice.stop)
        if choice.stop.sequence is not None and own_form(choice.stop, DIALECT) is not None:
            document["stop_reason"] = choice.stop.sequence
    return document


def _write_message(choice: Choice, path: str, hop: Hop, receipt: Receipt) -> dict[str, Any]:
    """Another dialect's answer: its texts are one text here, and so are its thoughts."""
    text = thinking = ""
    refusal: str | None = None
    calls: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for at, part in enumerate(choice.parts):
        if is_plain_text(part):
            text += part.text
            continue
        where = f"{path}.content[{at}]"
        match part:
            case Text():
                annotations += _annotations(part.citations, len(text), len(part.text), where, receipt)
                report_leftovers(part, DIALECT, where, receipt)
                text += part.text
            case Thinking():
                if part.signature is not None:
                    receipt.dropped(f"{where}.signature", "no place in this dialect")
                thinking += part.text
            case Refusal():
                refusal = (refusal or "") + part.text
            case ToolUse():
                calls.append(write_call(part, where, receipt, at, hop.nonce))
            case _:
                receipt.dropped(where, "no place in an answer of this dialect")
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": refusal}
    if not text and not calls and refusal is None:
        message["content"] = ""
    if thinking:
        message["reasoning_content"] = thinking
    if annotations:
        message["annotations"] = annotations
    if calls:
        message["tool_calls"] = calls
    return message


def _annotations(
    citations: list[Citation], at: int, length: int, path: str, receipt: Receipt
) -> list[dict[str, Any]]:
    written = [
        write_citation(citation, at, length, f"{path}.citations[{nth}]", receipt)
        for nth, citation in enumerate(citations)
    ]
    return [annotation for annotation in written if annotation is not None]


class _Peek(Struct):
    """What an inspection needs to know of an answer; all else is skipped, not decoded."""

    usage: Any = None
    error: Any = None
    success: Any = None
    errors: Any = None
    base_resp: Any = None


class _Glance(Struct):
    """The same of an answer as it nearly always is."""

    usage: StatedUsage | None = None
    error: Any = None
    errors: Any = None
    base_resp: Any = None


_peek = msgspec.json.Decoder(_Peek).decode
_glance = msgspec.json.Decoder(_Glance).decode


def inspect_response(body: bytes) -> Inspection:
    """Usage, and an error that came with a 200: OpenRouter, Azure, Cloudflare and MiniMax do so."""
    try:
        seen = _glance(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _inspect_closely(body)
    if seen.error or seen.errors or seen.base_resp:
        return _inspect_closely(body)
    return Inspection(usage=None if seen.usage is None else counts_of(seen.usage))


def _inspect_closely(body: bytes) -> Inspection:
    try:
        peek = _peek(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Inspection(readable=False)
    return Inspection(
        usage=read_usage(peek.usage) if isinstance(peek.usage, dict) else None,
        error=error_in_answer(
            {"error": peek.error, "success": peek.success, "errors": peek.errors, "base_resp": peek.base_resp}
        ),
    )
