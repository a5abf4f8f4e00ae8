"""The shape of an OpenAI Responses request, as a table of checks.

Keys are those of the SDK's types (openai 3.54.0) and what Codex 0.169 sends besides (`client_metadata`,
`internal_chat_message_metadata_passthrough`). Hosted tools and their items are let through unchecked. What holds
between the parts of a body is in `validate_responses.py`.
"""

from typing import Any

from .shape import (
    Check,
    Path,
    Violation,
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

NAME = text(r"^[a-zA-Z0-9_-]{1,64}$")
TOOL_NAME = text(r"^[a-zA-Z0-9_-]{1,128}$")
CALL_ID = text(longest=64)
MAX_OUTPUT_TOKENS_MIN = 16
"""The least `max_output_tokens` the API takes."""


def _id(prefix: str) -> Check:
    return nullable(text(rf"{prefix}.*", longest=64))


def _foreign(value: Any, path: Path) -> None:
    """A part that the union of all messages knows, but not one of this role."""
    raise Violation(path[:-1], "tag", ("input_text", "input_image", "input_file"), path[-1], "type")


_PART: dict[str, Check] = {"prompt_cache_breakpoint": anything}
_DETAIL = nullable(word("low", "high", "auto", "original"))
_INPUT: dict[str, Check] = {
    "input_text": record({"text": text()}, _PART),
    "input_image": record(
        {}, {**_PART, "image_url": nullable(text()), "file_id": nullable(text()), "detail": _DETAIL}
    ),
    "input_file": record(
        {},
        {
            **_PART,
            "detail": _DETAIL,
            "file_data": nullable(text()),
            "file_id": nullable(text()),
            "file_url": nullable(text()),
            "filename": nullable(text()),
        },
    ),
}
_SPOKEN_TO: dict[str, Check] = {
    "input_text": _INPUT["input_text"],
    "input_image": _INPUT["input_image"],
    "output_text": _foreign,
    "refusal": _foreign,
    "input_file": _INPUT["input_file"],
    "computer_screenshot": anything,
    "summary_text": _foreign,
}
"""Parts of user, system and developer messages, in the order in which the API names what it knows."""
_OUTPUT: dict[str, Check] = {
    "output_text": record({"text": text()}, {"annotations": array(mapping), "logprobs": nullable(array(mapping))}),
    "refusal": record({"refusal": text()}),
}
_ANY_ITEM: dict[str, Check] = {
    "status": nullable(word("in_progress", "completed", "incomplete")),
    "internal_chat_message_metadata_passthrough": anything,
}
_MESSAGE: dict[str, Check] = {**_ANY_ITEM, "id": _id("msg")}


def _content(parts: dict[str, Check]) -> Check:
    return by_type(string=text(), array=array(tagged(parts)))


_HEARD = record({"content": _content(_SPOKEN_TO)}, _MESSAGE)
ROLES: dict[str, Check] = {
    "assistant": record(
        {"content": _content(_OUTPUT)}, {**_MESSAGE, "phase": nullable(word("commentary", "final_answer"))}
    ),
    "system": _HEARD,
    "developer": _HEARD,
    "user": _HEARD,
}
_CALL: dict[str, Check] = {**_ANY_ITEM, "namespace": nullable(text()), "caller": anything}
_RESULT = record(
    {"call_id": CALL_ID, "output": _content(_INPUT)}, {**_CALL, "id": nullable(text()), "name": nullable(text())}
)
_SUMMARY = tagged({"summary_text": record({"text": text()})})

ITEMS: dict[str, Check] = {
    "message": tagged(ROLES, by="role"),
    "reasoning": record(
        {"summary": array(_SUMMARY)},
        {
            **_ANY_ITEM,
            "id": _id("rs"),
            "content": nullable(array(anything, most=0)),
            "encrypted_content": nullable(text()),
        },
    ),
    "function_call": record({"call_id": CALL_ID, "name": TOOL_NAME, "arguments": text()}, {**_CALL, "id": _id("fc")}),
    "function_call_output": _RESULT,
    "custom_tool_call": record({"call_id": CALL_ID, "name": TOOL_NAME, "input": text()}, {**_CALL, "id": _id("ctc")}),
    "custom_tool_call_output": _RESULT,
    "item_reference": record({"id": text()}),
    **dict.fromkeys(
        (
            "additional_tools",
            "apply_patch_call",
            "apply_patch_call_output",
            "code_interpreter_call",
            "compaction",
            "compaction_trigger",
            "computer_call",
            "computer_call_output",
            "file_search_call",
            "image_generation_call",
            "local_shell_call",
            "local_shell_call_output",
            "mcp_approval_request",
            "mcp_approval_response",
            "mcp_call",
            "mcp_list_tools",
            "program",
            "program_output",
            "shell_call",
            "shell_call_output",
            "tool_search_call",
            "tool_search_output",
            "web_search_call",
        ),
        anything,
    ),
}
"""What `input` may hold."""

_FUNCTION = record(
    {"name": TOOL_NAME},
    {
        "allowed_callers": nullable(array(text())),
        "async": flag,
        "defer_loading": flag,
        "description": nullable(text()),
        "function": mapping,  # the nested form of Chat Completions is overlooked beside the flat one
        "output_schema": nullable(json_schema),
        "parameters": nullable(json_schema),
        "strict": nullable(flag),
    },
)
_CUSTOM = record(
    {"name": TOOL_NAME},
    {"description": nullable(text()), "format": mapping, "defer_loading": flag, "allowed_callers": anything},
)
_NAMED = record({"name": text()})
TOOLS: dict[str, Check] = {
    "function": _FUNCTION,
    "custom": _CUSTOM,
    "namespace": record(
        {"name": TOOL_NAME, "description": text(), "tools": array(tagged({"function": _FUNCTION, "custom": _CUSTOM}))}
    ),
    **dict.fromkeys(
        (
            "apply_patch",
            "code_interpreter",
            "computer*",
            "file_search",
            "image_generation",
            "local_shell",
            "mcp",
            "programmatic_tool_calling",
            "shell",
            "tool_search",
            "web_search*",
        ),
        anything,
    ),
}
_CHOICE = tagged(
    {
        "function": _NAMED,
        "custom": _NAMED,
        "allowed_tools": record({"mode": word("auto", "required"), "tools": array(mapping)}),
        "mcp": record({"server_label": text()}, {"name": nullable(text())}),
        **dict.fromkeys(
            ("apply_patch", "code_interpreter", "computer*", "file_search", "image_generation", "shell"), anything
        ),
        "web_search*": anything,
    }
)
_FORMAT = tagged(
    {
        "text": record(),
        "json_object": record(),
        "json_schema": record(
            {"name": NAME, "schema": json_schema}, {"description": nullable(text()), "strict": nullable(flag)}
        ),
    }
)
_SUMMARIES = nullable(word("auto", "concise", "detailed"))

BODY = record(
    {"model": text()},
    {
        "access_programs": anything,
        "background": nullable(flag),
        "background_options": anything,
        "client_metadata": nullable(mapping),
        "context_management": anything,
        "conversation": nullable(by_type(string=text(), object=record({"id": text()}))),
        "image": anything,
        "include": nullable(
            array(
                word(
                    "file_search_call.results",
                    "web_search_call.results",
                    "web_search_call.action.sources",
                    "message.input_image.image_url",
                    "computer_call_output.output.image_url",
                    "code_interpreter_call.outputs",
                    "reasoning.encrypted_content",
                    "message.output_text.logprobs",
                )
            )
        ),
        "input": by_type(string=text(), array=array(tagged(ITEMS, default="message"))),
        "instructions": nullable(text()),
        "max_output_tokens": nullable(integer(MAX_OUTPUT_TOKENS_MIN)),
        "max_tool_calls": nullable(integer(1)),
        "metadata": nullable(mapping),
        "moderation": anything,
        "parallel_tool_calls": nullable(flag),
        "previous_response_id": nullable(text()),
        "prompt": anything,
        "prompt_cache_key": nullable(text(longest=64)),
        "prompt_cache_options": anything,
        "prompt_cache_retention": nullable(word("in_memory", "24h")),
        "reasoning": nullable(
            record(
                {},
                {
                    "context": nullable(word("auto", "current_turn", "all_turns")),
                    "effort": nullable(word("none", "minimal", "low", "medium", "high", "xhigh", "max")),
                    "generate_summary": _SUMMARIES,
                    "mode": nullable(text()),
                    "summary": _SUMMARIES,
                },
            )
        ),
        "safety_identifier": nullable(text(longest=64)),
        "service_tier": nullable(word("auto", "default", "flex", "scale", "priority", "fast")),
        "store": nullable(flag),
        "stream": nullable(flag),
        "stream_options": nullable(record({}, {"include_obfuscation": flag})),
        "temperature": nullable(number(0, 2)),
        "text": nullable(record({}, {"format": _FORMAT, "verbosity": nullable(word("low", "medium", "high"))})),
        "tool_choice": by_type(string=word("none", "auto", "required"), object=_CHOICE),
        "tools": array(tagged(TOOLS)),
        "top_logprobs": nullable(integer(0, 20)),
        "top_p": nullable(number(0, 1)),
        "truncation": nullable(word("auto", "disabled")),
        "user": nullable(text()),
    },
)
"""The body of POST /v1/responses."""
