"""The embedded OpenAI provider, driven by the official SDK."""

import base64
import json
from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest

from busbar.demo.providers import DemoProviders

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(62)).decode()
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders() as demo:
        yield demo


@pytest.fixture
async def client(demo: DemoProviders) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{demo.base_url}/v1", api_key="demo-key", max_retries=0) as client:
        yield client


def says(text: str) -> list:
    return [{"role": "user", "content": text}]


async def test_text_echoes_system_turn_and_words(client):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "How are you?"},
    ]
    answer = await client.chat.completions.create(model="demo-gpt", messages=messages)
    assert answer.choices[0].message.content == "[system: Be brief.] [turn 2] You said: How are you?"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 10)


async def test_the_same_request_gets_the_same_answer_and_another_one_another_id(client):
    first = await client.chat.completions.create(model="demo-gpt", messages=says("a"))
    again = await client.chat.completions.create(model="demo-gpt", messages=says("a"))
    other = await client.chat.completions.create(model="demo-gpt", messages=says("b"))
    assert first == again
    assert first.id != other.id
    assert first.id.startswith("chatcmpl-")


async def test_stream_starts_with_the_role_and_ends_with_finish_usage_and_done(demo):
    body = {
        "model": "demo-gpt",
        "messages": says("one two"),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with aiohttp.ClientSession() as http:
        headers = {"authorization": "Bearer demo-key"}
        async with http.post(f"{demo.base_url}/v1/chat/completions", json=body, headers=headers) as response:
            lines = (await response.text()).split("\n\n")
    *events, done, rest = lines
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert (done, rest) == ("data: [DONE]", "")
    deltas = [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks[:-1]]
    assert deltas == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"content": "You "}, None),
        ({"content": "said: "}, None),
        ({"content": "one "}, None),
        ({"content": "two"}, None),
        ({}, "stop"),
    ]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 6
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


async def test_stream_without_include_usage_never_speaks_of_usage(client):
    stream = await client.chat.completions.create(model="demo-gpt", messages=says("hi"), stream=True)
    assert [chunk.usage async for chunk in stream] == [None] * 5


@pytest.mark.parametrize("model", ["demo-gpt", "demo-gpt-interleaved"])
async def test_parallel_calls_stream_by_index(client, model):
    asked = {"model": model, "messages": says("What is the weather in Paris and Rome?"), "tools": [WEATHER]}
    plain = (await client.chat.completions.create(**asked)).choices[0]
    calls: dict[int, list[str]] = {}
    order = []
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            calls.setdefault(call.index, []).append(call.function.arguments)
            order.append(call.index)
    assert plain.finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in plain.message.tool_calls] == [
        {"city": "Paris"},
        {"city": "Rome"},
    ]
    assert len({call.id for call in plain.message.tool_calls}) == 2
    assert ["".join(calls[i]) for i in (0, 1)] == [c.function.arguments for c in plain.message.tool_calls]
    assert (order == sorted(order)) == (model == "demo-gpt")
    assert min(len(pieces) for pieces in calls.values()) > 2


async def test_tool_results_are_quoted(client):
    asked = {"model": "demo-gpt", "tools": [WEATHER]}
    messages = says("weather in Paris and Rome")
    called = (await client.chat.completions.create(messages=messages, **asked)).choices[0].message
    messages = [*messages, called.model_dump(exclude_none=True)]
    for call, result in zip(called.tool_calls, ("sun", "rain"), strict=True):
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    answer = await client.chat.completions.create(messages=messages, **asked)
    assert answer.choices[0].message.content == "[turn 2] Results: sun; rain"


@pytest.mark.parametrize(
    ("ask", "calls"),
    [
        ({"tool_choice": "none"}, None),
        ({"parallel_tool_calls": False}, ['{"city":"Paris"}']),
        (
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}, "text": "Hi"},
            ['{"city":"text"}'],
        ),
        ({"tool_choice": "required", "text": "Hi"}, ['{"city":"text"}']),
        ({"tool_choice": "auto", "text": "Hi"}, None),
    ],
)
async def test_tool_choice(client, ask, calls):
    text = ask.pop("text", "weather in Paris and Rome")
    answer = await client.chat.completions.create(model="demo-gpt", messages=says(text), tools=[WEATHER], **ask)
    made = answer.choices[0].message.tool_calls
    assert (made and [call.function.arguments for call in made]) == calls


