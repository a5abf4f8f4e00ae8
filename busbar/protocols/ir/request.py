"""What a caller asks: system, messages, tools, and how to answer."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from busbar.protocols.ir.parts import Cache, Opaque, Part
from busbar.protocols.native import Node

Role: TypeAlias = Literal["user", "assistant", "tool", "system", "developer"]


class Message(Node, kw_only=True):
    role: Role
    parts: list[Part] = []
    name: str | None = None


class FunctionTool(Node, kw_only=True):
    """A tool that the caller runs. `parameters` is its JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache: Cache | None = None


Tool: TypeAlias = FunctionTool | Opaque


class ToolChoice(Node, kw_only=True):
    """`auto`, `none`, `required` (some tool), or `one` (the tool called `name`)."""

    mode: Literal["auto", "none", "required", "one"]
    name: str | None = None


class OutputFormat(Node, kw_only=True):
    """Structured output: any JSON object, or one that fits `schema`."""

    mode: Literal["text", "json", "schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Reasoning(Node, kw_only=True):
    """How much to think. At most one of `effort` (a word) and `budget_tokens` is stated.

    `enabled` is False where the caller switched thinking off, True where it asked for thinking, None where it
    only chose an effort. `adaptive`: the model decides how much.
    """

    enabled: bool | None = None
    effort: str | None = None
    budget_tokens: int | None = None
    adaptive: bool = False


class Request(Node, kw_only=True):
    model: str
    messages: list[Message]
    system: list[Part] = []
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: list[str] = []
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    output: OutputFormat | None = None
    reasoning: Reasoning | None = None
    user: str | None = None
    stream: bool | None = None
    stream_usage: bool | None = None
    """The caller wants usage at the end of the stream; always wanted where a dialect always sends it."""
