"""OpenAI's Responses API: how the embedded provider reads requests and writes answers.

`Responses` satisfies `dialect.Dialect`. Items, their keys and the order of events follow recorded streams of 2026.
Nothing is stored: what a conversation needs again comes back in `input`, reasoning as `encrypted_content`.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Literal

from .dialect import JSON, Frame, Refused, seed
from .openai import OpenAI
from .responses_events import events
from .responses_items import envelope, finished, output
from .script import Answer, Ask, Tool
from .usage import Usage, tokens
from .validate_openai import DATA_URL
from .validate_responses import functions, items, parts, validate


class Responses(OpenAI):
    """The Responses dialect. Keys, errors and models are those of OpenAI's other API."""

    name = "responses"

    def validate(self, body: JSON, headers: Mapping[str, str]) -> None:
        validate(body, headers)

    def read(self, body: JSON) -> Ask:
        said = [(side, item) for item in items(body) if (side := _side(item)) != "system"]
        sides = [side for side, _ in said]
        since = max((at + 1 for at, side in enumerate(sides) if side == "assistant"), default=0)
        last = [item for _, item in said[since:]] or [item for side, item in said if side == "user"][-1:]
        asked = [part for item in last if item["type"] == "message" for part in parts(item)]
        results = [item for item in last if item["type"].endswith("_output")]
        choice = body.get("tool_choice", "auto")
        form = (body.get("text") or {}).get("format") or {"type": "text"}
        parallel = body.get("parallel_tool_calls")
        return Ask(
            model=body["model"],
            seed=seed(body),
            system="\n".join(_system_texts(body)),
            turns=sum(1 for at, s in enumerate(sides) if s == "user" and sides[at - 1 : at] != ["user"]),
            text=_texts(asked),
            attachments=tuple(_attachments([*asked, *(part for item in results for part in parts(item))])),
            results=tuple(_texts(parts(item)) for item in results),
            tools=tuple(
                Tool(tool["name"], tool.get("parameters") or {"type": "object"}) for _, _, tool in functions(body)
            ),
            tool_choice=_tool_choice(choice),
            forced_tool=choice.get("name") if isinstance(choice, dict) else None,
            parallel=True if parallel is None else parallel,
            thinking=_reasons(body),
            schema=None if form["type"] == "text" else form.get("schema", {}),
            max_tokens=body.get("max_output_tokens"),
            prompt_tokens=tokens([body.get("instructions"), *items(body), *body.get("tools", ())]),
        )

    def document(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> JSON:
        return finished(envelope(body, ask), output(body, ask, answer), answer, usage)

    def frames(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> list[Frame]:
        return events(body, ask, answer, usage)

    def error_frames(self, refused: Refused, request_id: str, before: list[Frame]) -> list[Frame]:
        """An `error` event and, where the response was announced, `response.failed`."""
        error = {"type": refused.kind, "code": refused.code, "message": refused.message, "param": refused.param}
        number = len(before)
        frames = [Frame({"type": "error", "error": error, "sequence_number": number}, "error", "close")]
        announced = before[0].data if before else None
        if isinstance(announced, dict):
            failed = {
                "type": "response.failed",
                "response": {
                    **announced["response"],
                    "status": "failed",
                    "error": {"code": refused.code or refused.kind, "message": refused.message},
                },
                "sequence_number": number + 1,
            }
            frames.append(Frame(failed, "response.failed", "close"))
        return frames


# --- reading --------------------------------------------------------------------------------------------------


def _side(item: JSON) -> str:
    """Who an item comes from: user, assistant or system."""
    match item:
        case {"type": "message", "role": "user" | "assistant" as role}:
            return str(role)
        case {"type": "message" | "additional_tools"}:
            return "system"
        case {"type": kind} if kind.endswith("_output") or kind == "mcp_approval_response":
            return "user"
        case _:
            return "assistant"


def _system_texts(body: JSON) -> Iterator[str]:
    if body.get("instructions"):
        yield body["instructions"]
    for item in items(body):
        if item["type"] == "message" and item["role"] in ("system", "developer"):
            yield _texts(parts(item))


def _texts(said: list[JSON]) -> str:
    return "\n".join(part["text"] for part in said if part["type"] == "input_text")


def _attachments(said: list[JSON]) -> Iterator[tuple[str, str]]:
    for part in said:
        if part["type"] == "input_image":
            yield "image", _described(part.get("image_url") or part["file_id"])
        elif part["type"] == "input_file":
            yield "document", _described(part.get("file_data") or part.get("file_url") or part["file_id"])


def _described(url: str) -> str:
    match = DATA_URL.fullmatch(url)
    return url if match is None else f"{match[1]}, {len(base64.b64decode(match[2]))} bytes"


def _tool_choice(choice: str | JSON) -> Literal["auto", "none", "required"]:
    wanted = choice if isinstance(choice, str) else choice.get("mode")
    return wanted if wanted in ("none", "required") else "auto"  # type: ignore[return-value]


def _reasons(body: JSON) -> bool:
    reasoning = body.get("reasoning")
    return "reason" in body["model"] or (reasoning is not None and reasoning.get("effort") != "none")
