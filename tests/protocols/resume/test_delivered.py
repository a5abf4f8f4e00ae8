"""What the caller has, and the request by which a model is asked to go on from there."""

from __future__ import annotations

import pytest

from busbar.protocols.ir import (
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Event,
    Message,
    Opaque,
    OpaqueEvent,
    Part,
    Reasoning,
    RedactedThinking,
    Refusal,
    Request,
    SignatureDelta,
    Started,
    Stop,
    Stopped,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    UsageSeen,
)
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.resume import Delivered, Diverged, prefill_of, prefilled
from busbar.protocols.resume.delivered import BLOCKS_MAX, CHARS_MAX, Block
from busbar.protocols.resume.onward import Onward
from busbar.protocols.usage import Usage
from tests.protocols.resume.streams import HOP, block, call, text, thinking

ANTHROPIC = PROTOCOLS["anthropic"]


def delivered(*events: Event) -> Delivered:
    found = Delivered(HOP)
    found.see(Chunk(events=[Started(id="id-1", model="m"), *events]))
    return found


def said(part: Part, *deltas: Event) -> list[Event]:
    return [BlockStart(index=0, part=part), *deltas, BlockStop(index=0)]


def test_what_is_delivered_is_told_as_the_shortest_stream() -> None:
    stop = Stopped(stop=Stop(reason=StopReason.END_TURN))
    cited = CitationDelta(index=1, citation=Citation(url="u"))
    found = delivered(
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="h"),
        ThinkingDelta(index=0, text="m"),
        SignatureDelta(index=0, signature="s", signer="anthropic"),
        BlockStop(index=0),
        BlockStart(index=1, part=Text(text="a")),
        TextDelta(index=1, text="b"),
        cited,
        UsageSeen(usage=Usage(input_tokens=3)),
        stop,
    )
    assert found.events() == [
        Started(id="id-1", model="m"),
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="hm"),
        SignatureDelta(index=0, signature="s", signer="anthropic"),
        BlockStop(index=0),
        BlockStart(index=1, part=Text(text="")),
        TextDelta(index=1, text="ab"),
        cited,
        UsageSeen(usage=Usage(input_tokens=3)),
        stop,
    ]
    assert found.spent == Usage(input_tokens=3, output_tokens=1)


@pytest.mark.parametrize(
    "events",
    [
        said(Refusal(text="no")),
        said(Opaque(dialect="anthropic", kind="server_tool_use", value={})),
        [OpaqueEvent(dialect="openai", kind="k", value={})],
        [BlockStart(choice=1, index=0, part=Text(text=""))],
        said(Text(text=""), TextDelta(index=0, text="x" * (CHARS_MAX + 1))),
        [BlockStart(index=index, part=Text(text="")) for index in range(BLOCKS_MAX + 1)],
    ],
    ids=["refusal", "opaque block", "opaque event", "second choice", "too much text", "too many blocks"],
)
def test_some_answers_are_not_insured(events: list[Event]) -> None:
    found = delivered(*events)
    assert not found.insured
    assert found.blocks == [], "and need no memory"


@pytest.mark.parametrize(
    ("blocks", "prefill"),
    [
        ([text("Hello ")], "Hello"),
        ([thinking("hm", whole=True), text("Hello", whole=True), text(" you")], "Hello you"),
        ([block(RedactedThinking(data="x"), "", whole=True), text("a")], "a"),
        ([text(" \n")], None),
        ([thinking("hm")], None),
        ([text("a", whole=True), call("look", "{}")], None),
        ([text("a", whole=True), thinking("hm")], None),
        ([], None),
    ],
)
def test_what_can_be_gone_on_from(blocks: list[Block], prefill: str | None) -> None:
    found = Delivered(HOP)
    found.blocks = blocks
    assert prefill_of(found) == prefill


@pytest.mark.parametrize(
    ("has", "pieces", "fresh"),
    [
        ("Hello", [" wor", "ld"], [" wor", "ld"]),
        ("Hello \n", [" \nworld"], ["world"]),
        ("Hello \n", [" ", "world"], ["", "world"]),
        ("Hello ", ["world"], ["world"]),
        ("ha ha", [" ha", " ha"], [" ha", " ha"]),
        ("It was a dark and stormy night", ["It was a dark", " and stormy night", ", so"], ["", "", ", so"]),
        ("It was a dark and stormy night", ["It was", " mine."], ["", "It was mine."]),
        ("It was a dark and stormy night ", ["It was", " mine."], ["", "It was mine."]),
    ],
)
def test_what_follows_a_prefill(has: str, pieces: list[str], fresh: list[str]) -> None:
    onward = Onward(has, has.rstrip())
    assert [onward.take(piece) for piece in pieces] == fresh
    assert onward.rest() == ""


def test_an_answer_that_ends_like_it_began_is_not_lost() -> None:
    onward = Onward("It was a dark and stormy night, said he. ", "It was a dark and stormy night, said he.")
    assert (onward.take("It was"), onward.rest()) == ("", "It was")


def test_a_model_that_begins_anew_and_says_something_else_is_found_out() -> None:
    onward = Onward("It was a dark and stormy night", "It was a dark and stormy night")
    assert onward.take("It was a dark and stormy") == ""
    with pytest.raises(Diverged):
        onward.take(" day")
    short = Onward("It was a dark and stormy night", "It was a dark and stormy night")
    assert short.take("It was a dark and stormy") == ""
    with pytest.raises(Diverged):
        short.rest()


def asked(**more: object) -> Request:
    return Request(model="m", messages=[Message(role="user", parts=[Text(text="Go")])], **more)  # type: ignore[arg-type]


def test_the_request_ends_with_what_was_said_and_asks_for_no_more_thinking() -> None:
    request = asked(max_tokens=100, reasoning=Reasoning(enabled=True, budget_tokens=50))
    going_on = prefilled(request, "x" * 40, ANTHROPIC, HOP)
    assert [(message.role, [part.text for part in message.parts]) for message in going_on.messages] == [  # type: ignore[union-attr]
        ("user", ["Go"]),
        ("assistant", ["x" * 40]),
    ]
    assert (going_on.reasoning, going_on.max_tokens) == (None, 90)
    assert len(request.messages) == 1, "every attempt starts from the caller's own"
    off = Reasoning(enabled=False)
    assert prefilled(asked(max_tokens=5, reasoning=off), "x" * 40, ANTHROPIC, HOP).reasoning == off
    assert prefilled(asked(max_tokens=5), "x" * 40, ANTHROPIC, HOP).max_tokens == 1


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_request_of_any_dialect_can_be_prefilled(name: str) -> None:
    protocol = PROTOCOLS[name]
    own = protocol.read_request(protocol.write_request(asked(max_tokens=100), HOP, Receipt()))
    written = protocol.write_request(prefilled(own, "So far", protocol, HOP), HOP, Receipt())
    last = protocol.read_request(written).messages[-1]
    assert (last.role, [part.text for part in last.parts]) == ("assistant", ["So far"])  # type: ignore[union-attr]
