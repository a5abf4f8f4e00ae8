"""What the embedded Gemini provider refuses: one row per rule, one small change to a request that is accepted."""

from collections.abc import Callable
from typing import Any

import pytest

from busbar.demo.providers.dialect import PATH_MODEL, Refused
from busbar.demo.providers.gemini import Gemini

GEMINI = Gemini()
UNSIGNED = "skip_thought_signature_validator"


def gemini_body() -> dict[str, Any]:
    """Accepted: every row below changes one thing in it."""
    call = {"functionCall": {"id": "c1", "name": "get", "args": {"a": 1}}, "thoughtSignature": UNSIGNED}
    other = {"functionCall": {"id": "c2", "name": "find"}}
    return {
        PATH_MODEL: "gemini-3-demo",
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "weather in Rome"}]},
            {"role": "model", "parts": [{"text": "Look:"}, call, other]},
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "c1", "name": "get", "response": {"output": "sun"}}},
                    {"functionResponse": {"id": "c2", "name": "find", "response": {}}},
                    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "get",
                        "description": "Gets.",
                        "parameters": {
                            "type": "OBJECT",
                            "properties": {
                                "a": {"type": "string"},
                                "b": {"type": "ARRAY", "items": {"type": "NUMBER"}},
                            },
                            "required": ["a"],
                        },
                    },
                    {"name": "find", "parametersJsonSchema": {"type": "object", "additionalProperties": False}},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get"]}},
        "generationConfig": {
            "temperature": 0.5,
            "stopSequences": ["z"],
            "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT", "properties": {"ok": {"type": "BOOLEAN"}}},
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 512},
        },
    }


def put(*path: Any, value: Any) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        *way, last = path
        node = body
        for step in way:
            node = node[step]
        node[last] = value

    return change


def pop(*path: Any) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        *way, last = path
        node = body
        for step in way:
            node = node[step]
        node.pop(last)

    return change


def add(*path: Any, value: Any) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        node: Any = body
        for step in path:
            node = node[step]
        node.append(value)

    return change


CONFIG = "generationConfig"
FUNCTIONS = ("tools", 0, "functionDeclarations")
PARAMETERS = (*FUNCTIONS, 0, "parameters")
AT_PARAMETERS = "'tools[0].function_declarations[0].parameters'"
FIELD = "* GenerateContentRequest."
FUNCTION_FIELD = f"{FIELD}tools[0].function_declarations[0]"
TEXT = {"text": "x"}
USER = {"role": "user", "parts": [TEXT]}


def prefill(model: str) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        body[PATH_MODEL] = model
        body["contents"].append({**USER, "role": "model"})

    return change


def unknown(name: str, at: str = "") -> str:
    return f'Invalid JSON payload received. Unknown name "{name}"{f" at {at}" if at else ""}: Cannot find field.'


