"""Where this dialect has what a receipt names as the IR does.

messages[2].content[1].arguments    contents[2].parts[1].functionCall.args
tools[1].parameters                 tools[0].functionDeclarations[1].parameters
max_tokens                          generationConfig.maxOutputTokens
choices[0].content[1]               candidates[0].content.parts[1]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from busbar.protocols.gemini.request_read import RequestForm
from busbar.protocols.gemini.settings_read import OutputForm, ReasoningForm
from busbar.protocols.gemini.tools import ToolForm
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
    ToolResult,
    ToolUse,
)
from busbar.protocols.native import own_form

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


def spell(document: Request | Response | None, path: str) -> str:
    """`path`, which the IR gives to a place of `document`, in this dialect. None stands for a stream."""
    found = _ELEMENT.match(path)
    if found is None:
        return _setting(document, path) if isinstance(document, Request) else _answer_field(path)
    kind, at, rest = found[1], int(found[2]), found[3]
    match document:
        case Request() if kind == "tools":
            return _tool(document, at, rest)
        case Request() if kind == "system":
            return f"systemInstruction.parts[{at}]{rest}"
        case Request():
            return f"contents[{at}]{_within(document.messages[at].parts, rest, '.parts')}"
        case Response():
            rest = _IN_ANSWERS.get(rest, rest)
            return f"candidates[{at}]{_within(document.choices[at].parts, rest, '.content.parts')}"
        case None:
            return f"candidates[{at}]{_within((), _IN_ANSWERS.get(rest, rest), '.content.parts')}"


def _answer_field(path: str) -> str:
    head, dot, rest = path.partition(".")
    return f"usageMetadata{dot}{rest}" if head == "usage" else path


def _setting(request: Request, path: str) -> str:
    name, dot, rest = path.partition(".")
    bare, bracket, index = name.partition("[")
    if bare in _SETTINGS:
        return f"generationConfig.{_SETTINGS[bare]}{bracket}{index}{dot}{rest}"
    match name:
        case "reasoning" if request.reasoning is not None:
            return f"generationConfig.thinkingConfig{_of_reasoning(own_form(request.reasoning, DIALECT), dot + rest)}"
        case "output" if request.output is not None:
            return f"generationConfig.{_of_output(own_form(request.output, DIALECT), rest)}"
        case "tool_choice":
            field = "allowedFunctionNames" if rest == "name" else rest
            return f"toolConfig.functionCallingConfig{dot}{field}"
        case _:
            return path


def _of_reasoning(form: ReasoningForm | None, rest: str) -> str:
    match rest:
        case ".effort":
            return ".thinkingLevel"
        case ".budget_tokens":
            return ".thinkingBudget"
        case "" if form is not None and form.level is not None:
            return ".thinkingLevel"
        case "" if form is not None and form.budget is not None:
            return ".thinkingBudget"
        case _:
            return rest


def _of_output(form: OutputForm | None, rest: str) -> str:
    head, dot, inner = rest.partition(".")
    if head == "schema" and form is not None and form.field is not None:
        return f"{form.field}{dot}{inner}"
    return "responseMimeType"


def _tool(request: Request, at: int, rest: str) -> str:
    """Tools are counted by the element that they stood in, and functions within it."""
    tool = request.tools[at]
    element, within = _place(own_form(request, DIALECT), at)
    if not isinstance(tool, FunctionTool):
        return f"tools[{element}].{tool.kind}"
    spelled = own_form(tool, DIALECT)
    if rest.startswith(".parameters") and isinstance(spelled, ToolForm) and spelled.field is not None:
        rest = f".{spelled.field}{rest.removeprefix('.parameters')}"
    return f"tools[{element}].functionDeclarations[{within}]{rest}"


def _place(form: RequestForm | None, at: int) -> tuple[int, int]:
    """Which element of `tools` held the IR's tool number `at`, and as which of those in it."""
    groups = (form.tools or ()) if form is not None else ()
    for element, group in enumerate(groups):
        if at < group.size:
            return element, at
        at -= group.size
    return 0, at


def _within(parts: Sequence[Part], rest: str, field: str) -> str:
    """`rest` of a path that leads to a turn of these `parts`, which stand in `field`."""
    found = _CONTENT.match(rest)
    if found is None:
        return rest
    if found[1] is None:
        return field + _in_part(None, found[2])
    at, rest = int(found[1]), found[2]
    part = parts[at] if at < len(parts) else None
    return f"{field}[{at}]{_in_part(part, rest)}"


def _in_part(part: Part | None, rest: str) -> str:
    if rest == ".signature":
        return ".thoughtSignature"
    match part:
        case ToolUse() if rest in (".name", ".arguments"):
            return f".functionCall{'.args' if rest == '.arguments' else rest}"
        case ToolResult() if rest.startswith(".content[0]"):
            return ".functionResponse.response"
        case ToolResult() if rest.startswith(".content"):
            return ".functionResponse.parts"
        case ToolResult() if rest == ".is_error":
            return ".functionResponse.response"
        case Image() | Document() if rest.startswith(".source"):
            inner = "inlineData" if isinstance(part.source, Base64Data) else "fileData"
            return f".{inner}{rest.removeprefix('.source')}"
        case Audio() if rest == ".format":
            return ".inlineData.mimeType"
        case _:
            return rest