async def test_reasoning_is_told_and_counted(client):
    asked = {"model": "demo-gpt-reason", "messages": says("two words")}
    answer = await client.chat.completions.create(**asked)
    streamed = [c.choices[0].delta async for c in await client.chat.completions.create(**asked, stream=True)]
    assert answer.choices[0].message.reasoning_content == "Thinking about: two words"
    assert answer.usage.completion_tokens_details.reasoning_tokens == 4
    assert "".join(getattr(d, "reasoning_content", None) or "" for d in streamed) == "Thinking about: two words"
    assert "".join(d.content or "" for d in streamed) == "You said: two words"


async def test_structured_output_is_a_minimal_instance(client):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "size": {"enum": ["s", "m"]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
            "age": {"type": ["integer", "null"], "minimum": 3},
        },
        "required": ["name", "size", "tags", "age"],
        "additionalProperties": False,
        "$defs": {"tag": {"type": "boolean"}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}}
    answer = await client.chat.completions.create(model="demo-gpt", messages=says("x"), response_format=form)
    loose = await client.chat.completions.create(
        model="demo-gpt", messages=says("as JSON"), response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content) == {
        "name": "text",
        "size": "s",
        "tags": [False, False],
        "age": 3,
    }
    assert json.loads(loose.choices[0].message.content) == {"answer": "as JSON"}


@pytest.mark.parametrize(
    ("ask", "content", "finish"),
    [
        ({"max_completion_tokens": 3}, "You said: a ", "length"),
        ({"stop": "c"}, "You said: a b ", "stop"),
        ({"stop": ["zzz", "b"]}, "You said: a ", "stop"),
        ({"model": "demo-filter"}, "You said: ", "content_filter"),
    ],
)
async def test_stop_reasons(client, ask, content, finish):
    asked = {"model": "demo-gpt", "messages": says("a b c d"), **ask}
    choice = (await client.chat.completions.create(**asked)).choices[0]
    chunks = [c.choices[0] async for c in await client.chat.completions.create(**asked, stream=True)]
    assert (choice.message.content, choice.finish_reason) == (content, finish)
    assert "".join(c.delta.content or "" for c in chunks) == content
    assert chunks[-1].finish_reason == finish


async def test_refusal(client):
    asked = {"model": "demo-refuse", "messages": says("x")}
    message = (await client.chat.completions.create(**asked)).choices[0].message
    streamed = [c.choices[0].delta async for c in await client.chat.completions.create(**asked, stream=True)]
    assert (message.content, message.refusal) == (None, "I'm sorry, but I can't assist with that.")
    assert "".join(d.refusal or "" for d in streamed) == message.refusal


async def test_images_choices_logprobs_and_cached_tokens(client):
    content = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": PNG}}]
    answer = await client.chat.completions.create(
        model="demo-gpt-cached", messages=[{"role": "user", "content": content}], n=2, logprobs=True, top_logprobs=1
    )
    texts = [choice.message.content for choice in answer.choices]
    tokens = answer.choices[0].logprobs.content
    long = await client.chat.completions.create(model="demo-cached", messages=says("a b c d e f"))
    assert texts == [
        "I see 1 image (image/png, 70 bytes) You said: Look",
        "I see 1 image (image/png, 70 bytes) You said: Look (choice 2)",
    ]
    assert "".join(token.token for token in tokens) == texts[0]
    assert tokens[0].top_logprobs[0].token == tokens[0].token
    assert long.usage.prompt_tokens_details.cached_tokens == 2


async def test_models_and_received_requests(demo, client):
    page = await client.models.list()
    await client.chat.completions.create(model="demo-gpt", messages=says("x"), extra_headers={"X-Test": "1"})
    received = demo.requests[-1]
    assert [model.id for model in page.data] == list(demo.models)
    assert (received.dialect, received.path, received.model) == ("openai", "/v1/chat/completions", "demo-gpt")
    assert received.headers["x-test"] == "1"
    assert received.body == {"messages": says("x"), "model": "demo-gpt"}