REFUSED = [
    # unknown names, at every level
    (put("messages", value=[]), unknown("messages")),
    (put("stream", value=True), unknown("stream")),
    (put("contents", 0, "content", value="x"), unknown("content", "'contents[0]'")),
    (put("contents", 0, "parts", 0, "type", value="text"), unknown("type", "'contents[0].parts[0]'")),
    (put("systemInstruction", "text", value="x"), unknown("text", "'system_instruction'")),
    (put(CONFIG, "maxTokens", value=5), unknown("maxTokens", "'generation_config'")),
    (put(CONFIG, "thinkingConfig", "budget", value=5), unknown("budget", "'generation_config.thinking_config'")),
    (put("toolConfig", "mode", value="ANY"), unknown("mode", "'tool_config'")),
    (put("tools", 0, "type", value="function"), unknown("type", "'tools[0]'")),
    (put(*FUNCTIONS, 0, "strict", value=True), unknown("strict", "'tools[0].function_declarations[0]'")),
    (
        put("contents", 1, "parts", 1, "functionCall", "arguments", value={}),
        unknown("arguments", "'contents[1].parts[1].function_call'"),
    ),
    (
        put("contents", 2, "parts", 2, "inlineData", "detail", value="low"),
        unknown("detail", "'contents[2].parts[2].inline_data'"),
    ),
    # the subset of JSON Schema
    *[
        (put(*PARAMETERS, word, value=value), unknown(word, AT_PARAMETERS))
        for word, value in {
            "additionalProperties": False,
            "$schema": "http://json-schema.org/draft-07/schema#",
            "$ref": "#/$defs/x",
            "$defs": {},
            "oneOf": [],
            "allOf": [],
            "not": {},
            "const": 1,
            "exclusiveMinimum": 0,
            "multipleOf": 2,
            "patternProperties": {},
        }.items()
    ],
    (
        put(*PARAMETERS, "properties", "a", "const", value="x"),
        unknown("const", "'tools[0].function_declarations[0].parameters.properties[a]'"),
    ),
    (
        put(CONFIG, "responseSchema", "additionalProperties", value=False),
        unknown("additionalProperties", "'generation_config.response_schema'"),
    ),
    (put(*PARAMETERS, "type", value=["string", "null"]), 'Unknown name "type"'),
    (put(*PARAMETERS, "type", value="dict"), "Invalid value at 'tools[0].function_declarations[0].parameters.type'"),
    (
        pop(*PARAMETERS, "properties", "a", "type"),
        f"{FUNCTION_FIELD}.parameters.properties[a].type: must be specified",
    ),
    (
        pop(*PARAMETERS, "properties", "b", "items"),
        f"{FUNCTION_FIELD}.parameters.properties[b].items: missing field.",
    ),
    (
        put(*PARAMETERS, "properties", "b", "items", "enum", value=["1"]),
        f"{FUNCTION_FIELD}.parameters.properties[b].items.enum: only allowed for STRING type",
    ),
    (
        put(*PARAMETERS, "properties", "a", "enum", value=["x", ""]),
        f"{FUNCTION_FIELD}.parameters.properties[a].enum[1]: cannot be empty",
    ),
    (put(*PARAMETERS, "properties", "a", "enum", value=[1]), "Invalid value at 'tools[0].function_declarations[0]"),
    (
        put(*PARAMETERS, "properties", "a", "format", value="uri"),
        f"{FUNCTION_FIELD}.parameters.properties[a].format: only 'enum' and 'date-time' are supported",
    ),
    (add(*PARAMETERS, "required", value="c"), f"{FUNCTION_FIELD}.parameters.required[1]: property is not defined"),
    (put(*PARAMETERS, "anyOf", value=[{}]), f"{FUNCTION_FIELD}.parameters.any_of[0].type: must be specified"),
    # values
    (
        put(CONFIG, "temperature", value="hot"),
        "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"hot\"",
    ),
    (
        put(CONFIG, "maxOutputTokens", value=1.5),
        "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32)",
    ),
    (
        put(CONFIG, "maxOutputTokens", value=True),
        "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32)",
    ),
    (put(CONFIG, "stopSequences", value="z"), "Invalid value at 'generation_config.stop_sequences' (TYPE_LIST)"),
    (put(CONFIG, "seed", value=1e400), "Invalid value at 'generation_config.seed' (TYPE_INT32)"),
    (put("contents", value="Hello"), "Invalid value at 'contents' (TYPE_LIST), \"Hello\""),
    (put("contents", 0, value="Hello"), "Invalid value at 'contents[0]' (type.googleapis.com/google.ai."),
    (
        put("contents", 0, "parts", 0, "text", value=5),
        "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5",
    ),
    (
        put("contents", 0, "parts", 0, "thought", value="yes"),
        "Invalid value at 'contents[0].parts[0].thought' (TYPE_BOOL)",
    ),
    (put("systemInstruction", value=[TEXT]), 'Unknown name "system_instruction": Proto field is not repeating'),
    (
        put("contents", 2, "parts", 2, "inlineData", "data", value="a"),
        "Invalid value at 'contents[2].parts[2].inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"a\"",
    ),
    (
        put("contents", 1, "parts", 1, "functionCall", "args", value="{}"),
        "Invalid value at 'contents[1].parts[1].function_call.args' (type.googleapis.com/google.protobuf.Struct), ",
    ),
    (
        put("toolConfig", "functionCallingConfig", "mode", value="REQUIRED"),
        "Invalid value at 'tool_config.function_calling_config.mode' (type.googleapis.com/google.ai.",
    ),
    (put("contents", 0, "parts", 0, "inlineData", value={}), "Invalid value at 'contents[0].parts[0]' (oneof)"),
    # ranges
    (
        put(CONFIG, "temperature", value=2.1),
        f"{FIELD}generation_config.temperature: temperature must be in the range",
    ),
    (put(CONFIG, "topP", value=1.1), f"{FIELD}generation_config.top_p: top_p must be in the range [0, 1]."),
    (put(CONFIG, "topK", value=0), f"{FIELD}generation_config.top_k: top_k must be in the range"),
    (
        put(CONFIG, "maxOutputTokens", value=0),
        f"{FIELD}generation_config.max_output_tokens: max_output_tokens must be",
    ),
    (put(CONFIG, "candidateCount", value=9), f"{FIELD}generation_config.candidate_count: candidate_count must be in"),
    (
        put(CONFIG, "presencePenalty", value=-3),
        f"{FIELD}generation_config.presence_penalty: presence_penalty must be",
    ),
    (put(CONFIG, "stopSequences", value=list("abcdef")), f"{FIELD}generation_config.stop_sequences: at most 5"),
    (put(CONFIG, "stopSequences", value=[""]), f"{FIELD}generation_config.stop_sequences: stop sequence must not be"),
    (put(CONFIG, "logprobs", value=2), "logprobs is set but response_logprobs is not enabled."),
    # thinking and structured output
    (put(CONFIG, "thinkingConfig", "thinkingBudget", value=-2), "The thinking budget -2 is invalid."),
    (
        put(CONFIG, "thinkingConfig", "thinkingBudget", value=0),
        "Thinking_config.include_thoughts is only enabled when",
    ),
    (put(CONFIG, "thinkingConfig", "thinkingLevel", value="low"), "You can only set only one of thinking budget and"),
    (pop(CONFIG, "responseMimeType"), f"{FIELD}generation_config.response_schema: only supported with response mime"),
    (put(CONFIG, "responseMimeType", value="text/html"), f"{FIELD}generation_config.response_mime_type: allowed"),
    (
        put(CONFIG, "responseJsonSchema", value={}),
        f"{FIELD}generation_config: response_schema and response_json_schema",
    ),
    (put(CONFIG, "responseJsonSchema", value={"type": 5}), f"{FIELD}generation_config: response_schema and"),
    # contents
    (put("contents", value=[]), f"{FIELD}contents: contents is not specified"),
    (pop("contents"), f"{FIELD}contents: contents is not specified"),
    (put("contents", 0, "parts", value=[]), f"{FIELD}contents[0].parts: contents.parts must not be empty."),
    (pop("contents", 0, "parts"), f"{FIELD}contents[0].parts: contents.parts must not be empty."),
    (
        put("systemInstruction", "parts", value=[]),
        f"{FIELD}system_instruction.parts: contents.parts must not be empty.",
    ),
    (put("contents", 0, "parts", 0, value={}), f"{FIELD}contents[0].parts[0].data: required oneof field 'data' must"),
    (put("contents", 0, "role", value="assistant"), "Please use a valid role: user, model."),
    (put("contents", 0, "role", value="system"), "Please use a valid role: user, model."),
    (add("contents", value=USER), "Please ensure that multiturn requests alternate between user and model."),
    (prefill("gemini-3.6-flash"), "Requests ending with a model turn are not supported unless the last part is a"),
    (
        put("contents", value=[{**USER, "role": "model"}]),
        "Please ensure that single turn requests end with a user role or the role field is empty.",
    ),
    (put("contents", 2, "parts", 2, "inlineData", "mimeType", value="png"), "Unsupported MIME type: png"),
    (pop("contents", 2, "parts", 2, "inlineData", "mimeType"), "Unsupported MIME type: "),
    (
        pop("contents", 2, "parts", 2, "inlineData", "data"),
        f"{FIELD}contents[2].parts[2].inline_data: required one_of",
    ),
    # functions
    (put(*FUNCTIONS, 0, "name", value="1st"), f"{FUNCTION_FIELD}.name: [FIELD_INVALID] Invalid function name."),
    (put(*FUNCTIONS, 0, "name", value="x" * 65), f"{FUNCTION_FIELD}.name: [FIELD_INVALID] Invalid function name."),
    (put(*FUNCTIONS, 1, "name", value="get"), "Duplicate function declaration found: get"),
    (put(*FUNCTIONS, 1, "parameters", value={}), f"{FIELD}tools[0].function_declarations[1]: parameters and"),
    (
        put(*FUNCTIONS, 1, "parametersJsonSchema", value=5),
        f"{FIELD}tools[0].function_declarations[1].parameters_json",
    ),
    (pop("tools"), "Function calling config is set without function_declarations."),
    (
        put("toolConfig", "functionCallingConfig", "mode", value="AUTO"),
        "allowed_function_names should be set only when",
    ),
    (
        put("toolConfig", "functionCallingConfig", "allowedFunctionNames", value=["x"]),
        "allowed_function_names contains a function that is not declared: x",
    ),
    # calls and their responses
    (
        pop("contents", 2, "parts", 1),
        "Please ensure that the number of function response parts is equal to the number",
    ),
    (
        add("contents", 2, "parts", value={"functionResponse": {"name": "get", "response": {}}}),
        "Please ensure that the number of function response parts is equal to the number of function call parts",
    ),
    (
        put("contents", 2, "parts", 0, "functionResponse", "name", value="other"),
        "Please ensure that function response names match those of the function call turn.",
    ),
    (
        put("contents", 2, "parts", 0, "functionResponse", "id", value="c9"),
        "Please ensure that function response ids match those of the function call turn.",
    ),
    (
        put("contents", 2, "parts", 0, "functionResponse", "name", value=""),
        f"{FIELD}contents[2].parts[0].function_resp",
    ),
    (pop("contents", 1, "parts", 2), "Please ensure that the number of function response parts is equal"),
    (put("contents", 2, "parts", value=[TEXT]), "Please ensure that the number of function response parts is equal"),
    (
        put("contents", 1, "parts", value=[TEXT]),
        "Please ensure that function response turn comes immediately after a function call turn.",
    ),
    (
        put("contents", 0, "parts", 0, value={"functionCall": {"name": "get"}}),
        "Please ensure that function call turn comes immediately after a user turn or after a function",
    ),
    # signatures
    (
        pop("contents", 1, "parts", 1, "thoughtSignature"),
        "Function call is missing a thought_signature in functionCall",
    ),
    (put("contents", 1, "parts", 1, "thoughtSignature", value="AAAA"), "Corrupted thought signature."),
    (put("contents", 1, "parts", 0, "thoughtSignature", value="AAAA"), "Corrupted thought signature."),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message[:70] for _, message in REFUSED])
