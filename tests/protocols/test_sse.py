"""Frames are found at any split of the bytes, and no byte is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.framing import FrameTooLarge
from busbar.protocols.framing.sse import SseDecoder, SseEvent, SseSplitter, encode_event


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *edges], [*edges, len(data)], strict=True)]


def decode(pieces: list[bytes]) -> list[SseEvent]:
    decoder = SseDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


STREAM = (
    b'\xef\xbb\xbf: hello\n\nevent: message_start\ndata: {"a":1}\n\n'
    b"data: first\r\ndata: second\r\n\r\nevent:tight\rdata:three\r\r"
    b"id: 7\nretry: 10\n\ndata: \xc3\xa4\xf0\x9f\x98\x80\n\ndata:\n\ndata: [DONE]\n\n"
)
EVENTS = [
    SseEvent("message_start", b'{"a":1}'),
    SseEvent("", b"first\nsecond"),
    SseEvent("tight", b"three"),
    SseEvent("", "ä😀".encode()),
    SseEvent("", b""),
    SseEvent("", b"[DONE]"),
]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_every_single_cut_gives_the_same_events(cut: int) -> None:
    assert decode([STREAM[:cut], STREAM[cut:]]) == EVENTS


@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=40))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    assert decode(split_at(STREAM, cuts)) == EVENTS


@given(
    st.lists(st.sampled_from([b"data: x", b": c", b"\n", b"\r", b"\r\n", b"\n\n", b"event: e", b""]), max_size=30),
    st.lists(st.integers(min_value=0, max_value=10_000), max_size=10),
)
def test_frames_and_rest_are_the_input_and_do_not_depend_on_the_split(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(lines)
    whole, cut = SseSplitter(), SseSplitter()
    at_once = whole.feed(data)
    in_pieces = [frame for piece in split_at(data, cuts) for frame in cut.feed(piece)]
    assert b"".join(at_once) + whole.rest == data
    assert in_pieces == at_once
    assert cut.rest == whole.rest


def test_an_unfinished_frame_is_bounded() -> None:
    splitter = SseSplitter(bound_bytes=10)
    splitter.feed(b"data: x\n\n" * 5)
    with pytest.raises(FrameTooLarge):
        splitter.feed(b"data: longer than that")


def test_a_last_frame_without_its_blank_line_is_still_an_event() -> None:
    assert decode([b"data: one\n\ndata: two"]) == [SseEvent("", b"one"), SseEvent("", b"two")]


def test_encoded_events_decode_to_themselves() -> None:
    wire = encode_event(b'{"x":1}', "ping") + encode_event(b"[DONE]")
    assert decode([wire]) == [SseEvent("ping", b'{"x":1}'), SseEvent("", b"[DONE]")]


@given(
    st.lists(
        st.sampled_from(
            [b"data: x", b"data:  y", b"data:z", b"data", b": c", b"event: e", b"event:f", b"id: 1", b""]
        ),
        max_size=20,
    ),
    st.lists(st.integers(min_value=0, max_value=10_000), max_size=5),
)
def test_line_feeds_and_carriage_returns_give_the_same_events(lines: list[bytes], cuts: list[int]) -> None:
    """Streams without carriage returns go a shorter way through the code."""
    plain = b"".join(line + b"\n" for line in lines)
    expected = decode([plain.replace(b"\n", b"\r\n")])
    assert decode([plain]) == expected
    assert decode(split_at(plain, cuts)) == expected
    assert decode(plain.splitlines(keepends=True)) == expected
