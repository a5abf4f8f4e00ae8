"""What Bedrock's Converse API refuses, and with which words.

The shape of a body is checked first (`shapes_bedrock.py`), then the rules that hold between its parts, in the order
of `RULES`; the first that fails answers. Texts follow recorded 400s and AWS's documentation. What the model behind
the API refuses is told as such.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from .dialect import JSON, Refused
from .schema import sound
from .shape import Path, Violation
from .shapes_bedrock import BODY
from .signature import redaction_verifies, signature_verifies

DOCUMENT_NAME = re.compile(r"(?:[a-zA-Z0-9()\[\]-]|\s(?!\s))+")
CACHE_POINTS_MAX = 4
THINKING_BUDGET_MIN = 1024
MODEL_SAYS = "The model returned the following errors: "

CONSTRAINTS = {
    "missing": "Member must not be null",
    "choice": "Member must satisfy enum value set: [{expected}]",
    "pattern": "Member must satisfy regular expression pattern: {expected}",
    "long": "Member must have length less than or equal to {expected}",
    "below": "Member must have value greater than or equal to {expected}",
    "above": "Member must have value less than or equal to {expected}",
    "few": "Member must have length greater than or equal to {expected}",
    "many": "Member must have length less than or equal to {expected}",
    "base64": "Member must be base64 of at least one byte",
    "schema": "Member must be a valid JSON Schema",
}


def validate(body: JSON) -> None:
    """Raise `Refused` as the API would."""
    try:
        BODY(body, ())
    except Violation as violation:
        raise _phrase(violation) from None
    for rule in RULES:
        for message in rule(body):
            raise Refused(400, "ValidationException", message)


def _phrase(violation: Violation) -> Refused:
    path, got = violation.path, violation.got
    if violation.kind == "extra":
        where = "/".join(map(str, path[:-1]))
        message = f"Malformed input request: #/{where}: extraneous key [{path[-1]}] is not permitted"
        return Refused(400, "ValidationException", f"{message}, please reformat your input and try again.")
    if violation.kind == "type":
        message = f"{str(got).upper()}_VALUE can not be converted to {violation.expected[0]} at {_dotted(path)}"
        return Refused(400, "SerializationException", message)
    if violation.kind == "union":
        message = f"The value at {_dotted(path)} must set exactly one of the following keys: "
        return Refused(400, "ValidationException", f"{message}{', '.join(violation.expected)}.")
    expected = violation.expected
    shown = ", ".join(expected) if isinstance(expected, tuple) else expected
    constraint = CONSTRAINTS[violation.kind].format(expected=shown)
    value = "null" if violation.kind == "missing" else got
    member = ".".join(f"{step + 1}.member" if isinstance(step, int) else step for step in path)
    message = f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    return Refused(400, "ValidationException", message)


def _dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "the request body"


def holding(message: JSON, name: str) -> list[Any]:
    """The values of those blocks of a message that are `name`."""
    return [block[name] for block in message["content"] if name in block]


def thinking_of(body: JSON) -> JSON:
    """What the request says about thinking, in Anthropic's words; `{}` when it says nothing."""
    fields = body.get("additionalModelRequestFields", {})
    said = fields.get("thinking") or fields.get("reasoning_config")
    return said if isinstance(said, dict) else {}


def output_schema(body: JSON) -> Any:
    """The JSON schema of a structured output, None without one. Raises msgspec.DecodeError."""
    form = body.get("outputConfig", {}).get("textFormat")
    return None if form is None else msgspec.json.decode(form["structure"]["jsonSchema"]["schema"])


def _placed(body: JSON) -> Iterator[tuple[str, str, JSON]]:
    """(role, path, block) of every block; those in tool results, too."""
    for m, message in enumerate(body["messages"]):
        for c, block in enumerate(message["content"]):
            path = f"messages.{m}.content.{c}"
            yield message["role"], path, block
            for r, inner in enumerate(block.get("toolResult", {}).get("content", ())):
                yield message["role"], f"{path}.toolResult.content.{r}", inner


