"""What callers' dialects cannot carry comes back on the next turn, to the provider that gave it and to no other."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.continuity import THINKING_CHARS_MAX, Kept, TurnCollector, asked_text, keys_of, restore
from busbar.protocols.ids import IdStyle
from busbar.protocols.ir import (
    BlockStart,
    Message,
    Part,
    RedactedThinking,
    Request,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolResult,
    ToolUse,
)
from busbar.protocols.seal import MARK, STATE_BYTES_MAX, opened, sealed, without_seals

CALL = IdStyle("call_", 40)
THOUGHT = Thinking(text="hm", signature="sig", signer="anthropic")
REDACTED = RedactedThinking(data="opaque", signer="anthropic")


def collected(*parts: Part, asked: str = "q", own: str = "openai") -> dict[str, Kept]:
    collector = TurnCollector(asked, CALL, own)
    for part in parts:
        collector.see_part(part)
    return collector.entries()


def call(name: str = "toolu_1", **more: Any) -> ToolUse:
    return ToolUse(id=name, name="t", arguments="{}", **more)


def conversation(*parts: Part) -> Request:
    asked = Message(role="user", parts=[Text(text="q")])
    return Request(model="m", messages=[asked, Message(role="assistant", parts=list(parts))])


def test_a_turn_with_calls_is_known_by_each_of_them_as_the_caller_sees_it() -> None:
    entries = collected(THOUGHT, call("toolu_1"), call("toolu_2"))
    assert set(entries) == {"call:call_1", "call:call_2"}
    assert entries["call:call_1"] == Kept(signer="anthropic", thinking=(THOUGHT,))


def test_thinking_stands_in_front_again_in_place_of_what_the_caller_showed() -> None:
    kept = collected(THOUGHT, REDACTED, Text(text="so"), call())
    request = conversation(Thinking(text="hm"), Text(text="so"), call("call_1"))
    restore(request, kept, "anthropic")
    assert request.messages[1].parts == [THOUGHT, REDACTED, Text(text="so"), call("call_1")]


@pytest.mark.parametrize("target", ["openai", "gemini", ""])
def test_a_foreign_signature_is_never_sent(target: str) -> None:
    request = conversation(call("call_1"))
    restore(request, collected(THOUGHT, call()), target)
    assert request.messages[1].parts == [call("call_1")]


def test_a_turn_without_calls_is_known_by_question_and_answer() -> None:
    entries = collected(THOUGHT, Text(text="a"))
    request = conversation(Text(text="a"))
    assert keys_of(request) == tuple(entries)
    restore(request, entries, "anthropic")
    assert request.messages[1].parts == [THOUGHT, Text(text="a")]
    for other in (conversation(Text(text="b")), conversation()):
        assert not set(keys_of(other)) & set(entries)
    assert not set(collected(THOUGHT, Text(text="a"), asked="other")) & set(entries)


def test_signatures_of_calls_and_texts_go_back_to_them() -> None:
    entries = collected(call("a", signature="s1", signer="gemini"), call("b"))
    request = conversation(call("a"), call("b"))
    restore(request, entries, "gemini")
    assert request.messages[1].parts == [call("a", signature="s1", signer="gemini"), call("b")]
    said = Text(text="a", signature="s2", signer="gemini")
    request = conversation(Text(text="a"))
    restore(request, collected(said), "gemini")
    assert request.messages[1].parts == [said]


def test_a_streamed_turn_is_collected_like_a_whole_one() -> None:
    collector = TurnCollector("q", CALL, "openai")
    for event in (
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="h"),
        ThinkingDelta(index=0, text="m"),
        SignatureDelta(index=0, signature="si", signer="anthropic"),
        SignatureDelta(index=0, signature="g", signer="anthropic"),
        BlockStart(index=1, part=Text(text="")),
        TextDelta(index=1, text="s"),
        TextDelta(index=1, text="o"),
    ):
        collector.see(event)
    assert collector.entries() == collected(THOUGHT, Text(text="so"))


def test_nothing_is_kept_of_what_was_not_signed_or_is_the_callers_own_dialects() -> None:
    assert collected(Thinking(text="hm"), Text(text="a"), call()) == {}
    assert collected(THOUGHT, call(), own="anthropic") == {}


def test_half_a_thought_is_never_sent_back() -> None:
    entries = collected(Thinking(text="unsigned"), THOUGHT, call())
    assert entries["call:call_1"].thinking == (THOUGHT,)
    long = Thinking(text="x" * (THINKING_CHARS_MAX + 1), signature="s", signer="anthropic")
    assert collected(long, call()) == {}


def test_what_was_asked_is_everything_since_the_last_answer() -> None:
    result = ToolResult(tool_use_id="1", content=[Text(text="inside")])
    messages = [
        Message(role="user", parts=[Text(text="old")]),
        Message(role="assistant", parts=[Text(text="answer")]),
        Message(role="user", parts=[result, Text(text="new")]),
        Message(role="user", parts=[Text(text="er")]),
    ]
    assert asked_text(messages) == "new\0er"


ROOMY = IdStyle("", 4096)


def sealed_turn(*thoughts: Part, **more: Any) -> str:
    """The id under which a caller whose dialect has room gets the call of a turn."""
    collector = TurnCollector("q", ROOMY, "cohere")
    for thought in thoughts:
        collector.see_part(thought)
    return collector.sealed(call(**more))


def test_where_ids_have_room_the_state_outlives_a_restart() -> None:
    seen = sealed_turn(THOUGHT, REDACTED)
    request = conversation(call(seen))
    request.messages.append(Message(role="tool", parts=[ToolResult(tool_use_id=seen)]))
    restore(request, {}, "anthropic")
    assert request.messages[1].parts == [THOUGHT, REDACTED, call("toolu_1")]
    assert request.messages[2].parts == [ToolResult(tool_use_id="toolu_1")]


def test_a_sealed_signature_goes_back_to_its_call() -> None:
    seen = sealed_turn(signature="s1", signer="gemini")
    request = conversation(call(seen))
    restore(request, {}, "gemini")
    assert request.messages[1].parts == [call(signature="s1", signer="gemini")]


def test_ids_are_opened_for_every_provider() -> None:
    request = conversation(call(sealed_turn(THOUGHT)))
    restore(request, {}, "openai")
    assert request.messages[1].parts == [call("toolu_1")]
    raw = b'{"id":"%b","text":"hi"}' % sealed_turn(THOUGHT).encode()
    assert without_seals(raw) == b'{"id":"toolu_1","text":"hi"}'


def test_narrow_ids_and_unsigned_turns_are_left_alone() -> None:
    collector = TurnCollector("q", CALL, "openai")
    collector.see_part(THOUGHT)
    assert collector.sealed(call()) == "toolu_1"
    assert sealed_turn(Thinking(text="unsigned")) == "toolu_1"


@pytest.mark.parametrize("junk", ["", "!!!", "AAAA", "eJw", sealed("", b"not a state", ROOMY).removeprefix(MARK)])
def test_a_seal_that_cannot_be_read_is_only_taken_off(junk: str) -> None:
    request = conversation(call(f"toolu_1{MARK}{junk}"))
    restore(request, {}, "anthropic")
    assert request.messages[1].parts == [call("toolu_1")]


def test_a_seal_is_no_bomb() -> None:
    bomb = sealed("x", b"\0" * (STATE_BYTES_MAX * 8), IdStyle("", 1 << 20))
    assert opened(bomb) == ("x", None)
