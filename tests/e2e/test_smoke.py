"""The main job, end to end."""

from __future__ import annotations

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from .world import World


@pytest.mark.parametrize("model", ["claude", "gpt"])
async def test_both_sdks_reach_both_kinds_of_provider(model: str) -> None:
    async with World() as world:
        async with AsyncOpenAI(base_url=f"{world.gateway.url}/v1", api_key="unused") as openai:
            completion = await openai.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hello"}]
            )
        async with AsyncAnthropic(base_url=world.gateway.url, api_key="unused") as anthropic:
            message = await anthropic.messages.create(
                model=model, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
            )
        assert completion.choices[0].message.content == "You said: Hello"
        assert message.content[0].text == "You said: Hello"
