"""Whatever a body holds, the embedded providers answer it or refuse it; they never break."""

import copy
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from busbar.demo.providers.anthropic import Anthropic
from busbar.demo.providers.dialect import Dialect, Refused
from busbar.demo.providers.openai import OpenAI
from busbar.demo.providers.script import play
from busbar.demo.providers.usage import PromptCache, count

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
IMAGE = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
SEEDS: list[tuple[Dialect, dict[str, Any]]] = [
    (
        Anthropic(),
        {
            "model": "demo",
            "max_tokens": 4096,
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "weather in Rome"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get", "input": {"a": 1}}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]},
                        {"type": "image", "source": IMAGE},
                    ],
                },
            ],
            "tools": [{"name": "get", "input_schema": SCHEMA}],
            "tool_choice": {"type": "tool", "name": "get"},
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            "thinking": {"type": "disabled"},
            "stop_sequences": ["z"],
        },
    ),
    (
        OpenAI(),
        {
            "model": "demo-reason",
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]},
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "get", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": "ok"},
                {"role": "user", "content": "weather in Rome"},
            ],
            "tools": [{"type": "function", "function": {"name": "get", "parameters": SCHEMA, "strict": True}}],
            "tool_choice": {"type": "function", "function": {"name": "get"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
            "stop": ["z"],
            "n": 2,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
]
JUNK = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "x",
        "auto",
        "object",
        "$ref",
        [],
        [None],
        [1],
        [[]],
        {},
        {"type": "text"},
        {"a": None},
    ]
) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "$ref", "anyOf", "allOf", "enum", "items", "properties", "minimum"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=4,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a JSON value but itself."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, child in items for place in [(*path, key), *places(child, (*path, key))]]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_junk_anywhere_is_answered_or_refused(data: st.DataObject):
    dialect, seed = data.draw(st.sampled_from(SEEDS), label="seed")
    body = copy.deepcopy(seed)
    *way, last = data.draw(st.sampled_from(places(body)), label="place")
    node: Any = body
    for step in way:
        node = node[step]
    node[last] = data.draw(JUNK, label="junk")
    try:
        dialect.validate(body, {"anthropic-version": "2023-06-01"})
    except Refused as refused:
        msgspec.json.encode(dialect.error(refused, "req_1"))
        return
    ask = dialect.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert msgspec.json.encode(dialect.document(body, ask, answer, usage))
    assert all(frame.encode() for frame in dialect.frames(body, ask, answer, usage))
