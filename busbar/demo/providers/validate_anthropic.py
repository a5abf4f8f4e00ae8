"""What Anthropic's Messages API refuses, and with which words.

The shape of a body is checked first (`shapes_anthropic.py`), then the rules that hold between its parts, in the
order of `RULES`; the first that fails answers. Texts follow recorded 400s and the API's documentation.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .dialect import JSON, Refused
from .schema import objects_in
from .shape import Violation
from .shapes_anthropic import BODY
from .signature import redaction_verifies, signature_verifies

VERSION_WITHOUT_SAMPLING = "2026-10-21"
VERSIONS = frozenset({"2023-01-01", "2023-06-01", VERSION_WITHOUT_SAMPLING})
BETA_KEYS = ("container", "context_management", "mcp_servers", "output_format")
"""Accepted only with an `anthropic-beta` header."""
PER_TURN_BETA = "per-turn-control"
"""The beta in which a message has an `output_config` of its own."""
BREAKPOINTS_MAX = 4
THINKING = ("thinking", "redacted_thinking")

PHRASES = {
    "missing": "{path}: Field required",
    "extra": "{path}: Extra inputs are not permitted",
    "type": "{path}: Input should be a valid {expected}",
    "choice": "{path}: Input should be {expected}",
    "tag": "{path}: Input tag '{got}' found using 'type' does not match any of the expected tags: {expected}",
    "pattern": "{path}: String should match pattern '{expected}'",
    "long": "{path}: String should have at most {expected} characters",
    "below": "{path}: Input should be greater than or equal to {expected}",
    "above": "{path}: Input should be less than or equal to {expected}",
    "few": "{path}: List should have at least {expected} item after validation, not {got}",
    "many": "{path}: List should have at most {expected} items after validation, not {got}",
    "schema": "{path}: JSON schema is invalid. It must match JSON Schema draft 2020-12",
    "base64": "{path}: Invalid base64 data",
}
_PYDANTIC = {"object": "dictionary", "array": "list"}


def validate(body: JSON, headers: Mapping[str, str], *, counting: bool = False) -> None:
    """Raise `Refused` as the API would. `counting`: a body for count_tokens, which has no `max_tokens`."""
    whole = {"max_tokens": 1 << 30, **body} if counting else body
    try:
        BODY(whole, ())
    except Violation as violation:
        raise _phrase(violation) from None
    for rule in RULES:
        for message in rule(whole, headers):
            raise Refused(400, "invalid_request_error", message)


def _phrase(violation: Violation) -> Refused:
    expected = violation.expected
    if violation.kind == "type":
        expected = _PYDANTIC.get(expected[0], expected[0])
    elif isinstance(expected, tuple):
        quoted = [f"'{choice}'" for choice in expected]
        last = [" or ".join(quoted[-2:])] if violation.kind == "choice" else quoted[-2:]
        expected = ", ".join([*quoted[:-2], *last])
    path = ".".join(str(step) for step in violation.path)
    message = PHRASES[violation.kind].format(path=path, expected=expected, got=violation.got)
    return Refused(400, "invalid_request_error", message)


def blocks(content: str | list[JSON]) -> list[JSON]:
    """Content as blocks: a string is one text block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def merged(messages: list[JSON]) -> list[tuple[str, list[tuple[str, JSON]]]]:
    """The turns: consecutive messages of a role are one, system messages stand outside. Blocks carry their path."""
    turns: list[tuple[str, list[tuple[str, JSON]]]] = []
    for m, message in enumerate(messages):
        if message["role"] == "system":
            continue
        placed = [(f"messages.{m}.content.{b}", block) for b, block in enumerate(blocks(message["content"]))]
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(placed)
        else:
            turns.append((message["role"], placed))
    return turns


def _all_blocks(body: JSON) -> Iterator[tuple[str, JSON]]:
    for m, message in enumerate(body["messages"]):
        for b, block in enumerate(blocks(message["content"])):
            yield f"messages.{m}.content.{b}", block
            inner = block.get("content") if block["type"] == "tool_result" else None
            for i, part in enumerate(inner if isinstance(inner, list) else ()):
                yield f"messages.{m}.content.{b}.tool_result.content.{i}", part


