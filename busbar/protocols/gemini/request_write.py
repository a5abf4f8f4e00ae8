"""Writing a request: an own one as it came, another dialect's as this one's providers accept it (`fit_*`)."""

from __future__ import annotations

from typing import Any

from busbar.protocols.gemini.fit_settings import fit_settings
from busbar.protocols.gemini.fit_tools import fit_tools
from busbar.protocols.gemini.fit_turns import fit_turns
from busbar.protocols.gemini.parts_write import write_own_part
from busbar.protocols.gemini.request_read import ContentForm, RequestForm
from busbar.protocols.gemini.settings_read import write_own_settings
from busbar.protocols.gemini.spelling import put, snake
from busbar.protocols.gemini.tools import write_own_choice, write_own_tools
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import Message, Part, Request
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import own_fields, own_form
from busbar.protocols.protocol import Document, Hop
from busbar.protocols.receipt import Receipt


def write_request(request: Request, hop: Hop, receipt: Receipt) -> Document:
    """The request for the model that `hop` names: the path says which."""
    form = own_form(request, DIALECT)
    if isinstance(form, RequestForm):
        return _write_own(request, form, hop)
    report_leftovers(request, DIALECT, "", receipt)
    return {
        **fit_turns(request, hop, receipt),
        **fit_tools(request, receipt),
        **fit_settings(request, hop, receipt),
    }


def _write_own(request: Request, form: RequestForm, hop: Hop) -> Document:
    document: Document = dict(own_fields(request, DIALECT))
    put(document, "contents", [_write_content(message) for message in request.messages], form.marks)
    if form.model:
        document["model"] = hop.model or request.model
    if isinstance(form.system, ContentForm):
        rest = _rest(document, "systemInstruction")
        put(document, "systemInstruction", _content(request.system, form.system, rest), form.marks)
    elif form.system is not None:
        text = "".join(getattr(part, "text", "") for part in request.system)
        put(document, "systemInstruction", text, form.marks)
    if form.tools is not None:
        put(document, "tools", write_own_tools(request.tools, form.tools), form.marks)
    if form.tool_config is not None:
        config = _rest(document, "toolConfig")
        if request.tool_choice is not None:
            put(config, "functionCallingConfig", write_own_choice(request.tool_choice), form.tool_config)
        put(document, "toolConfig", config, form.marks)
    if form.config is not None:
        settings = _rest(document, "generationConfig")
        write_own_settings(request, settings, form.config)
        put(document, "generationConfig", settings, form.marks)
    return document


def _write_content(message: Message) -> dict[str, Any]:
    form: ContentForm = own_form(message, DIALECT) or ContentForm("user")
    return _content(message.parts, form, dict(own_fields(message, DIALECT)))


def _content(parts: list[Part], form: ContentForm, document: dict[str, Any]) -> dict[str, Any]:
    if form.role is not None:
        document["role"] = form.role
    if form.parts:
        put(document, "parts", [write_own_part(part) for part in parts], form.marks)
    return document


def _rest(document: Document, name: str) -> dict[str, Any]:
    """The leftovers of an inner object, taken out of the request's."""
    for key in (name, snake(name)):
        if isinstance(document.get(key), dict):
            return dict(document.pop(key))
    return {}
