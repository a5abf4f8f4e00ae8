"""Whole answers: what the IR has of them, and how another dialect's answer is told."""

from __future__ import annotations

from typing import Any

import pytest
from google.genai import types

from busbar.protocols.gemini import PROTOCOL
from busbar.protocols.gemini.words import NO_SIGNATURE
from busbar.protocols.ir import (
    Choice,
    Citation,
    Opaque,
    RedactedThinking,
    Refusal,
    Response,
    Stop,
    StopReason,
    Text,
    Thinking,
    ToolUse,
)
from busbar.protocols.protocol import Document, Hop, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage


def answer(*parts: dict[str, Any], finish: Any = "STOP", **candidate: Any) -> Document:
    content = {"parts": list(parts), "role": "model"}
    return {"candidates": [{"content": content, "finishReason": finish, "index": 0, **candidate}]}


def same(document: Document) -> Response:
    response = PROTOCOL.read_response(document)
    receipt = Receipt()
    assert PROTOCOL.write_response(response, Hop(), receipt) == document
    assert not receipt.entries
    return response


def write(*parts: Any, stop: Stop | None = None, **rest: Any) -> tuple[Document, list[tuple[str, str]]]:
    receipt = Receipt()
    response = Response(id="", model="claude", choices=[Choice(parts=list(parts), stop=stop)], **rest)
    document = PROTOCOL.write_response(response, Hop(nonce="n", now=1), receipt)
    types.GenerateContentResponse.model_validate(document)
    return document, [(entry.change, entry.path) for entry in receipt.entries]


def test_thoughts_are_never_in_the_text() -> None:
    response = same(answer({"text": "hm", "thought": True}, {"text": "hello", "thoughtSignature": "c2ln"}))
    thinking, text = response.choices[0].parts
    assert isinstance(thinking, Thinking)
    assert isinstance(text, Text)
    assert (thinking.text, text.text, text.signature, text.signer) == ("hm", "hello", "c2ln", "gemini")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", StopReason.END_TURN),
        (1, StopReason.END_TURN),
        ("MAX_TOKENS", StopReason.MAX_TOKENS),
        ("SAFETY", StopReason.CONTENT_FILTER),
        ("RECITATION", StopReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", StopReason.CONTENT_FILTER),
        ("BLOCKLIST", StopReason.CONTENT_FILTER),
        ("SPII", StopReason.CONTENT_FILTER),
        ("MALFORMED_FUNCTION_CALL", StopReason.ERROR),
        ("LANGUAGE", StopReason.OTHER),
        ("OTHER", StopReason.OTHER),
        ("SOMETHING_NEW", StopReason.OTHER),
    ],
)
def test_reasons_to_stop(word: Any, reason: StopReason) -> None:
    stop = same(answer({"text": "x"}, finish=word)).choices[0].stop
    assert stop is not None
    assert stop.reason is reason


def test_an_answer_that_calls_functions_stops_for_them() -> None:
    response = same(answer({"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"}))
    (use,) = response.choices[0].parts
    assert isinstance(use, ToolUse)
    assert (use.id, use.name, use.arguments, use.signature, use.signer) == ("", "f", '{"x":1}', "c2ln", "gemini")
    assert response.choices[0].stop is not None
    assert response.choices[0].stop.reason is StopReason.TOOL_USE


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    document = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    (choice,) = same(document).choices
    assert choice.parts == []
    assert choice.stop is not None
    assert choice.stop.reason is StopReason.CONTENT_FILTER


def test_no_answer_at_all_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        PROTOCOL.read_response({"this": "is not valid"})


def test_usage_counts_thoughts_once_and_cached_tokens_once() -> None:
    stated = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 157,
    }
    usage = same({**answer({"text": "x"}), "usageMetadata": stated}).usage
    assert usage is not None
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens, usage.reasoning_tokens) == (
        47,
        60,
        50,
        30,
    )
    assert usage.total_tokens == 157


def test_grounding_is_cited_in_characters() -> None:
    grounding = {
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"web": {"uri": "https://b.example"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 5, "endIndex": 10, "text": "warm."}, "groundingChunkIndices": [0, 1, 9]}
        ],
    }
    response = same(answer({"text": "é is warm."}, groundingMetadata=grounding))
    (text,) = response.choices[0].parts
    assert isinstance(text, Text)
    assert text.citations == [
        Citation(cited_text="warm.", url=url, title=title, start=4, end=9, of_answer=True)
        for url, title in (("https://a.example", "A"), ("https://b.example", None))
    ]


