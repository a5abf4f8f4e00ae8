"""Where this dialect has what a receipt names as the IR does.

messages[2].content[1].arguments    messages[2].tool_calls[0].function.arguments
top_p                               p
output.schema                       response_format.json_schema
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from busbar.protocols.cohere.answer import TOOL_PLAN, MessageForm
from busbar.protocols.cohere.calls import TOOL_CALLS
from busbar.protocols.cohere.tools import OutputForm
from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.ir import Document, Image, Opaque, Part, Request, Response, Text, Thinking, ToolResult, ToolUse
from busbar.protocols.native import own_form
from busbar.protocols.receipt import joined

_SETTINGS: Mapping[str, str] = {
    "top_p": "p",
    "top_k": "k",
    "stop": "stop_sequences",
    "reasoning": "thinking",
    "reasoning.budget_tokens": "thinking.token_budget",
    "output": "response_format",
}
_IN_ANSWERS: Mapping[str, str] = {"stop.reason": "finish_reason", "stop.sequence": "finish_reason"}
_ELEMENT = re.compile(r"(messages|choices|tools)\[(\d+)\]\.?(.*)\Z", re.DOTALL)
_PART = re.compile(r"content\[(\d+)\](.*)\Z", re.DOTALL)
_CITATION = re.compile(r"\.citations\[(\d+)\](.*)\Z", re.DOTALL)
_SCHEMA = "output.schema"
_HEAD = re.compile(r"[\w.]+")
_IN_FUNCTION = ("name", "description", "parameters")
_INNER: Mapping[type, tuple[str, tuple[str, ...]]] = {
    ToolUse: (".function", (".name", ".arguments")),
    Image: (".image_url", (".source", ".detail")),
    Document: (".document", (".source",)),
}
"""Parts that keep some of what they carry one level down."""


def spell(document: Request | Response | None, path: str, left: str = "") -> str:
    """`path`, which the IR gives to a place of `document`, or a leftover there, in this dialect. None stands for a
    stream."""
    return joined(_spell(document, path), left)


def _spell(document: Request | Response | None, path: str) -> str:
    found = _ELEMENT.match(path)
    if found is None:
        return _setting(document, path) if isinstance(document, Request) else path
    kind, at, inner = found[1], int(found[2]), found[3]
    match document:
        case Request() if kind == "tools":
            return _tool(document, at, inner)
        case Request():
            turn = document.messages[at]
            return joined(f"messages[{at}]", _within(turn.parts, inner, own_form(turn, DIALECT)))
        case Response():
            choice = document.choices[at]
            stop = _IN_ANSWERS.get(inner)
            return stop or joined("message", _within(choice.parts, inner, own_form(choice, DIALECT)))
        case None:
            stop = _IN_ANSWERS.get(inner)
            return f"delta.{stop}" if stop else joined("delta.message", inner)


def _setting(request: Request, path: str) -> str:
    form = None if request.output is None else own_form(request.output, DIALECT)
    if path.startswith(_SCHEMA) and isinstance(form, OutputForm):
        return f"response_format.{form.schema_key}{path.removeprefix(_SCHEMA)}"
    head = _HEAD.match(path)
    name = head[0] if head is not None else ""
    if name in _SETTINGS:
        return _SETTINGS[name] + path.removeprefix(name)
    first, _, rest = path.partition(".")
    return joined(_SETTINGS[first], rest) if first in _SETTINGS else path


def _tool(request: Request, at: int, inner: str) -> str:
    if inner == "strict":
        return "strict_tools"
    return joined(f"tools[{at}]", f"function.{inner}" if inner.startswith(_IN_FUNCTION) else inner)


def _within(parts: Sequence[Part], path: str, form: MessageForm | None) -> str:
    """`path`, within a turn of these `parts`."""
    found = _PART.match(path)
    if found is None:
        return path
    at, rest = int(found[1]), found[2]
    part = parts[at]
    if isinstance(part, ToolResult):
        return _within(part.content, rest.removeprefix("."), form)
    if isinstance(part, Text) and (cited := _CITATION.match(rest)) is not None:
        return f"citations[{own_form(part.citations[int(cited[1])], DIALECT).at}]{cited[2]}"
    if rest.startswith(".citations"):
        return "citations"
    inner, keys = _INNER.get(type(part), ("", ()))
    if keys and rest.startswith(keys):
        rest = inner + rest.removeprefix(".source")
    field = _field(part)
    if field == TOOL_PLAN or (field == "content" and form is not None and form.content == "text"):
        return field + rest
    nth = sum(1 for earlier in parts[:at] if _field(earlier) == field)
    return f"{field}[{nth}]{rest}"


def _field(part: Part) -> str:
    """The field of its message that a part came from."""
    if isinstance(part, ToolUse) or (isinstance(part, Opaque) and part.kind == TOOL_CALLS):
        return TOOL_CALLS
    return TOOL_PLAN if isinstance(part, Thinking) and own_form(part, DIALECT) == TOOL_PLAN else "content"
