"""What each dialect's backends take: its official SDK's types of a request, and the embedded provider.

The SDKs write requests and never refuse a key, the provider does. It takes signatures that it made itself only, so
`countersigned` puts those in the place of recorded ones, which the real provider would know.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from anthropic.types.message_create_params import MessageCreateParams
from cohere.v2.client import V2Client
from google.genai import types as genai
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import TypeAdapter

from busbar.demo.providers.anthropic import Anthropic
from busbar.demo.providers.bedrock import Bedrock
from busbar.demo.providers.cohere import Cohere
from busbar.demo.providers.dialect import PATH_MODEL, Dialect
from busbar.demo.providers.gemini import Gemini
from busbar.demo.providers.openai import OpenAI
from busbar.demo.providers.responses import Responses
from busbar.demo.providers.signature import redact, sign
from busbar.protocols.ir import RedactedThinking, Request, Thinking
from busbar.protocols.registry import PROTOCOLS
from tests.protocols.anthropic.test_request_settings import sdk_accepts
from tests.protocols.bedrock.wire import sdk_refuses

Check: typing.TypeAlias = Callable[[dict[str, Any]], None]

MODELS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("claude-sonnet-4-5",),
    "openai": ("gpt-5",),
    "responses": ("gpt-5",),
    "gemini": ("gemini-2.5-flash", "gemini-3.6-flash"),
    "bedrock": ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-pro-v1:0", "mistral.large-v1"),
    "cohere": ("command-a-plus-05-2026", "command-r-08-2024"),
}
"""Models of each dialect between which its writer makes a difference."""

PROVIDERS: Mapping[str, Dialect] = {
    each.name: each for each in (Anthropic(), OpenAI(), Responses(), Gemini(), Bedrock(), Cohere())
}


def accepts(dialect: str, model: str, document: dict[str, Any]) -> None:
    """Raises what the SDK or the provider has to say against a request for `model`."""
    SDKS[dialect](document)
    in_path = PROTOCOLS[dialect].model_in == "path"
    PROVIDERS[dialect].validate({**document, PATH_MODEL: model} if in_path else document, {})


def countersigned(request: Request) -> Request:
    """`request`, with what Claude signed and redacted in it signed by the embedded provider."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Thinking) and part.signer == "anthropic" and part.signature:
                part.signature = sign(part.text)
            elif isinstance(part, RedactedThinking) and part.signer == "anthropic":
                part.data = redact(part.data)
    return request


def _params(declared: Any) -> Check:
    adapter: TypeAdapter[Any] = TypeAdapter(declared)
    return lambda document: sdk_accepts(adapter.validate_python(document))


def _bedrock(document: dict[str, Any]) -> None:
    assert sdk_refuses(document) == ""


_GEMINI: Mapping[str, TypeAdapter[Any]] = {
    "contents": TypeAdapter(list[genai.Content]),
    "systemInstruction": TypeAdapter(genai.Content),
    "generationConfig": TypeAdapter(genai.GenerationConfig),
    "tools": TypeAdapter(list[genai.Tool]),
    "toolConfig": TypeAdapter(genai.ToolConfig),
    "safetySettings": TypeAdapter(list[genai.SafetySetting]),
}


def _gemini(document: dict[str, Any]) -> None:
    """From JSON, in which bytes are base64."""
    for key, value in document.items():
        _GEMINI[key].validate_json(msgspec.json.encode(value))


_COHERE: Mapping[str, TypeAdapter[Any]] = {
    name: TypeAdapter(declared)
    for name, declared in (typing.get_type_hints(V2Client.chat) | {"stream": bool}).items()
    if name not in ("return", "request_options")
}


def _cohere(document: dict[str, Any]) -> None:
    """By the parameters of the SDK's own method; it puts `stream` in itself."""
    for key, value in document.items():
        _COHERE[key].validate_python(value)


SDKS: Mapping[str, Check] = {
    "anthropic": _params(MessageCreateParams),
    "openai": _params(CompletionCreateParams),
    "responses": _params(ResponseCreateParams),
    "gemini": _gemini,
    "bedrock": _bedrock,
    "cohere": _cohere,
}
