"""The embedded Gemini provider, driven by the official SDK."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from google import genai
from google.genai import errors, types

from busbar.demo.providers import DemoProviders

PNG = b"\x89PNG\r\n\x1a\n" + bytes(62)
WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
}
TOOLS = {"tools": [{"function_declarations": [WEATHER]}]}
SKIP = b"\xb2\xc8\xa9\xfe\xda\x2e\x87\xa0"
"""Not a signature of anybody."""


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders() as demo:
        yield demo


@pytest.fixture
async def client(demo: DemoProviders) -> AsyncIterator[genai.client.AsyncClient]:
    async with speaks(demo) as client:
        yield client


def speaks(demo: DemoProviders, key: str = "demo-key") -> genai.client.AsyncClient:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=demo.base_url)).aio


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"x-goog-api-key": "demo-key"}) as http:
        yield http


def said(response: types.GenerateContentResponse) -> list[list[object]]:
    """For each candidate its thought, its text, its calls and why it ended."""
    told = []
    for candidate in response.candidates or ():
        parts = (candidate.content.parts if candidate.content else None) or []
        told.append(
            [
                "".join(part.text or "" for part in parts if part.thought),
                "".join(part.text or "" for part in parts if not part.thought),
                [(part.function_call, part.thought_signature) for part in parts if part.function_call],
                candidate.finish_reason and candidate.finish_reason.value,
            ]
        )
    return told


async def both(client, contents="Hello", model="demo-gemini", **config) -> types.GenerateContentResponse:
    """The answer, after checking that the stream adds up to the same one."""
    asked = {"model": model, "contents": contents, "config": config}
    plain = await client.models.generate_content(**asked)
    streamed: dict[int, list] = {}
    last = None
    async for last in await client.models.generate_content_stream(**asked):
        for candidate, (thought, text, calls, finish) in zip(last.candidates or (), said(last), strict=True):
            total = streamed.setdefault(candidate.index, ["", "", [], None])
            streamed[candidate.index] = [total[0] + thought, total[1] + text, total[2] + calls, finish]
    assert [streamed[index] for index in sorted(streamed)] == said(plain)
    assert (last.usage_metadata, last.response_id) == (plain.usage_metadata, plain.response_id)
    return plain


def counts(answer: types.GenerateContentResponse) -> tuple:
    usage = answer.usage_metadata
    return (
        usage.prompt_token_count,
        usage.cached_content_token_count,
        usage.candidates_token_count,
        usage.thoughts_token_count,
        usage.total_token_count,
    )


async def test_text_echoes_system_turn_and_words(client):
    contents = [
        {"role": "user", "parts": [{"text": "Hello"}]},
        {"role": "model", "parts": [{"text": "Hi"}]},
        {"role": "user", "parts": [{"text": "How are"}, {"text": "you?"}]},
    ]
    answer = await both(client, contents, system_instruction="Be brief.")
    assert said(answer) == [["", "[system: Be brief.] [turn 2] You said: How are\nyou?", [], "STOP"]]
    assert counts(answer) == (7, None, 10, None, 17)
    assert answer.model_version == "demo-gemini"


async def test_prefill_is_continued(client):
    contents = [
        {"role": "user", "parts": [{"text": "one two"}]},
        {"role": "model", "parts": [{"text": "You said:"}]},
    ]
    assert said(await both(client, contents)) == [["", " one two", [], "STOP"]]


async def test_a_stream_is_server_sent_events_or_one_array(demo, http):
    path = f"{demo.base_url}/v1beta/models/demo:streamGenerateContent"
    body = {"contents": [{"parts": [{"text": "Hi"}]}]}
    async with http.post(path, params={"alt": "sse"}, json=body) as response:
        assert response.content_type == "text/event-stream"
        events = [json.loads(line[6:]) for line in (await response.text()).split("\n") if line]
    async with http.post(path, json=body) as response:
        assert response.content_type == "application/json"
        assert await response.json() == events
    texts = [event["candidates"][0]["content"]["parts"][0]["text"] for event in events]
    assert texts == ["You ", "said: ", "Hi", ""]
    assert [event["candidates"][0].get("finishReason") for event in events] == [None, None, None, "STOP"]
    assert events[0]["usageMetadata"] == {"promptTokenCount": 1, "totalTokenCount": 1}


async def called(client, model="demo-gemini-3", **config) -> tuple[list, types.Content]:
    """A conversation up to the parallel calls it was answered with, and the turn that holds them."""
    contents = [types.UserContent("weather in Paris and Rome")]
    answer = await both(client, contents, model, **TOOLS, **config)
    return contents, answer.candidates[0].content


def answered(turn: types.Content, *responses: dict) -> types.Content:
    calls = [part.function_call for part in turn.parts if part.function_call]
    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response=response))
        for call, response in zip(calls, responses, strict=True)
    ]
    return types.Content(role="user", parts=results)


SUN_AND_RAIN = ({"output": "sun"}, {"error": "rain"})


async def test_parallel_calls_and_their_results(client):
    contents, turn = await called(client, "demo-preface-gemini")
    calls = [part.function_call for part in turn.parts if part.function_call]
    answer = await both(client, [*contents, turn, answered(turn, *SUN_AND_RAIN)], "demo-preface-gemini", **TOOLS)
    assert turn.parts[0].text == "Let me check that."
    assert [(call.name, call.args) for call in calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Rome"}),
    ]
    assert len({call.id for call in calls}) == 2
    assert answer.text == "[turn 2] Results: sun; rain (error)"


async def test_a_result_that_has_no_words_is_told_as_json(client):
    contents, turn = await called(client)
    answer = await both(client, [*contents, turn, answered(turn, {"sun": 1}, {})], **TOOLS)
    assert answer.text == '[turn 2] Results: {"sun":1};'


@pytest.mark.parametrize(
    ("mode", "text", "arguments"),
    [
        ({"mode": "NONE"}, "weather in Paris", []),
        ({"mode": "AUTO"}, "Hi", []),
        ({"mode": "ANY"}, "Hi", [{"city": "text"}]),
        ({"mode": "ANY", "allowed_function_names": ["get_weather"]}, "Hi", [{"city": "text"}]),
    ],
)
async def test_tool_choice(client, mode, text, arguments):
    answer = await both(client, text, **TOOLS, tool_config={"function_calling_config": mode})
    assert [call.args for call in answer.function_calls or ()] == arguments


async def test_thoughts_come_first_are_counted_apart_and_go_back(client):
    contents, turn = await called(client, thinking_config={"include_thoughts": True})
    thought, first, second = turn.parts
    answer = await both(client, [*contents, turn, answered(turn, *SUN_AND_RAIN)], "demo-gemini-3", **TOOLS)
    hidden = await both(client, "Hello", thinking_config={"thinking_budget": 1024})
    assert (thought.text, thought.thought) == ("Thinking about: weather in Paris and Rome", True)
    assert (first.thought_signature is None, second.thought_signature) == (False, None)
    assert answer.text == "[turn 2] Results: sun; rain (error)"
    assert said(hidden) == [["", "You said: Hello", [], "STOP"]]
    assert counts(hidden) == (1, None, 3, 3, 7)


async def test_a_model_that_wants_signatures_signs_its_last_words_in_streams(client):
    stream = await client.models.generate_content_stream(model="demo-gemini-3", contents="Hi")
    *_, last = [chunk.candidates[0].content.parts async for chunk in stream]
    spoken = types.Content(role="model", parts=[types.Part(text="You said: Hi"), *last])
    contents = [types.UserContent("Hi"), spoken, types.UserContent("And?")]
    assert (await both(client, contents, "demo-gemini-3")).text == "[turn 2] You said: And?"


MISSING = "Function call is missing a thought_signature in functionCall parts."


@pytest.mark.parametrize("model", ["demo-gemini-3", "demo-strict"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda parts: setattr(parts[0], "thought_signature", None), MISSING),
        (lambda parts: setattr(parts[0], "thought_signature", SKIP), "Corrupted thought signature."),
        (lambda parts: parts[0].function_call.args.update(city="Oslo"), "Corrupted thought signature."),
        (lambda parts: setattr(parts[1], "thought_signature", parts[0].thought_signature), "Corrupted thought"),
    ],
)
async def test_signatures_that_are_lost_or_touched_are_refused(client, model, spoil, message):
    contents, turn = await called(client, model)
    spoil(turn.parts)
    with pytest.raises(errors.ClientError) as refused:
        await both(client, [*contents, turn, answered(turn, *SUN_AND_RAIN)], model, **TOOLS)
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    assert refused.value.message.startswith(message)


async def test_a_lost_signature_may_be_stood_in_for_lies_in_the_past_or_is_not_wanted(client):
    contents, turn = await called(client)
    bare = turn.model_copy(deep=True)
    bare.parts[0].thought_signature = None
    results = answered(turn, *SUN_AND_RAIN)
    later = [types.ModelContent("Done."), types.UserContent("Thanks")]
    assert (await both(client, [*contents, bare, results], "demo-gemini-2.5", **TOOLS)).text.startswith("[turn 2]")
    assert (
        await both(client, [*contents, bare, results, *later], "demo-gemini-3")
    ).text == "[turn 3] You said: Thanks"


async def test_the_documented_stand_in_for_a_signature_is_accepted(demo, http):
    signed = {"thoughtSignature": "skip_thought_signature_validator"}
    contents = [
        {"role": "user", "parts": [{"text": "Go"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {}}, **signed}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {"result": "sun"}}}]},
    ]
    url = f"{demo.base_url}/v1/models/gemini-3-pro:generateContent"
    async with http.post(url, json={"contents": contents}) as response:
        answer = await response.json()
    assert answer["candidates"][0]["content"]["parts"] == [{"text": "[turn 2] Results: sun"}]


@pytest.mark.parametrize(
    "schema",
    [
        {"response_schema": {"type": "OBJECT", "properties": {"ok": {"type": "BOOLEAN"}}, "required": ["ok"]}},
        {"response_json_schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}},
    ],
)
async def test_structured_output(client, schema):
    answer = await both(client, response_mime_type="application/json", **schema)
    assert answer.text == '{"ok":false}'


@pytest.mark.parametrize(
    ("ask", "text", "reason"),
    [
        ({"max_output_tokens": 3}, "You said: a ", "MAX_TOKENS"),
        ({"stop_sequences": ["zzz", "c"]}, "You said: a b ", "STOP"),
        ({"model": "demo-refuse"}, "", "SAFETY"),
        ({"model": "demo-filter"}, "You said: ", "SAFETY"),
    ],
)
async def test_finish_reasons(client, ask, text, reason):
    assert said(await both(client, "a b c d", **ask)) == [["", text, [], reason]]


async def test_a_blocked_prompt_has_no_candidates(client):
    answer = await both(client, model="demo-blocked")
    assert answer.candidates is None
    assert answer.prompt_feedback.block_reason.value == "PROHIBITED_CONTENT"


async def test_candidates_and_cached_tokens(client):
    answer = await both(client, "a b c", "demo-gemini-cached", candidate_count=2)
    assert [text for _, text, _, _ in said(answer)] == ["You said: a b c", "You said: a b c (choice 2)"]
    assert counts(answer) == (3, 1, 10, None, 13)


async def test_images_audio_and_documents_are_seen_in_results_too(demo, http):
    image = {"inline_data": {"mime_type": "image/png", "data": "iVBORw=="}}
    parts = [
        {"function_response": {"name": "look", "response": {}, "parts": [image]}},
        {"fileData": {"fileUri": "https://example.com/a.pdf", "mimeType": "application/pdf"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        image,
    ]
    contents = [
        {"role": "user", "parts": {"text": "Go"}},
        {"role": "model", "parts": {"function_call": {"name": "look"}}},
        {"role": "user", "parts": parts},
    ]
    url = f"{demo.base_url}/v1beta/models/demo:generateContent"
    async with http.post(url, json={"contents": contents}) as response:
        answer = await response.json()
    assert answer["candidates"][0]["content"]["parts"][0]["text"] == (
        "[turn 2] Results: I see 1 document (https://example.com/a.pdf) I see 1 audio clip (audio/wav, 3 bytes) "
        "I see 2 images (image/png, 4 bytes; image/png, 4 bytes)"
    )


async def test_the_sdk_may_send_bytes(client):
    image = types.Part.from_bytes(data=PNG, mime_type="image/png")
    assert (await both(client, [image, "Look"])).text == "I see 1 image (image/png, 70 bytes) You said: Look"


async def test_count_tokens_and_models(demo, client, http):
    counted = await client.models.count_tokens(model="demo", contents="one two three")
    listed = [model.name async for model in await client.models.list(config={"query_base": True})]
    inner = {"model": "models/demo", "contents": [{"parts": [{"text": "a"}]}], "systemInstruction": {"parts": []}}
    url = f"{demo.base_url}/v1beta/models/demo:countTokens"
    async with http.post(url, json={"generateContentRequest": inner}) as response:
        assert (response.status, "parts must not be empty" in await response.text()) == (400, True)
    assert counted.total_tokens == 3
    assert listed == [f"models/{name}" for name in demo.models]


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"x-goog-api-key": "demo-key"}, "", 200),
        ({"authorization": "Bearer demo-key"}, "", 200),
        ({}, "?key=demo-key", 200),
        ({}, "?key=wrong", 400),
        ({}, "", 403),
    ],
)
async def test_carriers_of_the_key(demo, headers, query, status):
    body = {"contents": [{"parts": [{"text": "a"}]}]}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{demo.base_url}/v1beta/models/demo:generateContent{query}", json=body) as response,
    ):
        assert response.status == status


async def test_a_bad_key_is_an_invalid_argument(demo):
    async with speaks(demo, "wrong") as client:
        with pytest.raises(errors.ClientError) as refused:
            await client.models.generate_content(model="demo", contents="Hi")
    error = refused.value.details["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][0]["reason"] == "API_KEY_INVALID"
