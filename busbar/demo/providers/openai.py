"""OpenAI's Chat Completions API: how the embedded provider reads requests and writes answers.

`OpenAI` satisfies `dialect.Dialect`. The order of chunks and the keys of each follow recorded streams; a `reason`
model adds `reasoning_content` as DeepSeek does.
"""

import base64
from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from typing import Any

import msgspec

from .dialect import CREATED, JSON, Frame, Refused, bearer, fragments, mint, seed
from .script import REFUSAL, Answer, Ask, Tool, words
from .usage import Usage, tokens
from .validate_openai import DATA_URL, validate

FINISH_REASONS = {
    "end": "stop",
    "length": "length",
    "stop_sequence": "stop",
    "tools": "tool_calls",
    "refusal": "stop",
    "filter": "content_filter",
}
FINGERPRINT = "fp_0123456789"
KEYS_PAGE = "https://platform.openai.com/account/api-keys"


class OpenAI:
    """The Chat Completions dialect."""

    name = "openai"
    request_id_header = "x-request-id"

    def admit(self, headers: Mapping[str, str], keys: frozenset[str]) -> None:
        """Accepts `Authorization: Bearer` and `api-key`."""
        key = bearer(headers, "api-key")
        if key is None:
            message = (
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                f"Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from {KEYS_PAGE}."
            )
            raise Refused(401, "invalid_request_error", message)
        if key not in keys:
            message = f"Incorrect API key provided: {key[:4]}****. You can find your API key at {KEYS_PAGE}."
            raise Refused(401, "invalid_request_error", message, code="invalid_api_key")

    def validate(self, body: JSON, headers: Mapping[str, str]) -> None:
        validate(body, headers)

    def read(self, body: JSON) -> Ask:
        messages = [m for m in body["messages"] if m["role"] not in ("system", "developer")]
        sides = ["assistant" if m["role"] == "assistant" else "user" for m in messages]
        since = max((at + 1 for at, side in enumerate(sides) if side == "assistant"), default=0)
        last = messages[since:] or [m for m in messages if m["role"] == "user"][-1:]
        said = [part for m in last if m["role"] == "user" for part in _parts(m)]
        choice = body.get("tool_choice", "auto")
        form = body.get("response_format", {"type": "text"})
        named = form.get("json_schema", {"schema": {}})
        stops = body.get("stop") or []
        return Ask(
            model=body["model"],
            seed=seed(body),
            system="\n".join(
                part["text"] for m in body["messages"] if m["role"] in ("system", "developer") for part in _parts(m)
            ),
            turns=sum(1 for at, s in enumerate(sides) if s == "user" and sides[at - 1 : at] != ["user"]),
            text=_texts(said),
            attachments=tuple(_attachments(said)),
            results=tuple(_texts(_parts(m)) for m in last if m["role"] == "tool"),
            tools=tuple(_tools(body)),
            tool_choice=choice if choice in ("none", "required") else "auto",
            forced_tool=choice.get("function", {}).get("name") if isinstance(choice, dict) else None,
            parallel=body.get("parallel_tool_calls", True),
            thinking="reason" in body["model"],
            schema=None if form["type"] == "text" else named.get("schema", {}),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            stops=(stops,) if isinstance(stops, str) else tuple(stops),
            prompt_tokens=sum(tokens(part) for part in [*body["messages"], *body.get("tools", ())]),
        )

    def document(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> JSON:
        choices = [
            {
                "index": index,
                "message": _message(ask, chosen, index),
                "logprobs": _logprobs(body, words(chosen.text)),
                "finish_reason": FINISH_REASONS[chosen.stop],
            }
            for index, chosen in enumerate(_choices(body, answer))
        ]
        return {
            **_envelope(ask, "chat.completion"),
            "choices": choices,
            "usage": _usage(usage, len(choices)),
            "service_tier": "default",
        }

    def frames(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> list[Frame]:
        counted = (body.get("stream_options") or {}).get("include_usage", False)
        envelope = {
            **_envelope(ask, "chat.completion.chunk"),
            "service_tier": "default",
            **({"usage": None} if counted else {}),
        }

        def chunk(index: int, delta: JSON, part: Any = "content", finish: str | None = None) -> Frame:
            logprobs = _logprobs(body, [delta["content"]] if delta.get("content") else [])
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return Frame({**envelope, "choices": [choice]}, part=part)

        chosen = list(enumerate(_choices(body, answer)))
        opening: JSON = {"role": "assistant", "content": None if answer.calls else "", "refusal": None}
        frames = [chunk(index, opening, "open") for index, _ in chosen]
        spoken = [[chunk(index, delta) for delta in _deltas(ask, one, index)] for index, one in chosen]
        frames += [frame for row in zip_longest(*spoken) for frame in row if frame is not None]
        frames += [chunk(index, {}, "close", FINISH_REASONS[one.stop]) for index, one in chosen]
        if counted:
            total = {**envelope, "choices": [], "usage": _usage(usage, len(chosen))}
            frames.append(Frame(total, part="close"))
        return [*frames, Frame("[DONE]", part="close")]

    def error(self, refused: Refused, request_id: str) -> JSON:
        return {
            "error": {
                "message": refused.message,
                "type": refused.kind,
                "param": refused.param,
                "code": refused.code,
            }
        }

    def error_frames(self, refused: Refused, request_id: str, before: list[Frame]) -> list[Frame]:
        return [Frame(self.error(refused, request_id), part="close")]

    def models(self, names: tuple[str, ...]) -> JSON:
        data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "busbar-demo"} for name in names]
        return {"object": "list", "data": data}


