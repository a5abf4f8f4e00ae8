"""The shape of a Bedrock Converse request, as a table of checks.

Members and limits are those of the service model (botocore 1.44.5), but for `stopSequences`, where the models take
fewer, and `system` messages, which few models take. Video, audio, citations and search results are let through.
What holds between the parts of a body is in `validate_bedrock.py`.
"""

from collections.abc import Mapping
from typing import Any

from .dialect import PATH_MODEL
from .shape import (
    Check,
    Path,
    Violation,
    anything,
    array,
    base64_text,
    flag,
    integer,
    json_schema,
    mapping,
    number,
    record,
    text,
    word,
)

STOP_MAX = 4
TOOL_NAME = text(r"[a-zA-Z0-9_-]+", longest=64)
TOOL_USE_ID = text(r"[a-zA-Z0-9_.:-]+", longest=64)
NON_EMPTY = text(r"[\s\S]+")
DOCUMENT_FORMATS = ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")
IMAGE_FORMATS = ("png", "jpeg", "gif", "webp")


def union(members: Mapping[str, Check]) -> Check:
    """An object with exactly one of these members."""

    def check(value: Any, path: Path) -> None:
        mapping(value, path)
        for name, member in value.items():
            if name not in members:
                raise Violation((*path, name), "extra")
            members[name](member, (*path, name))
        if len(value) != 1:
            raise Violation(path, "union", tuple(members), len(value))

    return check


_S3 = record({"uri": text(r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?")}, {"bucketOwner": text(r"[0-9]{12}")})
_BYTES: dict[str, Check] = {"bytes": base64_text, "s3Location": _S3}
IMAGE = record({"format": word(*IMAGE_FORMATS), "source": union(_BYTES)})
DOCUMENT = record(
    {"name": text(r"[\s\S]+", longest=200), "source": union({**_BYTES, "text": text(), "content": anything})},
    {"format": word(*DOCUMENT_FORMATS), "context": text(), "citations": record({"enabled": flag})},
)
CACHE_POINT = record({"type": word("default")}, {"ttl": word("5m", "1h")})
GUARD = union({"text": record({"text": text()}, {"qualifiers": array(text())}), "image": mapping})
TOOL_USE = record({"toolUseId": TOOL_USE_ID, "name": TOOL_NAME, "input": mapping}, {"type": word("server_tool_use")})
TOOL_RESULT = record(
    {
        "toolUseId": TOOL_USE_ID,
        "content": array(
            union(
                {
                    "text": text(),
                    "json": mapping,
                    "image": IMAGE,
                    "document": DOCUMENT,
                    "video": mapping,
                    "searchResult": mapping,
                }
            )
        ),
    },
    {"status": word("success", "error"), "type": text()},
)
REASONING = union({"reasoningText": record({"text": text()}, {"signature": text()}), "redactedContent": base64_text})
CONTENT = union(
    {
        "text": text(),
        "image": IMAGE,
        "document": DOCUMENT,
        "toolUse": TOOL_USE,
        "toolResult": TOOL_RESULT,
        "guardContent": GUARD,
        "cachePoint": CACHE_POINT,
        "reasoningContent": REASONING,
        **dict.fromkeys(("video", "audio", "citationsContent", "searchResult"), mapping),
    }
)
MESSAGE = record({"role": word("user", "assistant"), "content": array(CONTENT)})
TOOL = union(
    {
        "toolSpec": record(
            {"name": TOOL_NAME, "inputSchema": union({"json": json_schema})},
            {"description": NON_EMPTY, "strict": flag},
        ),
        "systemTool": record({"name": TOOL_NAME}),
        "cachePoint": CACHE_POINT,
    }
)
CHOICE = union({"auto": record(), "any": record(), "tool": record({"name": TOOL_NAME})})
OUTPUT = record(
    {},
    {
        "textFormat": record(
            {
                "type": word("json_schema"),
                "structure": union(
                    {"jsonSchema": record({"schema": text()}, {"name": text(), "description": text()})}
                ),
            }
        ),
        "effort": text(longest=16),
    },
)
BODY = record(
    {PATH_MODEL: text(longest=2048), "messages": array(MESSAGE)},
    {
        "system": array(union({"text": NON_EMPTY, "guardContent": GUARD, "cachePoint": CACHE_POINT})),
        "inferenceConfig": record(
            {},
            {
                "maxTokens": integer(1),
                "temperature": number(0, 1),
                "topP": number(0, 1),
                "stopSequences": array(NON_EMPTY, most=STOP_MAX),
            },
        ),
        "toolConfig": record({"tools": array(TOOL, least=1)}, {"toolChoice": CHOICE}),
        "guardrailConfig": record(
            {},
            {
                "guardrailIdentifier": text(),
                "guardrailVersion": text(r"(|[1-9][0-9]{0,7}|DRAFT)"),
                "trace": word("enabled", "disabled", "enabled_full"),
                "streamProcessingMode": word("sync", "async"),
            },
        ),
        "additionalModelRequestFields": mapping,
        "promptVariables": mapping,
        "additionalModelResponseFieldPaths": array(text(r"[\s\S]{1,256}"), most=10),
        "requestMetadata": mapping,
        "performanceConfig": record({}, {"latency": word("standard", "optimized")}),
        "serviceTier": record({"type": word("priority", "default", "flex", "reserved")}),
        "outputConfig": OUTPUT,
    },
)
"""The body of POST /model/{id}/converse and /converse-stream."""
