"""Wherever a stream breaks, whoever goes on with it: the caller reads one whole answer."""

from __future__ import annotations

import itertools
import re

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from busbar.protocols.ir import Part, Text, Thinking, ToolUse
from busbar.protocols.protocol import Protocol
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.resume import prefill_of
from busbar.protocols.resume.onward import AGAIN_CHARS_MIN
from busbar.protocols.usage import Usage
from tests.protocols.resume.streams import Broken, heard, wire
from tests.protocols.strategies import Said
from tests.protocols.test_all_dialects import balanced, content_of, expected, usage_of

DIALECTS = list(PROTOCOLS.values())
every_caller = pytest.mark.parametrize("caller", DIALECTS, ids=lambda protocol: protocol.name)

_words = st.lists(st.sampled_from(("yes", "no,", "perhaps", "über", "\n", "it is so.", "😀")), min_size=1, max_size=9)
_texts = _words.map(" ".join)
_arguments = st.dictionaries(st.sampled_from("ab"), st.integers(0, 9) | _texts, max_size=2).map(
    lambda value: msgspec.json.encode(value).decode()
)


@st.composite
def answers(draw: st.DrawFn) -> list[Part]:
    """Thinking, text and calls, as models order them."""
    parts: list[Part] = [Thinking(text=draw(_texts))] if draw(st.booleans()) else []
    parts += [Text(text=draw(_texts))] if draw(st.booleans()) else []
    for at in range(draw(st.integers(0 if parts else 1, 2))):
        parts.append(
            ToolUse(id=f"call_{at}", name=draw(st.sampled_from(("look", "find"))), arguments=draw(_arguments))
        )
    return parts


def said(parts: list[Part]) -> Said:
    return Said(parts=parts, stop=None, usage=Usage())  # type: ignore[arg-type]


def numbers_count(out: bytes) -> bool:
    numbers = [int(found) for found in re.findall(rb'"sequence_number":(\d+)}', out)]
    return numbers == list(range(len(numbers)))


def check(caller: Protocol, out: bytes, parts: list[Part]) -> None:
    events = heard(caller, out)
    balanced(events)
    assert content_of(events) == expected(said(parts))
    assert caller.name != "responses" or numbers_count(out)


@every_caller
@settings(max_examples=120, deadline=None)
@given(parts=answers(), data=st.data())
def test_from_the_start(caller: Protocol, parts: list[Part], data: st.DataObject) -> None:
    first, second = data.draw(st.sampled_from(DIALECTS)), data.draw(st.sampled_from(DIALECTS))
    pieces = wire(first, parts, size=data.draw(st.integers(1, 9)))
    broken = Broken(first, caller, pieces[: data.draw(st.integers(1, len(pieces) - 1))])
    assume(broken.pipe.content and not broken.pipe.ended and broken.delivered.stop is None)
    again = broken.go_on(second, wire(second, parts, size=data.draw(st.integers(1, 9)), name="id-2"))
    assert again.ended
    check(caller, broken.out, parts)


@every_caller
@settings(max_examples=120, deadline=None)
@given(thought=st.none() | _texts, text=_texts, data=st.data())
def test_from_a_prefill(caller: Protocol, thought: str | None, text: str, data: st.DataObject) -> None:
    """Whether the model says the white space after the prefill or not, goes on or begins anew, thinks or not."""
    parts: list[Part] = [Text(text=text)] if thought is None else [Thinking(text=thought), Text(text=text)]
    first, second = data.draw(st.sampled_from(DIALECTS)), data.draw(st.sampled_from(DIALECTS))
    pieces = wire(first, parts, size=data.draw(st.integers(1, 9)))
    broken = Broken(first, caller, pieces[: data.draw(st.integers(1, len(pieces) - 1))])
    prefill = prefill_of(broken.delivered)
    assume(prefill is not None and not broken.pipe.ended and broken.delivered.stop is None)
    assert prefill is not None
    has = broken.delivered.text
    manner = data.draw(st.sampled_from((len(prefill), len(has), 0 if len(has) >= AGAIN_CHARS_MIN else len(prefill))))
    rest = text[manner:]
    assume(manner != len(has) > len(prefill) or not rest[:1].isspace())  # said again, or more of it: who could tell?
    assume(manner == 0 or not rest.startswith(text[:AGAIN_CHARS_MIN]))  # nor a refrain from a new beginning
    on: list[Part] = [Thinking(text="hm")] if data.draw(st.booleans()) else []
    on += [Text(text=rest)] if rest else []
    again = broken.go_on(second, wire(second, on, size=data.draw(st.integers(1, 9)), name="id-2"), prefill)
    assert again.ended
    check(caller, broken.out, parts)


@pytest.mark.parametrize("names", list(itertools.permutations(("openai", "anthropic", "gemini"))), ids="-".join)
@every_caller
def test_broken_twice(caller: Protocol, names: tuple[str, str, str]) -> None:
    """What the second one said is delivered, too. And the caller is told what all of them used."""
    parts: list[Part] = [Text(text="one two three four five six")]
    first, second, third = (PROTOCOLS[name] for name in names)
    broken = Broken(first, caller, wire(first, parts)[:4])
    again, pieces = broken.resume(second), iter(wire(second, parts))
    while not again.content:
        broken.out += again.feed(next(pieces))
    has, spent = broken.delivered.text, broken.delivered.spent
    assert "one two" < has < "one two three four five six"
    broken.go_on(third, wire(third, parts))
    check(caller, broken.out, parts)
    told = usage_of(heard(caller, broken.out))
    assert spent.output_tokens is not None
    assert spent.output_tokens >= len(has) // 4, "nobody said, so it is estimated"
    assert (told.prompt_tokens, told.output_tokens) == (spent.prompt_tokens + 10, spent.output_tokens + 7)


@pytest.mark.parametrize("second", DIALECTS, ids=lambda protocol: protocol.name)
def test_a_json_array_stays_one(second: Protocol) -> None:
    caller = PROTOCOLS["gemini"]
    parts: list[Part] = [Text(text="one two three four five six")]
    broken = Broken(caller, caller, wire(caller, parts)[:3], framing="array")
    broken.go_on(second, wire(second, parts))
    document = msgspec.json.decode(broken.out)
    texts = [part.get("text", "") for chunk in document for part in chunk["candidates"][0]["content"]["parts"]]
    assert "".join(texts) == "one two three four five six"
