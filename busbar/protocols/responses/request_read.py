"""A Responses request → IR. Reference: OpenAI's API reference, "Create a model response", and its SDK's types."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.fields import take_bool, take_int, take_list, take_number, take_text
from busbar.protocols.ir import Message, Request, Text
from busbar.protocols.native import Native
from busbar.protocols.protocol import Document, InvalidRequest
from busbar.protocols.responses.items_read import read_input
from busbar.protocols.responses.settings import read_reasoning, read_text
from busbar.protocols.responses.tools import read_tool_choice, read_tools
from busbar.protocols.responses.words import DIALECT, OWN

LOGPROBS = "message.output_text.logprobs"
"""What `include` holds when log probabilities are wanted."""


class RequestForm(Struct, frozen=True, kw_only=True):
    """How a request spelled what it carries."""

    input: str = "items"
    """`text`, `items`, or `absent`: a prompt template or a stored conversation may stand for it."""
    logprobs_at: int | None = None
    """The place of `LOGPROBS` in `include`."""


def read_request(document: Document) -> Request:
    """Raises `InvalidRequest`. A missing `model` is read as empty: some routes name it in their path."""
    left = dict(document)
    spelled, messages = _read_messages(left)
    instructions = take_text(left, "instructions")
    request = Request(
        model=take_text(left, "model") or "",
        messages=messages,
        system=[] if instructions is None else [Text(text=instructions, native=OWN)],
        parallel_tool_calls=take_bool(left, "parallel_tool_calls"),
        max_tokens=take_int(left, "max_output_tokens"),
        temperature=take_number(left, "temperature"),
        top_p=take_number(left, "top_p"),
        top_logprobs=take_int(left, "top_logprobs"),
        output=read_text(left),
        reasoning=read_reasoning(left),
        user=take_text(left, "user"),
        stream=take_bool(left, "stream"),
        stream_usage=True,
    )
    if left.get("tools"):
        request.tools = read_tools(take_list(left, "tools") or [])
    if (choice := read_tool_choice(left.get("tool_choice"))) is not None:
        del left["tool_choice"]
        request.tool_choice = choice
    logprobs_at = _take_logprobs(left)
    if logprobs_at is not None or request.top_logprobs:
        request.logprobs = True
    request.native = Native(DIALECT, left, RequestForm(input=spelled, logprobs_at=logprobs_at))
    return request


def _read_messages(left: dict[str, Any]) -> tuple[str, list[Message]]:
    given = left.get("input")
    if given is None:
        if not any(left.get(key) for key in ("prompt", "conversation", "previous_response_id")):
            raise InvalidRequest("input", "expected a string or an array of items")
        return "absent", []
    del left["input"]
    if isinstance(given, str):
        return "text", [Message(role="user", parts=[Text(text=given)], native=OWN)]
    if not isinstance(given, list):
        raise InvalidRequest("input", "expected a string or an array of items")
    return "items", read_input(given)


def _take_logprobs(left: dict[str, Any]) -> int | None:
    include = left.get("include")
    if not isinstance(include, list) or LOGPROBS not in include:
        return None
    rest = list(include)
    at = rest.index(LOGPROBS)
    del rest[at]
    del left["include"]
    if rest:
        left["include"] = rest
    return at
