"""The words of the Chat Completions dialect that more than one of its files needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from busbar.protocols.ids import IdStyle
from busbar.protocols.native import Native, Node
from busbar.protocols.receipt import Receipt

DIALECT = "openai"

OWN = Native(DIALECT)
"""Marks a node as this dialect's where there is nothing else to keep."""

ANSWER_ID = IdStyle("chatcmpl-")
TOOL_CALL_ID = IdStyle("call_", length_max=40)
"""OpenAI refuses longer tool call ids (`string_above_max_length`)."""
REQUEST_ID = IdStyle("req_")

EMPTY: tuple[Any, ...] = (None, "", [], {})
"""What says nothing, and is therefore never missed."""


def report_leftovers(node: Node, path: str, receipt: Receipt) -> None:
    """Reports what another dialect said on `node` beyond the IR: this dialect has no place for it."""
    kept = node.native
    if kept is not None and kept.dialect != DIALECT:
        report_fields(kept.fields, path, kept.dialect, receipt)


def report_fields(fields: Mapping[str, Any], path: str, dialect: str, receipt: Receipt) -> None:
    for key, value in fields.items():
        if key != "type" and not _says_nothing(value):
            receipt.dropped(f"{path}.{key}" if path else key, f"only {dialect} knows it")


def _says_nothing(value: Any) -> bool:
    """Also an object whose members all say nothing, as Anthropic's `delta: {stop_details: null}`."""
    return value in EMPTY or (isinstance(value, dict) and all(map(_says_nothing, value.values())))
