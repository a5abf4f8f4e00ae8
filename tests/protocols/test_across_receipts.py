"""The receipt of a hop is held to its word, on recorded requests.

A field that can be left out and changes nothing in what is written did not cross: it is on the receipt, or on the
list of what goes without saying. What the receipt names stands in the caller's document under that very path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from busbar.protocols.leftovers import says_nothing
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from tests.protocols.test_across import exchanges, hop_of, known_paths
from tests.recordings import Recording, with_request

SCHEMAS = {"input", "input_schema", "parameters", "schema"}
"""Where keys are the caller's own."""

ASKS_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
    "messages[].content[].image_url.detail": ("auto",),
    "messages[].content[].is_error": (False,),
    "messages[].tool_calls[].function.arguments": ("{}",),
    "messages[].tool_calls[].type": ("function",),
    "messages[].type": ("text/plain",),  # a tag that no API knows
    "frequency_penalty": (0,),
    "max_tokens": (4096,),  # the default
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "response_format.type": ("text",),
    "response_format.json_schema.strict": (True, False),  # Anthropic always enforces a schema
    "stream_options": ({"include_usage": True},),  # Anthropic always tells usage; the way back knows
    "stream_options.include_usage": (True,),
    "temperature": (1,),
    "tool_choice.type": ("function",),
    "tools[].function.parameters": ({"type": "object", "properties": {}},),
    "tools[].function.strict": (False,),
    "tools[].input_schema": ({"type": "object", "properties": {}},),
}
"""What may be left out without a word: it says what goes without saying."""

SAID_TWICE = {("openai", 45, "messages[].reasoning"): "the same thought as `reasoning_content`"}


def places(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every key of a document that says something: its path, and the object that holds it."""
    if isinstance(value, list):
        for at, inner in enumerate(value):
            yield from places(inner, f"{path}[{at}]")
    elif isinstance(value, dict):
        for key, inner in list(value.items()):
            here = f"{path}.{key}" if path else key
            if not says_nothing(inner):
                yield here, value, key
            if key not in SCHEMAS:
                yield from places(inner, here)


def related(one: str, other: str) -> bool:
    """One is the other, or holds it."""
    short, long = sorted((one, other), key=len)
    return long == short or (long.startswith(short) and long[len(short)] in ".[")


def without(recording: Recording, holder: dict[str, Any], key: str) -> dict[str, Any] | None:
    """What is written when a field is missing; None when it must be there."""
    before = dict(holder)
    del holder[key]
    try:
        return hop_of(recording, recording.request.body)[0]
    except InvalidRequest:
        return None
    finally:
        holder.clear()
        holder.update(before)


@pytest.mark.parametrize("recording", exchanges(with_request))
def test_a_field_that_did_not_cross_is_on_the_receipt(recording: Recording) -> None:
    written, receipt = hop_of(recording, recording.request.body)
    named = [entry.path for entry in receipt.entries]
    unnamed = []
    for path, holder, key in places(recording.request.body):
        pattern = re.sub(r"\[\d+\]", "[]", path)
        if path == "model" or any(related(path, name) for name in named):
            continue
        if holder[key] in ASKS_FOR_NOTHING.get(pattern, ()):
            continue
        if (recording.protocol, recording.number, pattern) in SAID_TWICE:
            continue
        if without(recording, holder, key) == written:
            unnamed.append(path)
    assert unnamed == []


@pytest.mark.parametrize("recording", exchanges(with_request))
def test_a_receipt_speaks_of_the_callers_own_fields(recording: Recording) -> None:
    _, receipt = hop_of(recording, recording.request.body)
    assert {entry.path for entry in receipt.entries if entry.change != "added"} <= known_paths(recording.request.body)


SECRET = "sk-secret"
ODD = (SECRET, {SECRET: SECRET}, 7)


def refusal(recording: Recording) -> str:
    """What a refusal of the request says; empty where it is taken: then it comes back equal, and crosses."""
    dialect = PROTOCOLS[recording.protocol]
    try:
        back = dialect.write_request(dialect.read_request(recording.request.body), Hop(), Receipt())
    except InvalidRequest as refused:
        return str(refused)
    assert back == recording.request.body
    hop_of(recording, recording.request.body)
    return ""


@pytest.mark.parametrize("recording", exchanges(with_request))
def test_a_field_of_another_type_is_kept_or_refused_without_an_echo(recording: Recording) -> None:
    for path, holder, key in places(recording.request.body):
        before = dict(holder)
        for odd in ODD:
            holder[key] = odd
            assert SECRET not in refusal(recording), path
        holder.clear()
        holder.update(before)


OPENAI = {
    "model": "m",
    "max_completion_tokens": 9,
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
