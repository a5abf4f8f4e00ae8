"""Whole answers of the Responses dialect: one choice, made of output items."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from busbar.protocols.ir import Choice, Response, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.protocol import Document, Hop, Inspection, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.answer_write import response_frame, write_output
from busbar.protocols.responses.errors import error_in_answer
from busbar.protocols.responses.items_read import read_output
from busbar.protocols.responses.items_write import write_own_turn
from busbar.protocols.responses.stops import read_stop, report_stop, write_stop
from busbar.protocols.responses.usage import StatedUsage, counts_of, read_usage, write_usage
from busbar.protocols.responses.words import DIALECT

ECHOES = frozenset(
    {
        *("instructions", "max_output_tokens", "max_tool_calls", "parallel_tool_calls", "previous_response_id"),
        *("prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier", "store", "temperature"),
        *("text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user", "metadata", "background"),
        *("presence_penalty", "frequency_penalty", "prompt_cache_options", "conversation", "prompt", "object"),
    }
)
"""What a response repeats of its request, which its caller has: it is not missed in another dialect."""


class ResponseForm(Struct, frozen=True, kw_only=True):
    """Which facts a response stated at all, and what it repeated of its request."""

    stated: tuple[str, ...]
    echoes: dict[str, Any]


def read_response(document: Document) -> Response:
    """Raises `InvalidRequest` for a document without output: nothing was answered."""
    left = dict(document)
    output = left.pop("output", None)
    if not isinstance(output, list):
        raise InvalidRequest("output", "expected an array")
    turn = read_output(output)
    stop = read_stop(left, called_tool=any(isinstance(part, ToolUse) for part in turn.parts))
    usage = left.pop("usage") if isinstance(left.get("usage"), dict) else None
    taken = {key: left.pop(key) for key, kind in _FACTS.items() if type(left.get(key)) is kind}
    echoes = {key: left.pop(key) for key in ECHOES & left.keys()}
    return Response(
        id=taken.get("id", ""),
        model=taken.get("model", ""),
        created=taken.get("created_at"),
        choices=[Choice(parts=turn.parts, stop=stop, native=turn.native)],
        usage=None if usage is None else read_usage(usage),
        native=Native(DIALECT, left, ResponseForm(stated=tuple(taken), echoes=echoes)),
    )


_FACTS: dict[str, type] = {"id": str, "model": str, "created_at": int}


def write_response(response: Response, hop: Hop, receipt: Receipt) -> Document:
    form = own_form(response, DIALECT)
    if not isinstance(form, ResponseForm):
        return _write_foreign(response, hop, receipt)
    facts = {"id": response.id, "model": response.model, "created_at": response.created}
    document = {**own_fields(response, DIALECT), **form.echoes, **{key: facts[key] for key in form.stated}}
    choice = response.choices[0]
    assert choice.native is not None
    document["output"] = write_own_turn(choice.parts, choice.native, "assistant")
    if choice.stop is not None:
        document |= write_stop(choice.stop)
    if response.usage is not None:
        document["usage"] = write_usage(response.usage)
    return document


def _write_foreign(response: Response, hop: Hop, receipt: Receipt) -> Document:
    report_leftovers(response, DIALECT, "", receipt)
    for choice in response.choices[1:]:
        receipt.dropped(f"choices[{choice.index}]", "an answer is one turn")
    document = response_frame(response.id, response.model, response.created, hop)
    choice = response.choices[0] if response.choices else Choice()
    report_leftovers(choice, DIALECT, "choices[0]", receipt)
    document["output"] = write_output(choice.parts, "choices[0]", hop, receipt)
    document |= write_stop(choice.stop)
    if choice.stop is not None:
        report_stop(choice.stop, "choices[0].stop", receipt)
    if document["status"] == "failed":
        document["error"] = {"code": "server_error", "message": "The model failed to finish its answer."}
    if response.usage is not None:
        report_leftovers(response.usage, DIALECT, "usage", receipt)
        document["usage"] = write_usage(response.usage)
    return document


class _Peek(Struct):
    """What an inspection needs to know of an answer; all else is skipped, not decoded."""

    usage: Any = None
    error: Any = None
    status: Any = None


class _Glance(Struct):
    """The same of an answer as it nearly always is."""

    usage: StatedUsage | None = None
    error: Any = None
    status: str | None = None


_peek = msgspec.json.Decoder(_Peek).decode
_glance = msgspec.json.Decoder(_Glance).decode


def inspect_response(body: bytes) -> Inspection:
    """Usage, and the error of a response that failed."""
    try:
        seen = _glance(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _inspect_closely(body)
    if seen.error or seen.status == "failed":
        return _inspect_closely(body)
    return Inspection(usage=None if seen.usage is None else counts_of(seen.usage))


def _inspect_closely(body: bytes) -> Inspection:
    try:
        peek = _peek(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Inspection(readable=False)
    return Inspection(
        usage=read_usage(peek.usage) if isinstance(peek.usage, dict) else None,
        error=error_in_answer({"error": peek.error, "status": peek.status}),
    )
