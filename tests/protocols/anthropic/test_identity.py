"""Recorded traffic goes dialect → IR → same dialect and comes back equal; nothing is normalised but framing."""

from __future__ import annotations

import copy
import random
import re
from itertools import pairwise

import msgspec
import pytest

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.framing.sse import SseDecoder
from busbar.protocols.ir import BlockStart, BlockStop, Chunk, Ended, Errored, Started, Stopped, UsageSeen
from busbar.protocols.native import own_fields
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream

SPLITS_PER_STREAM = 3


def messages_of(recording: Recording) -> list[bytes]:
    """The recorded streams. One recording holds the answers of several requests behind one another."""
    text = recording.response.body_text or ""
    starts = [found.start() for found in re.finditer(r"^event: message_start$", text, re.MULTILINE)]
    edges = [0, *starts[1:], len(text)]
    return [text[begin:end].encode() for begin, end in pairwise(edges)]


def randomly_split(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(len(data) + 1), k=min(len(data), rng.choice((1, 7, 60)))))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def read_stream(pieces: list[bytes]) -> list[Chunk]:
    reader = PROTOCOL.stream_reader()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.close()
    assert reader.malformed == 0
    return chunks


def wire_events(data: bytes) -> list[tuple[str, object]]:
    decoder = SseDecoder()
    return [(event.event, msgspec.json.decode(event.data)) for event in decoder.feed(data) + decoder.close()]


def written(chunks: list[Chunk]) -> tuple[bytes, Receipt]:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(Hop(), receipt)
    return b"".join(writer.write(chunk) for chunk in chunks), receipt


@pytest.mark.parametrize("recording", recordings("anthropic", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    document = recording.request.body
    untouched = copy.deepcopy(document)
    receipt = Receipt()
    back = PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), receipt)
    assert back == untouched
    assert document == untouched
    assert len(receipt) == 0


@pytest.mark.parametrize("recording", recordings("anthropic", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    document = recording.response.body
    untouched = copy.deepcopy(document)
    receipt = Receipt()
    back = PROTOCOL.write_response(PROTOCOL.read_response(document), Hop(), receipt)
    assert back == untouched
    assert document == untouched
    assert len(receipt) == 0


@pytest.mark.parametrize("recording", recordings("anthropic", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    for message in messages_of(recording):
        expected = wire_events(message)
        whole = read_stream([message])
        back, receipt = written(whole)
        assert wire_events(back) == expected
        assert len(receipt) == 0
        for seed in range(SPLITS_PER_STREAM):
            assert read_stream(randomly_split(message, seed)) == whole


@pytest.mark.parametrize("recording", recordings("anthropic", lambda r: r.number in (38, 66, 109, 140)))
def test_stream_is_read_byte_by_byte(recording: Recording) -> None:
    (message,) = messages_of(recording)
    assert read_stream([message[i : i + 1] for i in range(len(message))]) == read_stream([message])


@pytest.mark.parametrize("recording", recordings("anthropic", with_stream))
def test_blocks_open_and_close_in_balance_and_the_end_comes_once(recording: Recording) -> None:
    for message in messages_of(recording):
        events = [event for chunk in read_stream([message]) for event in chunk.events]
        starts = [event.index for event in events if isinstance(event, BlockStart)]
        assert starts == list(range(len(starts)))
        ends = [event for event in events if isinstance(event, Ended | Errored)]
        assert len(ends) == 1
        assert events[-1] is ends[0]
        if isinstance(ends[0], Ended):
            stops = [event.index for event in events if isinstance(event, BlockStop)]
            assert sorted(stops) == starts
            (stopped,) = [place for place, event in enumerate(events) if isinstance(event, Stopped)]
            assert not any(isinstance(event, BlockStart | BlockStop) for event in events[stopped:])


@pytest.mark.parametrize("recording", recordings("anthropic", with_request))
def test_nothing_that_the_ir_can_say_is_left_over_on_a_request(recording: Recording) -> None:
    request = PROTOCOL.read_request(recording.request.body)
    left = own_fields(request, "anthropic")
    assert not {key for key, value in left.items() if value is not None} & {
        *("model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k"),
        *("stop_sequences", "stream", "thinking", "output_format"),
    }
    assert not {"user_id"} & set(left.get("metadata", {}))
    assert not {"format"} & set(left.get("output_config", {}))
    allowed = {"caller", "tool_name", "citations"}
    for message in request.messages:
        assert own_fields(message, "anthropic") == {}
        for part in message.parts:
            kept = getattr(part, "native", None)
            assert kept is None or set(kept.fields) <= allowed


@pytest.mark.parametrize("recording", recordings("anthropic", with_stream))
def test_tap_agrees_with_the_reader(recording: Recording) -> None:
    for number, message in enumerate(messages_of(recording)):
        events = [event for chunk in read_stream([message]) for event in chunk.events]
        tap = PROTOCOL.stream_tap()
        passed = b"".join(tap.feed(piece) for piece in randomly_split(message, number)) + tap.close()
        assert message.startswith(passed)
        assert passed.strip() == message.strip()
        errors = [event.signal for event in events if isinstance(event, Errored)]
        assert tap.ended is any(isinstance(event, Ended) for event in events)
        assert [tap.error] == (errors or [None])
        assert counts(tap.usage) == counts(usage_of(events))
        assert tap.content is any(isinstance(event, BlockStart) for event in events)


def usage_of(events: list[object]) -> Usage | None:
    usage: Usage | None = None
    for event in events:
        if isinstance(event, Started | UsageSeen) and event.usage is not None:
            usage = event.usage if usage is None else usage.merged(event.usage)
    return usage


def counts(usage: Usage | None) -> tuple[int | None, ...] | None:
    if usage is None:
        return None
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


@pytest.mark.parametrize("recording", recordings("anthropic", with_answer))
def test_a_light_look_finds_the_usage_that_the_reader_finds(recording: Recording) -> None:
    seen = PROTOCOL.inspect_response(recording.response.wire)
    assert counts(seen.usage) == counts(PROTOCOL.read_response(recording.response.body).usage)
    assert seen.error is None