# --- the rules: each yields the texts of what it finds wrong -------------------------------------------------


def _beta_keys(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    betas = headers.get("anthropic-beta", "")
    if not betas:
        yield from (f"{key}: Extra inputs are not permitted" for key in BETA_KEYS if key in body)
    if PER_TURN_BETA not in betas:
        for m, message in enumerate(body["messages"]):
            if "output_config" in message:
                yield f"messages.{m}.output_config: Extra inputs are not permitted"


def _files(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    if "files-api" in headers.get("anthropic-beta", ""):
        return
    for path, block in _all_blocks(body):
        tags = {"image": "'base64', 'url'", "document": "'base64', 'content', 'text', 'url'"}.get(block["type"])
        if tags and block["source"]["type"] == "file":
            yield (
                f"{path}.{block['type']}.source: Input tag 'file' found using 'type' does not match any of the "
                f"expected tags: {tags}"
            )


def _version(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    """API version 2026-10-21 took sampling parameters and documents in assistant turns away."""
    if headers.get("anthropic-version") != VERSION_WITHOUT_SAMPLING:
        return
    yield from (f"{key}: Extra inputs are not permitted" for key in ("temperature", "top_p", "top_k") if key in body)
    for role, placed in merged(body["messages"]):
        for path, block in placed:
            if role == "assistant" and block["type"] == "document":
                yield f"{path}: `document` blocks are not permitted in `assistant` messages"
            if role == "user" and block["type"] == "text" and block.get("citations"):
                yield f"{path}.text.citations: Extra inputs are not permitted"


def _messages(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    messages = body["messages"]
    if not messages:
        yield "messages: at least one message is required"
        return
    first = next((message for message in messages if message["role"] != "system"), messages[0])
    if first["role"] != "user":
        yield 'messages: first message must use the "user" role'
    for m, message in enumerate(messages):
        final_assistant = message["role"] == "assistant" and m == len(messages) - 1
        if not message["content"] and not final_assistant:
            yield (
                f"messages.{m}: all messages must have non-empty content except for the optional final "
                "assistant message"
            )
        for block in blocks(message["content"]):
            allowed = {"user": "tool_use", "assistant": "tool_result"}.get(message["role"])
            if block["type"] == allowed:
                side = "assistant" if allowed == "tool_use" else "user"
                yield f"messages.{m}: `{allowed}` blocks can only be in `{side}` messages"
    last = blocks(messages[-1]["content"])[-1:] if messages[-1]["role"] == "assistant" else []
    if last and last[0]["type"] == "text" and last[0]["text"] != last[0]["text"].rstrip():
        yield "messages: final assistant content cannot end with trailing whitespace"


def _texts(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    system = body.get("system", [])
    placed = [("system", block) for block in system] if isinstance(system, list) else []
    spoken = [(message["role"], block) for message in body["messages"] for block in blocks(message["content"])]
    for role, block in [*placed, *spoken]:
        if block["type"] != "text":
            continue
        where = "system" if role == "system" else "messages"
        if not block["text"]:
            yield f"{where}: text content blocks must be non-empty"
        elif role != "assistant" and not block["text"].strip():
            yield f"{where}: text content blocks must contain non-whitespace text"
    if any(not stop.strip() for stop in body.get("stop_sequences", ())):
        yield "stop_sequences: each stop sequence must contain non-whitespace"


def _tool_pairs(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    """Every tool_use is answered at the head of the next turn, once, and nothing else is answered."""
    turns = merged(body["messages"])
    uses = Counter(block["id"] for _, placed in turns for _, block in placed if block["type"] == "tool_use")
    if any(times > 1 for times in uses.values()):
        yield "messages: `tool_use` ids must be unique"
    pending: list[str] = []
    for role, placed in turns:
        results = [(path, block) for path, block in placed if block["type"] == "tool_result"]
        if role == "user":
            yield from _answers(pending, results, placed)
        pending = [block["id"] for _, block in placed if block["type"] == "tool_use"]
    if pending:
        yield _unanswered(f"messages.{len(body['messages']) - 1}", pending)


def _answers(pending: list[str], results: list[tuple[str, JSON]], placed: list[tuple[str, JSON]]) -> Iterator[str]:
    head = {block["tool_use_id"] for _, block in placed[: len(results)] if block["type"] == "tool_result"}
    if missing := [use for use in pending if use not in head]:
        yield _unanswered(placed[0][0].rsplit(".content", 1)[0] if placed else "messages", missing)
    seen: set[str] = set()
    for path, block in results:
        answered = block["tool_use_id"]
        if answered not in pending:
            yield (
                f"{path}: unexpected `tool_use_id` found in `tool_result` blocks: {answered}. Each `tool_result` "
                "block must have a corresponding `tool_use` block in the previous message."
            )
        if answered in seen:
            yield (
                f"{path}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: "
                f"{answered}"
            )
        seen.add(answered)


def _unanswered(path: str, ids: list[str]) -> str:
    return (
        f"{path}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(ids)}. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _tools(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    names = [tool.get("name") for tool in body.get("tools", ())]
    choice = body.get("tool_choice")
    if len(set(names)) < len(names):
        yield "tools: Tool names must be unique."
    if choice is not None and not names:
        yield "tool_choice may only be specified while providing tools."
    elif choice is not None and choice["type"] == "tool" and choice["name"] not in names:
        yield f"Tool '{choice['name']}' not found in provided tools"
    for t, tool in enumerate(body.get("tools", ())):
        if {"oneOf", "allOf", "anyOf"} & set(tool.get("input_schema") or ()):
            path = f"tools.{t}.custom.input_schema"
            yield f"{path}: input_schema does not support oneOf, allOf, or anyOf at the top level"


def _breakpoints(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    system = body.get("system")
    carriers = [
        body,
        *(system if isinstance(system, list) else ()),
        *body.get("tools", ()),
        *(block for _, block in _all_blocks(body)),
    ]
    found = sum(1 for carrier in carriers if carrier.get("cache_control"))
    if found > BREAKPOINTS_MAX:
        yield f"A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided. Found {found}."


def _thinking(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    thinking = body.get("thinking", {"type": "disabled"})
    if thinking["type"] == "disabled":
        return
    if thinking["type"] == "enabled" and thinking["budget_tokens"] >= body["max_tokens"]:
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."
    if body.get("temperature", 1) != 1:
        yield "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode."
    if body.get("top_k"):
        yield "`top_k` must be unset when thinking is enabled."
    if body.get("top_p", 1) < 0.95:
        yield "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        yield "Thinking may not be enabled when tool_choice forces tool use."
    said = [placed for role, placed in merged(body["messages"]) if role == "assistant"]
    used_tools = said and any(block["type"] == "tool_use" for _, block in said[-1])
    if thinking["type"] == "enabled" and used_tools and said[-1][0][1]["type"] not in THINKING:
        path, block = said[-1][0]
        yield (
            f"{path}.type: Expected `thinking` or `redacted_thinking`, but found `{block['type']}`. When `thinking` "
            "is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set "
            "of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous turns. "
            "To avoid this requirement, disable `thinking`."
        )


def _signatures(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    for path, block in _all_blocks(body):
        if block["type"] == "thinking" and not signature_verifies(block["thinking"], block["signature"]):
            yield f"{path}: Invalid `signature` in `thinking` block"
        if block["type"] == "redacted_thinking" and not redaction_verifies(block["data"]):
            yield f"{path}: Invalid `data` in `redacted_thinking` block"


def _output_schema(body: JSON, headers: Mapping[str, str]) -> Iterator[str]:
    wanted: dict[str, Any] = {
        "output_format": body.get("output_format"),
        "output_config.format": (body.get("output_config") or {}).get("format"),
    }
    for path, form in wanted.items():
        if form and any(node.get("additionalProperties") is not False for node in objects_in(form["schema"])):
            yield (f"{path}.schema: For 'object' type, 'additionalProperties' must be explicitly set to false")


RULES: tuple[Callable[[JSON, Mapping[str, str]], Iterator[str]], ...] = (
    _beta_keys,
    _files,
    _version,
    _messages,
    _texts,
    _tools,
    _tool_pairs,
    _breakpoints,
    _thinking,
    _signatures,
    _output_schema,
)
