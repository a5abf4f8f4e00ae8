"""Requests of the Chat Completions dialect.

Reference: OpenAI's API reference, "Create chat completion"; the deviations of its clones are noted where they are
read. A request of this dialect is written back as it came; another dialect's within the bounds that OpenAI sets.
"""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import Struct

from busbar.protocols.fields import take_bool, take_int, take_list, take_number, take_text
from busbar.protocols.fitting.settings import within
from busbar.protocols.ir import Opaque, Request
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, Rest, own_fields, own_form
from busbar.protocols.openai.messages import MessageReader
from busbar.protocols.openai.messages_write import write_messages
from busbar.protocols.openai.reasoning import read_reasoning, write_reasoning
from busbar.protocols.openai.tools import (
    LEGACY,
    read_legacy_function,
    read_output,
    read_tool,
    read_tool_choice,
    write_output,
    write_own_tool,
    write_tool,
    write_tool_choice,
)
from busbar.protocols.openai.words import DIALECT
from busbar.protocols.protocol import Document, Hop, InvalidRequest
from busbar.protocols.receipt import Receipt

STOPS_MAX = 4
TOP_LOGPROBS_MAX = 20
USER_CHARS_MAX = 64

_MAX_TOKENS = ("max_completion_tokens", "max_tokens")
_NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_INTEGERS = ("top_k", "seed", "n")
_RANGES = {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}


class RequestForm(Struct, frozen=True, kw_only=True):
    """How a request spelled what it carries."""

    max_tokens: tuple[str, ...] = ()
    """The fields that bound the answer: the present one, the old one, or both with the same number."""
    stop_text: bool = False
    """`stop` was one string."""


def read_request(document: Document) -> Request:
    """Raises `InvalidRequest`. A missing `model` is read as empty: some routes name it in their path."""
    left = dict(document)
    messages = take_list(left, "messages")
    if messages is None:
        raise InvalidRequest("messages", "expected an array")
    request = Request(
        model=take_text(left, "model") or "",
        messages=MessageReader().read_all(messages),
        parallel_tool_calls=take_bool(left, "parallel_tool_calls"),
        output=read_output(left, ""),
        reasoning=read_reasoning(left),
        user=take_text(left, "user"),
        stream=take_bool(left, "stream"),
    )
    _read_sampling(left, request)
    _read_tools(left, request)
    _read_stream_options(left, request)
    request.native = Native(
        DIALECT, left, RequestForm(max_tokens=_read_max_tokens(left, request), stop_text=_read_stop(left, request))
    )
    return request


def _read_sampling(left: dict[str, Any], request: Request) -> None:
    for key in _NUMBERS:
        if key in left:
            setattr(request, key, take_number(left, key))
    for key in _INTEGERS:
        if key in left:
            setattr(request, key, take_int(left, key))
    if isinstance(left.get("logprobs"), bool):  # an integer in the old completions API, and at Together
        request.logprobs = take_bool(left, "logprobs")
    request.top_logprobs = take_int(left, "top_logprobs")


def _read_tools(left: dict[str, Any], request: Request) -> None:
    tools = take_list(left, "tools") if left.get("tools") else None
    functions = take_list(left, LEGACY) if left.get(LEGACY) else None
    if tools:
        request.tools = [read_tool(tool, f"tools[{at}]") for at, tool in enumerate(tools)]
    if functions:
        request.tools += [read_legacy_function(tool, f"functions[{at}]") for at, tool in enumerate(functions)]
    if (choice := read_tool_choice(left.get("tool_choice"))) is not None:
        del left["tool_choice"]
        request.tool_choice = choice
        return
    old = left.get("function_call")
    if old is not None:
        old = {"function": old} if isinstance(old, dict) else old
        if (choice := read_tool_choice(old)) is not None:
            del left["function_call"]
            choice.native = Native(DIALECT, choice.native.fields if choice.native else {}, LEGACY)
            request.tool_choice = choice


def _read_stream_options(left: dict[str, Any], request: Request) -> None:
    options = left.get("stream_options")
    if isinstance(options, dict) and isinstance(options.get("include_usage"), bool):
        rest = dict(options)
        request.stream_usage = rest.pop("include_usage")
        left["stream_options"] = Rest(rest)
        if not rest:
            del left["stream_options"]


def _read_max_tokens(left: dict[str, Any], request: Request) -> tuple[str, ...]:
    names: list[str] = []
    for key in _MAX_TOKENS:
        if names and left.get(key) != request.max_tokens:
            break
        bound = take_int(left, key)
        if bound is not None:
            names.append(key)
            request.max_tokens = bound
    return tuple(names)


