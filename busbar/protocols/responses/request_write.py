"""IR → a Responses request.

A request that was read from this dialect is written as it came; any other within the bounds that OpenAI sets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from busbar.protocols.fitting.settings import within
from busbar.protocols.ir import Request, Text
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import own_fields, own_form
from busbar.protocols.protocol import Document, Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.items_write import write_own_message
from busbar.protocols.responses.request_read import LOGPROBS, RequestForm
from busbar.protocols.responses.settings import write_format, write_own_reasoning, write_reasoning, write_text
from busbar.protocols.responses.tools import write_own_tools, write_tool, write_tool_choice
from busbar.protocols.responses.turns_write import TurnWriter, write_instructions
from busbar.protocols.responses.words import DIALECT

OUTPUT_TOKENS_MIN = 16
TOP_LOGPROBS_MAX = 20
USER_CHARS_MAX = 64
ENCRYPTED_REASONING = "reasoning.encrypted_content"

_SAME_NAME = ("temperature", "top_p", "top_logprobs", "parallel_tool_calls", "user", "stream")
_RANGES = {"temperature": (0, 2), "top_p": (0, 1)}
_NO_PLACE: Mapping[str, Any] = {
    "top_k": None,
    "seed": None,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "n": 1,
}
"""Settings that this dialect lacks, with the value that asks for nothing."""


def write_request(request: Request, hop: Hop, receipt: Receipt) -> Document:
    """The request for the model that `hop` names; what did not cross as it was is on the receipt."""
    form = own_form(request, DIALECT)
    document: Document = {}
    if model := hop.model or request.model:
        document["model"] = model
    if isinstance(form, RequestForm):
        return document | _own(request, form, receipt)
    report_leftovers(request, DIALECT, "", receipt)
    return document | _foreign(request, hop, receipt)


def _own(request: Request, form: RequestForm, receipt: Receipt) -> Document:
    document: Document = {**own_fields(request, DIALECT)}
    if form.input == "text":
        document["input"] = _text(request.messages[0].parts)
    elif form.input == "items":
        document["input"] = [item for message in request.messages for item in write_own_message(message)]
    if request.system:
        document["instructions"] = _text(request.system)
    for key in _SAME_NAME:
        if getattr(request, key) is not None:
            document[key] = getattr(request, key)
    if request.max_tokens is not None:
        document["max_output_tokens"] = request.max_tokens
    if request.tools:
        document["tools"] = write_own_tools(request.tools)
    if request.tool_choice is not None:
        document["tool_choice"] = write_tool_choice(request.tool_choice, receipt)
    write_text(document, request.output, receipt)
    if request.reasoning is not None:
        document["reasoning"] = write_own_reasoning(request.reasoning)
    if form.logprobs_at is not None:
        include = list(document.get("include", ()))
        include.insert(form.logprobs_at, LOGPROBS)
        document["include"] = include
    return document


def _text(parts: list[Any]) -> str:
    return "".join([part.text for part in parts if isinstance(part, Text)])


def _foreign(request: Request, hop: Hop, receipt: Receipt) -> Document:
    document: Document = {}
    if instructions := write_instructions(request.system, "system", receipt):
        document["instructions"] = instructions
    turns = TurnWriter(hop.nonce, receipt)
    document["input"] = [
        item for at, message in enumerate(request.messages) for item in turns.write(message, f"messages[{at}]")
    ]
    if not document["input"]:
        receipt.added("messages[0]", "a request says something")
        document["input"] = "."
    _add_settings(document, request, receipt)
    _add_tools(document, request, receipt)
    if request.output is not None and request.output.mode != "text":
        document["text"] = {"format": write_format(request.output, receipt)}
    include = [LOGPROBS] if request.logprobs else []
    if (reasoning := write_reasoning(request.reasoning, receipt)) is not None:
        document["reasoning"] = reasoning
        receipt.added("store", "the state of thinking comes back in the answer, and is stored nowhere")
        document["store"] = False
        include.append(ENCRYPTED_REASONING)
    if include:
        document["include"] = include
    return document


def _add_settings(document: Document, request: Request, receipt: Receipt) -> None:
    for name, idle in _NO_PLACE.items():
        if getattr(request, name) not in (None, idle):
            receipt.dropped(name, "no such setting")
    for at in range(len(request.stop)):
        receipt.dropped(f"stop[{at}]", "no stop sequences in this dialect")
    if request.max_tokens is not None:
        document["max_output_tokens"] = max(request.max_tokens, OUTPUT_TOKENS_MIN)
        if request.max_tokens < OUTPUT_TOKENS_MIN:
            receipt.clamped("max_tokens", f"at least {OUTPUT_TOKENS_MIN} here")
    for key, (low, high) in _RANGES.items():
        if (value := getattr(request, key)) is not None:
            document[key] = within(value, key, low, high, receipt)
    if request.top_logprobs is not None and request.logprobs:
        document["top_logprobs"] = within(request.top_logprobs, "top_logprobs", 0, TOP_LOGPROBS_MAX, receipt)
    if request.user is not None:
        document["user"] = _user(request.user, receipt)
    if request.stream is not None:
        document["stream"] = request.stream


def _add_tools(document: Document, request: Request, receipt: Receipt) -> None:
    written = [write_tool(tool, f"tools[{at}]", receipt) for at, tool in enumerate(request.tools)]
    tools = [tool for tool in written if tool is not None]
    if not tools:
        if request.tool_choice is not None:
            receipt.dropped("tool_choice", "there are no tools to choose from")
        return
    document["tools"] = tools
    if request.tool_choice is not None:
        document["tool_choice"] = write_tool_choice(request.tool_choice, receipt)
    if request.parallel_tool_calls is not None:
        document["parallel_tool_calls"] = request.parallel_tool_calls


def _user(user: str, receipt: Receipt) -> str:
    """OpenAI refuses longer names; a hash still tells users apart, and always says the same for the same one."""
    if len(user) <= USER_CHARS_MAX:
        return user
    receipt.changed("user", f"longer than {USER_CHARS_MAX} characters: its SHA-256 is sent")
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
