"""A JSON array that arrives as a stream: elements are found at any split of the bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busbar.protocols.framing import FrameTooLarge
from busbar.protocols.framing.json_array import JsonArraySplitter, JsonArrayWriter, NotAnArray

TEXTS = st.text(alphabet=st.sampled_from('ab"\\[]{}, \n\t/é😀'), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def split(wire: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(cut % (len(wire) + 1) for cut in cuts)
    return [wire[start:end] for start, end in zip([0, *places], [*places, len(wire)], strict=True)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(VALUES, max_size=4),
    st.lists(st.integers(min_value=0, max_value=10_000), max_size=12),
    st.sampled_from([0, 1, 2]),
)
def test_elements_are_the_same_at_any_split(values: list[Any], cuts: list[int], indent: int) -> None:
    wire = b"\r\n " + msgspec.json.format(msgspec.json.encode(values), indent=indent) + b"\n"
    splitter = JsonArraySplitter()
    elements = [element for piece in split(wire, cuts) for element in splitter.feed(piece)]
    assert [msgspec.json.decode(element) for element in elements] == values
    assert splitter.closed


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, max_size=4))
def test_what_is_written_is_read_again(values: list[Any]) -> None:
    writer = JsonArrayWriter()
    wire = b"".join(writer.element(msgspec.json.encode(value)) for value in values) + writer.close()
    assert msgspec.json.decode(wire) == values
    splitter = JsonArraySplitter()
    assert [msgspec.json.decode(element) for element in splitter.feed(wire)] == values


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=8))
def test_garbage_is_refused_or_waited_for_and_never_loops(pieces: list[bytes]) -> None:
    splitter = JsonArraySplitter(bound_bytes=64)
    try:
        for piece in [b"[", *pieces]:
            splitter.feed(piece)
    except FrameTooLarge:
        pass


def test_an_object_is_given_as_soon_as_it_is_whole() -> None:
    splitter = JsonArraySplitter()
    assert splitter.feed(b'[{"a": 1}') == [b'{"a": 1}']
    assert splitter.feed(b',\r\n{"b": "]"') == []
    assert splitter.feed(b"}\n]") == [b'{"b": "]"}']
    assert splitter.closed


def test_an_escape_at_the_end_of_a_piece_waits_for_what_it_escapes() -> None:
    splitter = JsonArraySplitter()
    assert splitter.feed(b'["a\\') == []
    assert splitter.feed(b'"b"]') == [b'"a\\"b"']


def test_what_follows_the_array_is_ignored() -> None:
    splitter = JsonArraySplitter()
    assert splitter.feed(b"[1] trailing") == [b"1"]
    assert splitter.feed(b"[2]") == []


def test_something_else_than_an_array_is_refused() -> None:
    with pytest.raises(NotAnArray):
        JsonArraySplitter().feed(b' {"error": 1}')


def test_an_element_over_the_bound_is_refused() -> None:
    splitter = JsonArraySplitter(bound_bytes=10)
    with pytest.raises(FrameTooLarge):
        splitter.feed(b'["aaaaaaaaaaaaaaaa')


def test_an_array_of_nothing_is_still_an_array() -> None:
    assert JsonArrayWriter().close() == b"[]"