def test_another_dialects_answer() -> None:
    document, report = write(
        Thinking(text="hm", signature="s", signer="anthropic"),
        Text(text="é "),
        Text(text="warm", citations=[Citation(url="https://a.example", title="A", cited_text="warm")]),
        ToolUse(id="toolu_1", name="f", arguments='{"x":1}'),
        ToolUse(id="", name="g", arguments="oops"),
        stop=Stop(reason=StopReason.TOOL_USE),
        usage=Usage(input_tokens=40, cache_read_tokens=60, output_tokens=50, reasoning_tokens=30),
    )
    minted = document["candidates"][0]["content"]["parts"][4]["functionCall"].pop("id")
    assert minted.startswith("call_")
    assert document["responseId"]
    del document["responseId"]
    assert document == {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"text": "é "},
                        {"text": "warm"},
                        {
                            "functionCall": {"id": "call_1", "name": "f", "args": {"x": 1}},
                            "thoughtSignature": NO_SIGNATURE,
                        },
                        {"functionCall": {"name": "g", "args": {"input": "oops"}}},
                    ],
                    "role": "model",
                },
                "finishReason": "STOP",
                "index": 0,
                "groundingMetadata": {
                    "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
                    "groundingSupports": [
                        {"segment": {"startIndex": 3, "endIndex": 7, "text": "warm"}, "groundingChunkIndices": [0]}
                    ],
                },
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 60,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 30,
            "totalTokenCount": 150,
        },
        "modelVersion": "claude",
    }
    assert report == [
        ("dropped", "choices[0].content[0].signature"),
        ("changed", "choices[0].content[4].arguments"),
    ]


def test_what_has_no_place_in_an_answer_is_reported() -> None:
    document, report = write(
        RedactedThinking(data="x", signer="anthropic"),
        Refusal(text="no"),
        Opaque(dialect="anthropic", kind="server_tool_use", value={}),
        stop=Stop(reason=StopReason.STOP_SEQUENCE, sequence="END"),
    )
    assert document["candidates"][0]["content"]["parts"] == [{"text": "no"}]
    assert report == [
        ("dropped", "choices[0].content[0]"),
        ("changed", "choices[0].content[1]"),
        ("dropped", "choices[0].content[2]"),
        ("dropped", "choices[0].stop.sequence"),
    ]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (StopReason.END_TURN, "STOP"),
        (StopReason.MAX_TOKENS, "MAX_TOKENS"),
        (StopReason.REFUSAL, "SAFETY"),
        (StopReason.CONTENT_FILTER, "SAFETY"),
        (StopReason.ERROR, "OTHER"),
    ],
)
def test_reasons_of_other_dialects(reason: StopReason, word: str) -> None:
    document, _ = write(stop=Stop(reason=reason))
    assert document["candidates"][0]["finishReason"] == word
    assert document["candidates"][0]["content"] == {"parts": [{"text": ""}], "role": "model"}


@pytest.mark.parametrize(
    ("body", "readable", "has_error", "output_tokens"),
    [
        (b'{"usageMetadata":{"candidatesTokenCount":3,"thoughtsTokenCount":4}}', True, False, 7),
        (b'{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}', True, True, None),
        (b"[]", False, False, None),
        (b"<html>", False, False, None),
    ],
)
def test_a_look_at_a_whole_answer(body: bytes, readable: bool, has_error: bool, output_tokens: int | None) -> None:
    seen = PROTOCOL.inspect_response(body)
    assert (seen.readable, seen.error is not None) == (readable, has_error)
    assert (seen.usage and seen.usage.output_tokens) == output_tokens


def test_the_list_of_models_is_as_the_sdk_reads_it() -> None:
    document = PROTOCOL.write_models(["fast", "smart"], Hop())
    assert [model["name"] for model in document["models"]] == ["models/fast", "models/smart"]
    assert all("generateContent" in model["supportedGenerationMethods"] for model in document["models"])


def test_paths_and_framings() -> None:
    assert PROTOCOL.egress_path("gemini-2.5-flash", False) == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert PROTOCOL.egress_path("a/b c", True) == "/v1beta/models/a%2Fb%20c:streamGenerateContent?alt=sse"
    assert PROTOCOL.count_path is not None
    assert PROTOCOL.count_path("models/x") == "/v1beta/models/x:countTokens"
    assert (PROTOCOL.framing_of({"alt": "sse"}), PROTOCOL.framing_of({})) == ("", "array")
