"""The request by which another provider is asked to go on with an answer, where its model goes on from a prefill."""

from __future__ import annotations

from msgspec.structs import replace

from busbar.protocols.fitting.claude_thinking import is_off
from busbar.protocols.fitting.turns import SAYS_NOTHING
from busbar.protocols.ir import Message, RedactedThinking, Request, Text, Thinking
from busbar.protocols.protocol import Hop, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.resume.delivered import CHARS_PER_TOKEN, Delivered


def prefill_of(delivered: Delivered) -> str | None:
    """What the model has to go on from: text that is not blank, after nothing but thinking. Without the white space
    at its end, which Anthropic refuses. None: nothing that could stand as the last turn of a request."""
    kinds = [type(block.part) for block in delivered.blocks]
    before = kinds[: kinds.index(Text)] if Text in kinds else kinds
    if not set(before) <= {Thinking, RedactedThinking} or set(kinds[len(before) :]) - {Text}:
        return None
    return delivered.text.rstrip() or None


def prefilled(request: Request, prefill: str, source: Protocol, hop: Hop) -> Request:
    """`request`, which was read from `source`, with what the model has said of its answer already as the last turn.

    The thinking is done, so none is asked for; neither is a schema, which providers refuse beside a prefill. What
    was said counts against the caller's `max_tokens`, as well as that can be estimated.
    """
    said = _turn_of(source, prefill, hop)
    reasoning = request.reasoning
    max_tokens = request.max_tokens
    if max_tokens is not None:
        max_tokens = max(1, max_tokens - len(prefill) // CHARS_PER_TOKEN)
    return replace(
        request,
        messages=[*request.messages, said],
        reasoning=reasoning if reasoning is not None and is_off(reasoning) else None,
        output=None,
        max_tokens=max_tokens,
    )


def _turn_of(source: Protocol, said: str, hop: Hop) -> Message:
    """A turn as `source` itself would have said it, with whatever its own writer wants to know of its turns."""
    turns = [
        Message(role="user", parts=[Text(text=SAYS_NOTHING)]),
        Message(role="assistant", parts=[Text(text=said)]),
    ]
    document = source.write_request(Request(model=hop.model, messages=turns), hop, Receipt())
    return source.read_request(document).messages[-1]
