"""What OpenAI's Chat Completions API refuses, and with which words.

The shape of a body is checked first (`shapes_openai.py`), then the rules that hold between its parts, in the order
of `RULES`; the first that fails answers. Texts follow recorded 400s.
"""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import msgspec

from .dialect import JSON, Refused
from .schema import objects_in
from .shape import Tag, Violation
from .shapes_openai import BODY

REASONING_MODEL = re.compile(r"^(o[1-9]|gpt-5)")
"""Models that take `max_completion_tokens` only."""
DECIMALS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
"""Keys that the API calls decimals whatever number they hold."""
IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)

PHRASES: dict[str, tuple[str | None, str]] = {
    "missing": ("missing_required_parameter", "Missing required parameter: '{path}'."),
    "extra": ("unknown_parameter", "Unknown parameter: '{path}'."),
    "type": ("invalid_type", "Invalid type for '{path}': expected {expected}, but got {got} instead."),
    "choice": ("invalid_value", "Invalid value: '{got}'. Supported values are: {expected}."),
    "tag": ("invalid_value", "Invalid value: '{got}'. Supported values are: {expected}."),
    "pattern": (
        "invalid_value",
        "Invalid '{path}': string does not match pattern. Expected a string that matches the pattern '{expected}'.",
    ),
    "long": (
        "string_above_max_length",
        "Invalid '{path}': string too long. Expected a string with maximum length {expected}, but got a string "
        "with length {got} instead.",
    ),
    "below": (
        "{number}_below_min_value",
        "Invalid '{path}': {number} below minimum value. Expected a value >= {expected}, but got {got} instead.",
    ),
    "above": (
        "{number}_above_max_value",
        "Invalid '{path}': {number} above maximum value. Expected a value <= {expected}, but got {got} instead.",
    ),
    "few": (
        "empty_array",
        "Invalid '{path}': empty array. Expected an array with minimum length {expected}, but got an empty array "
        "instead.",
    ),
    "many": (
        "array_above_max_length",
        "Invalid '{path}': array too long. Expected an array with maximum length {expected}, but got an array "
        "with length {got} instead.",
    ),
    "schema": ("invalid_value", "Invalid schema for '{path}': it is not a valid JSON Schema."),
    "base64": ("invalid_base64", "Invalid '{path}': expected base64-encoded data."),
}
_ARTICLED = {"object": "an object", "array": "an array", "integer": "an integer", "number": "a decimal"}
_UNION = {"object": "object", "array": "array of objects"}

Finding = tuple[str | None, str | None, str]
"""What a rule finds wrong: (param, code, text)."""


def validate(body: JSON, headers: Mapping[str, str]) -> None:
    """Raise `Refused` as the API would."""
    try:
        BODY(body, ())
    except Violation as violation:
        raise phrase(violation) from None
    for rule in RULES:
        for param, code, message in rule(body):
            raise Refused(400, "invalid_request_error", message, param=param, code=code)


def phrase(violation: Violation) -> Refused:
    """A violation in the API's words."""
    steps = [step for step in violation.path if not isinstance(step, Tag)]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    if violation.kind == "extra" and len(steps) == 1:
        message = f"Unrecognized request argument supplied: {path}"
        return Refused(400, "invalid_request_error", message)
    expected, got = violation.expected, violation.got
    if violation.kind == "type":
        got = _ARTICLED.get(got, f"a {got}")
        union = " or ".join(_UNION.get(name, f"a {name}") for name in expected)
        expected = f"one of {union}" if "string" in expected[:-1] else _ARTICLED.get(expected[0], f"a {expected[0]}")
    elif isinstance(expected, tuple):
        quoted = [f"'{choice}'" for choice in expected]
        expected = ", ".join([*quoted[:-1], f"and {quoted[-1]}"]) if len(quoted) > 2 else " and ".join(quoted)
    whole = isinstance(got, int) and isinstance(violation.expected, int) and steps[-1] not in DECIMALS
    kind = "integer" if whole else "decimal"
    code, template = PHRASES[violation.kind]
    return Refused(
        400,
        "invalid_request_error",
        template.format(path=path, expected=expected, got=got, number=kind),
        param=f"{path}.{violation.by}" if violation.by else path,
        code=code.format(number=kind) if code else None,
    )


# --- the rules ------------------------------------------------------------------------------------------------


def _combinations(body: JSON) -> Iterator[Finding]:
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        yield (
            "max_tokens",
            "invalid_parameter_combination",
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        )
    if REASONING_MODEL.match(body["model"]) and body.get("max_tokens") is not None:
        yield (
            "max_tokens",
            "unsupported_parameter",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
        )
    if body.get("stream_options") is not None and not body.get("stream"):
        yield (
            "stream_options",
            None,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        )
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        yield (
            "top_logprobs",
            None,
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
        )
    yield from (
        (key, None, f"'{key}' is only allowed when 'tools' are specified.")
        for key in ("tool_choice", "parallel_tool_calls")
        if key in body and "tools" not in body
    )


