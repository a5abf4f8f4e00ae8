"""The embedded Responses provider, driven by the official SDK."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.responses import Response

from busbar.demo.providers import DemoProviders

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(62)).decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.4").decode()
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
REASONS = {
    "model": "demo-gpt",
    "input": "two words",
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
}
CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "facts" / "captures" / "cli"


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders() as demo:
        yield demo


@pytest.fixture
async def client(demo: DemoProviders) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{demo.base_url}/v1", api_key="demo-key", max_retries=0) as client:
        yield client


async def events(client: openai.AsyncOpenAI, **asked: Any) -> list[Any]:
    return [event async for event in await client.responses.create(**asked, stream=True)]


async def test_text_echoes_system_turn_and_words(client):
    answer = await client.responses.create(
        model="demo-gpt",
        instructions="Be brief.",
        input=[
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
            {"role": "developer", "content": [{"type": "input_text", "text": "In English."}]},
            {"role": "user", "content": "How are you?"},
        ],
    )
    assert answer.output_text == "[system: Be brief.\nIn English.] [turn 2] You said: How are you?"
    assert (answer.status, answer.object, answer.incomplete_details) == ("completed", "response", None)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (9, 12, 21)


async def test_the_whole_response_satisfies_the_sdks_types(client):
    asked = {**REASONS, "tools": [WEATHER], "model": "demo-preface", "input": "weather in Paris and Rome"}
    raw = await client.responses.with_raw_response.create(**asked)
    answer = Response.model_validate_json(raw.text)
    assert [item.type for item in answer.output] == ["reasoning", "message", "function_call", "function_call"]
    assert raw.headers["x-request-id"].startswith("req_")


async def test_a_stream_tells_every_event_in_order_with_its_number(client):
    said = await events(client, model="demo-gpt", input="one two")
    assert [event.type.removeprefix("response.") for event in said] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 4,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in said] == list(range(12))
    assert [event.delta for event in said[4:8]] == ["You ", "said: ", "one ", "two"]
    assert (said[0].response.status, said[0].response.output, said[0].response.usage) == ("in_progress", [], None)
    assert said[-1].response == await client.responses.create(model="demo-gpt", input="one two")


async def test_the_wire_names_events_and_has_no_done(demo):
    headers = {"authorization": "Bearer demo-key"}
    body = {"model": "demo-gpt", "input": "x", "stream": True}
    url = f"{demo.base_url}/v1/responses"
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, json=body) as response:
        *frames, rest = (await response.text()).split("\n\n")
    named = [frame.split("\n") for frame in frames]
    assert rest == ""
    assert all(event.removeprefix("event: ") == json.loads(data[6:])["type"] for event, data in named)


async def test_parallel_calls_stream_as_items_of_their_own(client):
    asked = {"model": "demo-gpt", "input": "What is the weather in Paris and Rome?", "tools": [WEATHER]}
    plain = await client.responses.create(**asked)
    said = await events(client, **asked)
    deltas: dict[int, str] = {}
    for event in said:
        if event.type == "response.function_call_arguments.delta":
            deltas[event.output_index] = deltas.get(event.output_index, "") + event.delta
    assert [json.loads(call.arguments) for call in plain.output] == [{"city": "Paris"}, {"city": "Rome"}]
    assert [deltas[0], deltas[1]] == [call.arguments for call in plain.output]
    assert len({call.call_id for call in plain.output}) == len({call.id for call in plain.output}) == 2
    assert said[-1].response.output == plain.output


async def test_tool_results_are_quoted(client):
    asked = {"model": "demo-gpt", "tools": [WEATHER]}
    first: list[Any] = [{"role": "user", "content": "weather in Paris and Rome"}]
    called = (await client.responses.create(input=first, **asked)).output
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": output}
        for call, output in zip(called, ("sun", [{"type": "input_text", "text": "rain"}]), strict=True)
    ]
    given = [*first, *(call.model_dump(exclude_none=True) for call in called), *results]
    answer = await client.responses.create(input=given, **asked)
    assert answer.output_text == "[turn 2] Results: sun; rain"


@pytest.mark.parametrize(
    ("ask", "calls"),
    [
        ({"tool_choice": "none"}, []),
        ({"parallel_tool_calls": False}, ['{"city":"Paris"}']),
        ({"tool_choice": {"type": "function", "name": "get_weather"}, "input": "Hi"}, ['{"city":"text"}']),
        ({"tool_choice": "required", "input": "Hi"}, ['{"city":"text"}']),
        ({"tool_choice": "auto", "input": "Hi"}, []),
    ],
)
async def test_tool_choice(client, ask, calls):
    asked = {"model": "demo-gpt", "input": "weather in Paris and Rome", "tools": [WEATHER], **ask}
    answer = await client.responses.create(**asked)
    assert [item.arguments for item in answer.output if item.type == "function_call"] == calls


async def test_reasoning_is_summed_up_encrypted_and_counted(client):
    answer = await client.responses.create(**REASONS)
    reasoning, message = answer.output
    bare = (await client.responses.create(**REASONS | {"reasoning": {"effort": "low"}, "include": []})).output[0]
    quiet = await client.responses.create(**REASONS | {"reasoning": {"effort": "none"}})
    assert [part.text for part in reasoning.summary] == ["Thinking about: two words"]
    assert reasoning.encrypted_content.startswith("gAAAAA")
    assert (bare.summary, bare.encrypted_content) == ([], None)
    assert [item.type for item in quiet.output] == ["message"]
    assert answer.usage.output_tokens_details.reasoning_tokens == 4
    assert message.content[0].text == "You said: two words"


async def test_reasoning_streams_its_summary_and_comes_back_with_the_next_turn(client):
    said = await events(client, **REASONS)
    summary = [event.type for event in said if "reasoning" in event.type]
    assert [kind.removeprefix("response.reasoning_summary_") for kind in summary] == [
        "part.added",
        *["text.delta"] * 4,
        "text.done",
        "part.done",
    ]
    output = [item.model_dump(exclude_none=True) for item in said[-1].response.output]
    given = [{"role": "user", "content": "two words"}, *output, {"role": "user", "content": "more"}]
    answer = await client.responses.create(**REASONS | {"input": given})
    assert answer.output_text == "[turn 2] You said: more"
    secret = output[0]["encrypted_content"]
    output[0]["encrypted_content"] = secret[:-2] + ("A" if secret[-2] != "A" else "B") + secret[-1]
    with pytest.raises(openai.BadRequestError, match="could not be verified") as refused:
        await client.responses.create(**REASONS | {"input": given})
    assert refused.value.code == "invalid_encrypted_content"


async def test_structured_output_is_a_minimal_instance(client):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "size": {"enum": ["s", "m"]}},
        "required": ["name", "size"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "thing", "schema": schema, "strict": True}
    answer = await client.responses.create(model="demo-gpt", input="x", text={"format": form})
    loose = await client.responses.create(model="demo-gpt", input="as JSON", text={"format": {"type": "json_object"}})
    assert json.loads(answer.output_text) == {"name": "text", "size": "s"}
    assert json.loads(loose.output_text) == {"answer": "as JSON"}


@pytest.mark.parametrize(
    ("ask", "text", "reason"),
    [
        ({"max_output_tokens": 16, "input": " ".join("abcdefghijklmnopqrst")}, "You said: a b", "max_output_tokens"),
        ({"model": "demo-filter", "input": "a b"}, "You said: ", "content_filter"),
    ],
)
async def test_incomplete_answers(client, ask, text, reason):
    asked = {"model": "demo-gpt", **ask}
    answer = await client.responses.create(**asked)
    said = await events(client, **asked)
    assert answer.output_text.startswith(text)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", reason)
    assert answer.output[0].status == "incomplete"
    assert (said[-1].type, said[-1].response) == ("response.incomplete", answer)
    assert "".join(e.delta for e in said if e.type == "response.output_text.delta") == answer.output_text


async def test_refusal_is_a_part_of_its_own(client):
    answer = await client.responses.create(model="demo-refuse", input="x")
    said = await events(client, model="demo-refuse", input="x")
    part = answer.output[0].content[0]
    assert (answer.status, part.type, part.refusal) == (
        "completed",
        "refusal",
        "I'm sorry, but I can't assist with that.",
    )
    assert "".join(e.delta for e in said if e.type == "response.refusal.delta") == part.refusal
    assert next(e.refusal for e in said if e.type == "response.refusal.done") == part.refusal


async def test_images_files_logprobs_and_cached_tokens(client):
    content = [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": PNG, "detail": "auto"},
        {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://example.com/b.pdf"},
    ]
    answer = await client.responses.create(
        model="demo-gpt",
        input=[{"role": "user", "content": content}],
        include=["message.output_text.logprobs"],
        top_logprobs=1,
    )
    long = await client.responses.create(model="demo-cached", input="a b c d e f")
    part = answer.output[0].content[0]
    assert part.text == (
        "I see 1 image (image/png, 70 bytes) "
        "I see 2 documents (application/pdf, 8 bytes; https://example.com/b.pdf) You said: Look"
    )
    assert "".join(token.token for token in part.logprobs) == part.text
    assert part.logprobs[0].top_logprobs[0].token == part.logprobs[0].token
    assert long.usage.input_tokens_details.cached_tokens == 2


async def test_a_tool_in_a_namespace_is_called_by_its_namespace(client):
    space = {"type": "namespace", "name": "home", "description": "d", "tools": [{**WEATHER, "strict": False}]}
    answer = await client.responses.create(model="demo-gpt", input="weather in Rome", tools=[space])
    assert [(call.namespace, call.name) for call in answer.output] == [("home", "get_weather")]


async def test_faults_as_the_sdk_sees_them(client):
    for fault, error in (
        ("429", openai.RateLimitError),
        ("401", openai.AuthenticationError),
        ("context", openai.BadRequestError),
        ("502-html", openai.InternalServerError),
        ("cut-start", openai.APIConnectionError),
    ):
        with pytest.raises(error):
            await client.responses.create(model=f"fault-{fault}", input="x")
    with pytest.raises(openai.APIError, match="overloaded"):
        await events(client, model="fault-error-mid", input="one two three four")


async def test_faults_in_streams(demo):
    async def read(model: str) -> tuple[str, list[dict[str, Any]]]:
        body = {"model": model, "input": "one two three four", "stream": True}
        async with http.post(f"{demo.base_url}/v1/responses", json=body) as response:
            text = await response.text()
        return text, [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]

    async with aiohttp.ClientSession(headers={"authorization": "Bearer demo-key"}) as http:
        _, good = await read("demo")
        *_, error, failed = (await read("fault-error-mid"))[1]
        first = (await read("fault-error-first"))[1]
        cut_short = (await read("fault-eof"))[1]
        silent, _ = await read("fault-no-usage")
    assert error["error"]["code"] == "server_is_overloaded"
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"]["code"] == "server_is_overloaded"
    assert failed["sequence_number"] == error["sequence_number"] + 1 < len(good)
    assert [event["type"] for event in first] == ["error"]
    assert [event["type"] for event in cut_short] == [event["type"] for event in good[:-1]]
    assert '"usage"' not in silent


@pytest.mark.parametrize("capture", ["codex_0.169.0_custom_provider", "codex_0.169.0_openai_base_url_ws405"])
async def test_codex_is_answered(demo, capture):
    path = CAPTURES / f"{capture}.jsonl"
    if not path.exists():
        pytest.skip(f"no captured requests at ../shared/facts/captures/cli/{capture}.jsonl")
    captured = [json.loads(line) for line in path.read_text().splitlines()]
    posted = [each["body"] for each in captured if each["method"] == "POST"]
    assert posted
    async with aiohttp.ClientSession(headers={"authorization": "Bearer demo-key"}) as http:
        for body in posted:
            async with http.post(f"{demo.base_url}/v1/responses", json=body) as response:
                text = await response.text()
            assert response.status == 200, text
            assert "say hi" in text
            assert '"encrypted_content":"gAAAAA' in text
            assert "event: response.completed" in text
