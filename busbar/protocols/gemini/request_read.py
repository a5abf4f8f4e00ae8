"""Reading a request.

Reference: Google's API reference, `models.generateContent`, of the Gemini API and of Vertex AI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from busbar.protocols.gemini.parts_read import Calls, read_parts
from busbar.protocols.gemini.settings_read import read_settings
from busbar.protocols.gemini.spelling import PLAIN, Level, Marks
from busbar.protocols.gemini.tools import Group, read_choice, read_tools
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import Message, Part, Request, Role, Text
from busbar.protocols.native import Native
from busbar.protocols.protocol import Document, InvalidRequest

_ROLES: Mapping[str | None, Role] = {"user": "user", "model": "assistant", "function": "tool", None: "user"}


class ContentForm(Struct, frozen=True):
    """How a turn was spelled: its role's own word, and whether it had parts at all."""

    role: str | None
    marks: Marks = PLAIN
    parts: bool = True


class RequestForm(Struct, frozen=True, kw_only=True):
    """How a request spelled what it carries. None and False stand for fields that it did not have."""

    marks: Marks = PLAIN
    model: bool = False
    system: ContentForm | str | None = None
    """`text`: the instructions were a bare text."""
    tools: tuple[Group, ...] | None = None
    tool_config: Marks | None = None
    config: Marks | None = None


def read_request(document: Document) -> Request:
    """Raises `InvalidRequest`. The model stands in the path, and only by some callers' habit in the body too."""
    level = Level(document, "")
    contents = level.items("contents")
    if contents is None:
        raise InvalidRequest("contents", "expected an array")
    calls = Calls()
    request = Request(model="", messages=[])
    request.messages = [_read_content(content, f"contents[{at}]", calls) for at, content in enumerate(contents)]
    model = level.text("model")
    request.model = model or ""
    system = _read_system(level, request)
    tools = level.items("tools")
    groups: tuple[Group, ...] | None = None
    if tools is not None:
        request.tools, groups = read_tools(tools)
    tool_config = _read_tool_config(level, request)
    config = _read_config(level, request)
    form = RequestForm(
        marks=level.marks,
        model=model is not None,
        system=system,
        tools=groups,
        tool_config=tool_config,
        config=config,
    )
    request.native = Native(DIALECT, level.left, form)
    return request


def _read_content(value: Any, path: str, calls: Calls) -> Message:
    level = Level(value, path)
    word = level.text("role")
    role = _ROLES.get(word)
    if role is None:
        raise InvalidRequest(f"{path}.role", "expected user or model")
    parts, form = _read_parts(level, word, calls)
    return Message(role=role, parts=parts, native=Native(DIALECT, level.left, form))


def _read_parts(level: Level, role: str | None, calls: Calls | None) -> tuple[list[Part], ContentForm]:
    values = level.items("parts")
    parts = read_parts(values or [], f"{level.path}.parts", calls)
    return parts, ContentForm(role, level.marks, values is not None)


def _read_system(level: Level, request: Request) -> ContentForm | str | None:
    given = level.get("systemInstruction")
    if isinstance(given, str):
        request.system = [Text(text=level.text("systemInstruction") or "")]
        return "text"
    content = level.object("systemInstruction")
    if content is None:
        return None
    inner = Level(content, "systemInstruction")
    role = inner.text("role")
    request.system, form = _read_parts(inner, role, None)
    level.put_back("systemInstruction", inner.left)
    return form


def _read_tool_config(level: Level, request: Request) -> Marks | None:
    given = level.object("toolConfig")
    if given is None:
        return None
    config = Level(given, "toolConfig")
    request.tool_choice = read_choice(config)
    level.put_back("toolConfig", config.left)
    return config.marks


def _read_config(level: Level, request: Request) -> Marks | None:
    given = level.object("generationConfig")
    if given is None:
        return None
    config = Level(given, "generationConfig")
    read_settings(config, request)
    level.put_back("generationConfig", config.left)
    return config.marks