# --- the rules: each yields the texts of what it finds wrong --------------------------------------------------


def _messages(body: JSON) -> Iterator[str]:
    roles = [message["role"] for message in body["messages"]]
    if roles[:1] != ["user"]:
        yield (
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    if any(role == after for role, after in pairwise(roles)):
        yield (
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
            "between user and assistant roles and try again."
        )
    for m, message in enumerate(body["messages"]):
        if not message["content"]:
            yield (
                f"The content field in the Message object at messages.{m} is empty. Add a ContentBlock object to the "
                "content field and try again."
            )
        if holding(message, "document") and not holding(message, "text"):
            yield (
                f"The Message object at messages.{m} has a document but no text. Add a ContentBlock object with a "
                "text field to the content field and try again."
            )
    last = body["messages"][-1]
    if last["role"] == "assistant" and (said := holding(last, "text")[-1:]) and said[0] != said[0].rstrip():
        yield f"{MODEL_SAYS}messages: final assistant content cannot end with trailing whitespace"


def _blocks(body: JSON) -> Iterator[str]:
    for role, path, block in _placed(body):
        if "text" in block and not block["text"].strip():
            yield (
                f"The text field in the ContentBlock object at {path} is blank. Add text to the text field, and try "
                "again."
            )
        if "document" in block and not DOCUMENT_NAME.fullmatch(block["document"]["name"]):
            yield (
                "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
                "parentheses, and square brackets. The name can't contain more than one consecutive whitespace "
                "character. Edit the name and try again."
            )
        for name, side in (("toolUse", "assistant"), ("reasoningContent", "assistant"), ("toolResult", "user")):
            if name in block and role != side:
                yield f"The {name} block at {path} can only be in {side} messages. Remove it and try again."
        if role == "assistant" and ("image" in block or "document" in block):
            yield f"The ContentBlock object at {path} can only be in user messages. Remove it and try again."
    names = [document["name"] for message in body["messages"] for document in holding(message, "document")]
    if any(times > 1 for times in Counter(names).values()):
        yield f"{MODEL_SAYS}messages: document names must be unique"


def _tools(body: JSON) -> Iterator[str]:
    used = any("toolUse" in block or "toolResult" in block for _, _, block in _placed(body))
    if used and "toolConfig" not in body:
        yield "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    config = body.get("toolConfig", {})
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    names = [spec["name"] for spec in specs]
    for name, times in Counter(names).items():
        if times > 1:
            yield f"The tool name {name} at toolConfig.tools is already defined. Tool names must be unique."
    for t, spec in enumerate(specs):
        if spec["inputSchema"]["json"].get("type") != "object":
            path = f"toolConfig.tools.{t}.toolSpec.inputSchema.json.type"
            yield f"The value at {path} must be one of the following: object."
    chosen = config.get("toolChoice", {}).get("tool", {}).get("name")
    if chosen is not None and chosen not in names:
        yield f"The value at toolConfig.toolChoice.tool.name {chosen} is not defined in toolConfig.tools."


def _tool_pairs(body: JSON) -> Iterator[str]:
    """The results of a turn stand in the next message, one for each use."""
    pending: list[str] = []
    for m, message in enumerate(body["messages"]):
        path = f"messages.{m}.content"
        given = [result["toolUseId"] for result in holding(message, "toolResult")]
        if missing := [use for use in pending if use not in given]:
            yield f"Expected toolResult blocks at {path} for the following Ids: {', '.join(missing)}"
        if repeated := [use for use, times in Counter(given).items() if times > 1]:
            yield f"The toolResult blocks at {path} contain duplicate Ids: {', '.join(repeated)}"
        if len(given) > len(pending):
            yield f"The number of toolResult blocks at {path} exceeds the number of toolUse blocks of previous turn."
        pending = [use["toolUseId"] for use in holding(message, "toolUse")]
        if repeated := [use for use, times in Counter(pending).items() if times > 1]:
            yield f"The toolUse blocks at {path} contain duplicate Ids: {', '.join(repeated)}"
    if pending:
        path = f"messages.{len(body['messages'])}.content"
        yield f"Expected toolResult blocks at {path} for the following Ids: {', '.join(pending)}"


def _cache_points(body: JSON) -> Iterator[str]:
    carriers = [*body.get("system", ()), *body.get("toolConfig", {}).get("tools", ())]
    carriers += [block for message in body["messages"] for block in message["content"]]
    found = sum("cachePoint" in carrier for carrier in carriers)
    if found > CACHE_POINTS_MAX:
        yield f"{MODEL_SAYS}A maximum of {CACHE_POINTS_MAX} blocks with cache_control may be provided. Found {found}."


def _thinking(body: JSON) -> Iterator[str]:
    thinking = thinking_of(body)
    if thinking.get("type") != "enabled":
        return
    config = body.get("inferenceConfig", {})
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or isinstance(budget, bool) or budget < THINKING_BUDGET_MIN:
        yield (
            f"{MODEL_SAYS}thinking.enabled.budget_tokens: Input should be greater than or equal to "
            f"{THINKING_BUDGET_MIN}"
        )
    elif budget >= config.get("maxTokens", budget + 1):
        yield f"{MODEL_SAYS}`max_tokens` must be greater than `thinking.budget_tokens`."
    if config.get("temperature", 1) != 1:
        yield f"{MODEL_SAYS}`temperature` may only be set to 1 when thinking is enabled."
    if "top_k" in body["additionalModelRequestFields"]:
        yield f"{MODEL_SAYS}`top_k` must be unset when thinking is enabled."
    if config.get("topP", 1) < 0.95:
        yield f"{MODEL_SAYS}`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
    if {"any", "tool"} & set(body.get("toolConfig", {}).get("toolChoice", ())):
        yield f"{MODEL_SAYS}Thinking may not be enabled when tool_choice forces tool use."
    said = [message for message in body["messages"] if message["role"] == "assistant"]
    if said and holding(said[-1], "toolUse") and "reasoningContent" not in said[-1]["content"][0]:
        path = f"messages.{body['messages'].index(said[-1])}.content.0.type"
        yield (
            f"{MODEL_SAYS}{path}: Expected `thinking` or `redacted_thinking`, but found "
            f"`{next(iter(said[-1]['content'][0]))}`. When `thinking` is enabled, a final `assistant` message must "
            "start with a thinking block."
        )


def _signatures(body: JSON) -> Iterator[str]:
    for _, path, block in _placed(body):
        reasoning = block.get("reasoningContent", {})
        if "reasoningText" in reasoning:
            said = reasoning["reasoningText"]
            if "signature" not in said:
                yield f"{MODEL_SAYS}{path}.thinking.signature: Field required"
            elif not signature_verifies(said["text"], said["signature"]):
                yield f"{MODEL_SAYS}{path}: Invalid `signature` in `thinking` block"
        if "redactedContent" in reasoning and not redaction_verifies(reasoning["redactedContent"]):
            yield f"{MODEL_SAYS}{path}: Invalid `data` in `redacted_thinking` block"


def _output(body: JSON) -> Iterator[str]:
    try:
        schema = output_schema(body)
    except (msgspec.DecodeError, RecursionError):
        yield "The value at outputConfig.textFormat.structure.jsonSchema.schema is not valid JSON."
        return
    if schema is not None and (not isinstance(schema, dict) or not sound(schema)):
        yield "The value at outputConfig.textFormat.structure.jsonSchema.schema is not a valid JSON Schema."


RULES: tuple[Callable[[JSON], Iterator[str]], ...] = (
    _messages,
    _blocks,
    _tools,
    _tool_pairs,
    _cache_points,
    _thinking,
    _signatures,
    _output,
)
