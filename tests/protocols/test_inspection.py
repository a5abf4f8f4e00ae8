"""The light look at a whole answer that stays in its dialect: it judges as the close one does, whatever comes."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.protocol import Inspection
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.usage import Usage

ANSWERS: dict[str, dict[str, Any]] = {
    "openai": {
        "id": "x",
        "choices": [],
        "success": True,
        "error": None,
        "errors": [],
        "base_resp": {"status_code": 0},
        "usage": {
            "prompt_tokens": 90,
            "completion_tokens": 20,
            "total_tokens": 115,
            "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 5},
            "prompt_cache_hit_tokens": 8,
            "cached_tokens": 9,
            "reasoning_tokens": 6,
            "cost": 0.25,
        },
    },
    "anthropic": {
        "type": "message",
        "content": [],
        "error": None,
        "base_resp": {"status_code": 0},
        "usage": {
            "input_tokens": 90,
            "output_tokens": 20,
            "cache_read_input_tokens": 7,
            "cache_creation_input_tokens": 3,
            "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2},
            "output_tokens_details": {"thinking_tokens": 5},
            "service_tier": "standard",
        },
    },
    "responses": {
        "status": "completed",
        "error": None,
        "usage": {
            "input_tokens": 90,
            "output_tokens": 20,
            "total_tokens": 110,
            "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3},
            "output_tokens_details": {"reasoning_tokens": 5},
        },
    },
    "gemini": {
        "candidates": [],
        "error": None,
        "usageMetadata": {
            "promptTokenCount": 90,
            "cachedContentTokenCount": 7,
            "toolUsePromptTokenCount": 3,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 5,
            "totalTokenCount": 118,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 90}],
        },
    },
    "bedrock": {
        "output": {"message": {}},
        "message": None,
        "usage": {
            "inputTokens": 90,
            "outputTokens": 20,
            "totalTokens": 110,
            "cacheReadInputTokens": 7,
            "cacheWriteInputTokens": 3,
            "cacheDetails": [{"inputTokens": 2, "ttl": "1h"}, {"inputTokens": 1, "ttl": "5m"}],
        },
    },
    "cohere": {
        "message": {"content": []},
        "finish_reason": "COMPLETE",
        "error": None,
        "usage": {
            "tokens": {"input_tokens": 90, "output_tokens": 20, "reasoning_tokens": 5},
            "billed_units": {"input_tokens": 60, "output_tokens": 20},
            "cached_tokens": 7,
        },
    },
}

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 2.5, 10**30, "", "7", "failed", "error", "ERROR", "TIMEOUT", [], [1], ["x"]),
    *(
        {},
        {"message": "no"},
        {"status_code": 1002},
        {"input_tokens": 4},
        {"inputTokens": 4, "ttl": 7},
        [{"ttl": "1h"}],
    ),
]
ABSENT = object()
NAMES = sorted(ANSWERS)


def close_look(name: str, body: bytes) -> Inspection:
    module = importlib.import_module(f"busbar.protocols.{name}.response")
    found: Inspection = module._inspect_closely(body)
    return found


def counts(found: Inspection) -> tuple[bool, Any, dict[str, int | None] | None]:
    usage = found.usage
    stated = usage and {name: getattr(usage, name) for name in Usage.__struct_fields__ if name != "native"}
    return found.readable, found.error, stated


def check(name: str, body: bytes) -> None:
    assert counts(PROTOCOLS[name].inspect_response(body)) == counts(close_look(name, body))


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a document, from the top."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


def altered(document: dict[str, Any], changes: list[tuple[int, Any]]) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for nth, value in changes:
        found = list(places(document))
        if not found:
            continue
        *path, last = found[nth % len(found)]
        holder: Any = document
        for key in path:
            holder = holder[key]
        if value is ABSENT:
            del holder[last]
        else:
            holder[last] = copy.deepcopy(value)
    return document


@pytest.mark.parametrize("name", NAMES)
def test_all_dialects_are_looked_at(name: str) -> None:
    assert sorted(PROTOCOLS) == NAMES
    body = msgspec.json.encode(ANSWERS[name])
    check(name, body)
    found = PROTOCOLS[name].inspect_response(body)
    assert found.usage is not None
    assert found.usage.input_tokens
    assert found.usage.output_tokens


@pytest.mark.parametrize("name", NAMES)
def test_one_odd_value_anywhere_is_judged_alike(name: str) -> None:
    for nth in range(len(list(places(ANSWERS[name])))):
        for value in (*ODD, ABSENT):
            check(name, msgspec.json.encode(altered(ANSWERS[name], [(nth, value)])))


CHANGES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([*ODD, ABSENT])), max_size=4)


@given(name=st.sampled_from(NAMES), changes=CHANGES)
def test_several_odd_values_are_judged_alike(name: str, changes: list[tuple[int, Any]]) -> None:
    check(name, msgspec.json.encode(altered(ANSWERS[name], changes)))


@given(name=st.sampled_from(NAMES), at=st.integers(0, 400), junk=st.sampled_from([b"", b"}", b'"', b",", b"\x00"]))
def test_broken_json_is_judged_alike(name: str, at: int, junk: bytes) -> None:
    whole = msgspec.json.encode(ANSWERS[name])
    check(name, whole[:at] + junk)
    check(name, whole[:at] + junk + whole[at:])


@given(name=st.sampled_from(NAMES), body=st.binary(max_size=40))
def test_any_bytes_are_judged_alike(name: str, body: bytes) -> None:
    check(name, body)
