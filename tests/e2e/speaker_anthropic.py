"""The official `anthropic` SDK, asked and understood in nobody's dialect."""

from __future__ import annotations

from typing import Any, ClassVar

from anthropic import AsyncAnthropic
from anthropic.types import Message, Usage

from .speakers import JSON, Attachment, Call, Counts, Ingress, Question, Reply, Turn, User

STOPS = {
    "end_turn": "end",
    "tool_use": "tools",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
}
RAW_EVENTS = frozenset(
    {
        *("message_start", "message_delta", "message_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    }
)
"""The SDK's stream helper adds events of its own."""


class AnthropicSpeaker:
    ingress: ClassVar[Ingress] = "anthropic"

    def __init__(self, url: str, key: str, retries: int) -> None:
        self.client = AsyncAnthropic(base_url=url, api_key=key, max_retries=retries)

    async def ask(self, model: str, question: Question, *, streamed: bool = False) -> Reply:
        parameters = _parameters(model, question)
        if not streamed:
            response = await self.client.messages.with_raw_response.create(**parameters)
            message = response.parse()
            return _reply(message, (message,), response.headers)
        raw = []
        stream = await self.client.messages.create(**parameters, stream=True)
        async for event in stream:
            raw.append(event)
        message = await self._accumulated(parameters) if False else _accumulate(raw)
        return _reply(message, tuple(raw), stream.response.headers)
