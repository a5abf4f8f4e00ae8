"""`generationConfig`: sampling, structured output and thinking, read, and written back as they were."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.gemini.schema_read import SchemaForm, read_schema, write_own_schema
from busbar.protocols.gemini.spelling import PLAIN, Level, Marks, put
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import OutputFormat, Reasoning, Request
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.protocol import InvalidRequest

_NUMBERS = {
    "temperature": "temperature",
    "topP": "top_p",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_INTEGERS = {
    "maxOutputTokens": "max_tokens",
    "topK": "top_k",
    "candidateCount": "n",
    "seed": "seed",
    "logprobs": "top_logprobs",
}
_SCHEMAS = ("responseJsonSchema", "responseSchema")
_JSON, _TEXT = "application/json", "text/plain"


class OutputForm(Struct, frozen=True):
    """The media type that was stated, and the field that held the schema."""

    media_type: str | None = None
    field: str | None = None
    schema: SchemaForm = {}


class ReasoningForm(Struct, frozen=True):
    """How thinking was asked for: the stated values of which the IR has a meaning."""

    include: bool | None = None
    budget: int | None = None
    level: str | None = None
    marks: Marks = PLAIN


def read_settings(config: Level, request: Request) -> None:
    for key, name in _NUMBERS.items():
        setattr(request, name, config.number(key))
    for key, name in _INTEGERS.items():
        setattr(request, name, config.integer(key))
    request.logprobs = config.flag("responseLogprobs")
    stops = config.items("stopSequences")
    if stops is not None and not all(isinstance(stop, str) for stop in stops):
        raise InvalidRequest(f"{config.path}.stopSequences", "expected an array of strings")
    if stops == []:
        config.mark("no stops")
    request.stop = list(stops or ())
    request.output = _read_output(config)
    request.reasoning = _read_reasoning(config)


def write_own_settings(request: Request, document: dict[str, Any], marks: Marks) -> None:
    """Into `document`, which holds the leftovers of `generationConfig`."""
    for key, name in (_NUMBERS | _INTEGERS).items():
        put(document, key, getattr(request, name), marks)
    put(document, "responseLogprobs", request.logprobs, marks)
    if request.stop or "no stops" in marks:
        put(document, "stopSequences", request.stop, marks)
    output = request.output
    if output is not None:
        form: OutputForm = own_form(output, DIALECT)
        put(document, "responseMimeType", form.media_type, marks)
        if output.schema is not None and form.field is not None:
            put(document, form.field, write_own_schema(output.schema, form.schema), marks)
    if request.reasoning is not None:
        put(document, "thinkingConfig", _write_own_reasoning(request.reasoning), marks)


def _read_output(config: Level) -> OutputFormat | None:
    media_type = config.get("responseMimeType")
    field = next((name for name in _SCHEMAS if isinstance(config.get(name), dict)), None)
    if media_type not in (None, _JSON, _TEXT) or (media_type is None and field is None):
        return None
    stated = config.text("responseMimeType")
    schema = None if field is None else config.object(field)
    form: SchemaForm = {}
    if schema is not None and field == "responseSchema":
        schema, form = read_schema(schema)
    mode = "text" if stated == _TEXT else "json" if schema is None else "schema"
    return OutputFormat(
        mode=mode,  # type: ignore[arg-type]
        schema=schema,
        native=Native(DIALECT, {}, OutputForm(stated, field, form)),
    )


def _read_reasoning(config: Level) -> Reasoning | None:
    """A budget of 0 is off, -1 lets the model decide; a level is an effort in capitals."""
    given = config.object("thinkingConfig")
    if given is None:
        return None
    level = Level(given, f"{config.path}.thinkingConfig")
    include, budget, word = (
        level.flag("includeThoughts"),
        level.integer("thinkingBudget"),
        level.text("thinkingLevel"),
    )
    off = budget == 0
    return Reasoning(
        enabled=False if off else True if include else None,
        effort=word.lower() if word and not off else None,
        budget_tokens=budget if budget and budget > 0 and not word else None,
        adaptive=budget is not None and budget < 0,
        native=Native(DIALECT, level.left, ReasoningForm(include, budget, word, level.marks)),
    )


def _write_own_reasoning(reasoning: Reasoning) -> dict[str, Any]:
    form: ReasoningForm = own_form(reasoning, DIALECT)
    document = dict(own_fields(reasoning, DIALECT))
    put(document, "includeThoughts", form.include, form.marks)
    put(document, "thinkingBudget", form.budget, form.marks)
    put(document, "thinkingLevel", form.level, form.marks)
    return document
