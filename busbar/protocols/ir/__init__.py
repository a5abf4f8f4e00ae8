"""The superset: one description of a chat exchange that all six dialects can be read into and written from.

Three documents, one package, because they share their blocks:

    Request   what a caller asks: system, messages, tools, and how to answer
    Response  what a model answered: choices made of parts, why it stopped, usage
    events    the same answer as it streams: blocks that start, grow and stop

A node carries what the dialects have in common. What only its source dialect can say stays on the node as
`native` (see `native`): the identity dialect → IR → same dialect is measured on recorded traffic. A reader
*takes* what it understands and leaves the rest there, so nothing is carried twice and nothing vanishes.

Conventions that every reader and writer keeps:

- A fact is None when the source did not state it. A list is empty when there is none.
- Order of parts within a turn is the order in which the model made them: thinking, text, tool calls.
- Roles: `user`, `assistant`, `tool` (a turn that holds only tool results, as OpenAI spells them), and `system`
  or `developer` for instructions inside the conversation. Instructions that the dialect keeps apart from the
  conversation (Anthropic's top-level `system`) are `Request.system`.
- Tool arguments are JSON text, exactly as the model wrote it; a dialect that has an object parses or encodes.
- Opaque parts, tools and stream events hold one whole construct that only `dialect` knows (a hosted tool's
  result, say). They go back to that dialect as they came, and nowhere else.
"""

from __future__ import annotations

from busbar.protocols.ir.events import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Event,
    OpaqueEvent,
    Ping,
    RefusalDelta,
    SignatureDelta,
    Started,
    Stopped,
    TextDelta,
    ThinkingDelta,
    UsageSeen,
)
from busbar.protocols.ir.parts import (
    Audio,
    Base64Data,
    Cache,
    Citation,
    Document,
    FileId,
    Image,
    Opaque,
    Part,
    PlainText,
    RedactedThinking,
    Refusal,
    Source,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Url,
    is_plain_text,
)
from busbar.protocols.ir.request import (
    FunctionTool,
    Message,
    OutputFormat,
    Reasoning,
    Request,
    Role,
    Tool,
    ToolChoice,
)
from busbar.protocols.ir.response import Choice, Response, Stop, StopReason

__all__ = [
    "ArgumentsDelta",
    "Audio",
    "Base64Data",
    "BlockStart",
    "BlockStop",
    "Cache",
    "Choice",
    "Chunk",
    "Citation",
    "CitationDelta",
    "Document",
    "Ended",
    "Errored",
    "Event",
    "FileId",
    "FunctionTool",
    "Image",
    "Message",
    "Opaque",
    "OpaqueEvent",
    "OutputFormat",
    "Part",
    "Ping",
    "PlainText",
    "Reasoning",
    "RedactedThinking",
    "Refusal",
    "RefusalDelta",
    "Request",
    "Response",
    "Role",
    "SignatureDelta",
    "Source",
    "Started",
    "Stop",
    "StopReason",
    "Stopped",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "Tool",
    "ToolChoice",
    "ToolResult",
    "ToolUse",
    "Url",
    "UsageSeen",
    "is_plain_text",
]