def test_gemini_refuses(change, message):
    body = gemini_body()
    GEMINI.validate(body, {})
    change(body)
    with pytest.raises(Refused) as refused:
        GEMINI.validate(body, {})
    assert (refused.value.status, refused.value.kind) == (400, "INVALID_ARGUMENT")
    assert message in refused.value.message


ACCEPTED = [
    put("model", value="models/other"),
    put("system_instruction", value=None),
    put("systemInstruction", "parts", value=TEXT),
    put(CONFIG, "temperature", value="0.5"),
    put(CONFIG, "maxOutputTokens", value=100.0),
    put(CONFIG, "thinkingConfig", value={"include_thoughts": True, "thinking_level": "high"}),
    put("tools", value=[{"function_declarations": gemini_body()["tools"][0]["functionDeclarations"]}]),
    put("tools", value={"functionDeclarations": gemini_body()["tools"][0]["functionDeclarations"]}),
    add("tools", value={"googleSearch": {}}),
    put("safetySettings", value=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
    pop("contents", 0, "role"),
    prefill("gemini-3.5-flash"),
    pop("contents", 2, "parts", 0, "functionResponse", "id"),
    put("contents", 2, "parts", 2, value={"fileData": {"fileUri": "https://example.com/a.png"}}),
    put("contents", 2, "parts", 2, value={"text": ""}),
    put("contents", 1, "parts", 0, value={"text": "Hm", "thought": True}),
]


@pytest.mark.parametrize("change", ACCEPTED)
def test_gemini_accepts(change):
    body = gemini_body()
    change(body)
    GEMINI.validate(body, {})


def test_a_violation_is_told_in_the_details():
    body = {**gemini_body(), "stream": True}
    with pytest.raises(Refused) as refused:
        GEMINI.validate(body, {})
    assert GEMINI.error(refused.value, "") == {
        "error": {
            "code": 400,
            "message": unknown("stream"),
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"description": unknown("stream")}],
                }
            ],
        }
    }
