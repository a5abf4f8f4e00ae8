"""Another dialect's settings, within what this one accepts: clamped, changed or dropped, and reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from busbar.protocols.cohere.abilities import may_be_forced, thinks
from busbar.protocols.cohere.calls import tool_name
from busbar.protocols.cohere.schema import may_be_strict, output_schema, tool_schema
from busbar.protocols.cohere.tools import write_reasoning
from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.effort import EFFORT_BUDGETS, budget_of
from busbar.protocols.fitting.settings import within
from busbar.protocols.ir import FunctionTool, OutputFormat, Reasoning, Request
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.protocol import Document
from busbar.protocols.receipt import Receipt

STOPS_MAX = 5
STRICT_FIELDS_MAX = 200
ANSWER_TOKENS_MIN = 1024
"""What a budget for thinking leaves under `max_tokens` for the answer itself."""

_RANGES: Mapping[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0, 1),
    "top_p": ("p", 0.01, 0.99),
    "top_k": ("k", 0, 500),
}
_NO_PLACE: Mapping[str, Any] = {
    "n": 1,
    "top_logprobs": 0,
    "user": "",
    "parallel_tool_calls": True,
}
"""Settings that this dialect lacks, with the value that asks for nothing."""


def write_settings(request: Request, model: str, receipt: Receipt) -> Document:
    """Everything of a request but model and messages."""
    report_leftovers(request, DIALECT, "", receipt)
    for name, idle in _NO_PLACE.items():
        if getattr(request, name) not in (None, idle):
            receipt.dropped(name, "no such setting")
    written: Document = {}
    _write_sampling(written, request, receipt)
    _write_stops(written, request.stop, receipt)
    _write_tools(written, request, model, receipt)
    if request.output is not None:
        written.update(_output(request.output, receipt, tools="tools" in written))
    if request.reasoning is not None:
        written.update(_reasoning(request.reasoning, model, request.max_tokens, receipt))
    if request.stream is not None:
        written["stream"] = request.stream
    return written


def _write_sampling(written: Document, request: Request, receipt: Receipt) -> None:
    if request.max_tokens is not None:
        if request.max_tokens < 1:
            receipt.clamped("max_tokens", "at least 1")
        written["max_tokens"] = max(request.max_tokens, 1)
    for name, (key, low, high) in _RANGES.items():
        value = getattr(request, name)
        if value is not None:
            written[key] = within(value, name, low, high, receipt)
    if request.seed is not None:
        if request.seed < 0:
            receipt.dropped("seed", "not below 0 here")
        else:
            written["seed"] = request.seed
    if request.logprobs is not None:
        written["logprobs"] = request.logprobs
    for name in ("frequency_penalty", "presence_penalty"):
        value = getattr(request, name)
        if not value:
            continue
        if "frequency_penalty" in written:
            receipt.dropped(name, "not together with frequency_penalty")
        elif (bounded := within(value, name, 0, 1, receipt)) > 0:
            written[name] = bounded


def _write_stops(written: Document, stops: list[str], receipt: Receipt) -> None:
    kept = [(at, stop) for at, stop in enumerate(stops) if stop]
    for at, _ in kept[STOPS_MAX:]:
        receipt.dropped(f"stop[{at}]", f"at most {STOPS_MAX} here")
    if kept:
        written["stop_sequences"] = [stop for _, stop in kept[:STOPS_MAX]]


def _write_tools(written: Document, request: Request, model: str, receipt: Receipt) -> None:
    """The tools, and the choice among them. One that must be called is sent alone."""
    choice = request.tool_choice
    if choice is not None:
        report_leftovers(choice, DIALECT, "tool_choice", receipt)
    wanted = choice.name if choice is not None and choice.mode == "one" and may_be_forced(model) else None
    tools: list[FunctionTool] = []
    for at, tool in enumerate(request.tools):
        path = f"tools[{at}]"
        if not isinstance(tool, FunctionTool):
            receipt.dropped(path, f"only {tool.dialect} has this tool")
            continue
        if tool.cache is not None:
            receipt.dropped(f"{path}.cache_control", "this dialect caches by itself")
        if wanted is not None and tool.name != wanted:
            receipt.dropped(path, "only the tool that must be called can be sent")
        else:
            tools.append(tool)
            written.setdefault("tools", []).append(_tool(tool, path, receipt))
    if not tools:
        if choice is not None and choice.mode not in ("auto", "none"):
            receipt.dropped("tool_choice", "there are no tools to choose from")
        return
    _write_strict(written, request, tools, receipt)
    if choice is None or choice.mode == "auto":
        return
    if not may_be_forced(model):
        receipt.dropped("tool_choice", "this model cannot be told")
        return
    if choice.mode == "one":
        receipt.changed("tool_choice", "some tool is required, and there is only this one")
    written["tool_choice"] = "NONE" if choice.mode == "none" else "REQUIRED"


def _tool(tool: FunctionTool, path: str, receipt: Receipt) -> dict[str, Any]:
    report_leftovers(tool, DIALECT, path, receipt)
    schema = tool_schema(tool.parameters)
    if tool.parameters and schema != tool.parameters:
        receipt.changed(f"{path}.parameters", "parameters are an object")
    function: dict[str, Any] = {"name": tool_name(tool.name, f"{path}.name", receipt)}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": {**function, "parameters": schema}}


def _write_strict(written: Document, request: Request, tools: list[FunctionTool], receipt: Receipt) -> None:
    """Strictness is for all tools or for none, and not for every schema."""
    if not any(tool.strict for tool in tools):
        return
    schemas = [tool_schema(tool.parameters) for tool in tools]
    fields = sum(len(schema.get("properties") or ()) for schema in schemas)
    if all(tool.strict for tool in tools) and fields <= STRICT_FIELDS_MAX and all(map(may_be_strict, schemas)):
        written["strict_tools"] = True
        return
    for at, tool in enumerate(request.tools):
        if isinstance(tool, FunctionTool) and tool.strict:
            receipt.dropped(f"tools[{at}].strict", "all tools are strict here or none, and not with every schema")


def _output(asked: OutputFormat, receipt: Receipt, *, tools: bool) -> Document:
    report_leftovers(asked, DIALECT, "output", receipt)
    if asked.mode == "text":
        return {}
    if tools:
        receipt.dropped("output", "not together with tools")
        return {}
    for name in ("name", "description", "strict"):
        if getattr(asked, name) not in (None, True):
            receipt.dropped(f"output.{name}", "a schema alone")
    written: dict[str, Any] = {"type": "json_object"}
    if asked.mode == "schema" and asked.schema is not None:
        schema = output_schema(asked.schema)
        if schema is None:
            receipt.dropped("output.schema", "not in the subset of JSON Schema that is known here: any JSON object")
        else:
            if schema != asked.schema:
                receipt.changed("output.schema", "every object requires something, bounds are left out")
            written["json_schema"] = schema
    return {"response_format": written}


def _reasoning(asked: Reasoning, model: str, max_tokens: int | None, receipt: Receipt) -> Document:
    report_leftovers(asked, DIALECT, "reasoning", receipt)
    if not thinks(model):
        if asked.enabled is not False and asked.effort != "none":
            receipt.dropped("reasoning", "this model does not think")
        return {}
    if asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0:
        return {"thinking": write_reasoning(Reasoning(enabled=False))}
    budget = _budget(asked, receipt)
    if budget is not None and max_tokens is not None and budget > max_tokens - ANSWER_TOKENS_MIN:
        budget = max_tokens - ANSWER_TOKENS_MIN
        if budget < 1:
            receipt.dropped("reasoning", f"max_tokens {max_tokens} leaves no room for thinking")
            return {}
        receipt.clamped("reasoning", f"{ANSWER_TOKENS_MIN} under max_tokens")
    if budget is None and not (asked.enabled or asked.adaptive or asked.effort):
        return {}
    return {"thinking": write_reasoning(Reasoning(enabled=True, budget_tokens=budget))}


def _budget(asked: Reasoning, receipt: Receipt) -> int | None:
    """Tokens; None where the model decides."""
    if asked.budget_tokens is not None and asked.budget_tokens > 0:
        return asked.budget_tokens
    if asked.effort is None:
        return None
    budget = budget_of(asked.effort)
    if budget is None:
        receipt.changed("reasoning.effort", "an effort of no known size is high here")
        return EFFORT_BUDGETS["high"]
    return budget
