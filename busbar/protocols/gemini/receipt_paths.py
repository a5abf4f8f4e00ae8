"""Where this dialect has what a receipt names as the IR does.

messages[2].content[1].arguments    contents[2].parts[1].functionCall.args
tools[1].parameters                 tools[0].functionDeclarations[1].parameters
max_tokens                          generationConfig.maxOutputTokens
choices[0].content[1]               candidates[0].content.parts[1]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from busbar.protocols.gemini.parts_read import CallForm
from busbar.protocols.gemini.request_read import ContentForm, RequestForm
from busbar.protocols.gemini.settings_read import OutputForm, ReasoningForm
from busbar.protocols.gemini.spelling import PLAIN, Marks, snake
from busbar.protocols.gemini.tools import ChoiceForm, ToolForm
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Document,
    FunctionTool,
    Image,
    Part,
    Request,
    Response,
    Text,
    ToolResult,
    ToolUse,
)
from busbar.protocols.native import Node, own_form
from busbar.protocols.receipt import joined

_SETTINGS: Mapping[str, str] = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "stop": "stopSequences",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_ELEMENT = re.compile(r"(messages|choices|tools|system)\[(\d+)\](.*)\Z", re.DOTALL)
_CONTENT = re.compile(r"\.content(?:\[(\d+)\])?(.*)\Z", re.DOTALL)
_IN_ANSWERS: Mapping[str, str] = {
    ".stop.reason": ".finishReason",
    ".stop.sequence": ".finishReason",
    ".stop": ".finishReason",
}


def spell(document: Request | Response | None, path: str, left: str = "") -> str:
    """`path`, which the IR gives to a place of `document`, or a leftover there, in this dialect. None stands for a
    stream."""
    return joined(_spell(document, path), left)


def _spell(document: Request | Response | None, path: str) -> str:
    found = _ELEMENT.match(path)
    if found is None:
        return _setting(document, path) if isinstance(document, Request) else _answer_field(path)
    kind, at, rest = found[1], int(found[2]), found[3]
    match document:
        case Request() if kind == "tools":
            return _tool(document, at, rest)
        case Request() if kind == "system":
            return _in_system(document, at, rest)
        case Request():
            turn = document.messages[at]
            content = _nth("contents", at, _form(document).marks)
            return content + _within(turn.parts, rest, ".parts", own_form(turn, DIALECT))
        case Response():
            rest = _IN_ANSWERS.get(rest, rest)
            return f"candidates[{at}]{_within(document.choices[at].parts, rest, '.content.parts')}"
        case None:
            return f"candidates[{at}]{_within((), _IN_ANSWERS.get(rest, rest), '.content.parts')}"


def _form(request: Request) -> RequestForm:
    form = own_form(request, DIALECT)
    return form if isinstance(form, RequestForm) else RequestForm()


def _spelled(name: str, marks: Marks) -> str:
    """A field of this dialect as a document spelled it."""
    return snake(name) if name in marks else name


def _nth(name: str, at: int, marks: Marks) -> str:
    """An element of a list, or the one element that stands there without its list."""
    return _spelled(name, marks) + ("" if f"{name}[]" in marks else f"[{at}]")


def _in_system(request: Request, at: int, rest: str) -> str:
    form = _form(request)
    system = _spelled("systemInstruction", form.marks)
    if isinstance(form.system, ContentForm):
        return f"{system}.{_nth('parts', at, form.system.marks)}{rest}"
    return system


def _answer_field(path: str) -> str:
    head, dot, rest = path.partition(".")
    return f"usageMetadata{dot}{rest}" if head == "usage" else path


def _setting(request: Request, path: str) -> str:
    name, dot, rest = path.partition(".")
    bare, bracket, index = name.partition("[")
    form = _form(request)
    marks = form.config or PLAIN
    config = _spelled("generationConfig", form.marks)
    if bare in _SETTINGS:
        return f"{config}.{_spelled(_SETTINGS[bare], marks)}{bracket}{index}{dot}{rest}"
    match name:
        case "reasoning" if request.reasoning is not None:
            thinking = _of_reasoning(own_form(request.reasoning, DIALECT), dot + rest)
            return f"{config}.{_spelled('thinkingConfig', marks)}{thinking}"
        case "output" if request.output is not None:
            return f"{config}.{_of_output(own_form(request.output, DIALECT), rest, marks)}"
        case "system":
            return _spelled("systemInstruction", form.marks)
        case "tool_choice":
            choice = own_form(request.tool_choice, DIALECT) if request.tool_choice is not None else None
            inner = choice.marks if isinstance(choice, ChoiceForm) else PLAIN
            field = _spelled("allowedFunctionNames", inner) if rest == "name" else rest
            calling = _spelled("functionCallingConfig", form.tool_config or PLAIN)
            return f"{_spelled('toolConfig', form.marks)}.{calling}{dot}{field}"
        case _:
            return path


def _of_reasoning(form: ReasoningForm | None, rest: str) -> str:
    if form is None:
        return rest
    match rest:
        case ".effort":
            field = "thinkingLevel"
        case ".budget_tokens":
            field = "thinkingBudget"
        case "" if form.level is not None:
            field = "thinkingLevel"
        case "" if form.budget is not None:
            field = "thinkingBudget"
        case _:
            return rest
    return f".{_spelled(field, form.marks)}"


def _of_output(form: OutputForm | None, rest: str, marks: Marks) -> str:
    head, dot, inner = rest.partition(".")
    if head in ("schema", "") and form is not None and form.field is not None:
        return f"{_spelled(form.field, marks)}{dot}{inner}"
    return _spelled("responseMimeType", marks)


def _tool(request: Request, at: int, rest: str) -> str:
    """Tools are counted by the element that they stood in, and functions within it."""
    tool = request.tools[at]
    form = _form(request)
    element, within, marks = _place(form, at)
    where = _nth("tools", element, form.marks)
    if not isinstance(tool, FunctionTool):
        return f"{where}.{tool.kind}"
    spelled = own_form(tool, DIALECT)
    if rest.startswith(".parameters") and isinstance(spelled, ToolForm) and spelled.field is not None:
        rest = f".{_spelled(spelled.field, spelled.marks)}{rest.removeprefix('.parameters')}"
    return f"{where}.{_nth('functionDeclarations', within, marks)}{rest}"


def _place(form: RequestForm, at: int) -> tuple[int, int, Marks]:
    """Which element of `tools` held the IR's tool number `at`, as which of those in it, and how it was spelled."""
    for element, group in enumerate(form.tools or ()):
        if at < group.size:
            return element, at, group.marks
        at -= group.size
    return 0, at, PLAIN


