"""A caller's Converse request → IR. Model and streaming are in the path, not in the document.

The form of the request is a tuple of words: how things were spelled that the IR says only one way.

    system:empty    `system` was an empty list           inference:empty     `inferenceConfig` was an empty object
    tools:empty     `toolConfig.tools` was one           stop:empty          `stopSequences` was an empty list
    top_k:nova      it stood where Nova has it
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.bedrock.blocks_read import read_content
from busbar.protocols.bedrock.output import take_output
from busbar.protocols.bedrock.places import NOVA_TOP_K, TOP_K, look_at, take_from
from busbar.protocols.bedrock.reasoning import take_reasoning
from busbar.protocols.bedrock.tools import read_tool_choice, read_tools
from busbar.protocols.bedrock.words import DIALECT, OWN_FORM
from busbar.protocols.fields import as_object, take_int, take_list, take_number, take_object, take_text
from busbar.protocols.ir import Message, Part, Request, Tool, ToolChoice
from busbar.protocols.native import Native, Rest, native
from busbar.protocols.protocol import Document, InvalidRequest

USER_KEY = "user_id"
"""The key of `requestMetadata` under which a request names its user."""

_ROLES = ("user", "assistant", "system")
_INFERENCE = "inferenceConfig"


def read_request(document: Document) -> Request:
    """Raises `InvalidRequest`, naming the field."""
    left = dict(document)
    spelled = [OWN_FORM]
    system = _take_system(left, spelled)
    messages = _take_messages(left)
    tools, choice = _take_tools(left, spelled)
    request = Request(
        model="",
        messages=messages,
        system=system,
        tools=tools,
        tool_choice=choice,
        top_k=_take_top_k(left, spelled),
        reasoning=take_reasoning(left),
        output=take_output(left),
        user=_take_user(left),
    )
    _take_inference(left, request, spelled)
    request.native = Native(DIALECT, left, tuple(spelled))
    return request


def _take_system(left: dict[str, Any], spelled: list[str]) -> list[Part]:
    found = left.get("system")
    if found is None:
        return []
    if found == []:
        spelled.append("system:empty")
    return read_content(left.pop("system"), "system")


def _take_messages(left: dict[str, Any]) -> list[Message]:
    found = take_list(left, "messages")
    if found is None:
        raise InvalidRequest("messages", "field required")
    return [_read_message(value, f"messages[{index}]") for index, value in enumerate(found)]


def _read_message(value: Any, path: str) -> Message:
    left = as_object(value, path)
    role = take_text(left, "role", path)
    if role not in _ROLES:
        raise InvalidRequest(f"{path}.role", f"expected one of {', '.join(_ROLES)}")
    parts = read_content(left.pop("content", None), f"{path}.content")
    return Message(role=role, parts=parts, native=native(DIALECT, left))  # type: ignore[arg-type]


def _take_tools(left: dict[str, Any], spelled: list[str]) -> tuple[list[Tool], ToolChoice | None]:
    config = take_object(left, "toolConfig")
    if config is None:
        return [], None
    found = take_list(config, "tools", "toolConfig")
    if found == []:
        spelled.append("tools:empty")
    choice = None
    stated = config.get("toolChoice")
    if stated is not None:
        choice = read_tool_choice(as_object(stated, "toolConfig.toolChoice"))
        if choice is not None:
            del config["toolChoice"]
    if config or (found is None and choice is None):
        left["toolConfig"] = Rest(config)
    return read_tools(found or (), "toolConfig.tools"), choice


def _take_inference(left: dict[str, Any], request: Request, spelled: list[str]) -> None:
    config = take_object(left, _INFERENCE)
    if config is None:
        return
    if not config:
        spelled.append("inference:empty")
    request.max_tokens = take_int(config, "maxTokens", _INFERENCE)
    request.temperature = take_number(config, "temperature", _INFERENCE)
    request.top_p = take_number(config, "topP", _INFERENCE)
    stop = take_list(config, "stopSequences", _INFERENCE)
    if stop is not None:
        for index, entry in enumerate(stop):
            if not isinstance(entry, str):
                raise InvalidRequest(f"{_INFERENCE}.stopSequences[{index}]", "expected a string")
        if not stop:
            spelled.append("stop:empty")
        request.stop = list(stop)
    if config:
        left[_INFERENCE] = Rest(config)


def _take_top_k(left: dict[str, Any], spelled: list[str]) -> int | None:
    for place in (TOP_K, NOVA_TOP_K):
        value = look_at(left, place)
        if type(value) is int:
            if place is NOVA_TOP_K:
                spelled.append("top_k:nova")
            take_from(left, place)
            return value
    return None


def _take_user(left: dict[str, Any]) -> str | None:
    place = ("requestMetadata", USER_KEY)
    user = look_at(left, place)
    if not isinstance(user, str):
        return None
    take_from(left, place)
    return user
