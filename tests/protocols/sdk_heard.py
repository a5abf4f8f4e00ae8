"""What a caller hears who reads an answer through its dialect's official SDK, and through nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from tests.protocols.sdk_models import Frame, is_error

Fact: TypeAlias = tuple[str, Any, Any]
"""(what it is, the block's place, what it says): `call` begins a call by its name, `arguments` adds to it."""


class Heard(Struct):
    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, Any]] = []
    """Names, and arguments decoded; in their text where they are no JSON."""
    tokens: tuple[int, int] = (0, 0)
    """Of the whole prompt, and of the whole output."""


def heard_in_answer(dialect: str, answer: Any) -> Heard:
    return _gathered(_ANSWER[dialect](answer))


def heard_in_events(dialect: str, events: list[Any]) -> Heard:
    return _gathered(fact for event in events for fact in _EVENT[dialect](event))


def endings(dialect: str, frames: list[Frame]) -> list[str]:
    """How a stream's events tell its end: `whole` or `broken`, and `more` for each that comes after that (Cohere's
    `[DONE]` is none)."""
    ends = []
    for kind, value in frames:
        broken = is_error(dialect, kind, value) or _broken_off(dialect, kind, value)
        if broken or _whole(dialect, kind, value):
            ends.append("broken" if broken else "whole")
        elif ends and value is not None:
            ends.append("more")
    return ends


def _broken_off(dialect: str, kind: str, value: Any) -> bool:
    match dialect:
        case "responses":
            return kind == "response.failed"
        case "cohere":
            return kind == "message-end" and value["delta"]["finish_reason"] == "ERROR"
        case _:
            return False


def _whole(dialect: str, kind: str, value: Any) -> bool:
    match dialect:
        case "anthropic":
            return kind == "message_stop"
        case "openai":
            return value is None
        case "responses":
            return kind in ("response.completed", "response.incomplete")
        case "gemini":
            return any("finishReason" in it for it in value.get("candidates", ()) if not it.get("index"))
        case "bedrock":
            return kind == "metadata"
        case _:
            return kind == "message-end"


def _gathered(facts: Iterable[Fact]) -> Heard:
    heard = Heard()
    calls: dict[Any, list[str]] = {}
    for what, place, said in facts:
        match what:
            case "text":
                heard.text += said or ""
            case "thinking":
                heard.thinking += said or ""
            case "call":
                assert place not in calls
                calls[place] = [said, ""]
            case "arguments":
                calls[place][1] += said or ""
            case "tokens":
                heard.tokens = said
    heard.calls = [(name, decoded(arguments)) for name, arguments in calls.values()]
    return heard


