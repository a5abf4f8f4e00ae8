"""What the SDKs' own clients add a stream up to, for the SDKs that do: they read its bytes, and give one answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import httpx2
import openai

from tests.protocols.anthropic.wire import accumulated


def _client(wire: bytes) -> openai.OpenAI:
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=wire)
    transport = httpx2.MockTransport(lambda request: answer)
    return openai.OpenAI(api_key="k", base_url="http://x", http_client=httpx2.Client(transport=transport))


def _chat(wire: bytes) -> Any:
    with _client(wire).chat.completions.stream(model="m", messages=[]) as stream:
        with contextlib.suppress(openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
            stream.until_done()  # both are said of an answer that is whole
        return stream.current_completion_snapshot


def _response(wire: bytes) -> Any:
    """None for an incomplete answer, of which this client makes nothing."""
    with _client(wire).responses.stream(model="m", input="x") as stream:
        stream.until_done()
        return stream.get_final_response() if b"event: response.completed" in wire else None


ADD_UP: dict[str, Callable[[bytes], Any]] = {"anthropic": accumulated, "openai": _chat, "responses": _response}
