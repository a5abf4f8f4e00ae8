"""The blocks that turns and answers are made of."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeGuard

from msgspec import Struct

from busbar.protocols.native import Node


class Cache(Node, kw_only=True):
    """A cache breakpoint: everything up to and including this node may be cached. `ttl` as the dialect says it."""

    ttl: str | None = None


class Citation(Node, kw_only=True):
    """Where a passage of an answer comes from. `start` and `end` are character offsets in the cited place:
    of the answer's text when `of_answer`, else of the source document."""

    cited_text: str | None = None
    url: str | None = None
    title: str | None = None
    start: int | None = None
    end: int | None = None
    of_answer: bool = False


class Base64Data(Node, kw_only=True):
    """Bytes, as base64 text, with their media type (`image/png`)."""

    media_type: str
    data: str


class Url(Node, kw_only=True):
    """Something to be fetched by the model's provider."""

    url: str
    media_type: str | None = None


class FileId(Node, kw_only=True):
    """A file that the caller stored at a provider before; means nothing to any other provider."""

    id: str


class PlainText(Node, kw_only=True):
    """A document given as text."""

    text: str


Source: TypeAlias = Base64Data | Url | FileId | PlainText


class Text(Node, kw_only=True):
    """`signature` (of `signer`, as in `Thinking`): some models sign what they say after thinking."""

    text: str
    citations: list[Citation] = []
    cache: Cache | None = None
    signature: str | None = None
    signer: str | None = None


class Thinking(Node, kw_only=True):
    """Visible thinking. `signature` is opaque, and means something only to `signer`: the dialect that issued it."""

    text: str
    signature: str | None = None
    signer: str | None = None


class RedactedThinking(Node, kw_only=True):
    """Thinking that only its provider can read; `data` is opaque, and means something only to `signer`."""

    data: str
    signer: str | None = None


class Image(Node, kw_only=True):
    source: Source
    detail: str | None = None
    cache: Cache | None = None


class Document(Node, kw_only=True):
    source: Source
    title: str | None = None
    context: str | None = None
    citations_enabled: bool | None = None
    cache: Cache | None = None


class Audio(Node, kw_only=True):
    """Spoken input or output; `format` is the container's short name (`wav`, `mp3`)."""

    data: str
    format: str


class ToolUse(Node, kw_only=True):
    """The model asks for a tool. `arguments` is JSON text as the model wrote it (it need not be valid).

    `signature` (of `signer`, as in `Thinking`): some models sign their calls, and want the signature back.
    """

    id: str
    name: str
    arguments: str
    cache: Cache | None = None
    signature: str | None = None
    signer: str | None = None


class ToolResult(Node, kw_only=True):
    """What a tool answered. `content` holds parts a user turn may hold."""

    tool_use_id: str
    content: list[Part] = []
    is_error: bool | None = None
    cache: Cache | None = None


class Refusal(Node, kw_only=True):
    """The model declines, in its own words."""

    text: str


class Opaque(Struct, kw_only=True, frozen=True):
    """One whole construct that only `dialect` knows."""

    dialect: str
    kind: str
    value: Any


Part: TypeAlias = (
    Text | Thinking | RedactedThinking | Image | Document | Audio | ToolUse | ToolResult | Refusal | Opaque
)


def is_plain_text(part: Part) -> TypeGuard[Text]:
    """A text that has nothing with it, as most parts are: who reads or writes parts need not look any further."""
    return (
        type(part) is Text
        and part.native is None
        and part.cache is None
        and part.signature is None
        and not part.citations
    )
