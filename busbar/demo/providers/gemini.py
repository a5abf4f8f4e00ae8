"""Google's Gemini API: how the embedded provider reads requests and writes answers.

`Gemini` satisfies `dialect.Dialect`. The keys of answers and chunks follow recorded streams of 2026. A model whose
name holds `gemini-3` or `strict` wants its thought signatures back; one with `blocked` blocks every prompt.
"""

import base64
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from .dialect import JSON, PATH_MODEL, Frame, Refused, bearer, mint, seed
from .protobuf import decoded
from .script import Answer, Ask, Tool, words
from .signature import sign_thought
from .usage import Usage, tokens
from .validate_gemini import JSON_TYPE, STRICT_MODEL, counted, functions, holding, request, signed_call

FINISH_REASONS = {
    "end": "STOP",
    "length": "MAX_TOKENS",
    "stop_sequence": "STOP",
    "tools": "STOP",
    "refusal": "SAFETY",
    "filter": "SAFETY",
}
CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
DETAIL = "type.googleapis.com/google.rpc."
SERVICE = "generativelanguage.googleapis.com"
MODES = {"ANY": "required", "NONE": "none"}
KINDS = {"image": "image", "audio": "audio clip", "video": "video"}


class Gemini:
    """The generateContent dialect."""

    name = "gemini"
    request_id_header = "x-request-id"

    def admit(self, headers: Mapping[str, str], keys: frozenset[str]) -> None:
        """Accepts `x-goog-api-key`, `?key=` and `Authorization: Bearer`."""
        query = parse_qs(urlsplit(headers.get(":path", "")).query)
        key = bearer(headers, "x-goog-api-key") or next(iter(query.get("key", ())), None)
        if key is None:
            message = (
                "Method doesn't allow unregistered callers (callers without established identity). Please use API "
                "Key or other form of API consumer identity to call this API."
            )
            raise Refused(403, "PERMISSION_DENIED", message)
        if key not in keys:
            message = "API key not valid. Please pass a valid API key."
            raise Refused(400, "INVALID_ARGUMENT", message, code="API_KEY_INVALID")

    def validate(self, body: JSON, headers: Mapping[str, str]) -> None:
        request(body)

    def read(self, body: JSON) -> Ask:
        read = request(body)
        contents = read["contents"]
        said = [c for c, content in enumerate(contents) if content.get("role", "user") == "user"]
        last = contents[said[-1]]
        results = holding(last, "functionResponse")
        config = read.get("generationConfig", {})
        calling = read.get("toolConfig", {}).get("functionCallingConfig", {})
        allowed = calling.get("allowedFunctionNames", ())
        return Ask(
            model=body[PATH_MODEL],
            seed=seed(body),
            system="\n".join(holding(read.get("systemInstruction", {}), "text")),
            turns=len(said),
            text="\n".join(holding(last, "text")),
            attachments=tuple(_attachments([*last["parts"], *(p for r in results for p in r.get("parts", ()))])),
            results=tuple(_result(result.get("response", {})) for result in results),
            tools=tuple(Tool(f["name"], _arguments_schema(f)) for f in functions(read)),
            tool_choice=MODES.get(calling.get("mode", ""), "auto"),  # type: ignore[arg-type]
            forced_tool=allowed[0] if allowed and calling["mode"] == "ANY" else None,
            thinking=_thinks(config.get("thinkingConfig", {})),
            schema=_wanted(config),
            max_tokens=config.get("maxOutputTokens"),
            stops=tuple(config.get("stopSequences", ())),
            prefill="\n".join(holding(contents[-1], "text")) if said[-1] < len(contents) - 1 else "",
            prompt_tokens=_prompt_tokens(read),
        )

    def document(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> JSON:
        if blocked := _blocked(ask, usage):
            return blocked
        chosen = list(_candidates(body, answer))
        candidates = []
        for index, one in enumerate(chosen):
            parts = [{**part, "text": text} for part, text in _spoken(body, one) if text]
            parts += _call_parts(ask, one, index)
            candidates.append(_candidate(index, parts, FINISH_REASONS[one.stop]))
        return {"candidates": candidates, **_tail(ask, _usage(usage, len(chosen)))}

    def frames(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> list[Frame]:
        if blocked := _blocked(ask, usage):
            return [Frame(blocked, part="close")]
        chosen = list(_candidates(body, answer))
        before = _tail(ask, {"promptTokenCount": usage.input, "totalTokenCount": usage.input})
        after = _tail(ask, _usage(usage, len(chosen)))
        spoken = [
            [
                Frame({"candidates": [_candidate(index, [part])], **before})
                for part in _stream_parts(body, ask, one, index)
            ]
            for index, one in enumerate(chosen)
        ]
        frames = [frame for row in zip_longest(*spoken) for frame in row if frame is not None]
        for index, one in enumerate(chosen):
            parts = [] if one.stop == "refusal" else [_closing_part(ask, one)]
            closing = _candidate(index, parts, FINISH_REASONS[one.stop])
            frames.append(Frame({"candidates": [closing], **after}, part="close"))
        return frames

    def error(self, refused: Refused, request_id: str) -> JSON:
        code = refused.status if refused.status >= 400 else CODES[refused.kind]
        details = list(_details(refused))
        error = {"code": code, "message": refused.message, "status": refused.kind}
        return {"error": {**error, "details": details} if details else error}

    def error_frames(self, refused: Refused, request_id: str, before: list[Frame]) -> list[Frame]:
        error = {"code": CODES[refused.kind], "message": refused.message, "status": refused.kind}
        return [Frame({"error": error}, part="close")]

    def models(self, names: tuple[str, ...]) -> JSON:
        methods = ["generateContent", "streamGenerateContent", "countTokens"]
        return {
            "models": [
                {
                    "name": f"models/{name}",
                    "version": "001",
                    "displayName": name,
                    "inputTokenLimit": 1048576,
                    "outputTokenLimit": 65536,
                    "supportedGenerationMethods": methods,
                }
                for name in names
            ]
        }

    def count_tokens(self, body: JSON, headers: Mapping[str, str]) -> JSON:
        """The answer to :countTokens. Raises `Refused`."""
        total = _prompt_tokens(counted(body))
        return {"totalTokens": total, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}]}


