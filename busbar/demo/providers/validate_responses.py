"""What OpenAI's Responses API refuses, and with which words.

The shape of a body is checked first (`shapes_responses.py`), then the rules that hold between its parts, in the order
of `RULES`; the first that fails answers. Nothing is stored here: whatever a body refers to by id is not found. Texts
follow recorded 400s and OpenAI's guides.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping

import msgspec

from .dialect import JSON, Refused
from .shape import Violation
from .shapes_responses import BODY
from .signature import encryption_verifies
from .validate_openai import DATA_URL, Finding, image_url, phrase, strict_schema

CALLS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}
"""type of an output item → the type of the call it answers."""
NO_FILES = ("audio/", "image/", "video/")
"""What `input_file` does not take."""


def validate(body: JSON, headers: Mapping[str, str]) -> None:
    """Raise `Refused` as the API would."""
    try:
        BODY(body, ())
    except Violation as violation:
        raise _phrase(violation) from None
    _find_stored(body)
    for rule in RULES:
        for param, code, message in rule(body):
            raise Refused(400, "invalid_request_error", message, param=param, code=code)


def items(body: JSON) -> list[JSON]:
    """The input as items, each with its type: a string is one user message."""
    given = body.get("input") or []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return [item if item.get("type") else {**item, "type": "message"} for item in given]


def parts(item: JSON) -> list[JSON]:
    """What a message says or an output holds, as parts: a string is one text part."""
    said = item.get("content") if item["type"] == "message" else item.get("output")
    if isinstance(said, str):
        return [{"type": "input_text", "text": said}]
    return said if isinstance(said, list) else []


def functions(body: JSON) -> Iterator[tuple[str, str | None, JSON]]:
    """Every function the body offers: where it stands, the namespace it is in, the tool."""
    for t, tool in enumerate(body.get("tools", ())):
        if tool["type"] == "function":
            yield f"tools[{t}]", None, tool
        elif tool["type"] == "namespace":
            inner = [(n, each) for n, each in enumerate(tool["tools"]) if each["type"] == "function"]
            yield from ((f"tools[{t}].tools[{n}]", tool["name"], each) for n, each in inner)


def _phrase(violation: Violation) -> Refused:
    refused = phrase(violation)
    if violation.kind == "extra":
        path = refused.param or str(violation.path[-1])
        return Refused(400, refused.kind, f"Unknown parameter: '{path}'.", param=path, code="unknown_parameter")
    if violation.kind == "pattern" and violation.path[-1] == "id":
        message = f"Invalid '{refused.param}': '{violation.got}'. Expected an ID that begins with "
        refused.message = f"{message}'{str(violation.expected).removesuffix('.*')}'."
    if violation.kind == "tag" and refused.param and refused.param.endswith(f"].{violation.by}"):
        whole = refused.param.removesuffix(f".{violation.by}")
        refused.param = whole if "." not in whole else refused.param
    return refused


def _find_stored(body: JSON) -> None:
    """Raise `Refused` for what the body wants from the store, which is empty."""
    previous, conversation = body.get("previous_response_id"), body.get("conversation")
    if previous is not None:
        raise Refused(
            400,
            "invalid_request_error",
            f"Previous response with id '{previous}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if conversation is not None:
        name = conversation if isinstance(conversation, str) else conversation["id"]
        raise Refused(404, "invalid_request_error", f"Conversation with id '{name}' not found.")
    for item in items(body):
        stored = item["type"] == "reasoning" and item.get("encrypted_content") is None
        if item["type"] == "item_reference" or stored:
            message = (
                f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. "
                "Try again with `store` set to true, or remove this item from your input."
            )
            raise Refused(404, "invalid_request_error", message, param="input")


# --- the rules ------------------------------------------------------------------------------------------------


def _input(body: JSON) -> Iterator[Finding]:
    if not items(body):
        yield (
            "input",
            "missing_required_parameter",
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
        )
    if body.get("stream_options") is not None and not body.get("stream"):
        yield "stream_options", None, "The 'stream_options' parameter is only allowed when 'stream' is enabled."


def _encrypted(body: JSON) -> Iterator[Finding]:
    for item in items(body):
        if item["type"] == "reasoning" and not encryption_verifies(item["encrypted_content"]):
            yield (
                None,
                "invalid_encrypted_content",
                f"The encrypted content for item {item.get('id')} could not be verified. Reason: Encrypted content "
                "could not be decrypted or parsed.",
            )


def _tool_pairs(body: JSON) -> Iterator[Finding]:
    """Every call is answered later in the input, once, and nothing else is answered."""
    open_calls: dict[tuple[str, str], bool] = {}
    for item in items(body):
        kind = item["type"]
        if kind in CALLS.values():
            if (kind, item["call_id"]) in open_calls:
                yield "input", None, f"Duplicate item found with call_id {item['call_id']}."
            open_calls[kind, item["call_id"]] = True
        elif kind in CALLS:
            call = (CALLS[kind], item["call_id"])
            if not open_calls.get(call):
                spelled = CALLS[kind].replace("_", " ")
                yield "input", None, f"No tool call found for {spelled} output with call_id {item['call_id']}."
            open_calls[call] = False
    for (kind, name), waits in open_calls.items():
        if waits:
            yield "input", None, f"No tool output found for {kind.replace('_', ' ')} {name}."


def _tools(body: JSON) -> Iterator[Finding]:
    offered = list(functions(body))
    for path, _, tool in offered:
        parameters = tool.get("parameters")
        declared = (parameters or {}).get("type")
        if parameters is not None and declared != "object":
            yield (
                f"{path}.parameters",
                "invalid_function_parameters",
                f"Invalid schema for function '{tool['name']}': schema must be a JSON Schema of "
                f"'type: \"object\"', got 'type: \"{declared}\"'.",
            )
        if tool.get("strict"):
            yield from strict_schema(parameters or {}, f"function '{tool['name']}'", f"{path}.parameters")
    choice = body.get("tool_choice", "auto")
    if choice not in ("auto", "none") and not body.get("tools"):
        yield "tool_choice", None, "Tool choices other than 'auto' must be specified with 'tools' parameter."
    wanted = choice.get("name") if isinstance(choice, dict) and choice["type"] == "function" else None
    if wanted is not None and wanted not in {tool["name"] for _, _, tool in offered}:
        yield "tool_choice", None, f"Tool choice '{wanted}' not found in 'tools' parameter."


def _output_schema(body: JSON) -> Iterator[Finding]:
    form = (body.get("text") or {}).get("format") or {"type": "text"}
    said = msgspec.json.encode([body.get("instructions"), body["input"]]).decode().lower()
    if form["type"] == "json_object" and "json" not in said:
        yield (
            "input",
            None,
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'.",
        )
    if form["type"] == "json_schema" and form.get("strict"):
        for param, _, message in strict_schema(
            form["schema"], f"response_format '{form['name']}'", "text.format.schema"
        ):
            yield param, "invalid_json_schema", message


def _attachments(body: JSON) -> Iterator[Finding]:
    for i, item in enumerate(items(body)):
        key = "content" if item["type"] == "message" else "output"
        for p, part in enumerate(parts(item)):
            path = f"input[{i}].{key}[{p}]"
            if part["type"] == "input_image":
                yield from _image(part, path)
            elif part["type"] == "input_file":
                yield from _file(part, path)


def _image(part: JSON, path: str) -> Iterator[Finding]:
    if part.get("image_url") is not None:
        yield from image_url(part["image_url"], f"{path}.image_url")
    elif part.get("file_id") is None:
        yield f"{path}.image_url", "missing_required_parameter", f"Missing required parameter: '{path}.image_url'."


def _file(part: JSON, path: str) -> Iterator[Finding]:
    url, data = part.get("file_url"), part.get("file_data")
    if url is not None and not url.startswith(("https://", "http://")):
        yield "url", "invalid_value", f"Failed to download file from {url}."
    if data is not None:
        problem = _file_data(data)
        if problem is not None:
            yield (
                f"{path}.file_data",
                "invalid_value",
                f"Invalid file data: '{path}.file_data'. Expected a base64-encoded data URL with a valid file MIME "
                f"type (e.g. 'data:text/plain;base64,SGVsbG8sIFdvcmxkIQ=='), but got {problem}. Please see "
                "https://platform.openai.com/docs/assistants/tools/file-search#supported-files for supported file "
                "types.",
            )
        if not part.get("filename"):
            yield f"{path}.filename", "missing_required_parameter", f"Missing required parameter: '{path}.filename'."
    elif url is None and part.get("file_id") is None:
        yield f"{path}.file_id", "missing_required_parameter", f"Missing required parameter: '{path}.file_id'."


def _file_data(data: str) -> str | None:
    """What is wrong with it."""
    match = DATA_URL.fullmatch(data)
    if match is None:
        return "a value without the 'data:' prefix"
    if match[1].startswith(NO_FILES):
        return f"unsupported MIME type '{match[1]}'"
    try:
        return None if base64.b64decode(match[2], validate=True) else "an empty file"
    except (binascii.Error, ValueError):
        return "invalid base64"


RULES: tuple[Callable[[JSON], Iterator[Finding]], ...] = (
    _input,
    _encrypted,
    _tool_pairs,
    _tools,
    _output_schema,
    _attachments,
)
