"""A receipt names places as the caller's own dialect does."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.registry import PROTOCOLS
from tests.protocols.test_across_receipts import known_paths, others
from tests.protocols.test_across_requests import crossed

OPENAI = {
    "model": "m",
    "max_completion_tokens": 9,
    "stop": "a",
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y", "detail": "low"}}]},
        {
            "role": "assistant",
            "reasoning_content": "hm",
            "content": "said",
            "refusal": "no",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "[]"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "x"}]},
    ],
}
ANTHROPIC = {
    "model": "m",
    "max_tokens": 9,
    "system": "s",
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "tools": [{"name": "f", "input_schema": {}}],
    "stop_sequences": ["a"],
    "metadata": {"user_id": "u"},
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
    ],
}


@pytest.mark.parametrize(
    ("dialect", "path", "own"),
    [
        ("openai", "seed", "seed"),
        ("openai", "max_tokens", "max_completion_tokens"),
        ("openai", "reasoning.budget_tokens", "reasoning_effort"),
        ("openai", "output.schema", "response_format.json_schema.schema"),
        ("openai", "tools[0].parameters", "tools[0].function.parameters"),
        ("openai", "tool_choice.name", "tool_choice.function.name"),
        ("openai", "messages[0].content[0].detail", "messages[0].content[0].image_url.detail"),
        ("openai", "messages[0].content[0].source.url", "messages[0].content[0].image_url.url"),
        ("openai", "messages[1].content[0]", "messages[1].reasoning_content"),
        ("openai", "messages[1].content[1]", "messages[1].content"),
        ("openai", "messages[1].content[2]", "messages[1].refusal"),
        ("openai", "messages[1].content[4].arguments", "messages[1].tool_calls[1].function.arguments"),
        ("openai", "messages[2].content[0].content[0]", "messages[2].content[0]"),
        ("openai", "stop[0]", "stop"),
        ("anthropic", "system[0].cache_control", "system"),
        ("anthropic", "reasoning.effort", "output_config.effort"),
        ("anthropic", "output.schema", "output_config.format.schema"),
        ("anthropic", "tools[0].parameters.anyOf", "tools[0].input_schema.anyOf"),
        ("anthropic", "stop[0]", "stop_sequences[0]"),
        ("anthropic", "user", "metadata.user_id"),
        ("anthropic", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use"),
        ("anthropic", "messages[0].content[0]", "messages[0].content"),
        ("anthropic", "messages[1].content[0].arguments", "messages[1].content[0].input"),
    ],
)
def test_a_place_has_its_name_in_the_callers_words(dialect: str, path: str, own: str) -> None:
    protocol = PROTOCOLS[dialect]
    request = protocol.read_request({"openai": OPENAI, "anthropic": ANTHROPIC}[dialect])
    assert protocol.spell(request, path) == own


LEFT: dict[str, dict[str, Any]] = {
    "anthropic": {
        "max_tokens": 9,
        "thinking": {"type": "adaptive", "display": "none"},
        "output_config": {"effort": "low", "budget": 1},
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "odd": 1}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "odd": 1}],
    },
    "openai": {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x", "odd": 1}}]}
        ],
        "tools": [{"type": "function", "function": {"name": "f", "odd": 1}}],
        "stream_options": {"include_usage": True, "odd": 1},
    },
    "responses": {
        "input": [
            {"role": "assistant", "content": "x", "phase": "a"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "odd": 1},
            {"role": "assistant", "content": "y", "other": 1},
            {"type": "function_call_output", "call_id": "c", "output": "z"},
        ],
        "tools": [{"type": "namespace", "name": "n", "odd": 1, "tools": [{"type": "function", "name": "f"}]}],
        "text": {"format": {"type": "text"}, "verbosity": "low"},
    },
    "gemini": {
        "contents": [{"parts": [{"inline_data": {"mimeType": "image/png", "data": "AAAA", "odd": 1}, "more": 1}]}],
        "generation_config": {"temperature": 0.5, "odd": 1},
        "tools": {"function_declarations": [{"name": "f", "odd": 1}]},
    },
    "bedrock": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"image": {"format": "png", "source": {"bytes": "AAAA"}, "name": "n"}},
                    {"guardContent": {"text": {"text": "x", "qualifiers": ["query"]}}},
                ],
            }
        ],
        "additionalModelRequestFields": {"top_k": 5, "odd": 1},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}, "odd": 1}}],
            "toolChoice": {"any": {"odd": 1}},
        },
    },
    "cohere": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "odd": 1}]}],
        "tools": [{"type": "function", "function": {"name": "f", "odd": 1}}],
    },
}
"""Requests with members that nobody knows, or that nobody else has, at every level."""


@pytest.mark.parametrize(
    ("dialect", "own"),
    [
        ("anthropic", {"thinking.display", "output_config.budget", "messages[0].content[0].odd", "tools[0].odd"}),
        ("openai", {"messages[0].content[0].image_url.odd", "tools[0].function.odd", "stream_options.odd"}),
        ("responses", {"input[0].phase", "input[1].odd", "input[2].other", "tools[0].odd", "text.verbosity"}),
        (
            "gemini",
            {
                *("contents[0].parts[0].inline_data.odd", "contents[0].parts[0].more", "generation_config.odd"),
                "tools.function_declarations[0].odd",
            },
        ),
        (
            "bedrock",
            {
                *("messages[0].content[0].image.name", "messages[0].content[1].guardContent.text.qualifiers"),
                *("additionalModelRequestFields.odd", "toolConfig.tools[0].toolSpec.odd"),
                "toolConfig.toolChoice.any.odd",
            },
        ),
        ("cohere", {"messages[0].content[0].odd", "tools[0].function.odd"}),
    ],
)
def test_what_only_its_dialect_has_is_reported_where_it_stands(dialect: str, own: set[str]) -> None:
    source = PROTOCOLS[dialect]
    assert own <= known_paths(LEFT[dialect])
    for target in others(source):
        _, receipt = crossed(source, target, source.read_request(LEFT[dialect]))
        why = f"only {dialect} has it"
        assert {entry.path for entry in receipt.entries if entry.why == why} == own, target


@pytest.mark.parametrize(
    ("dialect", "path", "own"),
    [
        ("openai", "choices[0].content.signature", "choices[0].delta.signature"),
        ("anthropic", "choices[0].content.citations", "content.citations"),
        ("anthropic", "choices[0].stop.reason", "stop_reason"),
        ("anthropic", "usage.service_tier", "usage.service_tier"),
    ],
)
def test_a_place_in_a_stream_has_its_name_in_the_providers_words(dialect: str, path: str, own: str) -> None:
    assert PROTOCOLS[dialect].spell(None, path) == own
