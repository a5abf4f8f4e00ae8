"""Where this dialect has what a receipt names as the IR does.

messages[2].content[1].arguments    input[4].arguments
tools[3].parameters                 tools[1].tools[2].parameters
max_tokens                          max_output_tokens
choices[0].content[1]               output[1]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from busbar.protocols.ir import Opaque, Part, Request, Response, Tool, ToolResult
from busbar.protocols.native import own_fields, own_form
from busbar.protocols.receipt import joined
from busbar.protocols.responses.items_read import TurnForm
from busbar.protocols.responses.request_read import RequestForm
from busbar.protocols.responses.tools import NAMESPACE, ToolForm
from busbar.protocols.responses.words import DIALECT

_ELEMENT = re.compile(r"(messages|choices|tools)\[(\d+)\](.*)\Z", re.DOTALL)
_PART = re.compile(r"\.content\[(\d+)\](.*)\Z", re.DOTALL)
_HEAD = re.compile(r"\w+")
_SETTINGS: Mapping[str, str] = {
    "max_tokens": "max_output_tokens",
    "output": "text.format",
}
_WORDS: Mapping[str, str] = {".citations": ".annotations", ".title": ".filename"}
_FIELDS = re.compile(r"\.(?:citations|title)\b")
_IN_ANSWERS: Mapping[str, str] = {".stop.reason": "status", ".stop.sequence": "status", ".content": "output"}


def spell(document: Request | Response | None, path: str, left: str = "") -> str:
    """`path`, which the IR gives to a place of `document`, or a leftover there, in this dialect. None stands for a
    stream."""
    found = _ELEMENT.match(path)
    if found is None:
        return joined(_setting(document, path) if isinstance(document, Request) else path, left)
    kind, at, rest = found[1], int(found[2]), found[3]
    match document:
        case Request() if kind == "tools":
            return joined(_tool(document.tools, at, rest, left), "" if left == NAMESPACE else left)
        case Request():
            turn = document.messages[at]
            return joined(_within(turn.parts, own_form(turn, DIALECT), "input", rest, left), left)
        case Response():
            choice = document.choices[at]
            spelled = _IN_ANSWERS.get(rest)
            return spelled or joined(_within(choice.parts, own_form(choice, DIALECT), "output", rest, left), left)
        case None:
            return joined(_IN_ANSWERS.get(rest) or rest.replace(".content", "output", 1).removeprefix("."), left)


def _setting(request: Request, path: str) -> str:
    if path == "logprobs" and request.logprobs and request.native is not None:
        form = own_form(request, DIALECT)
        return "top_logprobs" if isinstance(form, RequestForm) and form.logprobs_at is None else "include"
    if path.startswith("system"):
        return "instructions" + path.partition("]")[2]
    head = _HEAD.match(path)
    name = head[0] if head is not None else ""
    return _SETTINGS.get(name, name) + path.removeprefix(name)


def _tool(tools: Sequence[Tool], at: int, rest: str, left: str) -> str:
    """Tools that only this dialect has stand where they stood: each is one, while a namespace may be many."""
    tool = tools[at]
    form = None if isinstance(tool, Opaque) else own_form(tool, DIALECT)
    if not isinstance(form, ToolForm):
        inside = sum(1 for other in tools[:at] if _inner(other))
        return f"tools[{at - inside}]{rest}"
    if left == NAMESPACE and form.inner is not None and not isinstance(tool, Opaque):
        (first, *others) = own_fields(tool, DIALECT)[NAMESPACE]
        return joined(f"tools[{form.at}]", "" if others else first)
    inner = "" if form.inner is None else f".tools[{form.inner}]"
    return f"tools[{form.at}]{inner}{rest}"


def _inner(tool: Tool) -> bool:
    """Whether `tool` is a further one of a namespace."""
    form = None if isinstance(tool, Opaque) else own_form(tool, DIALECT)
    return isinstance(form, ToolForm) and bool(form.inner)


def _within(parts: Sequence[Part], form: TurnForm | None, root: str, rest: str, left: str) -> str:
    """`rest` of a path that leads to a turn of these `parts`, whose items stand in the list `root`. `left`, where it
    is a leftover of the turn, is that of the first item which has it."""
    if form is None:
        return root  # the whole input is one text
    found = _PART.match(rest)
    if found is None:
        place = next((nth for nth, item in enumerate(form.items) if left in item.names), 0)
        return f"{root}[{form.at + place}]{rest}"
    nth, rest = int(found[1]), _FIELDS.sub(lambda word: _WORDS[word[0]], found[2], count=1)
    place = begin = 0
    while place < len(form.items) - 1 and nth >= begin + form.items[place].parts:
        begin += form.items[place].parts
        place += 1
    item, where = form.items[place], f"{root}[{form.at + place}]"
    if item.content is None:
        return where + rest.replace(".signature", ".encrypted_content", 1)
    if isinstance(parts[nth], ToolResult):
        inner = _PART.match(rest)
        if inner is None:
            return where + rest.replace(".content", ".output", 1)
        return f"{where}.output" + (f"[{inner[1]}]{inner[2]}" if item.content == "parts" else inner[2])
    return f"{where}.content" + (f"[{nth - begin}]{rest}" if item.content == "parts" else rest)
