"""Whole answers: read from this dialect, and written for its callers from others'."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response as SdkResponse

from busbar.protocols.ir import (
    Choice,
    Citation,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Response,
    Stop,
    StopReason,
    Text,
    Thinking,
    ToolUse,
)
from busbar.protocols.protocol import InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses import PROTOCOL
from busbar.protocols.usage import Usage
from tests.protocols.responses.wire import HOP


def answer(parts: list[Part], reason: StopReason = StopReason.END_TURN, **facts: Any) -> tuple[dict[str, Any], Any]:
    response = Response(id="msg_1", model="claude", choices=[Choice(parts=parts, stop=Stop(reason=reason))], **facts)
    receipt = Receipt()
    document = PROTOCOL.write_response(response, HOP, receipt)
    sdk = SdkResponse.model_validate(document)
    assert set(sdk.model_dump()) >= set(document)
    return document, tuple((entry.change, entry.path) for entry in receipt.entries)


def read(output: list[Any], **facts: Any) -> Response:
    document = {"id": "resp_1", "model": "m", "created_at": 1, "status": "completed", "output": output, **facts}
    response = PROTOCOL.read_response(document)
    assert PROTOCOL.write_response(response, HOP, Receipt()) == document
    return response


def test_an_answer_has_every_field_that_its_sdk_requires() -> None:
    document, _ = answer([Text(text="hi")], usage=Usage(input_tokens=3, cache_read_tokens=2, output_tokens=5))
    required = {name for name, field in SdkResponse.model_fields.items() if field.is_required()}
    assert required <= document.keys()
    assert (document["id"], document["object"], document["created_at"]) == ("resp_1", "response", HOP.now)
    assert (document["model"], document["status"]) == ("claude", "completed")
    assert (document["error"], document["incomplete_details"], document["instructions"]) == (None, None, None)
    assert document["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 10,
    }


def test_parts_become_items_in_their_order() -> None:
    document, entries = answer(
        [
            Thinking(text="hm", signature="sig", signer="anthropic"),
            Text(text="a", citations=[Citation(url="https://x", title="X", start=0, end=1, of_answer=True)]),
            Refusal(text="no"),
            ToolUse(id="toolu_1", name="agents.go", arguments=""),
            ToolUse(id="", name="f", arguments='{"a":1}'),
            Text(text="b", citations=[Citation(cited_text="of a document")]),
        ],
        StopReason.TOOL_USE,
    )
    thought, said, call, other, last = document["output"]
    assert [item["id"].partition("_")[0] for item in document["output"]] == ["rs", "msg", "fc", "fc", "msg"]
    assert len({item["id"] for item in document["output"]}) == 5
    assert thought["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert thought["encrypted_content"] == ""
    annotation = {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 1}
    assert said["content"] == [
        {"type": "output_text", "text": "a", "annotations": [annotation], "logprobs": []},
        {"type": "refusal", "refusal": "no"},
    ]
    assert (call["call_id"], call["namespace"], call["name"], call["arguments"]) == ("call_1", "agents", "go", "{}")
    assert other["call_id"].startswith("call_")
    assert (other["name"], "namespace" in other, other["arguments"]) == ("f", False, '{"a":1}')
    assert last["content"][0]["annotations"] == []
    assert document["status"] == "completed"
    assert entries == (
        ("dropped", "choices[0].content[0].signature"),
        ("dropped", "choices[0].content[5].citations[0]"),
    )


def test_state_of_this_dialect_is_given_and_anothers_is_not() -> None:
    document, entries = answer(
        [
            Thinking(text="hm", signature="state", signer="responses"),
            RedactedThinking(data="more", signer="responses"),
            RedactedThinking(data="theirs", signer="anthropic"),
            Opaque(dialect="anthropic", kind="server_tool_use", value={}),
        ]
    )
    assert [item["encrypted_content"] for item in document["output"]] == ["state", "more"]
    assert entries == (("dropped", "choices[0].content[2]"), ("dropped", "choices[0].content[3]"))


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        (StopReason.END_TURN, "completed", None),
        (StopReason.STOP_SEQUENCE, "completed", None),
        (StopReason.TOOL_USE, "completed", None),
        (StopReason.MAX_TOKENS, "incomplete", {"reason": "max_output_tokens"}),
        (StopReason.CONTEXT_WINDOW, "incomplete", {"reason": "max_output_tokens"}),
        (StopReason.CONTENT_FILTER, "incomplete", {"reason": "content_filter"}),
        (StopReason.REFUSAL, "incomplete", {"reason": "content_filter"}),
    ],
)
def test_reasons_to_stop(reason: StopReason, status: str, details: Any) -> None:
    document, _ = answer([Text(text="a")], reason)
    assert (document["status"], document["incomplete_details"]) == (status, details)


def test_a_broken_answer_has_failed() -> None:
    document, _ = answer([Text(text="a")], StopReason.ERROR)
    assert (document["status"], document["error"]["code"]) == ("failed", "server_error")


def test_further_choices_are_reported() -> None:
    response = Response(id="", model="m", choices=[Choice(), Choice(index=1)])
    receipt = Receipt()
    document = PROTOCOL.write_response(response, HOP, receipt)
    assert document["id"].startswith("resp_")
    assert document["output"] == []
    assert receipt.dropped_paths == ("choices[1]",)


def test_items_are_read_as_one_choice() -> None:
    response = read(
        [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "state"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [
                    {
                        "type": "output_text",
                        "text": "see",
                        "annotations": [
                            {"type": "file_citation", "file_id": "f", "filename": "n", "index": 0},
                            {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 3},
                        ],
                    }
                ],
            },
            {
                "type": "function_call",
                "id": "fc",
                "call_id": "call_1",
                "namespace": "n",
                "name": "f",
                "arguments": "",
            },
        ],
        usage={
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 17,
        },
    )
    hidden, searched, text, call = response.choices[0].parts
    assert isinstance(hidden, RedactedThinking)
    assert (hidden.data, hidden.signer) == ("state", "responses")
    assert isinstance(searched, Opaque)
    assert isinstance(text, Text)
    assert [(it.url, it.title, it.start, it.end, it.of_answer) for it in text.citations] == [("u", "t", 0, 3, True)]
    assert isinstance(call, ToolUse)
    assert (call.id, call.name) == ("call_1", "n.f")
    stop, usage = response.choices[0].stop, response.usage
    assert stop is not None
    assert stop.reason is StopReason.TOOL_USE
    assert usage is not None
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (6, 4, 7)
    assert usage.reasoning_tokens == 3
    assert PROTOCOL.spell(response, "choices[0].content[2].citations[0]") == "output[2].content[0].annotations[0]"
    assert PROTOCOL.spell(response, "choices[0].stop.reason") == "status"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, StopReason.MAX_TOKENS),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, StopReason.CONTENT_FILTER),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, StopReason.OTHER),
        ({"status": "failed"}, StopReason.ERROR),
        ({"status": "queued"}, StopReason.OTHER),
        ({"status": "completed", "incomplete_details": None}, StopReason.END_TURN),
    ],
)
def test_status_is_why_it_ended(facts: dict[str, Any], reason: StopReason) -> None:
    stop = read([], **facts).choices[0].stop
    assert stop is not None
    assert stop.reason is reason


def test_what_repeats_the_request_is_not_missed_and_what_does_not_is() -> None:
    response = read([], instructions="be brief", tools=[{"type": "web_search"}], temperature=1, service_tier="flex")
    assert response.native is not None
    assert response.native.fields == {"service_tier": "flex"}


def test_odd_items_stay_whole_and_no_output_is_no_answer() -> None:
    odd: list[Any] = [{"type": "message", "content": 5}, "text", {"type": "function_call", "arguments": "{}"}]
    assert all(isinstance(part, Opaque) for part in read(odd).choices[0].parts)
    with pytest.raises(InvalidRequest):
        PROTOCOL.read_response({"id": "resp_1"})


def test_models_are_listed_as_the_sdk_reads_them() -> None:
    assert PROTOCOL.write_models(["a"], HOP) == {
        "object": "list",
        "data": [{"id": "a", "object": "model", "created": HOP.now, "owned_by": "system"}],
    }
