"""The words of the Chat Completions dialect that more than one of its files needs."""

from __future__ import annotations

from busbar.protocols.ids import IdStyle
from busbar.protocols.native import Native

DIALECT = "openai"

OWN = Native(DIALECT)
"""Marks a node as this dialect's where there is nothing else to keep."""

ANSWER_ID = IdStyle("chatcmpl-")
TOOL_CALL_ID = IdStyle("call_", length_max=40)
"""OpenAI refuses longer tool call ids (`string_above_max_length`)."""
REQUEST_ID = IdStyle("req_")
