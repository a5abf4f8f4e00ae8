"""What the Gemini API refuses, and with which words.

The shape of a request is read first (`shapes_gemini.py`), then the rules that hold between its parts are asked, in
the order of `RULES`; the first that fails answers. Texts follow recorded 400s and the API's documentation.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from .dialect import JSON, PATH_MODEL, Refused, digest
from .protobuf import Malformed, Reader, decoded, snake_case
from .schema import sound
from .shapes_gemini import COUNT_REQUEST, DATA, REQUEST
from .signature import thought_verifies

STOP_MAX = 5
CANDIDATES_MAX = 8
FUNCTION_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
MIME_TYPE = re.compile(r"[a-z]+/[\w.+-]+")
STRICT_MODEL = re.compile(r"gemini-3|strict")
"""Models that want the signature of every step of the current turn back."""
NO_PREFILL = re.compile(r"gemini-(?:3\.5-flash-lite|3\.[6-9]|[4-9])|strict")
"""Models that refuse to go on with a turn of their own, as the newest do; the older ones go on with it."""
UNSIGNED = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})
"""Documented stand-ins for a signature that is not there."""
JSON_TYPE = "application/json"

RANGES: dict[str, tuple[float, float]] = {
    "candidateCount": (1, CANDIDATES_MAX),
    "maxOutputTokens": (1, 1 << 31),
    "temperature": (0, 2),
    "topP": (0, 1),
    "topK": (1, 1 << 31),
    "presencePenalty": (-2, 2),
    "frequencyPenalty": (-2, 2),
    "logprobs": (0, 20),
}


def request(body: JSON) -> JSON:
    """The request in canonical form, and valid. Raises `Refused`."""
    read = _parsed(REQUEST, body)
    model = str(body.get(PATH_MODEL, ""))
    for rule in RULES:
        for message in rule(read, model):
            raise Refused(400, "INVALID_ARGUMENT", message)
    return read


def counted(body: JSON) -> JSON:
    """What a request to count tokens asks about, in canonical form. Raises `Refused`."""
    read = _parsed(COUNT_REQUEST, body)
    inner: JSON = read.get("generateContentRequest", {"contents": read.get("contents", [])})
    for message in _contents(inner, ""):
        raise Refused(400, "INVALID_ARGUMENT", message)
    return inner


def _parsed(reader: Reader, body: JSON) -> JSON:
    try:
        read: JSON = reader({key: value for key, value in body.items() if key != PATH_MODEL}, ())
    except Malformed as malformed:
        raise Refused(400, "INVALID_ARGUMENT", malformed.message, param=malformed.field) from None
    return read


def functions(read: JSON) -> list[JSON]:
    """The functions a canonical request declares."""
    return [function for tool in read.get("tools", ()) for function in tool.get("functionDeclarations", ())]


def data_of(part: JSON) -> str | None:
    """The name of what a part carries."""
    return next((name for name in part if name in DATA), None)


def holding(content: JSON, name: str) -> list[Any]:
    """The values of those parts of a content that carry `name`."""
    return [part[name] for part in content.get("parts", ()) if name in part]


# --- the rules: each yields the texts of what it finds wrong --------------------------------------------------


def _contents(read: JSON, model: str) -> Iterator[str]:
    contents = read.get("contents", [])
    if not contents:
        yield "* GenerateContentRequest.contents: contents is not specified\n"
    placed = [(f"contents[{c}]", content) for c, content in enumerate(contents)]
    for _, content in placed:
        if content.get("role", "user") not in ("user", "model"):
            yield "Please use a valid role: user, model."
    if "systemInstruction" in read:
        placed.append(("system_instruction", read["systemInstruction"]))
    for path, content in placed:
        if not content.get("parts"):
            yield f"* GenerateContentRequest.{path}.parts: contents.parts must not be empty.\n"
        for p, part in enumerate(content.get("parts", ())):
            yield from _part(f"GenerateContentRequest.{path}.parts[{p}]", part)
    roles = [content.get("role", "user") for content in contents]
    if any(role == after for role, after in pairwise(roles)):
        yield "Please ensure that multiturn requests alternate between user and model."
    if roles == ["model"]:
        yield "Please ensure that single turn requests end with a user role or the role field is empty."
    if roles[-1:] == ["model"] and NO_PREFILL.search(model):
        yield "Requests ending with a model turn are not supported unless the last part is a function response."


def _part(path: str, part: JSON) -> Iterator[str]:
    name = data_of(part)
    if name is None:
        yield f"* {path}.data: required oneof field 'data' must have one initialized field\n"
    elif name in ("inlineData", "fileData"):
        kind = part[name].get("mimeType", "" if name == "inlineData" else "any/any")
        if not MIME_TYPE.fullmatch(kind):
            yield f"Unsupported MIME type: {kind}"
        if not part[name].get("data" if name == "inlineData" else "fileUri"):
            yield f"* {path}.{snake_case(name)}: required one_of 'data' must have one initialized field\n"
    elif name in ("functionCall", "functionResponse") and not part[name].get("name"):
        yield f"* {path}.{snake_case(name)}.name: Name cannot be empty.\n"


def _calls(read: JSON, model: str) -> Iterator[str]:
    """Calls stand in model turns, and the turn after them answers each of them, by name and by id."""
    before: list[JSON] = []
    for content in read["contents"]:
        model_turn = content.get("role", "user") == "model"
        calls, answers = holding(content, "functionCall"), holding(content, "functionResponse")
        if (calls and not model_turn) or (answers and model_turn):
            yield (
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )
        if answers and not before:
            yield "Please ensure that function response turn comes immediately after a function call turn."
        if len(answers) != len(before):
            yield (
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        if Counter(answer["name"] for answer in answers) != Counter(call["name"] for call in before):
            yield "Please ensure that function response names match those of the function call turn."
        asked = {call["id"] for call in before if call.get("id")}
        if any(answer.get("id") and answer["id"] not in asked for answer in answers if asked):
            yield "Please ensure that function response ids match those of the function call turn."
        before = calls
    if before:
        yield "Please ensure that function call turn is followed by a function response turn."


def _signatures(read: JSON, model: str) -> Iterator[str]:
    contents = read["contents"]
    said = [c for c, content in enumerate(contents) if content.get("role", "user") == "user"]
    current = max((c for c in said if not holding(contents[c], "functionResponse")), default=-1)
    position = 0
    for c, content in enumerate(contents):
        first = True
        for part in content["parts"]:
            position += 1
            signature = part.get("thoughtSignature")
            if signature and signature not in UNSIGNED and not _verifies(part, signature):
                yield "Corrupted thought signature."
            if "functionCall" not in part:
                continue
            if first and not signature and c > current and STRICT_MODEL.search(model):
                yield (
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools "
                    "to work correctly, and missing thought_signature may lead to degraded model performance. "
                    f"Additional data, function call `default_api:{part['functionCall']['name']}` , position "
                    f"{position}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more "
                    "details."
                )
            first = False


def _verifies(part: JSON, signature: str) -> bool:
    about = signed_call(part["functionCall"]) if "functionCall" in part else None
    return thought_verifies(decoded(signature), about)


def signed_call(call: JSON) -> str:
    """What the signature of a function call stands for."""
    return digest([call["name"], call.get("args", {})])


def _functions(read: JSON, model: str) -> Iterator[str]:
    names = [function.get("name", "") for function in functions(read)]
    for t, tool in enumerate(read.get("tools", ())):
        for f, function in enumerate(tool.get("functionDeclarations", ())):
            path = f"GenerateContentRequest.tools[{t}].function_declarations[{f}]"
            if not FUNCTION_NAME.fullmatch(function.get("name", "")):
                yield (
                    f"* {path}.name: [FIELD_INVALID] Invalid function name. Must start with a letter or an "
                    "underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or "
                    "dashes (-), with a maximum length of 64.\n"
                )
            if "parameters" in function and "parametersJsonSchema" in function:
                yield f"* {path}: parameters and parameters_json_schema cannot both be set.\n"
            if not sound(function.get("parametersJsonSchema", {})):
                yield f"* {path}.parameters_json_schema: schema is invalid.\n"
            if "parameters" in function:
                yield from _schema(function["parameters"], f"{path}.parameters")
    for name, times in Counter(names).items():
        if times > 1:
            yield f"Duplicate function declaration found: {name}"
    yield from _calling(read.get("toolConfig", {}).get("functionCallingConfig", {}), names)


def _calling(calling: JSON, names: list[str]) -> Iterator[str]:
    mode, allowed = calling.get("mode"), calling.get("allowedFunctionNames", ())
    if mode in ("ANY", "VALIDATED") and not names:
        yield "Function calling config is set without function_declarations."
    if allowed and mode not in ("ANY", "VALIDATED"):
        yield "allowed_function_names should be set only when function calling mode is ANY."
    if unknown := [name for name in allowed if name not in names]:
        yield f"allowed_function_names contains a function that is not declared: {unknown[0]}"


def _schema(schema: JSON, path: str) -> Iterator[str]:
    kind = schema.get("type")
    properties = schema.get("properties", {})
    if kind is None and "anyOf" not in schema:
        yield f"* {path}.type: must be specified\n"
    if kind == "ARRAY" and "items" not in schema:
        yield f"* {path}.items: missing field.\n"
    if schema.get("enum") and kind != "STRING":
        yield f"* {path}.enum: only allowed for STRING type\n"
    if any(not choice for choice in schema.get("enum", ())):
        yield f"* {path}.enum[{schema['enum'].index('')}]: cannot be empty\n"
    if kind == "STRING" and schema.get("format", "enum") not in ("enum", "date-time"):
        yield f"* {path}.format: only 'enum' and 'date-time' are supported for STRING type\n"
    for r, name in enumerate(schema.get("required", ())):
        if name not in properties:
            yield f"* {path}.required[{r}]: property is not defined\n"
    for name, inner in properties.items():
        yield from _schema(inner, f"{path}.properties[{name}]")
    if "items" in schema:
        yield from _schema(schema["items"], f"{path}.items")
    for a, inner in enumerate(schema.get("anyOf", ())):
        yield from _schema(inner, f"{path}.any_of[{a}]")


def _generation(read: JSON, model: str) -> Iterator[str]:
    config = read.get("generationConfig", {})
    for name, (low, high) in RANGES.items():
        if not low <= config.get(name, low) <= high:
            field = snake_case(name)
            path = f"GenerateContentRequest.generation_config.{field}"
            yield f"* {path}: {field} must be in the range [{low}, {high}].\n"
    if len(config.get("stopSequences", ())) > STOP_MAX:
        yield (
            f"* GenerateContentRequest.generation_config.stop_sequences: at most {STOP_MAX} stop sequences are "
            f"supported, got {len(config['stopSequences'])}.\n"
        )
    if any(not stop for stop in config.get("stopSequences", ())):
        yield "* GenerateContentRequest.generation_config.stop_sequences: stop sequence must not be empty.\n"
    if "logprobs" in config and not config.get("responseLogprobs"):
        yield "logprobs is set but response_logprobs is not enabled."
    yield from _thinking(config.get("thinkingConfig", {}))
    yield from _output(config)


def _thinking(thinking: JSON) -> Iterator[str]:
    budget = thinking.get("thinkingBudget")
    if budget is not None and not -1 <= budget <= 32768:
        yield f"The thinking budget {budget} is invalid. Please choose a value between 0 and 32768."
    if budget is not None and "thinkingLevel" in thinking:
        yield "You can only set only one of thinking budget and thinking level."
    if budget == 0 and thinking.get("includeThoughts"):
        yield "Thinking_config.include_thoughts is only enabled when thinking is enabled."


def _output(config: dict[str, Any]) -> Iterator[str]:
    path = "GenerateContentRequest.generation_config"
    kind = config.get("responseMimeType", "text/plain")
    wanted = [name for name in ("responseSchema", "responseJsonSchema") if name in config]
    if kind not in ("text/plain", JSON_TYPE, "text/x.enum"):
        yield (
            f"* {path}.response_mime_type: allowed mimetypes are `text/plain`, `application/json`, "
            "`application/xml`, `application/yaml` and `text/x.enum`.\n"
        )
    if wanted and kind == "text/plain":
        yield f"* {path}.{snake_case(wanted[0])}: only supported with response mime type 'application/json'.\n"
    if len(wanted) > 1:
        yield f"* {path}: response_schema and response_json_schema cannot both be set.\n"
    if not sound(config.get("responseJsonSchema", {})):
        yield f"* {path}.response_json_schema: schema is invalid.\n"
    if "responseSchema" in config:
        yield from _schema(config["responseSchema"], f"{path}.response_schema")


RULES: tuple[Callable[[JSON, str], Iterator[str]], ...] = (
    _contents,
    _functions,
    _generation,
    _calls,
    _signatures,
)
