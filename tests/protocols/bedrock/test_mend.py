"""Thinking of another provider that an earlier hop left in the history does not reach a model that refuses it."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.bedrock import PROTOCOL
from busbar.protocols.body import Body
from busbar.protocols.receipt import Receipt
from busbar.protocols.translate import own_request

UNSIGNED = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": ""}}}
SIGNED = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}
NEVER_SIGNED = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
CALL = {"toolUse": {"toolUseId": "t", "name": "n", "input": {}}}
USER = {"role": "user", "content": [{"text": 'the bytes "signature":"" in a text'}]}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 5}


def sent(*turns: list[Any], **fields: Any) -> tuple[bytes, bytes, tuple[str, ...]]:
    """The caller's bytes, those that go out, and what was dropped."""
    messages = [USER, *({"role": "assistant", "content": content} for content in turns)]
    raw = msgspec.json.encode({"messages": messages, **fields})
    receipt = Receipt()
    return raw, own_request(PROTOCOL, Body(raw), "m", receipt), receipt.dropped_paths


def test_a_request_without_traces_goes_out_as_it_came() -> None:
    raw, out, dropped = sent([SIGNED, NEVER_SIGNED, CALL], additionalModelRequestFields=THINKING)
    assert (out, dropped) == (raw, ())


def test_thinking_with_an_empty_signature_is_taken_out() -> None:
    _, out, dropped = sent([UNSIGNED, SIGNED, {"text": "So."}], [UNSIGNED])
    assert msgspec.json.decode(out) == {
        "messages": [USER, {"role": "assistant", "content": [SIGNED, {"text": "So."}]}],
    }
    assert dropped == ("messages[1].content[0]", "messages[2].content[0]")


def test_a_running_tool_turn_that_lost_its_thinking_goes_on_without() -> None:
    _, out, dropped = sent([UNSIGNED, CALL], additionalModelRequestFields=THINKING)
    document = msgspec.json.decode(out)
    assert document["messages"][1]["content"] == [CALL]
    assert document["additionalModelRequestFields"] == {"top_k": 5}
    assert dropped == ("messages[1].content[0]", "additionalModelRequestFields.thinking")
