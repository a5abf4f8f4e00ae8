"""The official `boto3` SDK over Bedrock's Converse, asked and understood in nobody's dialect.

boto3 knows no asyncio: each question is asked in a thread.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable
from typing import Any

import boto3
from botocore.config import Config
from botocore.validate import ParamValidator

from .speakers import JSON, Attachment, Call, Counts, Question, Reply, Result, Turn, User

STOPS = {
    "end_turn": "end",
    "tool_use": "tools",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
}
REGION = "us-east-1"
SESSION = boto3.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="unused", region_name=REGION)
"""One for all, because loading the model of the service takes longer than a whole test."""
METADATA = "ResponseMetadata"


class BedrockSpeaker:
    """`key` is `ACCESS:SECRET`, or anything: the SDK signs with what it has."""

    def __init__(self, url: str, key: str, retries: int) -> None:
        access, _, secret = key.partition(":")
        self.client: Any = SESSION.client(
            "bedrock-runtime",
            endpoint_url=url,
            aws_access_key_id=access,
            aws_secret_access_key=secret or "unused",
            config=Config(retries={"total_max_attempts": 1 + retries}, parameter_validation=True, proxies={}),
        )
        self.client.meta.events.register("before-call.bedrock-runtime", _want_receipt)

    async def aclose(self) -> None:
        self.client.close()

    async def ask(self, model: str, question: Question, *, streamed: bool = False) -> Reply:
        parameters = {"modelId": model, **_parameters(question)}
        return await asyncio.to_thread(self._converse_stream if streamed else self._converse, parameters)

    def _converse(self, parameters: JSON) -> Reply:
        response = self.client.converse(**parameters)
        faults = self._faults("Converse", {name: value for name, value in response.items() if name != METADATA})
        return _reply(response["output"]["message"], response, response[METADATA], faults)

    def _converse_stream(self, parameters: JSON) -> Reply:
        response = self.client.converse_stream(**parameters)
        events = list(response["stream"])
        shape = self.client.meta.service_model.operation_model("ConverseStream").output_shape.members["stream"]
        faults = [fault for event in events for fault in _shape_faults(shape, event)]
        message, tail, more = _joined(events)
        return _reply(message, tail, response[METADATA], [*faults, *more])

    def _faults(self, operation: str, response: JSON) -> list[str]:
        return _shape_faults(self.client.meta.service_model.operation_model(operation).output_shape, response)


def _want_receipt(params: JSON, **_: Any) -> None:
    params["headers"]["x-busbar-receipt"] = "1"


def _shape_faults(shape: Any, value: Any) -> list[str]:
    """What the service's own model has against an answer: missing members, and members of the wrong type."""
    report = ParamValidator().validate(value, shape)
    return [report.generate_report()] if report.has_errors() else []


# --- there -----------------------------------------------------------------------------------------------------


def _parameters(question: Question) -> JSON:
    inference: JSON = {"maxTokens": question.max_tokens, "stopSequences": list(question.stops)}
    tools = [
        {"toolSpec": {"name": t.name, "description": f"Tool {t.name}", "inputSchema": {"json": t.schema}}}
        for t in question.tools
    ]
    choice = _choice(question.choice)
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if question.thinking else None
    given: JSON = {
        "system": [{"text": question.system}] if question.system else [],
        "inferenceConfig": {name: value for name, value in inference.items() if value},
        "toolConfig": {"tools": tools, **({"toolChoice": choice} if choice else {})} if tools else None,
        "outputConfig": question.schema and _output(question.schema),
        "additionalModelRequestFields": thinking,
    }
    return {
        "messages": [_message(turn) for turn in question.turns],
        **{name: value for name, value in given.items() if value},
        **question.native,
    }


def _choice(choice: str | None) -> JSON | None:
    if choice is None:
        return None
    return {"auto": {"auto": {}}, "required": {"any": {}}}.get(choice) or {"tool": {"name": choice}}


