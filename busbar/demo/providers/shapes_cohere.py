"""The shape of a Cohere v2 chat request, as a table of checks.

Keys are those of the SDK's types (cohere 7.3.1), ranges those of the API's reference. What the recorded API overlooks
is overlooked here: `tool_choice` in small letters, and `json_schema` as a kind of response format. What holds between
the parts of a body is in `validate_cohere.py`.
"""

from .shape import (
    Check,
    anything,
    array,
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

STOP_MAX = 5
K_MAX = 500
SEED_MAX = (1 << 64) - 1

_TEXT: dict[str, Check] = {"text": record({"text": text()})}
_IMAGE: dict[str, Check] = {
    "image_url": record({"image_url": record({"url": text()}, {"detail": word("auto", "low", "high")})})
}
_DOCUMENT = record({"data": mapping}, {"id": nullable(text())})


def _content(parts: dict[str, Check]) -> Check:
    return by_type(string=text(), array=array(tagged(parts)))


_CALL = tagged({"function": record({"id": text(), "function": record({"name": text(), "arguments": text()})})})
ROLES: dict[str, Check] = {
    "system": record({"content": _content(_TEXT)}),
    "user": record({"content": _content({**_TEXT, **_IMAGE})}),
    "assistant": record(
        {},
        {
            "content": nullable(_content({**_TEXT, "thinking": record({"thinking": text()})})),
            "tool_calls": nullable(array(_CALL)),
            "tool_plan": nullable(text()),
            "citations": nullable(array(mapping)),
        },
    ),
    "tool": record(
        {"tool_call_id": text(), "content": _content({**_TEXT, "document": record({"document": _DOCUMENT})})}
    ),
}

_FUNCTION = record({"name": text(), "parameters": json_schema}, {"description": nullable(text())})
_SCHEMA: dict[str, Check] = {"json_schema": nullable(json_schema)}

BODY = record(
    {"model": text(), "messages": array(tagged(ROLES, by="role"))},
    {
        "citation_options": nullable(
            record(
                {}, {"mode": nullable(word("ENABLED", "DISABLED", "FAST", "ACCURATE", "OFF", "enabled", "disabled"))}
            )
        ),
        "documents": nullable(array(by_type(string=text(), object=_DOCUMENT))),
        "frequency_penalty": nullable(number(0, 1)),
        "k": nullable(integer(0, K_MAX)),
        "logprobs": nullable(flag),
        "max_tokens": nullable(integer(1)),
        "p": nullable(number(0.01, 0.99)),
        "presence_penalty": nullable(number(0, 1)),
        "priority": nullable(integer(0, 999)),
        "response_format": nullable(
            tagged(
                {
                    "text": record(),
                    "json_object": record({}, {**_SCHEMA, "schema": nullable(json_schema)}),
                    "json_schema": record({}, _SCHEMA),
                }
            )
        ),
        "safety_mode": nullable(word("CONTEXTUAL", "STRICT", "OFF")),
        "seed": nullable(integer(0, SEED_MAX)),
        "stop_sequences": nullable(array(text(), most=STOP_MAX)),
        "stream": flag,
        "strict_tools": nullable(flag),
        "temperature": nullable(number(0, 1)),
        "thinking": nullable(
            tagged(
                {
                    "enabled": record({}, {"token_budget": nullable(integer(1))}),
                    "disabled": record({}, {"token_budget": anything}),
                }
            )
        ),
        "tool_choice": nullable(word("REQUIRED", "NONE", "required", "none")),
        "tools": nullable(array(tagged({"function": record({"function": _FUNCTION})}))),
    },
)
"""The body of POST /v2/chat."""
