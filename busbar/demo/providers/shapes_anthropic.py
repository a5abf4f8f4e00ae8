"""The shape of an Anthropic Messages request, as a table of checks.

Keys are those of the SDK's types (anthropic 2.12.0, beta keys included). Hosted tools and their blocks are let
through unchecked. What holds between the parts of a body is in `validate_anthropic.py`.
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

BUDGET_MIN = 1024

TOOL_NAME = text(r"^[a-zA-Z0-9_-]{1,128}$")
TOOL_ID = text(r"^[a-zA-Z0-9_-]+$")
CACHE = nullable(tagged({"ephemeral": record({}, {"ttl": word("5m", "1h")})}))

_CACHED: dict[str, Check] = {"cache_control": CACHE}
_URL = record({"url": text()})
_FILE = record({"file_id": text()})
_IMAGE_TYPE = word("image/jpeg", "image/png", "image/gif", "image/webp")
_IMAGE_SOURCE = tagged(
    {"base64": record({"media_type": _IMAGE_TYPE, "data": base64_text}), "url": _URL, "file": _FILE}
)
_DOCUMENT_SOURCE = tagged(
    {
        "base64": record({"media_type": word("application/pdf"), "data": base64_text}),
        "text": record({"media_type": word("text/plain"), "data": text()}),
        "content": record({"content": anything}),
        "url": _URL,
        "file": _FILE,
    }
)
TEXT = record({"text": text()}, {**_CACHED, "citations": anything})

RESULT_BLOCKS: dict[str, Check] = {
    "text": TEXT,
    "image": record({"source": _IMAGE_SOURCE}, {**_CACHED, "transformations": anything}),
    "document": record(
        {"source": _DOCUMENT_SOURCE},
        {**_CACHED, "title": nullable(text()), "context": nullable(text()), "citations": anything},
    ),
    "search_result": anything,
    "tool_reference": anything,
    "browser_state": anything,
}
"""What a tool result may hold."""

BLOCKS: dict[str, Check] = {
    **RESULT_BLOCKS,
    "tool_use": record(
        {"id": TOOL_ID, "name": TOOL_NAME, "input": mapping},
        {**_CACHED, "caller": anything, "toolset_name": anything},
    ),
    "tool_result": record(
        {"tool_use_id": TOOL_ID},
        {
            **_CACHED,
            "content": by_type(string=text(), array=array(tagged(RESULT_BLOCKS))),
            "is_error": flag,
            "toolset_name": anything,
        },
    ),
    "thinking": record({"thinking": text(), "signature": text()}),
    "redacted_thinking": record({"data": text()}),
    **dict.fromkeys(
        (
            "server_tool_use",
            "mcp_tool_use",
            "mcp_tool_result",
            "container_upload",
            "compaction",
            "tool_addition",
            "tool_removal",
            "web_search_tool_result",
            "web_fetch_tool_result",
            "advisor_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
        ),
        anything,
    ),
}
"""What a message may hold."""

_CUSTOM_TOOL = record(
    {"name": TOOL_NAME, "input_schema": tagged({"object": json_schema})},
    {
        **_CACHED,
        "description": text(),
        "strict": flag,
        "eager_input_streaming": nullable(flag),
        "defer_loading": flag,
        "input_examples": array(mapping),
        "allowed_callers": array(text()),
    },
)
_HOSTED = (
    "web_*",
    "code_execution_*",
    "bash_*",
    "text_editor_*",
    "computer_*",
    "memory_*",
    "tool_search_*",
    "browser_*",
    "mcp_toolset",
    "advisor_*",
)
TOOLS: dict[str, Check] = {"custom": _CUSTOM_TOOL, **dict.fromkeys(_HOSTED, anything)}

_PARALLEL: dict[str, Check] = {"disable_parallel_tool_use": flag}
_DISPLAY: dict[str, Check] = {"display": nullable(word("summarized", "omitted"))}
_FORMAT = nullable(tagged({"json_schema": record({"schema": json_schema})}))
_EFFORT = nullable(word("low", "medium", "high", "xhigh", "max"))
_MESSAGE = record(
    {
        "role": word("user", "assistant", "system"),
        "content": by_type(string=text(), array=array(tagged(BLOCKS))),
    },
    {"output_config": record({}, {"effort": _EFFORT})},
)

BODY = record(
    {"model": text(), "messages": array(_MESSAGE), "max_tokens": integer(0)},
    {
        "cache_control": CACHE,
        "container": anything,
        "context_management": anything,
        "diagnostics": anything,
        "inference_geo": nullable(text()),
        "mcp_servers": anything,
        "metadata": record({}, {"user_id": nullable(text(longest=512))}),
        "output_config": record(
            {},
            {
                "effort": _EFFORT,
                "format": _FORMAT,
                "task_budget": anything,
            },
        ),
        "output_format": _FORMAT,
        "service_tier": word("auto", "standard_only"),
        "speed": nullable(word("standard", "fast")),
        "stop_sequences": array(text()),
        "stream": flag,
        "system": by_type(string=text(), array=array(tagged({"text": TEXT}))),
        "temperature": number(0, 1),
        "thinking": tagged(
            {
                "enabled": record({"budget_tokens": integer(BUDGET_MIN)}, _DISPLAY),
                "adaptive": record({}, _DISPLAY),
                "disabled": record(),
                "between_tools": record(),
            }
        ),
        "tool_choice": tagged(
            {
                "auto": record({}, _PARALLEL),
                "any": record({}, _PARALLEL),
                "tool": record({"name": text()}, _PARALLEL),
                "none": record(),
            }
        ),
        "tools": array(tagged(TOOLS, default="custom")),
        "top_k": integer(0),
        "top_p": number(0, 1),
        "user_profile_id": text(),
        "workspace_id": text(),
    },
)
"""The body of POST /v1/messages."""
