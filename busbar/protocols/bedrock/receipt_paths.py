"""Where this dialect has what a receipt names as the IR does.

stop[4]                             inferenceConfig.stopSequences[4]
reasoning.budget_tokens             additionalModelRequestFields.thinking.budget_tokens
messages[0].content[1].arguments    messages[0].content[2].toolUse.input, behind the cache point of content[0]
choices[0].content[1]               output.message.content[1]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from busbar.protocols.bedrock.blocks_read import GUARD
from busbar.protocols.bedrock.places import NOVA_TOP_K, TOP_K
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.ir import (
    Audio,
    Document,
    FunctionTool,
    Image,
    Part,
    RedactedThinking,
    Request,
    Response,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from busbar.protocols.native import own_form
from busbar.protocols.receipt import joined

_SETTINGS: Mapping[str, str] = {
    "max_tokens": "inferenceConfig.maxTokens",
    "temperature": "inferenceConfig.temperature",
    "top_p": "inferenceConfig.topP",
    "stop": "inferenceConfig.stopSequences",
    "user": "requestMetadata.user_id",
}
_HEAD = re.compile(r"\w+")
_TURN = re.compile(r"messages\[(\d+)\]\.content")
_NTH = re.compile(r"\[(\d+)\](.*)\Z", re.DOTALL)
_CACHED = ".cache_control"
_ONLY_CHOICE = "choices[0]."
_IN_ANSWERS: Mapping[str, str] = {
    "stop.reason": "stopReason",
    "stop.sequence": "additionalModelResponseFields.stop_sequence",
}
_KEYS: Mapping[type, str] = {
    Image: ".image",
    Document: ".document",
    Audio: ".audio",
    ToolUse: ".toolUse",
    ToolResult: ".toolResult",
    Thinking: ".reasoningContent.reasoningText",
    RedactedThinking: ".reasoningContent.redactedContent",
}
_CHOICES = {"auto": "auto", "required": "any", "one": "tool"}
_SCHEMA = "outputConfig.textFormat.structure.jsonSchema"
_FIELDS = {".arguments": ".input", ".title": ".name", ".is_error": ".status"}


def spell(document: Request | Response | None, path: str, left: str = "") -> str:
    """`path`, which the IR gives to a place of `document`, or a leftover there, in this dialect. None stands for a
    stream."""
    path = joined(path, left)
    match document:
        case Request():
            return _in_request(document, path)
        case Response():
            path = path.removeprefix(_ONLY_CHOICE)
            if path.startswith("content"):
                parts = document.choices[0].parts
                return f"output.message.{_within(parts, 'content', path.removeprefix('content'))}"
            return _IN_ANSWERS.get(path, path)
        case None:
            path = path.removeprefix(_ONLY_CHOICE)
            return _IN_ANSWERS.get(path) or path.replace("content", "contentBlockDelta.delta", 1)


def _in_request(request: Request, path: str) -> str:
    name = _HEAD.match(path)
    match name[0] if name is not None else "":
        case "system":
            return _within(request.system, "system", path.removeprefix("system"))
        case "messages" if (turn := _TURN.match(path)) is not None:
            return _within(request.messages[int(turn[1])].parts, turn[0], path[turn.end() :])
        case "tools":
            return _in_tools(request.tools, path.removeprefix("tools"))
        case "top_k":
            return ".".join(NOVA_TOP_K if "top_k:nova" in (own_form(request, DIALECT) or ()) else TOP_K)
        case "tool_choice" if request.tool_choice is not None:
            rest = path.removeprefix("tool_choice")
            kind = f".{_CHOICES[request.tool_choice.mode]}" if rest else ""
            return f"toolConfig.toolChoice{kind}{rest}"
        case "output" if path.startswith("output.schema"):
            return f"{_SCHEMA}.schema"  # which is a text
        case "output":
            return path.replace("output", _SCHEMA if path != "output" else "outputConfig.textFormat", 1)
        case "reasoning" if request.reasoning is not None:
            config, effort = own_form(request.reasoning, DIALECT)
            words = config is None or (effort is not None and path in ("reasoning", "reasoning.effort"))
            return ".".join(effort) if words else ".".join(config) + path.removeprefix("reasoning")
        case found:
            return _SETTINGS.get(found, found) + path.removeprefix(found)


def _within(parts: Sequence[Part], at: str, rest: str) -> str:
    """`rest` of a path that leads into a list of `parts`, which stands at `at`."""
    found = _NTH.match(rest)
    if found is None:
        return at + rest
    index, rest = int(found[1]), found[2]
    place = index + _points_before(parts, index)
    part = parts[index]
    if rest.startswith(_CACHED):
        return f"{at}[{place + 1}].cachePoint{rest.removeprefix(_CACHED)}"
    key = _key(part) if rest else ""
    if isinstance(part, ToolResult) and rest.startswith(".content["):
        return _within(part.content, f"{at}[{place}]{key}.content", rest.removeprefix(".content"))
    return f"{at}[{place}]{key}{_FIELDS.get(rest, rest)}"


def _key(part: Part) -> str:
    """The key, or keys, under which a block has what it says."""
    if not isinstance(part, Text):
        return _KEYS.get(type(part), "")
    match own_form(part, DIALECT):
        case form if form == GUARD:
            return ".guardContent.text"
        case None | str():
            return ""
        case _:
            return ".citationsContent"


def _in_tools(tools: Sequence[Tool], rest: str) -> str:
    found = _NTH.match(rest)
    if found is None:
        return f"toolConfig.tools{rest}"
    index, rest = int(found[1]), found[2]
    place = index + _points_before(tools, index)
    if rest.startswith(_CACHED):
        return f"toolConfig.tools[{place + 1}].cachePoint{rest.removeprefix(_CACHED)}"
    key = ".toolSpec" if rest and isinstance(tools[index], FunctionTool) else ""
    return f"toolConfig.tools[{place}]{key}{rest.replace('.parameters', '.inputSchema.json', 1)}"


def _points_before(nodes: Sequence[Part] | Sequence[Tool], index: int) -> int:
    """Cache points are blocks of their own: how many stand before the node at `index`."""
    return sum(1 for node in nodes[:index] if getattr(node, "cache", None) is not None)