def decoded(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        return arguments


def _encoded(arguments: Any) -> str:
    return msgspec.json.encode(arguments).decode()


def _tokens(*prompt: int | float | None, output: tuple[int | float | None, ...]) -> list[Fact]:
    return [("tokens", None, (sum(int(it or 0) for it in prompt), sum(int(it or 0) for it in output)))]


# --- one pair of functions for each dialect ------------------------------------------------------------------------


def _anthropic(message: Any) -> Iterable[Fact]:
    for at, block in enumerate(message.content):
        yield from _anthropic_block(at, block)
        if block.type == "tool_use":
            yield "arguments", at, _encoded(block.input)
    yield from _anthropic_usage(message.usage)


def _anthropic_block(at: int, block: Any) -> Iterable[Fact]:
    match block.type:
        case "text":
            yield "text", at, block.text
        case "thinking":
            yield "thinking", at, block.thinking
        case "tool_use":
            yield "call", at, block.name


def _anthropic_usage(usage: Any) -> list[Fact]:
    prompt = (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens)
    return _tokens(*prompt, output=(usage.output_tokens,))


def _anthropic_event(event: Any) -> Iterable[Fact]:
    match event.type:
        case "content_block_start":
            yield from _anthropic_block(event.index, event.content_block)
        case "content_block_delta":
            match event.delta.type:
                case "text_delta":
                    yield "text", event.index, event.delta.text
                case "thinking_delta":
                    yield "thinking", event.index, event.delta.thinking
                case "input_json_delta":
                    yield "arguments", event.index, event.delta.partial_json
        case "message_delta":
            yield from _anthropic_usage(event.usage)


def _openai(answer: Any) -> Iterable[Fact]:
    for choice in answer.choices[:1]:
        yield from _openai_message(choice.message)
    yield from _openai_usage(answer.usage)


def _openai_message(message: Any) -> Iterable[Fact]:
    yield "text", None, message.content
    yield "text", None, message.refusal
    yield "thinking", None, getattr(message, "reasoning_content", None)
    for at, call in enumerate(message.tool_calls or ()):
        place = getattr(call, "index", at)
        if call.function.name:
            yield "call", place, call.function.name
        yield "arguments", place, call.function.arguments


def _openai_usage(usage: Any) -> Iterable[Fact]:
    return _tokens(usage.prompt_tokens, output=(usage.completion_tokens,)) if usage is not None else ()


def _openai_event(chunk: Any) -> Iterable[Fact]:
    for choice in chunk.choices:
        if choice.index == 0:
            yield from _openai_message(choice.delta)
    yield from _openai_usage(chunk.usage)


def _responses(answer: Any) -> Iterable[Fact]:
    for at, item in enumerate(answer.output):
        match item.type:
            case "message":
                for part in item.content:
                    yield "text", at, part.text if part.type == "output_text" else part.refusal
            case "reasoning":
                for part in (*item.summary, *(item.content or ())):
                    yield "thinking", at, part.text
            case "function_call":
                yield "call", at, item.name
                yield "arguments", at, item.arguments
    if answer.usage is not None:
        yield from _tokens(answer.usage.input_tokens, output=(answer.usage.output_tokens,))


def _responses_event(event: Any) -> Iterable[Fact]:
    match event.type:
        case "response.output_text.delta" | "response.refusal.delta":
            yield "text", event.output_index, event.delta
        case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
            yield "thinking", event.output_index, event.delta
        case "response.output_item.added" if event.item.type == "function_call":
            yield "call", event.output_index, event.item.name
        case "response.function_call_arguments.delta":
            yield "arguments", event.output_index, event.delta
        case "response.completed" | "response.incomplete" | "response.failed" if event.response.usage:
            usage = event.response.usage
            yield from _tokens(usage.input_tokens, output=(usage.output_tokens,))


def _gemini(answer: Any) -> Iterable[Fact]:
    """An answer, or the next piece of one: calls are always whole here."""
    for candidate in answer.candidates or ():
        parts = candidate.content.parts if candidate.content and not candidate.index else None
        for part in parts or ():
            if part.function_call is not None:
                yield "call", id(part), part.function_call.name
                yield "arguments", id(part), _encoded(part.function_call.args)
            yield "thinking" if part.thought else "text", None, part.text
    if (usage := answer.usage_metadata) is not None:
        prompt = (usage.prompt_token_count, usage.tool_use_prompt_token_count)
        yield from _tokens(*prompt, output=(usage.candidates_token_count, usage.thoughts_token_count))


def _bedrock(answer: Any) -> Iterable[Fact]:
    for at, block in enumerate(answer["output"]["message"]["content"]):
        match block:
            case {"text": text}:
                yield "text", at, text
            case {"citationsContent": {"content": pieces}}:
                yield "text", at, "".join(piece["text"] for piece in pieces)
            case {"reasoningContent": {"reasoningText": {"text": text}}}:
                yield "thinking", at, text
            case {"toolUse": use}:
                yield "call", at, use["name"]
                yield "arguments", at, _encoded(use["input"])
    yield from _bedrock_usage(answer["usage"])


def _bedrock_usage(usage: Any) -> list[Fact]:
    prompt = (usage["inputTokens"], usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens"))
    return _tokens(*prompt, output=(usage["outputTokens"],))


def _bedrock_event(event: Any) -> Iterable[Fact]:
    match event:
        case {"contentBlockStart": {"contentBlockIndex": at, "start": {"toolUse": use}}}:
            yield "call", at, use["name"]
        case {"contentBlockDelta": {"contentBlockIndex": at, "delta": delta}}:
            match delta:
                case {"text": text}:
                    yield "text", at, text
                case {"reasoningContent": {"text": text}}:
                    yield "thinking", at, text
                case {"toolUse": {"input": fragment}}:
                    yield "arguments", at, fragment
        case {"metadata": {"usage": usage}}:
            yield from _bedrock_usage(usage)


def _cohere(answer: Any) -> Iterable[Fact]:
    message = answer.message
    yield "thinking", None, message.tool_plan
    for part in message.content or ():
        yield (part.type, None, part.thinking if part.type == "thinking" else part.text)
    for at, call in enumerate(message.tool_calls or ()):
        yield "call", at, call.function.name
        yield "arguments", at, call.function.arguments
    yield from _cohere_usage(answer.usage)


def _cohere_usage(usage: Any) -> Iterable[Fact]:
    tokens = usage and usage.tokens
    return _tokens(tokens.input_tokens, output=(tokens.output_tokens,)) if tokens else ()


def _cohere_event(event: Any) -> Iterable[Fact]:
    match event.type:
        case "content-start" | "content-delta":
            yield "text", None, event.delta.message.content.text
            yield "thinking", None, event.delta.message.content.thinking
        case "tool-plan-delta":
            yield "thinking", None, event.delta.message.tool_plan
        case "tool-call-start":
            yield "call", event.index, event.delta.message.tool_calls.function.name
            yield "arguments", event.index, event.delta.message.tool_calls.function.arguments
        case "tool-call-delta":
            yield "arguments", event.index, event.delta.message.tool_calls.function.arguments
        case "message-end":
            yield from _cohere_usage(event.delta.usage)


_ANSWER: dict[str, Callable[[Any], Iterable[Fact]]] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "responses": _responses,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "cohere": _cohere,
}
_EVENT: dict[str, Callable[[Any], Iterable[Fact]]] = {
    "anthropic": _anthropic_event,
    "openai": _openai_event,
    "responses": _responses_event,
    "gemini": _gemini,
    "bedrock": _bedrock_event,
    "cohere": _cohere_event,
}
