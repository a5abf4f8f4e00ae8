"""Where the usual is read or written by a short way: it gives what the long way gives, of anything."""

from __future__ import annotations

import copy
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.anthropic.blocks_read import read_block
from busbar.protocols.anthropic.stream_read import AnthropicStreamReader
from busbar.protocols.body import Body
from busbar.protocols.continuity import UNHASHED_CHARS_MAX, TurnCollector, asked_text, keys_of
from busbar.protocols.framing.sse import SseDecoder, SseEvent, SseSplitter, _decode_lines, encode_event
from busbar.protocols.ir import BlockStart, Chunk, Message, Request, SignatureDelta, Text, TextDelta
from busbar.protocols.openai.messages import MessageReader
from busbar.protocols.openai.stream_read import ALIKE_TRIES_MAX, OpenaiStreamReader
from busbar.protocols.protocol import InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.seal import MARK, without_seals
from busbar.protocols.translate import own_request

TEXTS = st.text(max_size=6) | st.sampled_from(["", " ", "\n", '"', "\\", "text", "ü", "\u2028", "\U0001f600"])
ODD = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.just(2**70) | st.just(1.0) | TEXTS | st.just([]) | st.just({})
)

# --- bodies


@given(st.lists(st.sampled_from([b"_", b"_b", b"bseal1_", MARK.encode(), b"x", b"A9-", b'"', b" "]), max_size=40))
def test_seals_are_found_wherever_they_are(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    assert without_seals(raw) == re.sub(MARK.encode() + rb"[A-Za-z0-9_-]*", b"", raw)


@pytest.mark.parametrize("depth_max", [1, 2, 7, 128])
@pytest.mark.parametrize("bracket", ["[", "{"])
def test_as_many_brackets_as_levels_are_never_too_deep_and_more_are_counted(bracket: str, depth_max: int) -> None:
    for more in range(3):
        text = bracket * (depth_max - 1 + more)
        assert Body(msgspec.json.encode({"a": text}), depth_max).field("a") == text


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_trace_of_a_hop_is_found_as_each_of_them_is(name: str) -> None:
    protocol = PROTOCOLS[name]
    for trace in (*protocol.hop_traces, b'"signature":"x"', b'"encrypted_content": "x"', b'""'):
        raw = b'{"model":"m","x":{' + trace + b"}}" if b":" in trace else b'{"model":"m","x":' + trace + b"}"
        body = Body(raw)
        wanted = raw if protocol.model_in == "path" else body.with_changes({"model": "n"})
        assert own_request(protocol, body, "n", Receipt()) == wanted, "there is nothing to mend in it"


# --- requests and answers

ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "nobody", 7, None, [], {}])
CONTENTS = ODD | st.just([{"type": "text", "text": "hi"}])
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES, "content": CONTENTS}, optional={"name": ODD, "refusal": ODD, "tool_call_id": ODD}
)


def read_or_refusal(read: Any, value: Any) -> Any:
    try:
        return read(copy.deepcopy(value))
    except InvalidRequest as refusal:
        return refusal.path, refusal.message


@given(MESSAGES | ODD)
def test_a_plain_message_is_read_as_any(message: Any) -> None:
    long = read_or_refusal(lambda value: [MessageReader()._read(value, "messages[0]")], message)
    assert read_or_refusal(lambda value: MessageReader().read_all([value]), message) == long


@given(text=TEXTS)
def test_a_plain_block_is_read_as_one_with_a_null_beside(text: str) -> None:
    short = read_block({"type": "text", "text": text}, "content[0]")
    long = read_block({"type": "text", "text": text, "citations": None}, "content[0]")
    assert isinstance(long, Text)
    assert short == msgspec.structs.replace(long, native=None)


# --- the keys of a turn


