"""Cohere's v2 chat API: how the embedded provider reads requests and writes answers.

`Cohere` satisfies `dialect.Dialect`. The order of events and the keys of each follow recorded streams of 2026. What
is said before tool calls is the `tool_plan`, and a document that the answer names is cited.
"""

import base64
import hashlib
import uuid
from collections.abc import Iterator, Mapping

import msgspec

from .dialect import CREATED, JSON, Frame, Refused, bearer, digest, fragments, mint, seed
from .script import REFUSAL, Answer, Ask, Tool, words
from .usage import Usage, tokens
from .validate_cohere import parts, validate
from .validate_openai import DATA_URL

FINISH_REASONS = {
    "end": "COMPLETE",
    "length": "MAX_TOKENS",
    "stop_sequence": "STOP_SEQUENCE",
    "tools": "TOOL_CALL",
    "refusal": "COMPLETE",
    "filter": "ERROR",
}
FILTERED = "No valid response generated. Try updating messages"


class Cohere:
    """The v2 chat dialect."""

    name = "cohere"
    request_id_header = "x-debug-trace-id"

    def admit(self, headers: Mapping[str, str], keys: frozenset[str]) -> None:
        """Accepts `Authorization: Bearer`."""
        key = bearer(headers)
        if key is None:
            raise Refused(401, "", "no api key supplied")
        if key not in keys:
            raise Refused(401, "", "invalid api token")

    def validate(self, body: JSON, headers: Mapping[str, str]) -> None:
        validate(body, headers)

    def read(self, body: JSON) -> Ask:
        messages = [m for m in body["messages"] if m["role"] != "system"]
        sides = ["assistant" if m["role"] == "assistant" else "user" for m in messages]
        since = max((at + 1 for at, side in enumerate(sides) if side == "assistant"), default=0)
        last = messages[since:] or [m for m in messages if m["role"] == "user"][-1:]
        said = [part for m in last if m["role"] == "user" for part in parts(m["content"])]
        results = [m for m in last if m["role"] == "tool"]
        thinking = body.get("thinking") or {"type": "enabled" if "reason" in body["model"] else "disabled"}
        choice = (body.get("tool_choice") or "").lower()
        form = body.get("response_format") or {"type": "text"}
        return Ask(
            model=body["model"],
            seed=seed(body),
            system="\n".join(_texts(parts(m["content"])) for m in body["messages"] if m["role"] == "system"),
            turns=sum(1 for at, s in enumerate(sides) if s == "user" and sides[at - 1 : at] != ["user"]),
            text=_texts(said),
            attachments=tuple(_attachments(body, said)),
            results=tuple(_result(m) for m in results),
            tools=tuple(Tool(t["function"]["name"], t["function"]["parameters"]) for t in body.get("tools") or ()),
            tool_choice="required" if choice == "required" else "none" if choice == "none" else "auto",
            thinking=thinking["type"] == "enabled",
            schema=None if form["type"] == "text" else form.get("json_schema") or form.get("schema") or {},
            prefill="" if sides[-1] == "user" else _texts(parts(messages[-1].get("content"))),
            max_tokens=body.get("max_tokens"),
            stops=tuple(body.get("stop_sequences") or ()),
            prompt_tokens=tokens([*body["messages"], *(body.get("tools") or ()), *(body.get("documents") or ())]),
        )

    def document(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> JSON:
        message = {
            "role": "assistant",
            **({"content": said} if (said := _content(answer)) else {}),
            **({"tool_plan": answer.text} if answer.calls and answer.text else {}),
            **({"tool_calls": calls} if (calls := _tool_calls(ask, answer)) else {}),
            **({"citations": cited} if (cited := list(_citations(body, answer))) else {}),
        }
        return {
            "id": _uuid("message", ask.seed),
            "message": message,
            "finish_reason": FINISH_REASONS[answer.stop],
            "usage": _usage(usage),
            **({"logprobs": [_logprob(piece) for piece in words(answer.text)]} if body.get("logprobs") else {}),
        }

    def frames(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> list[Frame]:
        opening: JSON = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        start = {"id": _uuid("message", ask.seed), "type": "message-start", "delta": {"message": opening}}
        said = list(_said(body, answer))
        if answer.calls:
            said += [_event("tool-plan-delta", None, tool_plan=piece) for piece in words(answer.text)]
        for index, call in enumerate(_tool_calls(ask, answer)):
            said += _stream_call(index, call)
        delta: JSON = {"finish_reason": FINISH_REASONS[answer.stop], "usage": _usage(usage)}
        if answer.stop == "filter":
            delta["error"] = FILTERED
        end = {"type": "message-end", "delta": delta}
        return [_frame(event) for event in (start, *said, end)] + [Frame("[DONE]", part="close")]

    def error(self, refused: Refused, request_id: str) -> JSON:
        kind = {"error_type": refused.code} if refused.code else {}
        return {"id": _uuid("error", request_id), "message": refused.message, **kind}

    def error_frames(self, refused: Refused, request_id: str, before: list[Frame]) -> list[Frame]:
        """A `message-end` whose finish reason is `ERROR`."""
        delta = {"finish_reason": "ERROR", "usage": {}, "error": refused.message}
        return [_frame({"type": "message-end", "delta": delta}), Frame("[DONE]", part="close")]

    def models(self, names: tuple[str, ...]) -> JSON:
        data = [
            {"name": name, "endpoints": ["chat"], "context_length": 128_000, "finetuned": False} for name in names
        ]
        return {"models": data, "created": CREATED}


# --- reading --------------------------------------------------------------------------------------------------


def _texts(said: list[JSON]) -> str:
    return "\n".join(part["text"] for part in said if part["type"] == "text")


def _result(message: JSON) -> str:
    """The texts of a tool result; a document's is the first text of its data."""
    said = parts(message["content"])
    told = [_document_text(part["document"]) if part["type"] == "document" else part["text"] for part in said]
    return "\n".join(told)


def _document_text(document: JSON) -> str:
    return next((value for value in document["data"].values() if isinstance(value, str)), "")


def _documents(body: JSON) -> Iterator[tuple[str, JSON]]:
    """The id and the data of each document; one without an id is `doc:` and its number."""
    for number, given in enumerate(body.get("documents") or ()):
        document: JSON = {"data": {"text": given}} if isinstance(given, str) else given
        yield document.get("id") or f"doc:{number}", document["data"]


def _attachments(body: JSON, said: list[JSON]) -> Iterator[tuple[str, str]]:
    for part in said:
        if part["type"] == "image_url":
            match = DATA_URL.fullmatch(part["image_url"]["url"])
            described = f"{match[1]}, {len(base64.b64decode(match[2]))} bytes" if match else part["image_url"]["url"]
            yield "image", described
    for name, data in _documents(body):
        title = data.get("title")
        yield "document", title if isinstance(title, str) and title else name


# --- writing --------------------------------------------------------------------------------------------------


def _uuid(*of: str) -> str:
    return str(uuid.UUID(bytes=hashlib.sha256(repr(of).encode()).digest()[:16], version=4))


def _frame(event: JSON) -> Frame:
    kind = event["type"]
    if kind == "message-end":
        return Frame(event, kind, "close")
    return Frame(event, kind, "open" if kind.endswith("-start") else "content")


def _event(kind: str, index: int | None, **message: object) -> JSON:
    """A stream event about the `index`th block, with what it adds to the message."""
    placed = {} if index is None else {"index": index}
    return {"type": kind, **placed, **({"delta": {"message": message}} if message else {})}


def _content(answer: Answer) -> list[JSON]:
    """The content parts of an answer. Text before calls is no content, but the plan."""
    said: list[JSON] = []
    if answer.thinking:
        said.append({"type": "thinking", "thinking": answer.thinking})
    text = REFUSAL if answer.stop == "refusal" else answer.text
    if text and not answer.calls:
        said.append({"type": "text", "text": text})
    return said


def _said(body: JSON, answer: Answer) -> Iterator[JSON]:
    """The events of the content; a citation comes as soon as the text it cites is complete."""
    for index, part in enumerate(_content(answer)):
        key = part["type"]
        waiting = list(enumerate(_citations(body, answer))) if key == "text" else []
        yield _event("content-start", index, content={"type": key, key: ""})
        length = 0
        for piece in words(part[key]):
            length += len(piece)
            sure = {"logprobs": _logprob(piece)} if body.get("logprobs") else {}
            yield {**_event("content-delta", index, content={key: piece}), **sure}
            while waiting and waiting[0][1]["end"] <= length:
                number, citation = waiting.pop(0)
                yield _event("citation-start", number, citations=citation)
                yield _event("citation-end", number)
        yield _event("content-end", index)


def _citations(body: JSON, answer: Answer) -> Iterator[JSON]:
    """The first mention of each document in the text, in order."""
    mode = ((body.get("citation_options") or {}).get("mode") or "").upper()
    if answer.calls or mode in ("OFF", "DISABLED"):
        return
    index = 1 if answer.thinking else 0
    since = 0
    for name, data in _documents(body):
        title = data.get("title")
        mention = title if isinstance(title, str) and title else name
        at = answer.text.find(mention, since)
        if at < 0:
            continue
        since = at + len(mention)
        source = {"type": "document", "id": name, "document": {"id": name, **data}}
        cited = {"start": at, "end": since, "text": mention, "sources": [source]}
        yield {**cited, "type": "TEXT_CONTENT", "content_index": index}


def _tool_calls(ask: Ask, answer: Answer) -> list[JSON]:
    return [
        {
            "id": f"{call.name}_{mint('', 12, ask.seed, number).lower()}",
            "type": "function",
            "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
        }
        for number, call in enumerate(answer.calls)
    ]


def _stream_call(index: int, call: JSON) -> Iterator[JSON]:
    arguments = call["function"]["arguments"]
    opening = {**call, "function": {**call["function"], "arguments": ""}}
    yield _event("tool-call-start", index, tool_calls=opening)
    for piece in fragments(arguments):
        yield _event("tool-call-delta", index, tool_calls={"function": {"arguments": piece}})
    yield _event("tool-call-end", index)


def _logprob(piece: str) -> JSON:
    """Every token was certain."""
    return {"text": piece, "token_ids": [int(digest(piece)[:4], 16)], "logprobs": [0.0]}


def _usage(usage: Usage) -> JSON:
    reasoning = {"reasoning_tokens": usage.reasoning} if usage.reasoning else {}
    return {
        "billed_units": {"input_tokens": usage.input, "output_tokens": usage.output},
        "tokens": {"input_tokens": usage.input, "output_tokens": usage.output, **reasoning},
        "cached_tokens": usage.cache_read,
    }
