"""How to answer: the form of the output (`text.format`) and how much to think (`reasoning`)."""

from __future__ import annotations

from typing import Any

from busbar.protocols.effort import effort_of
from busbar.protocols.fields import take_bool, take_object, take_text
from busbar.protocols.ids import fit_name
from busbar.protocols.ir import OutputFormat, Reasoning
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, is_own, own_fields
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.words import DIALECT, NAME_CHARS_MAX

_EFFORTS = frozenset({"minimal", "low", "medium", "high", "xhigh", "max"})
_IN_TEXT = "text."
_FORMAT_FACTS = ("name", "description", "schema", "strict")


def read_text(left: dict[str, Any]) -> OutputFormat | None:
    """Takes `text` apart: its `format`, unless of an unknown type, and leftovers by their own paths."""
    text = left.get("text")
    if not isinstance(text, dict) or not text:
        return None
    del left["text"]
    rest = dict(text)
    output = _read_format(rest["format"]) if isinstance(rest.get("format"), dict) else None
    if output is not None:
        del rest["format"]
    left.update((_IN_TEXT + key, value) for key, value in rest.items())
    return output


def write_text(document: dict[str, Any], output: OutputFormat | None, receipt: Receipt) -> None:
    """Puts `text` together again, in an own request's document."""
    text = {key.removeprefix(_IN_TEXT): document.pop(key) for key in list(document) if key.startswith(_IN_TEXT)}
    if output is not None:
        text["format"] = write_format(output, receipt)
    if text:
        document["text"] = text


def _read_format(given: dict[str, Any]) -> OutputFormat | None:
    inner = dict(given)
    match inner.pop("type", None):
        case "text":
            output = OutputFormat(mode="text", native=Native(DIALECT, inner))
        case "json_object":
            output = OutputFormat(mode="json", native=Native(DIALECT, inner))
        case "json_schema":
            output = OutputFormat(
                mode="schema",
                schema=take_object(inner, "schema", "text.format"),
                name=take_text(inner, "name", "text.format"),
                description=take_text(inner, "description", "text.format"),
                strict=take_bool(inner, "strict", "text.format"),
                native=Native(DIALECT, inner),
            )
        case _:
            return None
    return output


def write_format(output: OutputFormat, receipt: Receipt) -> dict[str, Any]:
    """`text.format`."""
    report_leftovers(output, DIALECT, "output", receipt)
    left = own_fields(output, DIALECT)
    if output.mode == "text":
        return {**left, "type": "text"}
    if output.mode == "json":
        return {**left, "type": "json_object"}
    stated = {key: value for key in _FORMAT_FACTS if (value := getattr(output, key)) is not None}
    document = {**left, "type": "json_schema", **stated}
    if not is_own(output, DIALECT):
        document["name"] = fit_name(output.name or "response", NAME_CHARS_MAX)
        if output.name is not None and document["name"] != output.name:
            receipt.changed("output.name", f"names here are letters, digits, _ and -, at most {NAME_CHARS_MAX}")
        document.setdefault("schema", {"type": "object"})
    return document


def read_reasoning(left: dict[str, Any]) -> Reasoning | None:
    given = left.get("reasoning")
    if not isinstance(given, dict):
        return None
    del left["reasoning"]
    rest = dict(given)
    effort = take_text(rest, "effort", "reasoning")
    if effort == "none":
        return Reasoning(enabled=False, native=Native(DIALECT, rest))
    return Reasoning(effort=effort, native=Native(DIALECT, rest))


def write_own_reasoning(reasoning: Reasoning) -> dict[str, Any]:
    effort = "none" if reasoning.enabled is False else reasoning.effort
    return {**own_fields(reasoning, DIALECT), **({} if effort is None else {"effort": effort})}


def write_reasoning(reasoning: Reasoning | None, receipt: Receipt) -> dict[str, Any] | None:
    """Another dialect's ask. Who asks for thinking wants to see it: here that is a summary, given on request."""
    if reasoning is None:
        return None
    report_leftovers(reasoning, DIALECT, "reasoning", receipt)
    effort = _effort(reasoning, receipt)
    if reasoning.enabled is True or reasoning.adaptive:
        return {"summary": "auto"} if effort is None else {"effort": effort, "summary": "auto"}
    return None if effort is None else {"effort": effort}


def _effort(reasoning: Reasoning, receipt: Receipt) -> str | None:
    if reasoning.enabled is False or reasoning.effort == "none" or reasoning.budget_tokens == 0:
        receipt.dropped("reasoning", "few models of this dialect can be told not to think")
        return None
    if reasoning.effort is not None:
        if reasoning.effort in _EFFORTS:
            return reasoning.effort
        receipt.changed("reasoning.effort", f"{reasoning.effort} is called high here")
        return "high"
    if reasoning.budget_tokens is None or reasoning.budget_tokens < 0:
        return None
    word = effort_of(reasoning.budget_tokens)
    receipt.changed("reasoning.budget_tokens", f"said as effort {word}")
    return word