# --- reading --------------------------------------------------------------------------------------------------


def _parts(message: JSON) -> list[JSON]:
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _texts(parts: list[JSON]) -> str:
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def _attachments(parts: list[JSON]) -> Iterator[tuple[str, str]]:
    for part in parts:
        match part:
            case {"type": "image_url", "image_url": {"url": url}}:
                yield "image", _described(url)
            case {"type": "input_audio", "input_audio": {"data": data, "format": form}}:
                yield "audio clip", f"audio/{form}, {len(base64.b64decode(data))} bytes"
            case {"type": "file", "file": file}:
                yield "document", _described(file.get("file_data") or file.get("file_id") or "empty")


def _described(url: str) -> str:
    match = DATA_URL.fullmatch(url)
    return url if match is None else f"{match[1]}, {len(base64.b64decode(match[2]))} bytes"


def _tools(body: JSON) -> Iterator[Tool]:
    for tool in body.get("tools", ()):
        if tool["type"] == "function":
            function = tool["function"]
            yield Tool(function["name"], function.get("parameters") or {"type": "object"})


# --- writing --------------------------------------------------------------------------------------------------


def _envelope(ask: Ask, kind: str) -> JSON:
    return {
        "id": mint("chatcmpl-", 29, ask.seed),
        "object": kind,
        "created": CREATED,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }


def _choices(body: JSON, answer: Answer) -> Iterator[Answer]:
    """`n` answers that differ in their last words."""
    for index in range(body.get("n") or 1):
        tail = f" (choice {index + 1})" if index and answer.text else ""
        yield msgspec.structs.replace(answer, text=answer.text + tail)


def _tool_calls(ask: Ask, answer: Answer, index: int) -> list[JSON]:
    return [
        {
            "id": mint("call_", 24, ask.seed, index, number),
            "type": "function",
            "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
        }
        for number, call in enumerate(answer.calls)
    ]


def _message(ask: Ask, answer: Answer, index: int) -> JSON:
    refused = answer.stop == "refusal"
    calls = _tool_calls(ask, answer, index)
    return {
        "role": "assistant",
        "content": None if refused or (calls and not answer.text) else answer.text,
        **({"reasoning_content": answer.thinking} if answer.thinking is not None else {}),
        **({"tool_calls": calls} if calls else {}),
        "refusal": REFUSAL if refused else None,
        "annotations": [],
    }


def _deltas(ask: Ask, answer: Answer, index: int) -> list[JSON]:
    """What one choice says, piece by piece, between its role and its finish reason."""
    said = [{"reasoning_content": piece} for piece in words(answer.thinking or "")]
    said += [{"content": piece} for piece in words(answer.text)]
    if answer.stop == "refusal":
        said += [{"refusal": piece} for piece in words(REFUSAL)]
    calls = [list(_call_deltas(n, call)) for n, call in enumerate(_tool_calls(ask, answer, index))]
    rows = zip_longest(*calls) if ask.model.endswith("-interleaved") else calls
    return [*said, *(delta for delta in chain.from_iterable(rows) if delta is not None)]


def _call_deltas(number: int, call: JSON) -> Iterator[JSON]:
    opening = {**call, "index": number, "function": {**call["function"], "arguments": ""}}
    yield {"tool_calls": [opening]}
    for piece in fragments(call["function"]["arguments"]):
        yield {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}


def _logprobs(body: JSON, pieces: list[str]) -> JSON | None:
    """Every token was certain; its alternatives are itself."""
    if not body.get("logprobs"):
        return None
    content = []
    for piece in pieces:
        token = {"token": piece, "logprob": 0.0, "bytes": list(piece.encode())}
        content.append({**token, "top_logprobs": [token] if body.get("top_logprobs") else []})
    return {"content": content, "refusal": None}


def _usage(usage: Usage, choices: int) -> JSON:
    output = usage.output * choices
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": output,
        "total_tokens": usage.input + output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning * choices,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
