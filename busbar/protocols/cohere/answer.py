"""What an assistant said: the same message in a request's history and in a response.

In the IR its parts stand in the order in which the model made them: the plan (`tool_plan`: what the model says to
itself before it calls tools), content, tool calls.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from busbar.protocols.cohere.calls import TOOL_CALLS, read_call, write_own_call
from busbar.protocols.cohere.citations import TEXT_CONTENT, read_citation, write_own_citation
from busbar.protocols.cohere.content import read_parts, write_own_part
from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.ir import Opaque, Part, Text, Thinking, ToolUse
from busbar.protocols.native import Native, own_form

TOOL_PLAN = "tool_plan"
"""The field, and the form of the `Thinking` that it is."""


class MessageForm(Struct, frozen=True, kw_only=True):
    """How a message spelled what it carries."""

    content: Literal["text", "parts"] | None = None
    """As one string, as a list; None: null or absent (a leftover)."""
    role: str = ""
    """Its role, where it stated one."""


def read_answer(left: dict[str, Any], path: str) -> tuple[list[Part], Literal["text", "parts"] | None]:
    """Takes the parts out of an assistant message, and says how its content was spelled. Lenient: what has another
    type than expected stays in `left`. Raises `InvalidRequest` only for content elements that are no objects."""
    parts: list[Part] = []
    plan = left.get(TOOL_PLAN)
    if isinstance(plan, str) and plan:
        del left[TOOL_PLAN]
        parts.append(Thinking(text=plan, native=Native(DIALECT, {}, TOOL_PLAN)))
    content: list[Part] = []
    spelled = read_content(left, content, path)
    _read_citations(left, content)
    parts += content
    calls = left.get(TOOL_CALLS)
    if isinstance(calls, list) and calls and all(isinstance(call, dict) for call in calls):
        del left[TOOL_CALLS]
        parts.extend(read_call(call) for call in calls)
    return parts, spelled


def read_content(left: dict[str, Any], parts: list[Part], path: str) -> Literal["text", "parts"] | None:
    """Takes `content` and says how it was spelled."""
    content = left.get("content")
    if isinstance(content, str):
        del left["content"]
        parts.append(Text(text=content))
        return "text"
    if isinstance(content, list):
        del left["content"]
        parts.extend(read_parts(content, f"{path}.content"))
        return "parts"
    return None


def write_own_answer(parts: list[Part], left: dict[str, Any], spelled: str | None) -> dict[str, Any]:
    """The message as it was: every part goes back to the field that it came from."""
    written = dict(left)
    content: list[Part] = []
    for part in parts:
        match part:
            case Thinking() if own_form(part, DIALECT) == TOOL_PLAN:
                written[TOOL_PLAN] = part.text
            case ToolUse():
                written.setdefault(TOOL_CALLS, []).append(write_own_call(part))
            case Opaque(kind="tool_calls", value=value):
                written.setdefault(TOOL_CALLS, []).append(value)
            case _:
                content.append(part)
    put_content(written, content, spelled)
    _put_citations(written, content)
    return written


def put_content(written: dict[str, Any], parts: list[Part], spelled: str | None) -> None:
    if spelled == "text":
        written["content"] = "".join(part.text for part in parts if isinstance(part, Text))
    elif spelled == "parts":
        written["content"] = [write_own_part(part) for part in parts]


def _read_citations(left: dict[str, Any], content: list[Part]) -> None:
    """Gives each citation to the text that it cites; where others remain, None keeps the place of each one taken."""
    citations = left.get("citations")
    if not isinstance(citations, list) or not all(isinstance(citation, dict) for citation in citations):
        return
    others: list[Any] = []
    for at, value in enumerate(citations):
        text = _cited(value, content)
        others.append(value if text is None else None)
        if text is not None:
            text.citations = [*text.citations, read_citation(value, at)]
    left["citations"] = others
    if others and not any(other is not None for other in others):
        del left["citations"]


def _cited(value: dict[str, Any], content: list[Part]) -> Text | None:
    """The text that a citation speaks of; where it does not name it, the first."""
    at = value.get("content_index")
    if type(at) is int:
        part = content[at] if 0 <= at < len(content) else None
        return part if isinstance(part, Text) else None
    if "content_index" in value or value.get("type", TEXT_CONTENT) != TEXT_CONTENT:
        return None
    return next((part for part in content if isinstance(part, Text)), None)


def _put_citations(written: dict[str, Any], content: list[Part]) -> None:
    citations = [citation for part in content if isinstance(part, Text) for citation in part.citations]
    if not citations:
        return
    citations.sort(key=lambda citation: own_form(citation, DIALECT).at)
    waiting = iter([write_own_citation(citation) for citation in citations])
    others = written.get("citations") or [None] * len(citations)
    written["citations"] = [next(waiting) if other is None else other for other in others]
