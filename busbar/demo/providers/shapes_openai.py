"""The shape of an OpenAI Chat Completions request, as a table of checks.

Keys are those of the SDK's types (openai 3.54.0). Of the clones' extensions only DeepSeek's `reasoning_content` in
assistant turns is accepted. What the recorded API overlooks is overlooked here: unknown keys inside a `function`,
and `index` in a call that a client copied from a stream. What holds between the parts of a body is in
`validate_openai.py`.
"""

from .shape import (
    Check,
    anything,
    array,
    base64_text,
    by_type,
    flag,
    integer,
    json_schema,
    mapping,
    nullable,
    number,
    record,
    tagged,
    text,
    word,
)

TOOL_NAME = text(r"^[a-zA-Z0-9_-]{1,64}$")
TOOL_ID = text(longest=40)
STOP_MAX = 4

_PART: dict[str, Check] = {"prompt_cache_breakpoint": anything}
_TEXT: dict[str, Check] = {"text": record({"text": text()}, _PART)}
_USER_PARTS: dict[str, Check] = {
    **_TEXT,
    "image_url": record(
        {"image_url": record({"url": text()}, {"detail": word("auto", "low", "high", "original")})}, _PART
    ),
    "input_audio": record(
        {"input_audio": record({"data": base64_text, "format": word("wav", "mp3")})},
        _PART,
    ),
    "file": record({"file": record({}, {"file_data": text(), "file_id": text(), "filename": text()})}, _PART),
}
_ASSISTANT_PARTS: dict[str, Check] = {**_TEXT, "refusal": record({"refusal": text()})}


def _content(parts: dict[str, Check]) -> Check:
    return by_type(string=text(), array=array(tagged(parts), least=1))


_CALLED = record({"name": TOOL_NAME, "arguments": text()}, closed=False)
_CALL = tagged(
    {
        "function": record({"id": TOOL_ID, "function": _CALLED}, {"index": anything}),
        "custom": record({"id": TOOL_ID, "custom": mapping}, {"index": anything}),
    }
)
_NAME: dict[str, Check] = {"name": text()}
MESSAGES: dict[str, Check] = {
    "system": record({"content": _content(_TEXT)}, _NAME),
    "developer": record({"content": _content(_TEXT)}, _NAME),
    "user": record({"content": _content(_USER_PARTS)}, _NAME),
    "assistant": record(
        {},
        {
            **_NAME,
            "content": nullable(_content(_ASSISTANT_PARTS)),
            "refusal": nullable(text()),
            "tool_calls": nullable(array(_CALL, least=1)),
            "function_call": anything,
            "audio": anything,
            "annotations": anything,
            "parsed": anything,
            "reasoning_content": nullable(text()),
        },
    ),
    "tool": record({"content": _content(_TEXT), "tool_call_id": text()}, _NAME),
    "function": record({"content": nullable(text()), "name": text()}, _NAME),
}
_FUNCTION = record(
    {"name": TOOL_NAME},
    {"description": text(), "parameters": nullable(json_schema), "strict": nullable(flag)},
    closed=False,
)
_NAMED: dict[str, Check] = {"name": text()}
_CHOICE = tagged(
    {
        "function": record({"function": record(_NAMED)}),
        "custom": record({"custom": record(_NAMED)}),
        "allowed_tools": record({"allowed_tools": mapping}),
    }
)
BODY = record(
    {"model": text(), "messages": array(tagged(MESSAGES, by="role"), least=1)},
    {
        "audio": anything,
        "frequency_penalty": nullable(number(-2, 2)),
        "function_call": anything,
        "functions": anything,
        "logit_bias": nullable(mapping),
        "logprobs": nullable(flag),
        "max_completion_tokens": nullable(integer(1)),
        "max_tokens": nullable(integer(1)),
        "metadata": nullable(mapping),
        "modalities": nullable(array(word("text", "audio"))),
        "moderation": anything,
        "n": nullable(integer(1, 128)),
        "parallel_tool_calls": flag,
        "prediction": anything,
        "presence_penalty": nullable(number(-2, 2)),
        "prompt_cache_key": nullable(text()),
        "prompt_cache_options": anything,
        "prompt_cache_retention": nullable(word("in_memory", "24h")),
        "reasoning_effort": nullable(word("none", "minimal", "low", "medium", "high", "xhigh", "max")),
        "response_format": tagged(
            {
                "text": record(),
                "json_object": record(),
                "json_schema": record(
                    {
                        "json_schema": record(
                            {"name": TOOL_NAME},
                            {"description": text(), "schema": json_schema, "strict": nullable(flag)},
                        )
                    }
                ),
            }
        ),
        "safety_identifier": nullable(text()),
        "seed": nullable(integer()),
        "service_tier": nullable(word("auto", "default", "flex", "scale", "priority", "fast")),
        "stop": nullable(by_type(string=text(), array=array(text(), 1, STOP_MAX))),
        "store": nullable(flag),
        "stream": nullable(flag),
        "stream_options": nullable(record({}, {"include_usage": flag, "include_obfuscation": flag})),
        "temperature": nullable(number(0, 2)),
        "tool_choice": by_type(string=word("none", "auto", "required"), object=_CHOICE),
        "tools": array(
            tagged({"function": record({"function": _FUNCTION}), "custom": record({"custom": mapping})}),
            least=1,
            most=128,
        ),
        "top_logprobs": nullable(integer(0, 20)),
        "top_p": nullable(number(0, 1)),
        "user": text(),
        "verbosity": nullable(word("low", "medium", "high")),
        "web_search_options": anything,
    },
)
"""The body of POST /v1/chat/completions."""