def _within(parts: Sequence[Part], rest: str, field: str, form: ContentForm | None = None) -> str:
    """`rest` of a path that leads to a turn of these `parts`, which stand in `field`."""
    found = _CONTENT.match(rest)
    if found is None:
        return rest
    if found[1] is None:
        return field + _in_part(None, found[2])
    at, rest = int(found[1]), found[2]
    part = parts[at] if at < len(parts) else None
    alone = isinstance(form, ContentForm) and "parts[]" in form.marks
    return f"{field}{'' if alone else f'[{at}]'}{_in_part(part, rest)}"


def _in_part(part: Part | None, rest: str) -> str:
    marks = _marks_of(part)
    if rest == ".signature":
        return f".{_spelled('thoughtSignature', marks)}"
    match part:
        case ToolUse() if rest in (".name", ".arguments"):
            return f".{_spelled('functionCall', marks)}{'.args' if rest == '.arguments' else rest}"
        case ToolResult() if rest.startswith(".content") or rest == ".is_error":
            return f".{_spelled('functionResponse', marks)}{_in_result(part, rest)}"
        case Image() | Document() if rest.startswith(".source"):
            inner = "inlineData" if isinstance(part.source, Base64Data) else "fileData"
            return f".{_spelled(inner, marks)}{rest.removeprefix('.source')}"
        case Audio() if rest == ".format":
            return f".{_spelled('inlineData', marks)}"
        case _:
            return rest


def _in_result(result: ToolResult, rest: str) -> str:
    """A response is a text in the IR, the first part of a result's content; media are the others."""
    found = _CONTENT.match(rest)
    form = own_form(result, DIALECT)
    if found is None or found[1] is None:
        return ".response" if found is None else ""
    texts = sum(1 for part in result.content if isinstance(part, Text) and own_form(part, DIALECT) is None)
    if int(found[1]) < texts:
        return ".response"
    inner = form.inner if isinstance(form, CallForm) else PLAIN
    return f".{_nth('parts', int(found[1]) - texts, inner)}{_in_part(result.content[int(found[1])], found[2])}"


def _marks_of(part: Part | None) -> Marks:
    """How the fields of the object that holds a part were spelled."""
    match own_form(part, DIALECT) if isinstance(part, Node) else None:
        case CallForm() as form:
            return form.outer
        case frozenset() as marks:
            return marks
        case (frozenset() as marks, *_):
            return marks
        case _:
            return PLAIN