# --- reading --------------------------------------------------------------------------------------------------


def _attachments(parts: list[JSON]) -> Iterator[tuple[str, str]]:
    for part in parts:
        if "inlineData" in part:
            data = part["inlineData"]
            size = len(decoded(data["data"]))
            yield _kind(data), f"{data['mimeType']}, {size} bytes"
        elif "fileData" in part:
            yield _kind(part["fileData"]), part["fileData"]["fileUri"]


def _kind(data: JSON) -> str:
    return KINDS.get(data.get("mimeType", "").split("/")[0], "document")


def _result(response: JSON) -> str:
    """What a function answered: `output`, `result` or `error` alone are its words, all else is told as JSON."""
    match response:
        case {"output": str(said)} | {"result": str(said)} if len(response) == 1:
            return said
        case {"error": str(said)} if len(response) == 1:
            return f"{said} (error)"
        case _:
            return msgspec.json.encode(response).decode() if response else ""


def _thinks(thinking: JSON) -> bool:
    """Whether it thinks; the thoughts are shown only with `includeThoughts`."""
    return bool(thinking.get("includeThoughts") or thinking.get("thinkingBudget") or "thinkingLevel" in thinking)


def _wanted(config: JSON) -> JSON | None:
    """The JSON schema of a structured output."""
    if config.get("responseMimeType") != JSON_TYPE:
        return None
    if "responseSchema" in config:
        return _plain_schema(config["responseSchema"])
    return config.get("responseJsonSchema") or {}


def _arguments_schema(function: JSON) -> JSON:
    if "parameters" in function:
        return _plain_schema(function["parameters"])
    schema = function.get("parametersJsonSchema")
    return schema if isinstance(schema, dict) else {"type": "object"}


def _plain_schema(schema: JSON) -> JSON:
    """Google's Schema as JSON Schema, which spells its types in small letters."""
    plain = dict(schema)
    if "type" in plain:
        plain["type"] = plain["type"].lower()
    if "items" in plain:
        plain["items"] = _plain_schema(plain["items"])
    if "anyOf" in plain:
        plain["anyOf"] = [_plain_schema(choice) for choice in plain["anyOf"]]
    if "properties" in plain:
        plain["properties"] = {name: _plain_schema(inner) for name, inner in plain["properties"].items()}
    return plain


