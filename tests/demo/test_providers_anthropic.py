"""The embedded Anthropic provider, driven by the official SDK."""

import base64
from collections.abc import AsyncIterator

import aiohttp
import anthropic
import pytest

from busbar.demo.providers import DemoProviders

PNG = {
    "type": "image",
    "source": {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(62)).decode(),
    },
}
WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
THINK = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders() as demo:
        yield demo


@pytest.fixture
async def client(demo: DemoProviders) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=demo.base_url, api_key="demo-key", max_retries=0) as client:
        yield client


def asks(content: object = "Hello", **more: object) -> dict:
    return {"model": "demo-claude", "max_tokens": 2048, "messages": [{"role": "user", "content": content}], **more}


async def both(client: anthropic.AsyncAnthropic, asked: dict) -> anthropic.types.Message:
    """The answer, after checking that the stream adds up to the same one."""
    plain = await client.messages.create(**asked)
    async with client.messages.stream(**asked) as stream:
        streamed = await stream.get_final_message()
    fields = {"id", "content", "model", "stop_reason", "stop_sequence", "stop_details"}
    assert streamed.model_dump(include=fields, exclude_none=True) == plain.model_dump(
        include=fields, exclude_none=True
    )
    assert streamed.usage.output_tokens == plain.usage.output_tokens
    return plain


async def test_text_echoes_system_turn_and_words(client):
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "How are"},
        {"role": "user", "content": "you?"},
    ]
    answer = await both(client, asks(system="Be brief.", messages=messages))
    assert answer.content[0].text == "[system: Be brief.] [turn 2] You said: How are\nyou?"
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 7, 10)
    assert answer.id.startswith("msg_01")


async def test_stream_has_the_native_events_in_their_order(demo):
    headers = {"x-api-key": "demo-key", "anthropic-version": "2023-06-01"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{demo.base_url}/v1/messages", json=asks("Hi", stream=True)) as response,
    ):
        events = [line.split("\n")[0].removeprefix("event: ") for line in (await response.text()).split("\n\n")]
    assert events == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
        "",
    ]


async def test_parallel_calls_and_their_results(client):
    asked = asks("weather in Paris and Rome", tools=[WEATHER])
    called = await both(client, asked)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": said, "is_error": said == "rain"}
        for block, said in zip(called.content, ("sun", "rain"), strict=True)
    ]
    messages = [*asked["messages"], called.to_param(), {"role": "user", "content": results}]
    answer = await both(client, {**asked, "messages": messages})
    assert [(b.name, b.input) for b in called.content] == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Rome"}),
    ]
    assert called.stop_reason == "tool_use"
    assert answer.content[0].text == "[turn 2] Results: sun; rain (error)"


@pytest.mark.parametrize(
    ("choice", "text", "inputs"),
    [
        ({"type": "none"}, "weather in Paris and Rome", []),
        ({"type": "auto", "disable_parallel_tool_use": True}, "weather in Paris and Rome", [{"city": "Paris"}]),
        ({"type": "any"}, "Hi", [{"city": "text"}]),
        ({"type": "tool", "name": "get_weather"}, "Hi", [{"city": "text"}]),
        ({"type": "auto"}, "Hi", []),
    ],
)
async def test_tool_choice(client, choice, text, inputs):
    answer = await both(client, asks(text, tools=[WEATHER], tool_choice=choice))
    assert [block.input for block in answer.content if block.type == "tool_use"] == inputs


