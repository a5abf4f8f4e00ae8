"""The events in which OpenAI's Responses API streams an answer, in their order, numbered from 0.

| item | its events, each named `response.…` |
|---|---|
| every | `output_item.added`, its own, `output_item.done` |
| reasoning | `reasoning_summary_part.added`, `reasoning_summary_text.delta`s and `.done`, `…part.done` |
| message | `content_part.added`, `output_text.delta`s and `.done` (or `refusal.…`), `content_part.done` |
| function_call | `function_call_arguments.delta`s and `.done` |

Around them `created`, `in_progress` and `completed` or `incomplete`.
"""

from collections.abc import Iterator

from .dialect import JSON, Frame, fragments
from .responses_items import envelope, finished, logprobs, output
from .script import Answer, Ask, words
from .usage import Usage


def events(body: JSON, ask: Ask, answer: Answer, usage: Usage) -> list[Frame]:
    """The whole stream."""
    response, items = envelope(body, ask), output(body, ask, answer)
    last = finished(response, items, answer, usage)
    said = [event for index, item in enumerate(items) for event in _item(body, index, item)]
    told = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        *said,
        {"type": f"response.{last['status']}", "response": last},
    ]
    return [_frame(number, event) for number, event in enumerate(told)]


def _frame(number: int, event: JSON) -> Frame:
    kind = event["type"]
    numbered = {**event, "sequence_number": number}
    if kind.endswith((".delta", ".done")):
        return Frame(numbered, kind, "content")
    return Frame(numbered, kind, "close" if kind in ("response.completed", "response.incomplete") else "open")


def _item(body: JSON, index: int, item: JSON) -> Iterator[JSON]:
    """One item from its announcement to its end."""
    at = {"item_id": item["id"], "output_index": index}
    announced = {**item, **_EMPTY[item["type"]]}
    if "status" in item:
        announced["status"] = "in_progress"
    yield {"type": "response.output_item.added", "output_index": index, "item": announced}
    match item["type"]:
        case "reasoning":
            for number, part in enumerate(item["summary"]):
                yield from _summary({**at, "summary_index": number}, part)
        case "message":
            for number, part in enumerate(item["content"]):
                yield from _part(body, {**at, "content_index": number}, part)
        case "function_call":
            for piece in fragments(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
            yield {"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


_EMPTY: dict[str, JSON] = {
    "reasoning": {"summary": []},
    "message": {"content": []},
    "function_call": {"arguments": ""},
}
"""type of an item → what it does not say yet when it is announced."""


def _summary(at: JSON, part: JSON) -> Iterator[JSON]:
    yield {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}}
    for piece in words(part["text"]):
        yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **at, "text": part["text"]}
    yield {"type": "response.reasoning_summary_part.done", **at, "part": part}


def _part(body: JSON, at: JSON, part: JSON) -> Iterator[JSON]:
    key, told = ("refusal", "refusal") if part["type"] == "refusal" else ("text", "output_text")
    bare = {**part, key: "", **({"logprobs": []} if "logprobs" in part else {})}
    yield {"type": "response.content_part.added", **at, "part": bare}
    for piece in words(part[key]):
        sure = {"logprobs": logprobs(body, [piece])} if key == "text" else {}
        yield {"type": f"response.{told}.delta", **at, "delta": piece, **sure}
    sure = {"logprobs": part["logprobs"]} if key == "text" else {}
    yield {"type": f"response.{told}.done", **at, key: part[key], **sure}
    yield {"type": "response.content_part.done", **at, "part": part}