def _read_stop(left: dict[str, Any], request: Request) -> bool:
    stop = left.get("stop")
    if isinstance(stop, str):
        request.stop = [stop]
    elif stop:
        stops = take_list(left, "stop") or []
        if not all(isinstance(word, str) for word in stops):
            raise InvalidRequest("stop", "expected a string or an array of strings")
        request.stop = list(stops)
        return False
    if request.stop:
        del left["stop"]
    return bool(request.stop)


def write_request(request: Request, hop: Hop, receipt: Receipt) -> Document:
    """The request for the model that `hop` names."""
    form = own_form(request, DIALECT)
    own = isinstance(form, RequestForm)
    document: Document = {**own_fields(request, DIALECT)}
    if model := hop.model or request.model:
        document["model"] = model
    document["messages"] = write_messages(request, receipt)
    if isinstance(form, RequestForm):
        _write_own(document, request, form)
    else:
        report_leftovers(request, DIALECT, "", receipt)
        _write_foreign(document, request, receipt)
    if request.output is not None and (own or request.output.mode != "text"):
        document["response_format"] = write_output(request.output, receipt)
    if request.reasoning is not None:
        document |= write_reasoning(request.reasoning, receipt)
    if request.stream is not None:
        document["stream"] = request.stream
    return document


def _write_own(document: Document, request: Request, form: RequestForm) -> None:
    for key in (*_NUMBERS, *_INTEGERS, "logprobs", "top_logprobs", "user", "parallel_tool_calls"):
        if getattr(request, key) is not None:
            document[key] = getattr(request, key)
    for key in form.max_tokens or _MAX_TOKENS[:1]:
        if request.max_tokens is not None:
            document[key] = request.max_tokens
    if request.stop:
        document["stop"] = request.stop[0] if form.stop_text else request.stop
    for tool in request.tools:
        legacy = (tool.kind if isinstance(tool, Opaque) else own_form(tool, DIALECT)) == LEGACY
        document.setdefault(LEGACY if legacy else "tools", []).append(write_own_tool(tool))
    choice = request.tool_choice
    if choice is not None and own_form(choice, DIALECT) == LEGACY:
        document["function_call"] = choice.mode if choice.name is None else {"name": choice.name}
    elif choice is not None:
        document["tool_choice"] = write_tool_choice(choice, Receipt())
    if request.stream_usage is not None:
        document["stream_options"] = {**document.get("stream_options", {}), "include_usage": request.stream_usage}


def _write_foreign(document: Document, request: Request, receipt: Receipt) -> None:
    for key in _NUMBERS:
        value = getattr(request, key)
        if value is not None:
            document[key] = within(value, key, *_RANGES[key], receipt)
    if request.max_tokens is not None:
        document["max_completion_tokens"] = request.max_tokens
    for key in ("seed", "n", "logprobs"):
        if getattr(request, key) is not None:
            document[key] = getattr(request, key)
    if request.top_logprobs is not None and request.logprobs:
        document["top_logprobs"] = within(request.top_logprobs, "top_logprobs", 0, TOP_LOGPROBS_MAX, receipt)
    if request.top_k is not None:
        receipt.dropped("top_k", "no place in this dialect")
    _write_stops(document, request.stop, receipt)
    _write_tools(document, request, receipt)
    if request.user is not None:
        document["user"] = _user(request.user, receipt)
    if request.stream:
        document["stream_options"] = {"include_usage": True}


def _write_stops(document: Document, stops: list[str], receipt: Receipt) -> None:
    """The first four; an empty one stops nothing and is refused."""
    kept = [(at, stop) for at, stop in enumerate(stops) if stop]
    for at, _ in kept[STOPS_MAX:]:
        receipt.dropped(f"stop[{at}]", f"at most {STOPS_MAX} here")
    if kept:
        document["stop"] = [stop for _, stop in kept[:STOPS_MAX]]


def _write_tools(document: Document, request: Request, receipt: Receipt) -> None:
    tools = [write_tool(tool, f"tools[{at}]", receipt) for at, tool in enumerate(request.tools)]
    document_tools = [tool for tool in tools if tool is not None]
    if not document_tools:
        if request.tool_choice is not None:
            receipt.dropped("tool_choice", "there are no tools to choose from")
        return
    document["tools"] = document_tools
    if request.tool_choice is not None:
        report_leftovers(request.tool_choice, DIALECT, "tool_choice", receipt)
        document["tool_choice"] = write_tool_choice(request.tool_choice, receipt)
    if request.parallel_tool_calls is not None:
        document["parallel_tool_calls"] = request.parallel_tool_calls


def _user(user: str, receipt: Receipt) -> str:
    """OpenAI refuses longer names; a hash still tells users apart, and always says the same for the same one."""
    if len(user) <= USER_CHARS_MAX:
        return user
    receipt.changed("user", f"longer than {USER_CHARS_MAX} characters: its SHA-256 is sent")
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