def _tools(body: JSON) -> Iterator[Finding]:
    functions = [tool["function"] for tool in body.get("tools", ()) if tool["type"] == "function"]
    for f, function in enumerate(functions):
        declared = (function.get("parameters") or {"type": "object"}).get("type")
        if declared != "object":
            yield (
                f"tools[{f}].function.parameters",
                "invalid_function_parameters",
                f"Invalid schema for function '{function['name']}': schema must be a JSON Schema of "
                f"'type: \"object\"', got 'type: \"{declared}\"'.",
            )
        if function.get("strict"):
            yield from strict_schema(
                function.get("parameters") or {}, f"function '{function['name']}'", f"tools[{f}].function.parameters"
            )
    choice = body.get("tool_choice")
    wanted = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    if wanted is not None and wanted not in {function["name"] for function in functions}:
        yield "tool_choice", None, f"Tool choice '{wanted}' not found in 'tools' parameter."


def strict_schema(schema: JSON, what: str, param: str) -> Iterator[Finding]:
    """Strict schemas close every object and require every property."""
    for node in objects_in(schema):
        properties = set(node.get("properties") or ())
        if node.get("additionalProperties") is not False:
            problem = "'additionalProperties' is required to be supplied and to be false."
        elif missing := properties - set(node.get("required") or ()):
            problem = (
                "'required' is required to be supplied and to be an array including every key in properties. "
                f"Missing '{min(missing)}'."
            )
        else:
            continue
        code = "invalid_function_parameters" if param.startswith("tools") else None
        yield param, code, f"Invalid schema for {what}: In context=(), {problem}"


def _output_schema(body: JSON) -> Iterator[Finding]:
    form = body.get("response_format") or {"type": "text"}
    if form["type"] == "json_object" and "json" not in msgspec.json.encode(body["messages"]).decode().lower():
        yield (
            "messages",
            None,
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        )
    if form["type"] == "json_schema" and form["json_schema"].get("strict"):
        named = form["json_schema"]
        what = f"response_format '{named['name']}'"
        yield from strict_schema(named.get("schema", {}), what, "response_format")


def _assistant_content(body: JSON) -> Iterator[Finding]:
    for m, message in enumerate(body["messages"]):
        speaks = any(message.get(key) for key in ("tool_calls", "function_call", "refusal", "audio"))
        if message["role"] == "assistant" and message.get("content") is None and not speaks:
            yield f"messages.[{m}].content", None, "Invalid value for 'content': expected a string, got null."


def _tool_pairs(body: JSON) -> Iterator[Finding]:
    """Tool messages answer the calls of the assistant turn before them, each call once, before anything else."""
    calls: list[str] = []
    answered: Counter[str] = Counter()
    for m, message in enumerate([*body["messages"], {"role": "end"}]):
        if message["role"] == "tool":
            call = message["tool_call_id"]
            answered[call] += 1
            if call not in calls:
                yield (
                    f"messages.[{m}].role",
                    None,
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                )
            if answered[call] > 1:
                yield f"messages.[{m}]", None, f"Duplicate value for 'tool_call_id' of '{call}' in message[{m}]"
            continue
        if missing := [call for call in calls if not answered[call]]:
            yield (
                f"messages.[{m}].role",
                None,
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(missing),
            )
        calls = [call["id"] for call in message.get("tool_calls") or ()]
        answered.clear()
        if len(set(calls)) < len(calls):
            yield f"messages.[{m}].tool_calls", None, f"Duplicate value for 'tool_call_id' in message[{m}]"


def _images(body: JSON) -> Iterator[Finding]:
    for m, message in enumerate(body["messages"]):
        content = message.get("content")
        for p, part in enumerate(content if isinstance(content, list) else ()):
            if part["type"] == "image_url":
                yield from image_url(part["image_url"]["url"], f"messages[{m}].content[{p}].image_url.url")


def image_url(url: str, param: str) -> Iterator[Finding]:
    """The URL of an image part: on the web, or its own data."""
    if url.startswith(("https://", "http://")):
        return
    match = DATA_URL.fullmatch(url)
    if match is None:
        yield (
            param,
            "invalid_value",
            f"Invalid '{param}'. Expected a valid URL, but got a value with an invalid format.",
        )
        return
    try:
        decoded = base64.b64decode(match[2], validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        yield param, "invalid_base64", "Invalid base64 image_url."
    if match[1] not in IMAGE_TYPES:
        yield (
            None,
            "invalid_image_format",
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
            "['png', 'jpeg', 'gif', 'webp'].",
        )


RULES: tuple[Callable[[JSON], Iterator[Finding]], ...] = (
    _combinations,
    _tools,
    _output_schema,
    _assistant_content,
    _tool_pairs,
    _images,
)
