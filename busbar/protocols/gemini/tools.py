"""Tools and the choice among them, as a request of this dialect has them.

A `tools` element may declare several functions and switch on hosted tools; the IR has each of them by itself, and the
request's form says which stood together (`Group`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from busbar.protocols.gemini.schema_read import SchemaForm, read_schema, write_own_schema
from busbar.protocols.gemini.spelling import PLAIN, Level, Marks, put
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import FunctionTool, Opaque, Tool, ToolChoice
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.protocol import InvalidRequest

_DECLARATIONS = "functionDeclarations"
_SCHEMAS = ("parametersJsonSchema", "parameters")
_Mode: TypeAlias = Literal["auto", "none", "required", "one"]
_MODES: Mapping[Any, _Mode] = {
    "AUTO": "auto",
    "VALIDATED": "auto",
    "ANY": "required",
    "NONE": "none",
    1: "auto",
    2: "required",
    3: "none",
}


class Group(Struct, frozen=True):
    """How many of the IR's tools one element of `tools` held, and how it was spelled."""

    size: int
    marks: Marks = PLAIN


class ToolForm(Struct, frozen=True):
    """The field that held a function's schema, and how it was spelled."""

    field: str | None = None
    schema: SchemaForm = {}
    marks: Marks = PLAIN


class ChoiceForm(Struct, frozen=True):
    mode: Any
    marks: Marks = PLAIN


def read_tools(values: list[Any]) -> tuple[list[Tool], tuple[Group, ...]]:
    tools: list[Tool] = []
    groups = []
    for at, value in enumerate(values):
        level = Level(value, f"tools[{at}]")
        found: list[Tool] = []
        declarations = level.items(_DECLARATIONS)
        for nth, declaration in enumerate(declarations or ()):
            found.append(_read_function(declaration, f"{level.path}.{_DECLARATIONS}[{nth}]"))
        for key, hosted in level.left.items():
            found.append(Opaque(dialect=DIALECT, kind=key, value={key: hosted}))
        if declarations == []:
            level.mark("no functions")
        groups.append(Group(len(found), level.marks))
        tools += found
    return tools, tuple(groups)


def _read_function(value: Any, path: str) -> FunctionTool:
    level = Level(value, path)
    name = level.text("name")
    if name is None:
        raise InvalidRequest(f"{path}.name", "expected a string")
    field = next((field for field in _SCHEMAS if isinstance(level.get(field), dict)), None)
    schema = None if field is None else level.object(field)
    form: SchemaForm = {}
    if schema is not None and field == "parameters":
        schema, form = read_schema(schema)
    return FunctionTool(
        name=name,
        description=level.text("description"),
        parameters=schema,
        native=Native(DIALECT, level.left, ToolForm(field, form, level.marks)),
    )


def write_own_tools(tools: list[Tool], groups: tuple[Group, ...]) -> list[dict[str, Any]]:
    waiting = iter(tools)
    return [_write_group([next(waiting) for _ in range(group.size)], group.marks) for group in groups]


def _write_group(tools: list[Tool], marks: Marks) -> dict[str, Any]:
    document: dict[str, Any] = {}
    functions: list[dict[str, Any]] = []
    for tool in tools:
        if isinstance(tool, Opaque):
            document |= tool.value
        else:
            functions.append(_write_function(tool))
    if functions or "no functions" in marks:
        put(document, _DECLARATIONS, functions, marks)
    return document


def _write_function(tool: FunctionTool) -> dict[str, Any]:
    form: ToolForm = own_form(tool, DIALECT) or ToolForm()
    document: dict[str, Any] = {**own_fields(tool, DIALECT), "name": tool.name}
    put(document, "description", tool.description, form.marks)
    if tool.parameters is not None and form.field is not None:
        put(document, form.field, write_own_schema(tool.parameters, form.schema), form.marks)
    return document


def read_choice(config: Level) -> ToolChoice | None:
    """Takes `functionCallingConfig` out of the tool configuration; a mode that is not known stays a leftover."""
    given = config.get("functionCallingConfig")
    if not isinstance(given, dict):
        return None
    level = Level(given, f"{config.path}.functionCallingConfig")
    mode = level.get("mode")
    known: _Mode | None = _MODES.get(mode) if isinstance(mode, str | int) else None
    if known is None:
        return None
    config.drop("functionCallingConfig")
    level.drop("mode")
    names = level.get("allowedFunctionNames")
    name = None
    if known == "required" and isinstance(names, list) and len(names) == 1 and isinstance(names[0], str):
        level.drop("allowedFunctionNames")
        known, name = "one", names[0]
    return ToolChoice(mode=known, name=name, native=Native(DIALECT, level.left, ChoiceForm(mode, level.marks)))


def write_own_choice(choice: ToolChoice) -> dict[str, Any]:
    form: ChoiceForm = own_form(choice, DIALECT)
    document = {**own_fields(choice, DIALECT), "mode": form.mode}
    if choice.name is not None:
        put(document, "allowedFunctionNames", [choice.name], form.marks)
    return document
