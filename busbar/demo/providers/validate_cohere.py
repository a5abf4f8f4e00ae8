"""What Cohere's v2 chat API refuses, and with which words.

The shape of a body is checked first (`shapes_cohere.py`), then the rules that hold between its parts, in the order of
`RULES`; the first that fails answers. Texts for unknown fields and wrong types follow recorded answers; the other
rules are those of the API's reference, in words like its own.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping

from .dialect import JSON, Refused
from .shape import Tag, Violation, type_name
from .shapes_cohere import BODY
from .validate_openai import DATA_URL, IMAGE_TYPES

REFERENCE = "For proper usage, please refer to https://docs.cohere.com/reference/chat"
PHRASES: dict[str, tuple[int, str]] = {
    "missing": (400, "invalid request: '{path}' is required."),
    "extra": (422, f"unknown field: parameter '{{path}}' is not a valid field. {REFERENCE}"),
    "type": (
        400,
        f"invalid type: parameter '{{path}}' is of type {{got}} but should be of type {{expected}}. {REFERENCE}",
    ),
    "choice": (400, "invalid request: '{path}' must be one of {expected}, got '{got}'."),
    "tag": (400, "invalid request: '{path}.{by}' must be one of {expected}, got '{got}'."),
    "below": (400, "invalid request: '{path}' must be at least {expected}, got {got}."),
    "above": (400, "invalid request: '{path}' must be at most {expected}, got {got}."),
    "many": (400, "invalid request: '{path}' can have at most {expected} items, got {got}."),
    "schema": (400, "invalid request: '{path}' is not a valid JSON schema."),
}
"""kind of violation → status and words."""
_GO = {"object": "Object", "array": "[]Object", "integer": "int32", "number": "float64", "boolean": "bool"}
"""JSON types as the API's texts name them."""


def validate(body: JSON, headers: Mapping[str, str]) -> None:
    """Raise `Refused` as the API would."""
    try:
        BODY(body, ())
    except Violation as violation:
        raise _phrase(violation) from None
    for rule in RULES:
        for message in rule(body):
            raise Refused(400, "", f"invalid request: {message}")


def parts(content: str | list[JSON] | None) -> list[JSON]:
    """Content as parts: a string is one text part, none is no part."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _phrase(violation: Violation) -> Refused:
    path = ".".join(str(step) for step in violation.path if not isinstance(step, Tag | int))
    expected, got = violation.expected, violation.got
    if violation.kind == "type":
        expected, got = _GO.get(expected[0], expected[0]), _GO.get(got, got)
    elif isinstance(expected, tuple):
        expected = ", ".join(f"'{choice}'" for choice in expected)
    if violation.kind == "choice" and not isinstance(got, str):
        got = type_name(got)
    status, template = PHRASES[violation.kind]
    return Refused(status, "", template.format(path=path, expected=expected, got=got, by=violation.by))


# --- the rules: each yields the texts of what it finds wrong ---------------------------------------------------


def _messages(body: JSON) -> Iterator[str]:
    messages = body["messages"]
    if not messages:
        yield "messages must not be empty."
        return
    if not any(message["role"] in ("user", "tool") for message in messages):
        yield "messages must contain at least one message with role 'user' or 'tool'."
    for m, message in enumerate(messages):
        empty = not message.get("content") and not message.get("tool_calls")
        if empty and message["role"] != "tool":
            yield f"message at index {m} must have non-empty content or tool calls."
        if message["role"] == "user" and not _says(message):
            yield f"message at index {m} must be at least 1 token long."


def _says(message: JSON) -> bool:
    return any(part["type"] != "text" or part["text"] for part in parts(message["content"]))


def _tool_pairs(body: JSON) -> Iterator[str]:
    """Tool messages answer the calls of the assistant message before them, all of them, each once."""
    waiting: list[str] = []
    answered: set[str] = set()
    for m, message in enumerate([*body["messages"], {"role": "end"}]):
        if message["role"] == "tool":
            call = message["tool_call_id"]
            if call in answered:
                yield f"message at index {m}: duplicate tool result for tool call id '{call}'."
            elif call not in waiting:
                yield f"message at index {m}: tool call id '{call}' not found in previous tool calls."
            else:
                waiting.remove(call)
            answered.add(call)
            continue
        if waiting:
            yield f"tool calls must be followed by their tool results; missing results for {', '.join(waiting)}."
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
        answered = set()
        if len(set(waiting)) < len(waiting):
            yield f"message at index {m}: tool call ids must be unique."


def _tools(body: JSON) -> Iterator[str]:
    tools = body.get("tools") or ()
    if (body.get("tool_choice") or "").upper() == "REQUIRED" and not tools:
        yield "tool_choice 'REQUIRED' requires 'tools' to be specified."
    for tool in tools:
        function = tool["function"]
        if not function["name"]:
            yield "tool names must not be empty."
        declared = function["parameters"].get("type")
        if declared != "object":
            yield f"tool '{function['name']}': parameters must be a JSON schema of type 'object'."


def _output_schema(body: JSON) -> Iterator[str]:
    form = body.get("response_format") or {"type": "text"}
    if form["type"] != "text" and (body.get("documents") or body.get("tools")):
        yield "response_format is not supported with 'documents' or 'tools'."


def _images(body: JSON) -> Iterator[str]:
    for message in body["messages"]:
        for part in parts(message.get("content")):
            url = part["image_url"]["url"] if part["type"] == "image_url" else "https://"
            if not url.startswith(("https://", "http://")) and not _is_image(url):
                yield "image_url must be a web URL or a base64 data URI of a png, jpeg, webp or gif image."


def _is_image(url: str) -> bool:
    match = DATA_URL.fullmatch(url)
    try:
        return match is not None and match[1] in IMAGE_TYPES and bool(base64.b64decode(match[2], validate=True))
    except (binascii.Error, ValueError):
        return False


RULES: tuple[Callable[[JSON], Iterator[str]], ...] = (_messages, _tool_pairs, _tools, _output_schema, _images)
