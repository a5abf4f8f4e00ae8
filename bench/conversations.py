"""What is translated where only translation is measured: an agent's conversation, in two sizes, and what comes back.

The conversation is written once, as an OpenAI caller sends it; the other dialects' requests are what Busbar makes of
it. Answers and streams are each dialect's own (`answers`, `streams`).
"""

from __future__ import annotations

import functools
from typing import Any

from bench.answers import Call, Said, dump
from bench.scenarios import Dialect
from busbar.protocols.protocol import Hop
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.translate import translate_request

HOP = Hop(model="bench-model", default_max_tokens=4096, now=1790000000, nonce="bench0000")

TURNS = {"2 kB": (1, 2), "40 kB": (26, 14)}
"""Size of the request → how many calls were made so far, how many tools there are."""

TEXT_DELTAS = 200

_SYSTEM = "You maintain a repository. Read before you edit, run the tests after, and say briefly what you did. "
_RESULT = "src/harbour/quay.py:41:    def berth(self, ship: Ship) -> Berth:\n        return self._free.pop()\n"
_WORDS = (" the", " quay", " holds", " one", " list", " of", " free", " berths", ",", " sorted", " by", " length")


def said() -> Said:
    """A text in 200 pieces, then two calls."""
    texts = tuple(_WORDS[at % len(_WORDS)] for at in range(TEXT_DELTAS))
    return Said(texts, (_call(900), _call(901)))


@functools.cache
def request(dialect: Dialect, size: str, stream: bool = False) -> bytes:
    """A caller's request."""
    document = _openai_request(*TURNS[size], stream)
    if dialect == "openai":
        return dump(document)
    return translate_request(PROTOCOLS["openai"], PROTOCOLS[dialect], document, HOP).body


def _openai_request(calls: int, tools: int, stream: bool) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": _SYSTEM * (3 if calls == 1 else 40)},
        {"role": "user", "content": "Ships longer than their berth are moored. Find out why, and mend it."},
    ]
    for number in range(calls):
        call = _call(number)
        function = {"name": call.name, "arguments": call.arguments}
        messages += [
            {
                "role": "assistant",
                "content": "I look at where berths are given away, and who asks for them.",
                "tool_calls": [{"id": call.id, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": call.id, "content": _RESULT * (3 if calls == 1 else 8)},
        ]
    return {
        "model": "bench-model",
        "max_tokens": 2048,
        "temperature": 0.2,
        "messages": messages,
        "tools": [_tool(number) for number in range(tools)],
        "tool_choice": "auto",
        "stream": stream,
        **({"stream_options": {"include_usage": True}} if stream else {}),
    }


def _call(number: int) -> Call:
    arguments = dump({"pattern": f"def berth_{number}", "path": "src/harbour", "lines": [number, number + 40]})
    return Call(f"call_bench{number:014d}", f"tool_{number % 2}", arguments.decode())


def _tool(number: int) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "description": "A regular expression, matched line by line."},
            "path": {"type": "string", "description": "The folder to look in, from the root of the repository."},
            "lines": {"type": "array", "items": {"type": "integer", "minimum": 0}, "description": "From and to."},
            "mode": {"type": "string", "enum": ["names", "lines", "counts"]},
        },
        "required": ["pattern"],
        "additionalProperties": False,
    }
    description = "Searches the files of the repository and gives the lines that match, with their places."
    function = {"name": f"tool_{number}", "description": description, "parameters": parameters}
    return {"type": "function", "function": function}