def _prompt_tokens(read: JSON) -> int:
    return tokens([read.get("systemInstruction", {}), read.get("contents", []), functions(read)])


# --- writing --------------------------------------------------------------------------------------------------


def _candidates(body: JSON, answer: Answer) -> Iterator[Answer]:
    """`candidateCount` answers that differ in their last words."""
    for index in range(request(body).get("generationConfig", {}).get("candidateCount", 1)):
        tail = f" (choice {index + 1})" if index and answer.text else ""
        yield msgspec.structs.replace(answer, text=answer.text + tail)


def _spoken(body: JSON, answer: Answer) -> list[tuple[JSON, str]]:
    """Thought and text, each with what marks its part."""
    thinking = request(body).get("generationConfig", {}).get("thinkingConfig", {})
    shown = answer.thinking if thinking.get("includeThoughts") else None
    return [({"thought": True}, shown or ""), ({}, answer.text)]


def _call_parts(ask: Ask, answer: Answer, index: int) -> Iterator[JSON]:
    """One part for each call. Of parallel calls the first has the signature."""
    for number, call in enumerate(answer.calls):
        made = {"id": mint("call_", 12, ask.seed, index, number), "name": call.name, "args": call.arguments}
        signed = {"thoughtSignature": _base64(sign_thought(signed_call(made)))} if number == 0 else {}
        yield {"functionCall": made, **signed}


def _stream_parts(body: JSON, ask: Ask, answer: Answer, index: int) -> Iterator[JSON]:
    for part, text in _spoken(body, answer):
        yield from ({**part, "text": piece} for piece in words(text))
    yield from _call_parts(ask, answer, index)


def _closing_part(ask: Ask, answer: Answer) -> JSON:
    """A stream's last part is an empty text; models that want signatures back sign there what they said."""
    if answer.calls or not STRICT_MODEL.search(ask.model):
        return {"text": ""}
    return {"text": "", "thoughtSignature": _base64(sign_thought(answer.text))}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _candidate(index: int, parts: list[JSON], finish: str | None = None) -> JSON:
    refused = finish == "SAFETY"
    ratings = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]
    return {
        **({"content": {"parts": parts, "role": "model"}} if parts else {}),
        **({"finishReason": finish} if finish else {}),
        "index": index,
        **({"safetyRatings": ratings} if refused else {}),
    }


def _blocked(ask: Ask, usage: Usage) -> JSON | None:
    """The answer to a prompt that is not answered at all."""
    if "blocked" not in ask.model:
        return None
    counted = {"promptTokenCount": usage.input, "totalTokenCount": usage.input}
    return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **_tail(ask, counted)}


def _tail(ask: Ask, counted: JSON) -> JSON:
    return {"usageMetadata": counted, "modelVersion": ask.model, "responseId": mint("", 23, ask.seed)}


def _usage(usage: Usage, candidates: int) -> JSON:
    """Cached tokens are part of the prompt's; thoughts stand beside the candidates' tokens."""
    spoken = (usage.output - usage.reasoning) * candidates
    return {
        "promptTokenCount": usage.input,
        **({"cachedContentTokenCount": usage.cache_read} if usage.cache_read else {}),
        **({"candidatesTokenCount": spoken} if spoken else {}),
        **({"thoughtsTokenCount": usage.reasoning} if usage.reasoning else {}),
        "totalTokenCount": usage.input + spoken + usage.reasoning,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    }


def _details(refused: Refused) -> Iterator[Any]:
    if refused.code:
        metadata = {"service": SERVICE}
        yield {
            "@type": f"{DETAIL}ErrorInfo",
            "reason": refused.code,
            "domain": "googleapis.com",
            "metadata": metadata,
        }
    if refused.param is not None:
        violation = {"description": refused.message, **({"field": refused.param} if refused.param else {})}
        yield {"@type": f"{DETAIL}BadRequest", "fieldViolations": [violation]}
    if refused.retry_secs is not None:
        yield {"@type": f"{DETAIL}RetryInfo", "retryDelay": f"{refused.retry_secs:g}s"}