@pytest.mark.parametrize("asked", ["", "why?", "ü" * (UNHASHED_CHARS_MAX - 1), "y" * 3 * UNHASHED_CHARS_MAX])
@pytest.mark.parametrize("pieces", [[], ["a"], ["ab", "", "\ud800"], ["z" * 1000] * 20, [""] * 5000, ["x"] * 9000])
def test_a_turn_has_the_key_by_which_it_will_be_asked_for(asked: str, pieces: list[str]) -> None:
    question = Message(role="user", parts=[Text(text=asked)])
    turn = TurnCollector(asked_text([question]), PROTOCOLS["openai"].tool_call_ids, "openai")
    turn.see(BlockStart(index=0, part=Text(text="")))
    for piece in pieces:
        turn.see(TextDelta(index=0, text=piece))
    turn.see(SignatureDelta(index=0, signature="s", signer="gemini"))
    answer = Message(role="assistant", parts=[Text(text="".join(pieces))])
    later = Message(role="user", parts=[Text(text="and?")])
    (key,) = keys_of(Request(model="m", messages=[question, answer, later]))
    assert list(turn.entries()) == [key] == list(turn.entries())


# --- streams

LINES = st.sampled_from([b"event: a", b"event: b", b"data: x", b"data: {}", b"id: 1", b": z"]) | st.sampled_from(
    [
        *(b"event:a", b"event: ", b"data:y", b"data: ", b"data", b"", b" data: x"),
        *(b"event: a\ndata: x", b"event: a\nid: 1\ndata: x", b"data: x\ndata: y"),
    ]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\n\n", b"\n\n\n"])
CR_ENDS = ENDS | st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r", b"\r\r"])


def by_lines(whole: bytes) -> list[SseEvent]:
    return [event for frame in SseSplitter().feed(whole) if (event := _decode_lines(frame)) is not None]


@given(st.lists(st.tuples(LINES, ENDS), max_size=12) | st.lists(st.tuples(LINES, CR_ENDS), max_size=12), st.data())
def test_events_are_those_of_their_lines(pieces: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    wire = b"".join(line + end for line, end in pieces)
    assert SseDecoder().feed(wire) == by_lines(wire)
    cut = data.draw(st.integers(0, len(wire)))
    decoder = SseDecoder()
    assert decoder.feed(wire[:cut]) + decoder.feed(wire[cut:]) == by_lines(wire)


PLAIN_DELTAS = (
    st.fixed_dictionaries({"type": st.just("text_delta"), "text": TEXTS})
    | st.fixed_dictionaries({"type": st.just("thinking_delta"), "thinking": TEXTS})
    | st.fixed_dictionaries({"type": st.just("input_json_delta"), "partial_json": TEXTS})
)
ODD_DELTAS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_delta", "thinking_delta", "input_json_delta", "signature_delta", "new", 7])},
    optional={"text": ODD, "thinking": ODD, "partial_json": ODD, "signature": TEXTS, "more": ODD},
)
DELTA_EVENTS = st.fixed_dictionaries(
    {"type": st.just("content_block_delta"), "index": st.integers(0, 5), "delta": PLAIN_DELTAS}
) | st.fixed_dictionaries(
    {"type": st.just("content_block_delta"), "index": st.sampled_from([0, 1, True, "0", None])},
    optional={"delta": PLAIN_DELTAS | ODD_DELTAS | ODD, "more": ODD},
)
BLOCKS = [
    {"type": "text", "text": ""},
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "tool_use", "id": "t", "name": "n", "input": {}},
    {"type": "server_tool_use", "id": "t", "name": "n", "input": {}},
    {"type": "text", "text": ""},
]
PLACES = (0, 1, 2, 3, 5)
"""The last is not the number by which the IR counts."""
STARTS = [
    {"type": "content_block_start", "index": place, "content_block": block}
    for place, block in zip(PLACES, BLOCKS, strict=True)
]


def anthropic_chunks(events: list[dict[str, Any]], space: bytes) -> tuple[list[Chunk], int]:
    """With a space before it, no event is taken for one of the usual."""
    reader = AnthropicStreamReader()
    wire = b"".join(encode_event(space + msgspec.json.encode(event), "any") for event in events)
    return reader.feed(wire), reader.malformed


@given(st.lists(DELTA_EVENTS, max_size=6))
def test_anthropics_usual_deltas_are_read_as_any(deltas: list[dict[str, Any]]) -> None:
    stops = [{"type": "content_block_stop", "index": place} for place in PLACES]
    events = [*STARTS, *deltas, *stops]
    assert anthropic_chunks(events, b"") == anthropic_chunks(events, b" ")


