"""Tool calls, both ways: in a request's history, in an answer, and where a stream begins one."""

from __future__ import annotations

import re
from typing import Any

from busbar.protocols.cohere.words import DIALECT, TOOL_CALL_ID
from busbar.protocols.ids import TOOL_CALL_PREFIXES, fit_name, mint_id, translate_id
from busbar.protocols.ir import Opaque, Part, ToolUse
from busbar.protocols.native import native, own_fields, own_form
from busbar.protocols.receipt import Receipt

TOOL_CALLS = "tool_calls"

NAME_CHARS_MAX = 64
_MINTED_CHARS = 12
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_]")


def read_call(call: dict[str, Any]) -> Part:
    """A call; one that is not understood stays whole. The form names what its document lacked."""
    left = dict(call)
    function = left.get("function")
    if left.get("type", "function") != "function" or not isinstance(function, dict):
        return Opaque(dialect=DIALECT, kind=TOOL_CALLS, value=call)
    lacks = tuple(key for key, holder in (("type", left), ("id", left), ("arguments", function)) if key not in holder)
    inner = dict(function)
    call_id, name, arguments = left.pop("id", ""), inner.pop("name", None), inner.pop("arguments", "")
    if not isinstance(call_id, str) or not isinstance(name, str) or not isinstance(arguments, str):
        return Opaque(dialect=DIALECT, kind=TOOL_CALLS, value=call)
    left.pop("type", None)
    left["function"] = inner
    if not inner:
        del left["function"]
    return ToolUse(id=call_id, name=name, arguments=arguments, native=native(DIALECT, left, lacks or None))


def write_own_call(use: ToolUse) -> dict[str, Any]:
    lacks = own_form(use, DIALECT) or ()
    left = own_fields(use, DIALECT)
    function = {**left.get("function", {}), "name": use.name}
    if "arguments" not in lacks:
        function["arguments"] = use.arguments
    written = {**left, "function": function}
    if "id" not in lacks:
        written["id"] = use.id
    if "type" not in lacks:
        written["type"] = "function"
    return written


def write_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def call_id(foreign: str) -> str:
    """Another dialect's id as this one takes it; empty stays empty."""
    return translate_id(foreign, TOOL_CALL_ID, TOOL_CALL_PREFIXES)


def minted_call_id(name: str, nonce: str, ordinal: int) -> str:
    """An id as Cohere makes them: the tool's name, and letters."""
    return f"{fit_name(name, NAME_CHARS_MAX)}_{mint_id(TOOL_CALL_ID, nonce, ordinal)[:_MINTED_CHARS]}"


def tool_name(name: str, path: str, receipt: Receipt) -> str:
    """Fact: "tool names can only contain certain characters (A-Za-z0-9_) and can't begin with a digit"."""
    fitting = _NOT_IN_A_NAME.sub("_", fit_name(name, NAME_CHARS_MAX))
    if not fitting or fitting[0].isdigit():
        fitting = f"_{fitting}"[:NAME_CHARS_MAX]
    if fitting != name:
        receipt.changed(path, "names here are letters, digits and _, and begin with no digit")
    return fitting
