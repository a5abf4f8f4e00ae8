"""Where this dialect has what a receipt names as the IR does.

messages[2].content[1].arguments    messages[2].tool_calls[0].function.arguments
reasoning.budget_tokens             reasoning_effort
output.schema                       response_format.json_schema.schema
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from busbar.protocols.ir import (
    Audio,
    Document,
    FunctionTool,
    Image,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Request,
    Response,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from busbar.protocols.native import own_form
from busbar.protocols.openai.answer import DETAILS, THINKING_FIELDS, TOOL_CALLS, MessageForm
from busbar.protocols.openai.response import ChoiceForm
from busbar.protocols.openai.tools import LEGACY
from busbar.protocols.openai.words import DIALECT
from busbar.protocols.receipt import joined

_ELEMENT = re.compile(r"(messages|choices|tools)\[(\d+)\](.*)\Z", re.DOTALL)
_PART = re.compile(r"\.content\[(\d+)\](.*)\Z", re.DOTALL)
_IN_FUNCTION = (".name", ".description", ".parameters", ".strict")
_INNER: Mapping[type, tuple[str, tuple[str, ...]]] = {
    ToolUse: (".function", (".name", ".arguments")),
    Image: (".image_url", (".source", ".detail")),
    Document: (".file", (".source", ".title")),
    Audio: (".input_audio", (".format",)),
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
    kind, at, rest = found[1], int(found[2]), found[3]
    match document:
        case Request() if kind == "tools":
            return _tool(document.tools[at], at, rest)
        case Request():
            turn = document.messages[at]
            return f"messages[{at}]{_within(turn.parts, rest, own_form(turn, DIALECT))}"
        case Response():
            choice = document.choices[at]
            form = own_form(choice, DIALECT)
            message = form.message if isinstance(form, ChoiceForm) else None
            return f"choices[{at}]{_within(choice.parts, rest, message, '.message')}"
        case None:
            return f"choices[{at}]{rest.replace('.content', '.delta', 1)}"


def _setting(request: Request, path: str) -> str:
    name = path.partition(".")[0]
    match name:
        case "max_tokens":
            stated: Sequence[str] = getattr(own_form(request, DIALECT), "max_tokens", ())
            return stated[0] if stated else name
        case "reasoning" if request.reasoning is not None:
            return str(own_form(request.reasoning, DIALECT))
        case "output" if request.output is not None:
            inner = ".json_schema" if request.output.mode == "schema" else ""
            return f"response_format{inner}{path.removeprefix(name)}"
        case "tool_choice" if request.tool_choice is not None:
            legacy = own_form(request.tool_choice, DIALECT) == LEGACY
            within = path.removeprefix(name).replace(".name", ".name" if legacy else ".function.name", 1)
            return ("function_call" if legacy else name) + within
        case _ if name.startswith("stop[") and getattr(own_form(request, DIALECT), "stop_text", False):
            return "stop"
        case _:
            return path


def _tool(tool: Tool, at: int, rest: str) -> str:
    if isinstance(tool, FunctionTool) and own_form(tool, DIALECT) == LEGACY:
        return f"{LEGACY}[{at}]{rest}"
    return f"tools[{at}]{'.function' if rest.startswith(_IN_FUNCTION) else ''}{rest}"


def _within(parts: Sequence[Part], rest: str, form: MessageForm | None, message: str = "") -> str:
    """`rest` of a path that leads to a turn of these `parts`. `message` is where a choice keeps its turn."""
    found = _PART.match(rest)
    if found is None:
        return rest
    at, rest = int(found[1]), found[2]
    part = parts[at]
    if isinstance(part, ToolResult):
        return _within(part.content, rest, form)
    if rest.startswith(".citations"):
        return f"{message}.annotations"
    inner, keys = _INNER.get(type(part), ("", ()))
    if keys and rest.startswith(keys):
        rest = inner + rest.removeprefix(".source").replace(".title", ".filename", 1)
    field = _field(part)
    if field == "content" and form is not None and form.content == "text":
        return f"{message}.content{rest}"
    nth = sum(1 for earlier in parts[:at] if _field(earlier) == field)
    return f"{message}.{field}{f'[{nth}]' if field in _LISTS else ''}{rest}"


_LISTS = frozenset({"content", TOOL_CALLS, DETAILS})


def _field(part: Part) -> str:
    """The field of its message that a part came from."""
    if isinstance(part, Opaque):
        return part.kind if part.kind in _LISTS else "content"
    form = own_form(part, DIALECT)
    if isinstance(part, ToolUse):
        return "function_call" if "legacy" in (form or ()) else TOOL_CALLS
    if isinstance(part, Refusal) and form == "field":
        return "refusal"
    if isinstance(part, Thinking | RedactedThinking) and isinstance(form, str):
        return form if form in THINKING_FIELDS else DETAILS
    return "content"
