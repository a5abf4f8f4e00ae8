"""The face that the official SDKs are put behind, so that one table of cases runs over all of them.

A `Question` and a `Reply` belong to no dialect; `reply.turn` is the SDK's own form of the assistant's turn, to be
sent back with the next question. Every answer is validated against the SDK's own types (`native_faults`).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from pydantic import BaseModel, ValidationError

JSON: TypeAlias = dict[str, Any]
Ingress: TypeAlias = Literal["openai", "responses", "anthropic", "gemini", "bedrock", "cohere"]

NO_ROOTS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Loading the usual roots takes longer than a whole test, and nothing here is reached by TLS."""

FOREIGN_FIELDS: Mapping[str, frozenset[str]] = {
    "ChatCompletionMessage": frozenset({"reasoning_content"}),
    "ChoiceDelta": frozenset({"reasoning_content"}),
    "Response": frozenset({"store", "presence_penalty", "frequency_penalty"}),
    "UsageTokens": frozenset({"reasoning_tokens"}),
    "ChatMessageStartEventDeltaMessage": frozenset({"content", "tool_calls", "tool_plan", "citations"}),
}
"""What the providers themselves send although the SDK's types do not name it, by type."""


class Tool(msgspec.Struct, frozen=True):
    name: str
    schema: JSON


class Attachment(msgspec.Struct, frozen=True):
    """`data` is base64, or `url` says where it is."""

    kind: Literal["image", "document"]
    data: str = ""
    url: str = ""
    media_type: str = "image/png"


class Result(msgspec.Struct, frozen=True):
    """What a tool gave."""

    id: str
    text: str
    failed: bool = False


class User(msgspec.Struct, frozen=True):
    """A user's turn that is more than a text: tool results first, then attachments, then the text."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    results: tuple[Result, ...] = ()


class Call(msgspec.Struct, frozen=True):
    """A tool call; `arguments` are parsed."""

    name: str
    arguments: Any
    id: str = ""


class Counts(msgspec.Struct, frozen=True):
    """Tokens. `input` was neither read from nor written to a cache; `output` includes `reasoning`."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


class Reply(msgspec.Struct, kw_only=True):
    """An answer in nobody's dialect. `stop`: end, tools, length, stop_sequence, refusal; error, where the SDK does
    not raise."""

    text: str = ""
    thinking: str = ""
    signature: str = ""
    calls: tuple[Call, ...] = ()
    stop: str = ""
    stop_sequence: str | None = None
    refusal: str = ""
    usage: Counts | None = None
    id: str = ""
    model: str = ""
    turn: Any = None
    """The assistant's turn in the SDK's form. None: there was none, and the turn is `text`."""
    others: tuple[str, ...] = ()
    """Texts of further choices."""
    raw: tuple[BaseModel, ...] = ()
    """The document, or every event of the stream."""
    faults: tuple[str, ...] = ()
    """What is wrong with the answer in the eyes of an SDK whose types have to be asked in another way."""
    headers: Mapping[str, str] = {}

    @property
    def dropped(self) -> set[str]:
        """The paths of the question that the receipt names as dropped."""
        paths = self.headers["x-busbar-dropped"].split(", ")
        return {path for path in paths if path and not path.startswith("response.")}


Turn: TypeAlias = str | User | Reply


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request in nobody's dialect. `choice` may also be the name of a tool."""

    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    choice: str | None = None
    parallel: bool = True
    max_tokens: int | None = 3000
    stops: tuple[str, ...] = ()
    schema: JSON | None = None
    thinking: bool = False
    """Wants 1024 tokens of it."""
    usage: bool = True
    """openai streams: `include_usage`."""
    native: JSON = {}
    """Further parameters, in the words of the SDK."""


class Speaker(Protocol):
    client: Any

    async def ask(self, model: str, question: Question, *, streamed: bool = False) -> Reply: ...

    async def aclose(self) -> None: ...


def native_faults(reply: Reply) -> list[str]:
    """What the SDK's types have against an answer: missing and wrong fields, and fields that they do not know."""
    faults = [*reply.faults]
    for model in reply.raw:
        document = (
            model.to_dict() if hasattr(model, "to_dict") else model.model_dump(by_alias=True, exclude_unset=True)
        )
        faults += type_faults(type(model), document)
        faults += [f"{type(model).__name__}: unknown field {path}" for path in _unknown(model)]
    return faults


def type_faults(kind: type[BaseModel], document: Any) -> list[str]:
    """What a type has against a document."""
    try:
        kind.model_validate(document)
    except ValidationError as error:
        return [f"{kind.__name__}: {fault['loc']} {fault['msg']}" for fault in error.errors()]
    return []


def _unknown(value: Any, path: str = "") -> Iterator[str]:
    match value:
        case BaseModel():
            foreign = FOREIGN_FIELDS.get(type(value).__name__, frozenset())
            yield from (f"{path}.{name}" for name in (value.model_extra or {}).keys() - foreign)
            for name in type(value).model_fields:
                yield from _unknown(getattr(value, name, None), f"{path}.{name}")
        case list():
            for item in value:
                yield from _unknown(item, f"{path}[]")
