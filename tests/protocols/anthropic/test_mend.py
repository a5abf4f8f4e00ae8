"""Traces of a hop are taken out of a conversation that goes on at an Anthropic provider."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from busbar.protocols.anthropic.mend import HOP_TRACES, mend_request
from busbar.protocols.receipt import Receipt

UNSIGNED = {"type": "thinking", "thinking": "hm", "signature": ""}
SIGNED = {"type": "thinking", "thinking": "hm", "signature": "EqQ"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {"signature": ""}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}]}
ASK = {"type": "enabled", "budget_tokens": 2000}


def conversation(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    asked = {"role": "user", "content": "go"}
    return {"model": "m", "messages": [asked, {"role": "assistant", "content": list(blocks)}, RESULT], **more}


def test_unsigned_thinking_is_taken_out_and_so_is_the_ask_that_it_would_break() -> None:
    receipt = Receipt()
    assert mend_request(conversation(UNSIGNED, CALL, thinking=ASK), receipt) == conversation(CALL)
    assert receipt.dropped_paths == ("messages[1].content[0]", "thinking")


def test_an_answer_in_words_may_go_on_thinking() -> None:
    said = {"type": "text", "text": "done"}
    mended = mend_request(conversation(UNSIGNED, said, thinking=ASK), Receipt())
    assert mended == conversation(said, thinking=ASK)


def test_signed_thinking_before_the_call_keeps_the_ask() -> None:
    mended = mend_request(conversation(SIGNED, UNSIGNED, CALL, thinking=ASK), Receipt())
    assert mended == conversation(SIGNED, CALL, thinking=ASK)


def test_a_turn_of_nothing_but_unsigned_thinking_is_left_out() -> None:
    mended = mend_request(conversation(UNSIGNED), Receipt())
    assert mended is not None
    assert [turn["role"] for turn in mended["messages"]] == ["user", "user"]


@pytest.mark.parametrize(
    "document",
    [
        conversation(SIGNED, CALL, thinking=ASK),
        conversation(CALL),
        {"model": "m", "messages": [{"role": "user", "content": [UNSIGNED]}]},
        {"model": "m", "messages": "hello"},
        {"model": "m", "messages": [7, {"role": "assistant", "content": "text"}]},
        {"model": "m"},
    ],
)
def test_everything_else_is_left_alone(document: dict[str, Any]) -> None:
    receipt = Receipt()
    assert mend_request(document, receipt) is None
    assert len(receipt) == 0


def test_the_traces_are_in_every_body_with_such_a_block_and_in_no_text() -> None:
    assert any(trace in msgspec.json.encode(UNSIGNED) for trace in HOP_TRACES)
    assert not any(trace in msgspec.json.encode({"text": '{"signature":""}'}) for trace in HOP_TRACES)
