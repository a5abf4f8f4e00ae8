"""Whole answers: `GenerateContentResponse`, read and written."""

from __future__ import annotations

import calendar
import re
from typing import Any

import msgspec
from msgspec import Struct

from busbar.protocols.fields import as_object
from busbar.protocols.gemini.answer_write import write_candidate
from busbar.protocols.gemini.errors import error_in_answer
from busbar.protocols.gemini.grounding import CITATIONS, GROUNDING, cite
from busbar.protocols.gemini.parts_read import read_parts
from busbar.protocols.gemini.parts_write import write_own_part
from busbar.protocols.gemini.usage import StatedUsage, counts_of, read_usage, write_usage
from busbar.protocols.gemini.words import DIALECT, answer_id, finish_word, is_stop_word, read_stop
from busbar.protocols.ir import Choice, Response, Stop, StopReason, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.protocol import Document, Hop, Inspection, InvalidRequest
from busbar.protocols.receipt import Receipt

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?Z\Z")


class CandidateForm(Struct, frozen=True, kw_only=True):
    """How a candidate spelled what it carries. `content` is its content without its parts; `cited` is the metadata
    that its citations were read from, kept whole (see `grounding`)."""

    content: dict[str, Any] | None = None
    parts: bool = False
    index: bool = False
    cited: dict[str, Any] = {}


class ResponseForm(Struct, frozen=True, kw_only=True):
    """Which fields a response had. Without `candidates`, the one choice stands for the prompt that was blocked."""

    stated: tuple[str, ...]
    candidates: bool
    create_time: str | None = None


_TEXTS = {"responseId": "id", "modelVersion": "model"}


def read_response(document: Document) -> Response:
    """Raises `InvalidRequest` for a document that neither answers nor says why it does not."""
    left = dict(document)
    candidates = left.get("candidates")
    if not isinstance(candidates, list) and not isinstance(left.get("promptFeedback"), dict):
        raise InvalidRequest("candidates", "expected an array")
    taken = {key: left.pop(key) for key in _TEXTS if isinstance(left.get(key), str)}
    usage = left.pop("usageMetadata") if isinstance(left.get("usageMetadata"), dict) else None
    create_time = left.get("createTime")
    created = read_time(create_time)
    if created is not None:
        del left["createTime"]
    if isinstance(candidates, list):
        del left["candidates"]
        choices = [_read_candidate(value, at) for at, value in enumerate(candidates)]
    else:
        choices = []
    form = ResponseForm(
        stated=tuple(taken),
        candidates=isinstance(candidates, list),
        create_time=None if created is None else create_time,
    )
    return Response(
        id=taken.get("responseId", ""),
        model=taken.get("modelVersion", ""),
        created=created,
        choices=choices or [Choice(stop=blocked(document) or Stop(reason=StopReason.OTHER))],
        usage=None if usage is None else read_usage(usage),
        native=Native(DIALECT, left, form),
    )


def read_time(value: Any) -> int | None:
    """`createTime` in Unix seconds."""
    found = _TIME.match(value) if isinstance(value, str) else None
    return None if found is None else calendar.timegm(tuple(map(int, found.groups())))


def blocked(document: Document) -> Stop | None:
    """The stop of an answer whose prompt was blocked, or None."""
    feedback = document.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    return Stop(reason=StopReason.CONTENT_FILTER, native=Native(DIALECT, form="SAFETY")) if reason else None


def _read_candidate(value: Any, at: int) -> Choice:
    path = f"candidates[{at}]"
    left = as_object(value, path)
    content = left.pop("content") if isinstance(left.get("content"), dict) else None
    rest = {key: inner for key, inner in (content or {}).items() if key != "parts"}
    values = None if content is None else content.get("parts")
    has_parts = isinstance(values, list)
    if values is not None and not has_parts:
        rest["parts"] = values
    parts = read_parts(values if isinstance(values, list) else [], f"{path}.content.parts")
    word = left.get("finishReason")
    stop = None
    if is_stop_word(word):
        stop = read_stop(left.pop("finishReason"), called_tool=any(isinstance(part, ToolUse) for part in parts))
    cited = {key: left.pop(key) for key in (GROUNDING, CITATIONS) if key in left} if cite(left, parts) else {}
    has_index = type(left.get("index")) is int
    index = left.pop("index") if has_index else at
    form = CandidateForm(content=None if content is None else rest, parts=has_parts, index=has_index, cited=cited)
    return Choice(index=index, parts=parts, stop=stop, native=Native(DIALECT, left, form))


def write_response(response: Response, hop: Hop, receipt: Receipt) -> Document:
    form = own_form(response, DIALECT)
    if isinstance(form, ResponseForm):
        return _write_own(response, form)
    report_leftovers(response, DIALECT, "", receipt)
    document: Document = {
        "candidates": [
            write_candidate(choice, f"choices[{at}]", hop, receipt) for at, choice in enumerate(response.choices)
        ]
    }
    if response.usage is not None:
        report_leftovers(response.usage, DIALECT, "usage", receipt)
        document["usageMetadata"] = write_usage(response.usage)
    document["modelVersion"] = response.model or hop.model
    document["responseId"] = answer_id(response.id, hop.nonce)
    return document


def _write_own(response: Response, form: ResponseForm) -> Document:
    document: Document = dict(own_fields(response, DIALECT))
    if form.candidates:
        own = [choice for choice in response.choices if own_form(choice, DIALECT) is not None]
        document["candidates"] = [_write_own_candidate(choice) for choice in own]
    document |= {key: getattr(response, _TEXTS[key]) for key in form.stated}
    if form.create_time is not None:
        document["createTime"] = form.create_time
    if response.usage is not None:
        document["usageMetadata"] = write_usage(response.usage)
    return document


def _write_own_candidate(choice: Choice) -> dict[str, Any]:
    form: CandidateForm = own_form(choice, DIALECT)
    document = {**own_fields(choice, DIALECT), **form.cited}
    if form.content is not None:
        document["content"] = dict(form.content)
        if form.parts:
            document["content"]["parts"] = [write_own_part(part) for part in choice.parts]
    if choice.stop is not None:
        document["finishReason"] = finish_word(choice.stop)
    if form.index:
        document["index"] = choice.index
    return document


class _Peek(Struct):
    """What an inspection needs to know of an answer; all else is skipped, not decoded."""

    usageMetadata: Any = None  # noqa: N815
    error: Any = None


class _Glance(Struct):
    """The same of an answer as it nearly always is."""

    usageMetadata: StatedUsage | None = None  # noqa: N815
    error: Any = None


_peek = msgspec.json.Decoder(_Peek).decode
_glance = msgspec.json.Decoder(_Glance).decode


def inspect_response(body: bytes) -> Inspection:
    try:
        seen = _glance(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _inspect_closely(body)
    if seen.error:
        return _inspect_closely(body)
    return Inspection(usage=None if seen.usageMetadata is None else counts_of(seen.usageMetadata))


def _inspect_closely(body: bytes) -> Inspection:
    try:
        peek = _peek(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Inspection(readable=False)
    return Inspection(
        usage=read_usage(peek.usageMetadata) if isinstance(peek.usageMetadata, dict) else None,
        error=error_in_answer({"error": peek.error}),
    )
