"""The official `google-genai` SDK, asked and understood in nobody's dialect."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
from google import genai
from google.genai.types import Content, GenerateContentResponse, GenerateContentResponseUsageMetadata, Part

from .speakers import JSON, NO_ROOTS, Attachment, Call, Counts, Question, Reply, Turn, User, type_faults

STOPS = {"STOP": "end", "MAX_TOKENS": "length", "SAFETY": "refusal"}
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


class GeminiSpeaker:
    """`version` is the API version in the path."""

    def __init__(self, url: str, key: str, retries: int, version: str = "v1beta") -> None:
        assert retries == 0, "the SDK does not retry by itself"
        self._wire = Wire(verify=NO_ROOTS)
        http = httpx2.AsyncClient(transport=self._wire)
        options = {"base_url": url, "api_version": version, "httpx_async_client": http}
        self._http = http
        self.client: Any = genai.Client(api_key=key, http_options=options, vertexai=False)

    async def aclose(self) -> None:
        await self.client.aio.aclose()
        await self._http.aclose()
        self.client.close()

    async def ask(self, model: str, question: Question, *, streamed: bool = False) -> Reply:
        parameters = {"model": model, "contents": _contents(question), "config": _config(question)}
        models = self.client.aio.models
        self._wire.heard.clear()
        if streamed:
            chunks = [chunk async for chunk in await models.generate_content_stream(**parameters)]
        else:
            chunks = [await models.generate_content(**parameters)]
        return _reply(chunks, tuple(self._faults(streamed)))

    def _faults(self, streamed: bool) -> list[str]:
        """The SDK forgets what its types do not know: this looks at what came over the wire."""
        text = b"".join(self._wire.heard).decode()
        documents = [line.removeprefix("data: ") for line in text.split("\n") if line.strip()] if streamed else [text]
        kind = GenerateContentResponse
        return [fault for document in documents for fault in type_faults(kind, json.loads(document))]


class Wire(httpx2.AsyncHTTPTransport):
    """Remembers the body of the last answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[bytes] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Overheard(response.stream, self.heard)
        return response


class _Overheard(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, heard: list[bytes]) -> None:
        self._stream = stream
        self._heard = heard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._heard.append(data)
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()


def _config(question: Question) -> JSON:
    declarations = [
        {"name": tool.name, "description": f"Tool {tool.name}", "parameters": tool.schema} for tool in question.tools
    ]
    given: JSON = {
        "system_instruction": question.system,
        "max_output_tokens": question.max_tokens,
        "tools": [{"function_declarations": declarations}] if declarations else [],
        "tool_config": _choice(question.choice),
        "stop_sequences": list(question.stops),
        "response_mime_type": "application/json" if question.schema else None,
        "response_json_schema": question.schema,
        "thinking_config": {"include_thoughts": True, "thinking_budget": 1024} if question.thinking else None,
    }
    return {
        "automatic_function_calling": {"disable": True},
        "http_options": {"headers": {"x-busbar-receipt": "1"}},
        **{name: value for name, value in given.items() if value},
        **question.native,
    }


def _choice(choice: str | None) -> JSON | None:
    if choice is None:
        return None
    named = {} if choice in MODES else {"allowed_function_names": [choice]}
    return {"function_calling_config": {"mode": MODES.get(choice, "ANY"), **named}}


def _contents(question: Question) -> list[Any]:
    """A result of a function bears its name; that is in the turn in which it was called."""
    names = {call.id: call.name for turn in question.turns if isinstance(turn, Reply) for call in turn.calls}
    return [_content(turn, names) for turn in question.turns]


def _content(turn: Turn, names: Mapping[str, str]) -> Any:
    match turn:
        case str():
            return {"role": "user", "parts": [{"text": turn}]}
        case Reply():
            return turn.turn or {"role": "model", "parts": [{"text": turn.text}]}
        case User():
            parts: list[JSON] = [
                {
                    "function_response": {
                        "id": result.id,
                        "name": names[result.id],
                        "response": {"error" if result.failed else "output": result.text},
                    }
                }
                for result in turn.results
            ]
            parts += [_attached(attachment) for attachment in turn.attachments]
            parts += [{"text": turn.text}] if turn.text else []
            return {"role": "user", "parts": parts}


def _attached(attachment: Attachment) -> JSON:
    if attachment.url:
        return {"file_data": {"file_uri": attachment.url, "mime_type": attachment.media_type}}
    return {"inline_data": {"data": base64.b64decode(attachment.data), "mime_type": attachment.media_type}}


def _reply(chunks: list[GenerateContentResponse], faults: tuple[str, ...]) -> Reply:
    """A stream's chunks add up: parts follow each other, the last usage and the finish reason count."""
    candidates = [chunk.candidates[0] for chunk in chunks if chunk.candidates]
    contents = [candidate.content for candidate in candidates if candidate.content is not None]
    parts: list[Part] = [part for content in contents for part in content.parts or ()]
    calls = [part.function_call for part in parts if part.function_call is not None]
    finished = [candidate.finish_reason for candidate in candidates if candidate.finish_reason is not None]
    usages = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata is not None]
    assert len(finished) == 1, "one finish reason"
    stop = STOPS[finished[0].value]
    headers = chunks[0].sdk_http_response.headers if chunks[0].sdk_http_response is not None else None
    return Reply(
        text="".join(part.text for part in parts if part.text and not part.thought),
        thinking="".join(part.text for part in parts if part.text and part.thought),
        signature=b"".join(part.thought_signature or b"" for part in parts).hex(),
        calls=tuple(Call(call.name or "", call.args or {}, call.id or "") for call in calls),
        stop="tools" if calls and stop == "end" else stop,
        usage=_counts(usages[-1]) if usages else None,
        id=chunks[0].response_id or "",
        model=chunks[0].model_version or "",
        turn=Content(role="model", parts=parts),
        faults=faults,
        headers=headers or {},
    )


def _counts(usage: GenerateContentResponseUsageMetadata) -> Counts:
    """Here the prompt includes what the cache had, and the candidates leave out the thoughts."""
    prompt, said, thought = usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count
    read = usage.cached_content_token_count or 0
    assert usage.total_token_count == (prompt or 0) + (said or 0) + (thought or 0)
    return Counts(
        input=(prompt or 0) - read,
        output=(said or 0) + (thought or 0),
        cache_read=read,
        reasoning=thought or 0,
    )
