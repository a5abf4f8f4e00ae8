"""The tour: a few requests that the demo sends to itself, so that one sees it work."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from busbar.protocols.framing.sse import SseDecoder


class Stop(Struct, frozen=True):
    """One stop of the tour: a request as one of the SDKs would send it, and what to look at."""

    title: str
    path: str
    body: dict[str, Any]


STOPS = (
    Stop(
        "OpenAI client → OpenAI provider, passed through",
        "/v1/chat/completions",
        {"model": "gpt-demo", "messages": [{"role": "user", "content": "Hello, busbar!"}]},
    ),
    Stop(
        "OpenAI client → Anthropic provider, translated",
        "/v1/chat/completions",
        {"model": "claude-demo", "messages": [{"role": "user", "content": "Hello across dialects!"}]},
    ),
    Stop(
        "Anthropic client → OpenAI provider, translated and streamed",
        "/v1/messages",
        {
            "model": "gpt-demo",
            "max_tokens": 200,
            "stream": True,
            "messages": [{"role": "user", "content": "Hello as a stream!"}],
        },
    ),
    Stop(
        "Responses client → Gemini provider, translated",
        "/v1/responses",
        {"model": "gemini-demo", "input": "Hello, items!"},
    ),
    Stop(
        "Gemini client → Bedrock provider, translated",
        "/v1beta/models/bedrock-demo:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "Hello, eventstreams!"}]}]},
    ),
    Stop(
        "Bedrock client → Cohere provider, translated",
        "/model/cohere-demo/converse",
        {"messages": [{"role": "user", "content": [{"text": "Hello, everybody!"}]}]},
    ),
    Stop(
        "Anthropic client → pool whose first member is broken: it fails over",
        "/resilient/v1/messages",
        {"model": "any", "max_tokens": 200, "messages": [{"role": "user", "content": "Hello in spite of it!"}]},
    ),
)


async def walk(url: str) -> list[tuple[str, int, str]]:
    """Sends each stop's request to the gateway at `url`; gives (title, status, the text of the answer)."""
    seen = []
    async with aiohttp.ClientSession(url) as session:
        for stop in STOPS:
            async with session.post(stop.path, json=stop.body) as response:
                body = await response.read()
                text = _streamed_text(body) if stop.body.get("stream") else _text(body)
                seen.append((stop.title, response.status, text))
    return seen


def _text(body: bytes) -> str:
    """The answer's text in any dialect; an error's message where it is one."""
    document = msgspec.json.decode(body)
    match document:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
        case {"content": [{"type": "text", "text": str(text)}, *_]}:
            return text
        case {"output": [{"content": [{"text": str(text)}, *_]}, *_]}:
            return text
        case {"candidates": [{"content": {"parts": [{"text": str(text)}, *_]}}, *_]}:
            return text
        case {"output": {"message": {"content": [{"text": str(text)}, *_]}}}:
            return text
        case {"error": {"message": str(text)}} | {"message": str(text)}:
            return text
        case _:
            return body.decode("utf-8", "replace")


def _streamed_text(body: bytes) -> str:
    text = []
    decoder = SseDecoder()
    for event in decoder.feed(body):
        match msgspec.json.decode(event.data):
            case {"delta": {"type": "text_delta", "text": str(piece)}}:
                text.append(piece)
            case _:
                pass
    return "".join(text)
