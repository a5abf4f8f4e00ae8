"""IR → a Messages request.

A request that was read from this dialect is written as it came. Any other is first fitted to what the API accepts:
its turns by `fitting.turns`, its settings by `fit_settings`; then both are written by the same mechanical code.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.anthropic.blocks_write import write_content
from busbar.protocols.anthropic.fit_parts import PartFitter
from busbar.protocols.anthropic.fit_settings import fit_settings
from busbar.protocols.anthropic.tools import write_tool, write_tool_choice
from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.fitting.turns import fit_conversation
from busbar.protocols.ir import Reasoning, Request
from busbar.protocols.native import own_fields, own_form
from busbar.protocols.protocol import Document, Hop
from busbar.protocols.receipt import Receipt

_STATED = ("max_tokens", "temperature", "top_p", "top_k", "stream")


def write_request(request: Request, hop: Hop, receipt: Receipt) -> Document:
    """The document that goes to a provider; what did not cross as it was is on the receipt."""
    spelled = own_form(request, DIALECT)
    if spelled is None:
        request = fit_conversation(request, PartFitter(receipt, hop.nonce), receipt)
        request = fit_settings(request, hop, receipt)
    return _document(request, hop, spelled or ())


def _document(request: Request, hop: Hop, spelled: tuple[str, ...]) -> Document:
    written: Document = {"model": hop.model or request.model}
    if request.system:
        written["system"] = write_content(request.system, "text" if "system:text" in spelled else None)
    elif "system:empty" in spelled:
        written["system"] = []
    written["messages"] = [
        {
            "role": message.role,
            "content": write_content(message.parts, own_form(message, DIALECT)),
            **own_fields(message, DIALECT),
        }
        for message in request.messages
    ]
    if request.tools or "tools:empty" in spelled:
        written["tools"] = [write_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        written["tool_choice"] = write_tool_choice(request.tool_choice, request.parallel_tool_calls)
    _add_settings(written, request, spelled)
    if leftovers := dict(own_fields(request, DIALECT)):
        for key in ("output_config", "metadata"):
            if isinstance(leftovers.get(key), dict) and key in written:
                written[key].update(leftovers.pop(key))
        written.update(leftovers)
    return written


def _add_settings(written: Document, request: Request, spelled: tuple[str, ...]) -> None:
    for key in _STATED:
        if (value := getattr(request, key)) is not None:
            written[key] = value
    if request.stop or "stop:empty" in spelled:
        written["stop_sequences"] = request.stop
    if request.user is not None:
        written["metadata"] = {"user_id": request.user}
    if request.reasoning is not None or request.output is not None:
        _add_config(written, request, spelled)


def _add_config(written: Document, request: Request, spelled: tuple[str, ...]) -> None:
    config: dict[str, Any] = {}
    if request.reasoning is not None:
        if request.reasoning.enabled is not None:
            written["thinking"] = _thinking(request.reasoning)
        if request.reasoning.effort is not None:
            config["effort"] = request.reasoning.effort
    if request.output is not None and request.output.mode == "schema":
        schema = {"type": "json_schema", "schema": request.output.schema, **own_fields(request.output, DIALECT)}
        if "format:old" in spelled:
            written["output_format"] = schema
        else:
            config["format"] = schema
    if config:
        written["output_config"] = config


def _thinking(reasoning: Reasoning) -> dict[str, Any]:
    if reasoning.enabled is False:
        kind = "disabled"
    else:
        other = own_form(reasoning, DIALECT)
        kind = ("adaptive" if reasoning.adaptive else "enabled") if other is None else other
    written: dict[str, Any] = {"type": kind}
    if reasoning.budget_tokens is not None:
        written["budget_tokens"] = reasoning.budget_tokens
    written.update(own_fields(reasoning, DIALECT))
    return written
