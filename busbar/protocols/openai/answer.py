"""What an assistant said: the same message in a request's history and in a response.

Its content, tool calls and thinking stand in different fields of the message; in the IR they are parts, in the order
in which the model made them: thinking, content, tool calls. Thinking has no field of its own at OpenAI; clones use
`reasoning_content` (DeepSeek and most), `reasoning` (OpenRouter, Groq, Together), OpenRouter's `reasoning_details`,
or a content part (Mistral), some of them two at once.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from busbar.protocols.ir import Citation, Opaque, Part, RedactedThinking, Refusal, Text, Thinking, ToolUse
from busbar.protocols.native import Native, native
from busbar.protocols.openai.content import read_parts
from busbar.protocols.openai.words import DIALECT

THINKING_FIELDS = ("reasoning_content", "reasoning")
DETAILS = "reasoning_details"
_THINKING = frozenset({*THINKING_FIELDS, DETAILS})
DETAIL_TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}
TOOL_CALLS = "tool_calls"
_SIGNERS = {"anthropic": "anthropic", "google": "gemini", "openai": "responses"}


class MessageForm(Struct, frozen=True, kw_only=True):
    """How a message spelled what it carries."""

    content: Literal["text", "empty", "parts"] | None = None
    """As one string, as the empty string, as a list; None: null or absent (a leftover)."""
    echoes: tuple[str, ...] = ()
    """Thinking fields that repeat the text of the first."""
    role: str | None = None
    """Where it is not the IR's word: the old `function`."""


def read_answer(left: dict[str, Any], path: str) -> tuple[list[Part], MessageForm]:
    """Takes the parts out of an assistant message. Lenient: what has another type than expected stays in `left`.
    Raises `InvalidRequest` only for content elements that are no objects."""
    parts: list[Part] = []
    echoes = _read_thinking(left, parts)
    content = read_content(left, parts, path)
    refusal = left.get("refusal")
    if isinstance(refusal, str) and refusal:
        del left["refusal"]
        parts.append(Refusal(text=refusal, native=Native(DIALECT, {}, "field")))
    _read_annotations(left, parts)
    _read_calls(left, parts)
    return parts, MessageForm(content=content, echoes=echoes)


def read_content(left: dict[str, Any], parts: list[Part], path: str) -> Literal["text", "empty", "parts"] | None:
    """Takes `content` and says how it was spelled."""
    content = left.get("content")
    if isinstance(content, str):
        del left["content"]
        if not content:
            return "empty"
        parts.append(Text(text=content))
        return "text"
    if isinstance(content, list):
        del left["content"]
        parts.extend(read_parts(content, f"{path}.content"))
        return "parts"
    return None


def signer_of(detail: dict[str, Any]) -> str:
    """Who issued a `reasoning_details` signature: OpenRouter names the format after the provider's API."""
    made_by = str(detail.get("format") or "").partition("-")[0]
    return _SIGNERS.get(made_by, DIALECT)


def read_citation(annotation: Any) -> Citation | None:
    """A `url_citation`, nested as OpenAI writes it or flat as some clones do; None for other annotations."""
    if not isinstance(annotation, dict) or annotation.get("type") != "url_citation":
        return None
    left = dict(annotation)
    nested = left.pop("url_citation", None)
    inner = dict(nested) if isinstance(nested, dict) else left
    taken: dict[str, Any] = {}
    for key, field, kind in _CITATION_FIELDS:
        if isinstance(inner.get(key), kind):
            taken[field] = inner.pop(key)
    fields = {**left, "url_citation": inner} if nested is not None else left
    return Citation(**taken, of_answer=True, native=Native(DIALECT, fields))


_CITATION_FIELDS: tuple[tuple[str, str, type], ...] = (
    ("url", "url", str),
    ("title", "title", str),
    ("content", "cited_text", str),
    ("start_index", "start", int),
    ("end_index", "end", int),
)


def write_own_citation(citation: Citation, fields: dict[str, Any]) -> dict[str, Any]:
    nested = fields.get("url_citation")
    inner = dict(nested) if isinstance(nested, dict) else dict(fields)
    for key, field, _ in _CITATION_FIELDS:
        value = getattr(citation, field)
        if value is not None:
            inner[key] = value
    return {**fields, "url_citation": inner} if isinstance(nested, dict) else inner


