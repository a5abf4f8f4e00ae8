"""The embedded Cohere provider, driven by the official SDK."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import cohere
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
DOCUMENTS = [
    {"id": "rome", "data": {"title": "Rome.md", "text": "Rome is old."}},
    "Paris is big.",
]


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders() as demo:
        yield demo


@pytest.fixture
async def client(demo: DemoProviders) -> AsyncIterator[cohere.AsyncClientV2]:
    async with cohere.AsyncClientV2(base_url=demo.base_url, api_key="demo-key") as client:
        yield client


def says(text: str) -> list:
    return [{"role": "user", "content": text}]


async def streamed(client: cohere.AsyncClientV2, **asked: Any) -> list[dict[str, Any]]:
    return [event.model_dump(exclude_none=True) async for event in client.chat_stream(**asked)]


def joined(events: list[dict[str, Any]], kind: str, *path: str) -> str:
    """What the events of one kind add up to, at `path` of their message."""
    said = []
    for event in events:
        if event["type"] == kind:
            node = event["delta"]["message"]
            for step in path:
                node = node.get(step, {})
            said.append(node or "")
    return "".join(said)


async def test_text_echoes_system_turn_and_words(client):
    answer = await client.chat(
        model="demo-command",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "user", "content": [{"type": "text", "text": "How are you?"}]},
        ],
    )
    assert [part.text for part in answer.message.content] == ["[system: Be brief.] [turn 2] You said: How are you?"]
    assert answer.finish_reason == "COMPLETE"
    assert (answer.usage.billed_units.input_tokens, answer.usage.billed_units.output_tokens) == (7, 10)
    assert (answer.usage.tokens.input_tokens, answer.usage.tokens.output_tokens) == (7, 10)


async def test_the_same_request_gets_the_same_answer_and_another_one_another_id(client):
    first = await client.chat(model="demo", messages=says("a"))
    again = await client.chat(model="demo", messages=says("a"))
    other = await client.chat(model="demo", messages=says("b"))
    assert first == again
    assert first.id != other.id


async def test_a_stream_is_a_message_with_its_contents(client):
    asked = {"model": "demo", "messages": says("one two")}
    events = await streamed(client, **asked)
    plain = await client.chat(**asked)
    assert [event["type"] for event in events] == [
        "message-start",
        "content-start",
        *["content-delta"] * 4,
        "content-end",
        "message-end",
    ]
    assert joined(events, "content-delta", "content", "text") == "You said: one two"
    assert events[0]["id"] == plain.id
    assert events[-1]["delta"] == {
        "finish_reason": "COMPLETE",
        "usage": {
            "billed_units": {"input_tokens": 2.0, "output_tokens": 4.0},
            "tokens": {"input_tokens": 2.0, "output_tokens": 4.0},
            "cached_tokens": 0.0,
        },
    }


async def test_the_wire_names_events_and_ends_with_done(demo):
    body = {"model": "demo", "messages": says("x"), "stream": True}
    url = f"{demo.base_url}/v2/chat"
    headers = {"authorization": "Bearer demo-key"}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, json=body) as response:
        *frames, done, rest = (await response.text()).split("\n\n")
    named = [frame.split("\n") for frame in frames]
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.removeprefix("event: ") == json.loads(data[6:])["type"] for event, data in named)


async def test_parallel_calls_follow_the_plan(client):
    asked = {"model": "demo-preface", "messages": says("weather in Paris and Rome"), "tools": [WEATHER]}
    answer = await client.chat(**asked)
    events = await streamed(client, **asked)
    calls = answer.message.tool_calls
    placed = {index: [event for event in events if event.get("index") == index] for index in (0, 1)}
    arguments = [joined(placed[index], "tool-call-delta", "tool_calls", "function", "arguments") for index in (0, 1)]
    started = [e["delta"]["message"]["tool_calls"] for e in events if e["type"] == "tool-call-start"]
    assert (answer.finish_reason, answer.message.content) == ("TOOL_CALL", None)
    assert answer.message.tool_plan == joined(events, "tool-plan-delta", "tool_plan") == "Let me check that."
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert arguments == [call.function.arguments for call in calls]
    assert [call["id"] for call in started] == [call.id for call in calls]
    assert len({call.id for call in calls}) == 2
    assert [e["index"] for e in events if e["type"] == "tool-call-end"] == [0, 1]


async def test_tool_results_are_quoted(client):
    messages: list[Any] = says("weather in Paris and Rome")
    called = (await client.chat(model="demo", messages=messages, tools=[WEATHER])).message
    sun, rain = (call.id for call in called.tool_calls)
    document = {"type": "document", "document": {"data": {"text": "rain"}}}
    messages += [
        {"role": "assistant", "tool_calls": [call.model_dump() for call in called.tool_calls], "tool_plan": "Look."},
        {"role": "tool", "tool_call_id": sun, "content": "sun"},
        {"role": "tool", "tool_call_id": rain, "content": [document]},
    ]
    answer = await client.chat(model="demo", messages=messages, tools=[WEATHER])
    assert answer.message.content[0].text == "[turn 2] Results: sun; rain"


@pytest.mark.parametrize(
    ("choice", "text", "calls"),
    [
        ("NONE", "weather in Rome", None),
        ("REQUIRED", "Hi", ['{"city":"text"}']),
        (None, "Hi", None),
        (None, "weather in Rome", ['{"city":"Rome"}']),
    ],
)
async def test_tool_choice(client, choice, text, calls):
    asked = {"tool_choice": choice} if choice else {}
    answer = await client.chat(model="demo", messages=says(text), tools=[WEATHER], **asked)
    made = answer.message.tool_calls
    assert (made and [call.function.arguments for call in made]) == calls


async def test_thinking_is_a_content_of_its_own(client):
    asked = {"model": "demo", "messages": says("two words"), "thinking": {"type": "enabled"}}
    answer = await client.chat(**asked)
    events = await streamed(client, **asked)
    assert [(part.type, getattr(part, part.type)) for part in answer.message.content] == [
        ("thinking", "Thinking about: two words"),
        ("text", "You said: two words"),
    ]
    assert joined(events, "content-delta", "content", "thinking") == "Thinking about: two words"
    assert joined(events, "content-delta", "content", "text") == "You said: two words"
    assert [e["index"] for e in events if e["type"] == "content-start"] == [0, 1]
    assert answer.usage.tokens.model_dump()["reasoning_tokens"] == 4


async def test_documents_are_cited_where_the_answer_names_them(client):
    asked = {"model": "demo", "messages": says("Where?"), "documents": DOCUMENTS}
    answer = await client.chat(**asked)
    events = await streamed(client, **asked)
    quiet = await client.chat(**asked, citation_options={"mode": "OFF"})
    text = answer.message.content[0].text
    cited = [citation.model_dump(exclude_none=True) for citation in answer.message.citations]
    assert text == "I see 2 documents (Rome.md; doc:1) You said: Where?"
    assert [(text[c["start"] : c["end"]], c["text"], c["sources"][0]["id"]) for c in cited] == [
        ("Rome.md", "Rome.md", "rome"),
        ("doc:1", "doc:1", "doc:1"),
    ]
    assert cited[0]["sources"][0]["document"] == {"id": "rome", "title": "Rome.md", "text": "Rome is old."}
    starts = [e for e in events if e["type"] == "citation-start"]
    assert [e["delta"]["message"]["citations"] for e in starts] == cited
    assert [e["index"] for e in events if e["type"] == "citation-end"] == [0, 1]
    assert quiet.message.citations is None


async def test_structured_output_is_a_minimal_instance(client):
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = {"type": "json_object", "json_schema": schema}
    answer = await client.chat(model="demo", messages=says("x"), response_format=form)
    loose = await client.chat(model="demo", messages=says("x"), response_format={"type": "json_object"})
    assert json.loads(answer.message.content[0].text) == {"name": "text"}
    assert json.loads(loose.message.content[0].text) == {"answer": "x"}


@pytest.mark.parametrize(
    ("ask", "text", "finish"),
    [
        ({"max_tokens": 3}, "You said: a ", "MAX_TOKENS"),
        ({"stop_sequences": ["zzz", "b"]}, "You said: a ", "STOP_SEQUENCE"),
        ({"model": "demo-filter"}, "You said: ", "ERROR"),
        ({"model": "demo-refuse"}, "I'm sorry, but I can't assist with that.", "COMPLETE"),
    ],
)
async def test_finish_reasons(client, ask, text, finish):
    asked = {"model": "demo", "messages": says("a b c d"), **ask}
    answer = await client.chat(**asked)
    events = await streamed(client, **asked)
    assert (answer.message.content[0].text, answer.finish_reason) == (text, finish)
    assert joined(events, "content-delta", "content", "text") == text
    assert events[-1]["delta"]["finish_reason"] == finish
    assert ("error" in events[-1]["delta"]) == (finish == "ERROR")


async def test_images_logprobs_and_cached_tokens(client):
    content = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": PNG}}]
    answer = await client.chat(model="demo", messages=[{"role": "user", "content": content}], logprobs=True)
    long = await client.chat(model="demo-cached", messages=says("a b c d e f"))
    text = answer.message.content[0].text
    assert text == "I see 1 image (image/png, 70 bytes) You said: Look"
    assert "".join(token.text for token in answer.logprobs) == text
    assert long.usage.cached_tokens == 2


async def test_refusals_have_a_message_and_an_id(demo):
    url = f"{demo.base_url}/v2/chat"

    async def refused(model: str, key: str = "demo-key") -> tuple[int, dict[str, Any], dict[str, str]]:
        body = {"model": model, "messages": says("x")}
        async with http.post(url, json=body, headers={"authorization": f"Bearer {key}"}) as response:
            return response.status, await response.json(), dict(response.headers)

    async with aiohttp.ClientSession() as http:
        status, body, headers = await refused("fault-429-30")
        context = await refused("fault-context")
        stranger = await refused("demo", key="other")
    assert (status, set(body), headers["Retry-After"]) == (429, {"id", "message"}, "30")
    assert body["message"].startswith("You are using a Trial key")
    assert (context[0], context[1]["error_type"]) == (400, "TOO_MANY_TOKENS")
    assert (stranger[0], stranger[1]["message"]) == (401, "invalid api token")


async def test_faults_as_the_sdk_sees_them(client):
    never = {"max_retries": 0}
    for fault, error in (
        ("429", cohere.TooManyRequestsError),
        ("401", cohere.UnauthorizedError),
        ("404", cohere.NotFoundError),
        ("500", cohere.InternalServerError),
        ("529", cohere.ServiceUnavailableError),
    ):
        with pytest.raises(error):
            await client.chat(model=f"fault-{fault}", messages=says("x"), request_options=never)
    events = await streamed(client, model="fault-error-mid", messages=says("one two three four"))
    assert joined(events, "content-delta", "content", "text").startswith("You ")
    assert events[-1]["delta"] == {
        "finish_reason": "ERROR",
        "usage": {},
        "error": "the model is overloaded, please try again later",
    }
    good = await streamed(client, model="demo", messages=says("x"))
    short = await streamed(client, model="fault-eof", messages=says("x"))
    assert [event["type"] for event in short] == [event["type"] for event in good[:-1]]
