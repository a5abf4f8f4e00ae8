"""Eventstream messages are cut at any split, checked, typed, and the same as botocore's."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.framing import BrokenFraming, CorruptFrame, FrameTooLarge
from busbar.protocols.framing.eventstream import (
    EventStreamDecoder,
    EventStreamMessage,
    EventStreamSplitter,
    decode_message,
    encode_message,
    frame_of,
)
from busbar.protocols.framing.eventstream_headers import HeaderValue
from busbar.protocols.framing.eventstream_tap import EventStreamTap

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = st.text(min_size=1, max_size=20)
VALUES: st.SearchStrategy[HeaderValue] = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=40),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 4_000_000_000_000).map(lambda ms: EPOCH + timedelta(milliseconds=ms)),
    st.uuids(),
)
MESSAGES = st.builds(EventStreamMessage, st.dictionaries(NAMES, VALUES, max_size=4), st.binary(max_size=200))
CUTS = st.lists(st.integers(0, 10_000), max_size=20)
HELLO = encode_message({":event-type": "greeting"}, b"hello")
WORLD = encode_message({":event-type": "place"}, b"world")


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *edges], [*edges, len(data)], strict=True)]


def decode(pieces: list[bytes]) -> list[EventStreamMessage]:
    decoder = EventStreamDecoder()
    return [message for piece in pieces for message in decoder.feed(piece)]


def test_a_message_has_the_layout_of_the_specification() -> None:
    header = b"\x0b:event-type\x07\x00\x04text"
    prelude = struct.pack(">II", 12 + len(header) + 2 + 4, len(header))
    body = prelude + struct.pack(">I", crc32(prelude)) + header + b"hi"
    assert encode_message({":event-type": "text"}, b"hi") == body + struct.pack(">I", crc32(body))


def test_every_header_type_is_read() -> None:
    headers = b"".join(
        [
            b"\x01a\x00",
            b"\x01b\x01",
            b"\x01c\x02\xff",
            b"\x01d\x03\xff\xfe",
            b"\x01e\x04\x00\x01\x00\x00",
            b"\x01f\x05" + struct.pack(">q", -(2**40)),
            b"\x01g\x06\x00\x02\x00\xff",
            b"\x01h\x07\x00\x02\xc3\xa4",
            b"\x01i\x08" + struct.pack(">q", 1500),
            b"\x01j\x09" + bytes(range(16)),
        ]
    )
    assert decode([frame_of(headers, b"")])[0].headers == {
        "a": True,
        "b": False,
        "c": -1,
        "d": -2,
        "e": 65536,
        "f": -(2**40),
        "g": b"\x00\xff",
        "h": "ä",
        "i": EPOCH + timedelta(seconds=1.5),
        "j": UUID(bytes=bytes(range(16))),
    }


@given(st.lists(MESSAGES, max_size=5), CUTS)
def test_messages_come_back_at_any_split(messages: list[EventStreamMessage], cuts: list[int]) -> None:
    data = b"".join(encode_message(message.headers, message.payload) for message in messages)
    assert decode(split_at(data, cuts)) == messages


@given(
    st.lists(st.tuples(st.dictionaries(NAMES, st.text(max_size=40), max_size=4), st.binary(max_size=200)), max_size=4)
)
def test_botocore_reads_what_is_written(messages: list[tuple[dict[str, str], bytes]]) -> None:
    buffer = EventStreamBuffer()
    for headers, payload in messages:
        buffer.add_data(encode_message(headers, payload))
    assert [(event.headers, event.payload) for event in buffer] == messages


@given(st.binary(max_size=400), CUTS)
def test_bytes_that_are_no_messages_give_none(data: bytes, cuts: list[int]) -> None:
    splitter = EventStreamSplitter()
    passed = b""
    try:
        for piece in split_at(data, cuts):
            passed += b"".join(splitter.feed(piece))
    except BrokenFraming:
        assert passed == b""
    else:
        assert passed + splitter.rest == data


@given(st.integers(0, len(HELLO) - 1), st.integers(1, 255), CUTS)
def test_a_corrupt_message_never_passes(at: int, flip: int, cuts: list[int]) -> None:
    corrupt = HELLO[:at] + bytes((HELLO[at] ^ flip,)) + HELLO[at + 1 :]
    splitter = EventStreamSplitter()
    passed: list[bytes] = []

    def feed_all() -> None:
        for piece in [*split_at(WORLD + corrupt + WORLD, cuts), b""]:
            passed.extend(splitter.feed(piece))

    with pytest.raises(CorruptFrame):
        feed_all()
    assert passed == [WORLD]
    with pytest.raises(CorruptFrame):
        splitter.feed(WORLD)


def test_good_messages_before_a_corrupt_one_are_given_first() -> None:
    splitter = EventStreamSplitter()
    assert splitter.feed(HELLO + b"\xff" * 20) == [HELLO]
    with pytest.raises(CorruptFrame):
        splitter.feed(b"")


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05name",
        b"\x01a\x07\x00\x05abc",
        b"\x01a\x07\x00",
        b"\x01a\x0a",
        b"\x01a\x04\x00",
        b"\x01a\x07\x00\x01\xff",
        b"\x01a\x09abc",
        b"\x01a\x00\x01a\x00",
        b"\x01a\x08" + b"\x7f" * 8,
    ],
)
def test_headers_that_are_not_well_formed_are_corrupt(headers: bytes) -> None:
    with pytest.raises(CorruptFrame):
        decode([frame_of(headers, b"{}")])


def test_lengths_that_cannot_be_are_corrupt() -> None:
    lengths = struct.pack(">II", 20, 10)
    with pytest.raises(CorruptFrame):
        EventStreamSplitter().feed(lengths + struct.pack(">I", crc32(lengths)))


def test_a_message_over_the_bound_is_refused_before_it_is_there() -> None:
    lengths = struct.pack(">II", 17 * 1024 * 1024, 0)
    with pytest.raises(FrameTooLarge):
        EventStreamSplitter().feed(lengths + struct.pack(">I", crc32(lengths)))


@pytest.mark.parametrize(
    "headers",
    [{"": "x"}, {"n" * 256: "x"}, {"a": "x" * 65_536}, {"a": 2**63}, {str(n): "x" * 60_000 for n in range(3)}],
)
def test_headers_that_have_no_place_are_not_written(headers: dict[str, HeaderValue]) -> None:
    with pytest.raises(ValueError, match=r"has|long"):
        encode_message(headers, b"")


def tap() -> EventStreamTap:
    def inspect(tap: EventStreamTap, message: EventStreamMessage) -> None:
        tap.content = tap.content or message.headers[":event-type"] == "greeting"
        tap.ended = message.headers[":event-type"] == "place"

    return EventStreamTap(inspect, lambda frame: frame == HELLO, lambda report: b"broken")


@given(CUTS)
def test_the_tap_passes_whole_messages_as_they_came_and_nothing_after_the_end(cuts: list[int]) -> None:
    watching = tap()
    passed = b"".join(watching.feed(piece) for piece in split_at(HELLO * 2 + WORLD + HELLO, cuts))
    assert passed + watching.close() == HELLO * 2 + WORLD
    assert (watching.content, watching.ended) == (True, True)


def test_the_tap_keeps_a_broken_tail_back() -> None:
    watching = tap()
    assert watching.feed(HELLO + WORLD[:-1]) == HELLO
    assert (watching.close(), watching.ended) == (b"", False)
    assert watching.break_off(ErrorReport(kind=ErrorKind.UPSTREAM, message="Cut.")) == b"broken"


def test_the_tap_never_passes_corrupt_bytes() -> None:
    watching = tap()
    with pytest.raises(CorruptFrame):
        watching.feed(HELLO[:-1] + b"\x00")


def test_a_decoded_message_is_what_was_cut() -> None:
    assert decode_message(HELLO) == EventStreamMessage({":event-type": "greeting"}, b"hello")