def _read_thinking(left: dict[str, Any], parts: list[Part]) -> tuple[str, ...]:
    if _THINKING.isdisjoint(left):
        return ()
    details = left.get(DETAILS)
    if isinstance(details, list) and details and all(isinstance(detail, dict) for detail in details):
        del left[DETAILS]
        parts.extend(read_detail(detail) for detail in details)
    said = "".join(part.text for part in parts if isinstance(part, Thinking))
    echoes = []
    for field in THINKING_FIELDS:
        text = left.get(field)
        if not isinstance(text, str) or not text:
            continue
        del left[field]
        if text == said:
            echoes.append(field)
        else:
            parts.append(Thinking(text=text, native=Native(DIALECT, {}, field)))
            said = said or text
    return tuple(echoes)


def read_detail(detail: dict[str, Any]) -> Part:
    """One element of `reasoning_details`; the form is its type."""
    left = dict(detail)
    kind = left.pop("type", None)
    text_key = DETAIL_TEXTS.get(kind) if isinstance(kind, str) else None
    if text_key is not None and isinstance(left.get(text_key), str):
        signature = left.pop("signature") if isinstance(left.get("signature"), str) else None
        return Thinking(
            text=left.pop(text_key),
            signature=signature,
            signer=None if signature is None else signer_of(detail),
            native=Native(DIALECT, left, kind),
        )
    if kind == "reasoning.encrypted" and isinstance(left.get("data"), str):
        data = left.pop("data")
        return RedactedThinking(data=data, signer=signer_of(detail), native=Native(DIALECT, left, kind))
    return Opaque(dialect=DIALECT, kind=DETAILS, value=detail)


def _read_annotations(left: dict[str, Any], parts: list[Part]) -> None:
    """Takes the citations out of `annotations`; where others remain, None keeps the place of each one taken."""
    annotations = left.get("annotations")
    if not annotations:
        return
    text = next((part for part in parts if isinstance(part, Text)), None)
    if not isinstance(annotations, list) or text is None:
        return
    read = [read_citation(annotation) for annotation in annotations]
    text.citations = [citation for citation in read if citation is not None]
    if not text.citations:
        return
    if len(text.citations) == len(annotations):
        del left["annotations"]
    else:
        left["annotations"] = [
            annotation if citation is None else None for annotation, citation in zip(annotations, read, strict=True)
        ]


def _read_calls(left: dict[str, Any], parts: list[Part]) -> None:
    calls = left.get(TOOL_CALLS)
    if isinstance(calls, list) and calls and all(isinstance(call, dict) for call in calls):
        del left[TOOL_CALLS]
        parts.extend(_read_call(call) for call in calls)
    call = left.get("function_call")
    if isinstance(call, dict) and call.get("name") and (use := _read_function(call, {}, ("legacy",))) is not None:
        del left["function_call"]
        parts.append(use)


def _read_call(call: dict[str, Any]) -> Part:
    left = dict(call)
    function = left.pop("function", None)
    if left.get("type") not in (None, "function") or not isinstance(function, dict):
        return Opaque(dialect=DIALECT, kind=TOOL_CALLS, value=call)
    flags = () if "type" in left else ("untyped",)
    if left.get("type") == "function":
        del left["type"]
    return _read_function(function, left, flags) or Opaque(dialect=DIALECT, kind=TOOL_CALLS, value=call)


def _read_function(function: dict[str, Any], left: dict[str, Any], flags: tuple[str, ...] = ()) -> ToolUse | None:
    """A call's function. `arguments` is JSON text, at Ollama and some others an object; it may be missing."""
    inner = dict(function)
    name = inner.pop("name", None)
    if not isinstance(name, str):
        return None
    arguments = inner.get("arguments")
    if isinstance(arguments, dict):
        flags = (*flags, "object")
        arguments = msgspec.json.encode(arguments).decode()
    if isinstance(arguments, str):
        del inner["arguments"]
    elif "arguments" not in inner or arguments is None:
        flags = (*flags, "no_arguments")
        arguments = ""
    else:
        return None
    call_id = left.get("id")
    if isinstance(call_id, str) and call_id:
        del left["id"]
    else:
        call_id = ""
        flags = (*flags, "no_id")
    if inner:
        left["function"] = inner
    return ToolUse(id=call_id, name=name, arguments=arguments, native=native(DIALECT, left, flags or None))
