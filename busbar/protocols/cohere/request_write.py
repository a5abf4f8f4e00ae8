"""IR → a request for a Cohere provider: an own one as it came, another dialect's within the bounds that are known."""

from __future__ import annotations

from typing import Any

from busbar.protocols.cohere.answer import MessageForm, put_content, write_own_answer
from busbar.protocols.cohere.fit_settings import write_settings
from busbar.protocols.cohere.fit_turns import TurnWriter
from busbar.protocols.cohere.request_read import INTEGERS, NUMBERS, SWITCHES, RequestForm
from busbar.protocols.cohere.tools import write_own_output, write_own_tool, write_reasoning
from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.ir import Message, Request, ToolResult
from busbar.protocols.native import own_fields, own_form
from busbar.protocols.protocol import Document, Hop
from busbar.protocols.receipt import Receipt


def write_request(request: Request, hop: Hop, receipt: Receipt) -> Document:
    """The document for the model that `hop` names; what did not cross as it was is on the receipt."""
    form = own_form(request, DIALECT)
    document: Document = {"model": hop.model or request.model}
    if isinstance(form, RequestForm):
        return document | _own(request, form)
    document["messages"] = TurnWriter(document["model"], hop.nonce, receipt).write(request)
    return document | write_settings(request, document["model"], receipt)


def _own(request: Request, form: RequestForm) -> Document:
    written: Document = {**own_fields(request, DIALECT)}
    written["messages"] = [_own_message(message) for message in request.messages]
    for fields in (NUMBERS, INTEGERS, SWITCHES):
        for key, name in fields.items():
            if getattr(request, name) is not None:
                written[key] = getattr(request, name)
    if request.stop:
        written["stop_sequences"] = request.stop
    if request.tools:
        written["tools"] = [write_own_tool(tool) for tool in request.tools]
    if form.strict is not None:
        written["strict_tools"] = form.strict
    if request.tool_choice is not None:
        written["tool_choice"] = own_form(request.tool_choice, DIALECT)
    if request.output is not None:
        written["response_format"] = write_own_output(request.output)
    if request.reasoning is not None:
        written["thinking"] = write_reasoning(request.reasoning)
    return written


def _own_message(message: Message) -> dict[str, Any]:
    form = own_form(message, DIALECT)
    assert isinstance(form, MessageForm)
    left = own_fields(message, DIALECT)
    if message.role == "assistant":
        return {"role": "assistant", **write_own_answer(message.parts, left, form.content)}
    written: dict[str, Any] = {"role": message.role, **left}
    parts = message.parts
    if parts and isinstance(parts[0], ToolResult):
        written["tool_call_id"] = parts[0].tool_use_id
        parts = parts[0].content
    put_content(written, parts, form.content)
    return written