SAID = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXTS | ODD,
        "reasoning_content": TEXTS,
        "reasoning": TEXTS,
        "refusal": st.just("no") | st.none(),
        "tool_calls": st.sampled_from(
            [None, [], [1], [{"index": 0, "id": "c", "function": {"name": "f"}}], [{"function": {"arguments": "{"}}]]
        ),
        "role": st.just("assistant"),
    },
)
ENTRIES = st.fixed_dictionaries(
    {"index": st.sampled_from([0, 0, 0, 1]), "delta": SAID},
    optional={"finish_reason": st.sampled_from([None, None, None, "stop"]), "text": TEXTS, "content": TEXTS},
)
CHUNKS = st.fixed_dictionaries(
    {"id": st.just("c"), "choices": st.lists(ENTRIES, min_size=1, max_size=1) | st.lists(ENTRIES, max_size=2)},
    optional={"usage": st.sampled_from([None, {"prompt_tokens": 1}]), "model": TEXTS, "x": ODD, "error": st.none()},
)


def openai_chunks(wire: list[bytes], tries: int) -> tuple[list[Chunk], int]:
    reader = OpenaiStreamReader()
    reader._tries = tries
    chunks = [chunk for data in wire for chunk in reader.feed(data)]
    return chunks + reader.close(), reader.malformed


@given(st.lists(st.tuples(CHUNKS, st.lists(TEXTS, max_size=4)), max_size=5), st.sampled_from(["", "", "delta"]))
def test_openais_chunks_that_are_like_the_one_before_are_read_as_any(
    kinds: list[tuple[dict[str, Any], list[str]]], event: str
) -> None:
    wire = []
    for chunk, texts in kinds:
        wire.append(encode_event(msgspec.json.encode(chunk), event))
        for text in texts:
            again = copy.deepcopy(chunk)
            for entry in again["choices"]:
                for key in ("content", "reasoning_content", "reasoning"):
                    if key in entry["delta"]:
                        entry["delta"][key] = text
            wire.append(encode_event(msgspec.json.encode(again), event))
    assert openai_chunks(wire, ALIKE_TRIES_MAX) == openai_chunks(wire, 0)


ONE_MORE_PIECE = {"content": "a", "tool_calls": [{"index": 0, "function": {"name": "g"}}]}
PIECE_BY_PIECE = [
    {"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}},
    *[{"delta": ONE_MORE_PIECE}] * 3,
    {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}},
]
"""A call whose name comes in pieces, beside a text: each piece counts."""
ECHOED = [{"delta": {"content": said}, "text": "b"} for said in ("a", "a", "b", "a")]
"""The third says its text twice."""


@pytest.mark.parametrize("entries", [PIECE_BY_PIECE, ECHOED])
def test_more_than_a_text_is_not_overlooked(entries: list[dict[str, Any]]) -> None:
    wire = [encode_event(msgspec.json.encode({"id": "c", "choices": [entry]})) for entry in entries]
    assert openai_chunks(wire, ALIKE_TRIES_MAX) == openai_chunks(wire, 0)


@pytest.mark.parametrize("name", ["", "error", "other"])
def test_an_event_of_another_name_is_not_alike(name: str) -> None:
    data = b'{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}'
    wire = [encode_event(data), encode_event(data), encode_event(data, name), encode_event(data)]
    assert openai_chunks(wire, ALIKE_TRIES_MAX) == openai_chunks(wire, 0)


@pytest.mark.parametrize("said", [b'"b","x":"c"', b'"b" ', b"7", b"null", b'""', b'"\\ud800"', b'"\xff"', b'"a""b"'])
def test_what_only_looks_like_the_chunk_before_is_parsed(said: bytes) -> None:
    frame = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":%b}}]}\n\n'
    wire = [frame % b'"a"', frame % b'"a"', frame % said, frame % b'"a"', b"data: [DONE]\n\n"]
    assert openai_chunks(wire, ALIKE_TRIES_MAX) == openai_chunks(wire, 0)


def test_a_provider_whose_chunks_are_never_alike_is_not_compared_for_long() -> None:
    reader = OpenaiStreamReader()
    compared = []
    for nth in range(ALIKE_TRIES_MAX + 3):
        reader.feed(b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"}}],"x":"%d"}\n\n' % nth)
        compared.append(reader._alike is not None)
    assert compared == [False, *[True] * ALIKE_TRIES_MAX, False, False], "the first chunk begins the block too"