def _output(schema: JSON) -> JSON:
    structure = {"jsonSchema": {"name": "answer", "schema": json.dumps(schema)}}
    return {"textFormat": {"type": "json_schema", "structure": structure}}


def _message(turn: Turn) -> JSON:
    match turn:
        case str():
            return {"role": "user", "content": [{"text": turn}]}
        case Reply():
            message: JSON = turn.turn or {"role": "assistant", "content": [{"text": turn.text}]}
            return message
        case User():
            content: list[JSON] = [{"toolResult": _result(result)} for result in turn.results]
            content += [_attached(attachment) for attachment in turn.attachments]
            content += [{"text": turn.text}] if turn.text else []
            return {"role": "user", "content": content}


def _result(result: Result) -> JSON:
    status = "error" if result.failed else "success"
    return {"toolUseId": result.id, "content": [{"text": result.text}], "status": status}


def _attached(attachment: Attachment) -> JSON:
    source = {"bytes": base64.b64decode(attachment.data)}
    if attachment.kind == "image":
        return {"image": {"format": attachment.media_type.partition("/")[2], "source": source}}
    return {"document": {"format": "pdf", "name": "paper", "source": source}}


# --- and back --------------------------------------------------------------------------------------------------


def _joined(events: Iterable[JSON]) -> tuple[JSON, JSON, list[str]]:
    """The message of a stream, what follows it, and what is out of order."""
    blocks: dict[int, JSON] = {}
    opened: set[int] = set()
    tail: JSON = {}
    role = ""
    faults: list[str] = []
    for event in events:
        ((kind, told),) = event.items()
        match kind:
            case "messageStart":
                role = told["role"]
            case "contentBlockStart":
                blocks[told["contentBlockIndex"]] = {"toolUse": {**told["start"]["toolUse"], "input": ""}}
                opened.add(told["contentBlockIndex"])
            case "contentBlockDelta":
                opened.add(told["contentBlockIndex"])
                _add(blocks.setdefault(told["contentBlockIndex"], {}), told["delta"])
            case "contentBlockStop":
                opened.discard(told["contentBlockIndex"])
            case "messageStop" | "metadata":
                tail.update(told)
    if opened:
        faults.append(f"blocks {sorted(opened)} are not closed")
    if sorted(blocks) != list(range(len(blocks))):
        faults.append(f"the blocks are numbered {sorted(blocks)}")
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return {"role": role, "content": [blocks[index] for index in sorted(blocks)]}, tail, faults


def _add(block: JSON, delta: JSON) -> None:
    match delta:
        case {"text": text}:
            block["text"] = block.get("text", "") + text
        case {"toolUse": {"input": piece}}:
            block["toolUse"]["input"] += piece
        case {"reasoningContent": {"redactedContent": data}}:
            block["reasoningContent"] = {"redactedContent": data}
        case {"reasoningContent": thought}:
            said = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {"text": ""})
            for name, piece in thought.items():
                said[name] = said.get(name, "") + piece


def _reply(message: JSON, tail: JSON, metadata: JSON, faults: list[str]) -> Reply:
    content = message["content"]
    thoughts = [
        block["reasoningContent"]["reasoningText"]
        for block in content
        if "reasoningText" in block.get("reasoningContent", {})
    ]
    calls = [block["toolUse"] for block in content if "toolUse" in block]
    return Reply(
        text="".join(block.get("text", "") for block in content),
        thinking="".join(thought["text"] for thought in thoughts),
        signature="".join(thought.get("signature", "") for thought in thoughts),
        calls=tuple(Call(call["name"], call["input"], call["toolUseId"]) for call in calls),
        stop=STOPS[tail["stopReason"]],
        usage=_counts(tail["usage"]),
        id=metadata["RequestId"],
        turn=message,
        faults=tuple(faults),
        headers=metadata["HTTPHeaders"],
    )


def _counts(usage: JSON) -> Counts:
    """Here the input leaves out what the cache had; of reasoning nothing is said."""
    read, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"] + read + written
    return Counts(input=usage["inputTokens"], output=usage["outputTokens"], cache_read=read, cache_write=written)
