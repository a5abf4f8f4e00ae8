"""Where this dialect has what a receipt names as the IR does.

stop[4]                             stop_sequences[4]
reasoning                           thinking, or output_config.effort
choices[0].content[1].arguments     content[1].input
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.ir import Request, Response
from busbar.protocols.native import own_form
from busbar.protocols.receipt import joined

_SETTINGS: Mapping[str, str] = {
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
_HEAD = re.compile(r"\w+")
_TURN = re.compile(r"messages\[(\d+)\]\.content\[0\]")
_ONLY_CHOICE = "choices[0]."
_IN_ANSWERS: Mapping[str, str] = {"stop.reason": "stop_reason", "stop.sequence": "stop_sequence"}


def spell(document: Request | Response | None, path: str, left: str = "") -> str:
    """`path`, which the IR gives to a place of `document`, or a leftover there, in this dialect. None stands for a
    stream."""
    if left and path == "reasoning":
        return f"thinking.{left}"
    place = _spell(document, path) if isinstance(document, Request) else _spell_in_answer(path)
    return joined(place, left) if left else place


def _spell_in_answer(path: str) -> str:
    path = path.removeprefix(_ONLY_CHOICE)
    return _IN_ANSWERS.get(path) or _in_part(path)


def _spell(document: Request, path: str) -> str:
    name = _HEAD.match(path)
    match name[0] if name is not None else "":
        case "system" if "system:text" in _spelled(document):
            return "system"
        case "messages":
            turn = _TURN.match(path)
            if turn is not None and own_form(document.messages[int(turn[1])], DIALECT) == "text":
                return f"messages[{turn[1]}].content"
            return _in_part(path)
        case "tools":
            return path.replace(".parameters", ".input_schema", 1)
        case "reasoning" if document.reasoning is not None:
            words = document.reasoning.effort is not None and not path.endswith("budget_tokens")
            return "output_config.effort" if words else path.replace("reasoning", "thinking", 1)
        case "output":
            at = "output_format" if "format:old" in _spelled(document) else "output_config.format"
            return path.replace("output", at, 1)
        case found:
            return _SETTINGS.get(found, found) + path.removeprefix(found)


def _spelled(request: Request) -> tuple[str, ...]:
    return own_form(request, DIALECT) or ()


def _in_part(path: str) -> str:
    return f"{path.removesuffix('.arguments')}.input" if path.endswith(".arguments") else path
