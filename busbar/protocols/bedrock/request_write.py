"""IR → a Converse request.

A request that was read from this dialect is written as it came. Any other is first fitted to what the API accepts:
its turns by `fit_turns`, its settings by `fit_settings`; from there on both are written by the same mechanical code.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.bedrock.blocks_write import write_content
from busbar.protocols.bedrock.fit_settings import fit_settings
from busbar.protocols.bedrock.fit_turns import fit_turns
from busbar.protocols.bedrock.models import family_of
from busbar.protocols.bedrock.output import write_output
from busbar.protocols.bedrock.places import NOVA_TOP_K, TOP_K, merge, put_at
from busbar.protocols.bedrock.reasoning import put_reasoning
from busbar.protocols.bedrock.request_read import USER_KEY
from busbar.protocols.bedrock.tools import write_tool_choice, write_tools
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.ir import Request
from busbar.protocols.native import own_fields, own_form
from busbar.protocols.protocol import Document, Hop
from busbar.protocols.receipt import Receipt


def write_request(request: Request, hop: Hop, receipt: Receipt) -> Document:
    """The document that goes to a provider; what did not cross as it was is on the receipt."""
    spelled: tuple[str, ...] | None = own_form(request, DIALECT)
    if spelled is None:
        request = fit_settings(fit_turns(request, hop, receipt), hop, receipt)
        spelled = ("top_k:nova",) if family_of(hop.model) == "nova" else ()
    return _document(request, spelled)


def _document(request: Request, spelled: tuple[str, ...]) -> Document:
    written: Document = {
        "messages": [
            {"role": message.role, "content": write_content(message.parts), **own_fields(message, DIALECT)}
            for message in request.messages
        ]
    }
    if request.system or "system:empty" in spelled:
        written["system"] = write_content(request.system)
    inference = _inference(request, spelled)
    if inference or "inference:empty" in spelled:
        written["inferenceConfig"] = inference
    if request.tools or "tools:empty" in spelled:
        written["toolConfig"] = {"tools": write_tools(request.tools)}
    if request.tool_choice is not None:
        put_at(written, ("toolConfig", "toolChoice"), write_tool_choice(request.tool_choice))
    if request.top_k is not None:
        put_at(written, NOVA_TOP_K if "top_k:nova" in spelled else TOP_K, request.top_k)
    if request.output is not None:
        written["outputConfig"] = write_output(request.output)
    if request.reasoning is not None:
        put_reasoning(written, request.reasoning)
    if request.user is not None:
        written["requestMetadata"] = {USER_KEY: request.user}
    merge(written, own_fields(request, DIALECT))
    return written


def _inference(request: Request, spelled: tuple[str, ...]) -> dict[str, Any]:
    stated = {"maxTokens": request.max_tokens, "temperature": request.temperature, "topP": request.top_p}
    config: dict[str, Any] = {key: value for key, value in stated.items() if value is not None}
    if request.stop or "stop:empty" in spelled:
        config["stopSequences"] = request.stop
    return config