@pytest.mark.parametrize("model", ["demo-claude", "demo-redacted", "demo-preface"])
async def test_thinking_comes_first_and_goes_back_untouched(client, model):
    asked = asks("weather in Paris", tools=[WEATHER], thinking=THINK, model=model)
    called = await both(client, asked)
    result = {"type": "tool_result", "tool_use_id": called.content[-1].id, "content": "sun"}
    messages = [*asked["messages"], called.to_param(), {"role": "user", "content": [result]}]
    answer = await both(client, {**asked, "messages": messages})
    kind = "redacted_thinking" if model == "demo-redacted" else "thinking"
    said = ["text"] if model == "demo-preface" else []
    assert [block.type for block in called.content] == [kind, *said, "tool_use"]
    assert [block.type for block in answer.content] == [kind, "text"]
    assert called.usage.output_tokens_details.thinking_tokens == 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda blocks: blocks[0].update(thinking="Else"), "messages.1.content.0: Invalid `signature`"),
        (lambda blocks: blocks[0].update(signature="AAAA"), "messages.1.content.0: Invalid `signature`"),
        (lambda blocks: blocks[0].pop("signature"), "messages.1.content.0.thinking.signature: Field required"),
        (lambda blocks: blocks.pop(0), "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`"),
    ],
)
async def test_thinking_that_was_touched_is_refused(client, spoil, message):
    asked = asks("weather in Paris", tools=[WEATHER], thinking=THINK)
    called = await client.messages.create(**asked)
    blocks = [block.model_dump(exclude_none=True) for block in called.content]
    spoil(blocks)
    result = {"type": "tool_result", "tool_use_id": called.content[-1].id, "content": "sun"}
    messages = [
        *asked["messages"],
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": [result]},
    ]
    with pytest.raises(anthropic.BadRequestError) as refused:
        await client.messages.create(**{**asked, "messages": messages})
    assert refused.value.body["error"]["message"].startswith(message)


async def test_adaptive_thinking_may_be_left_out_and_shown_or_not(client):
    thinking = {"type": "adaptive", "display": "omitted"}
    asked = asks("weather in Paris", tools=[WEATHER], thinking=thinking)
    called = await both(client, asked)
    result = {"type": "tool_result", "tool_use_id": called.content[-1].id, "content": "sun"}
    said = [block.model_dump(exclude_none=True) for block in called.content]
    for kept in (said, said[1:]):
        messages = [
            *asked["messages"],
            {"role": "assistant", "content": kept},
            {"role": "user", "content": [result]},
        ]
        assert (await client.messages.create(**{**asked, "messages": messages})).stop_reason == "end_turn"
    assert called.content[0].thinking == ""


async def test_structured_output_both_ways(client):
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "schema": schema}
    new = await both(client, asks(output_config={"format": form}))
    old = await client.messages.create(
        **asks(),
        extra_body={"output_format": form},
        extra_headers={"anthropic-beta": "structured-outputs-2025-11-13"},
    )
    assert new.content[0].text == old.content[0].text == '{"ok":false}'


@pytest.mark.parametrize(
    ("ask", "text", "reason", "sequence"),
    [
        ({"max_tokens": 3}, "You said: a ", "max_tokens", None),
        ({"stop_sequences": ["zzz", "c"]}, "You said: a b ", "stop_sequence", "c"),
        ({"model": "demo-refuse"}, "", "refusal", None),
    ],
)
async def test_stop_reasons(client, ask, text, reason, sequence):
    answer = await both(client, asks("a b c d", **ask))
    assert "".join(block.text for block in answer.content) == text
    assert (answer.stop_reason, answer.stop_sequence) == (reason, sequence)


async def test_prefill_is_continued(client):
    messages = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "You said:"}]
    answer = await both(client, asks(messages=messages))
    assert answer.content[0].text == " one two"


async def test_cache_is_written_then_read_then_grown(client):
    cached = {"type": "text", "text": "a b c d", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    asked = asks("e f", system=[cached])
    first, second = [(await client.messages.create(**asked)).usage for _ in range(2)]
    more = [{"type": "text", "text": "e f", "cache_control": {"type": "ephemeral"}}]
    third = (await client.messages.create(**asks(more, system=[cached]))).usage

    def figures(usage: anthropic.types.Usage) -> tuple:
        return usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens

    assert [figures(usage) for usage in (first, second, third)] == [(2, 4, 0), (2, 0, 4), (0, 2, 4)]
    assert first.cache_creation.ephemeral_1h_input_tokens == 4


async def test_images_and_documents_are_seen_in_results_too(client):
    pdf = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
    messages = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [PNG]}, pdf, PNG]},
    ]
    answer = await both(client, asks(messages=messages))
    assert answer.content[0].text == (
        "[turn 2] Results: I see 1 document (https://example.com/a.pdf) "
        "I see 2 images (image/png, 70 bytes; image/png, 70 bytes)"
    )


async def test_count_tokens_and_models(demo, client):
    asked = asks("a b c")
    asked.pop("max_tokens")
    counted = await client.messages.count_tokens(**asked)
    page = await client.models.list()
    assert counted.input_tokens == 3
    assert [model.id for model in page.data] == list(demo.models)
    assert demo.requests[-1].path == "/v1/messages/count_tokens"
