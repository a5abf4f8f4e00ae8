"""The words of the Responses dialect that more than one of its files needs."""

from __future__ import annotations

from busbar.protocols.fitting.tools import fit_tool_name
from busbar.protocols.ids import TOOL_CALL_PREFIXES, IdStyle, mint_id, translate_id
from busbar.protocols.native import Native
from busbar.protocols.receipt import Receipt

DIALECT = "responses"

OWN = Native(DIALECT)
"""Marks a node as this dialect's where there is nothing else to keep."""

ANSWER_ID = IdStyle("resp_")
MESSAGE_ID = IdStyle("msg_")
REASONING_ID = IdStyle("rs_")
CALL_ITEM_ID = IdStyle("fc_")
TOOL_CALL_ID = IdStyle("call_", length_max=64)
REQUEST_ID = IdStyle("req_")

NAME_CHARS_MAX = 64


def flat_name(namespace: str, name: str) -> str:
    """One name for a function in a namespace. Names of this dialect hold no dot, so `split_name` gets both back; a
    dialect that allows none either gets another sign, and the name is given back on the way back."""
    return f"{namespace}.{name}"


def split_name(flat: str) -> tuple[str | None, str]:
    """(namespace or None, name)"""
    namespace, dot, name = flat.rpartition(".")
    return (namespace, name) if dot and namespace and name else (None, flat)


def tool_name(name: str, path: str, receipt: Receipt) -> str:
    """The name of another dialect's tool."""
    return fit_tool_name(name, NAME_CHARS_MAX, path, receipt)


def call_id(foreign: str, ordinal: int, nonce: str) -> str:
    """A tool call's id in this dialect's style; a call without one gets one."""
    return translate_id(foreign, TOOL_CALL_ID, TOOL_CALL_PREFIXES) or mint_id(TOOL_CALL_ID, nonce, ordinal)
