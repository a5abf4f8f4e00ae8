"""The conversation of another dialect, as one wants it that takes a system and turns of content blocks.

- Instructions stand before the conversation: all of them become the system, in their order.
- Turns alternate between user and assistant: neighbours of one role are merged.
- The results of tools stand in the user turn that follows their calls, before anything else in it.
- The conversation begins with a user turn. Where the source's does not (an assistant's greeting, instructions alone),
  a user turn that says nothing is put first: the smallest text that is accepted, one full stop.
- A last assistant turn is continued by the model, and must not end in white space.
"""

from __future__ import annotations

import msgspec

from busbar.protocols.fitting.parts import BlockFitter
from busbar.protocols.ir import Message, Request, Role, Text, ToolResult
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

SAYS_NOTHING = "."
"""The least text that is accepted where there must be one."""

_SPEAKERS: dict[Role, Role] = {
    "user": "user",
    "tool": "user",
    "assistant": "assistant",
}


def fit_conversation(request: Request, fitter: BlockFitter, receipt: Receipt) -> Request:
    """`request` with system and messages that `fitter`'s dialect accepts; everything else is left as it is."""
    system = fitter.fit_all(request.system, "system", "system")
    turns: list[Message] = []
    for index, message in enumerate(request.messages):
        path = f"messages[{index}]"
        report_leftovers(message, fitter.dialect, path, receipt)
        if message.name is not None:
            receipt.dropped(f"{path}.name", "turns carry no name")
        speaker = _SPEAKERS.get(message.role)
        if speaker is None:
            if turns:
                receipt.changed(path, "instructions stand before the conversation")
            system += fitter.fit_all(message.parts, "system", f"{path}.content")
            continue
        parts = fitter.fit_all(message.parts, "user" if speaker == "user" else "assistant", f"{path}.content")
        if not parts:
            continue
        if turns and turns[-1].role == speaker:
            turns[-1].parts += parts
        else:
            turns.append(Message(role=speaker, parts=parts))
    for turn in turns:
        if turn.role == "user" and len(turn.parts) > 1:
            turn.parts.sort(key=lambda part: not isinstance(part, ToolResult))
    turns = _trim_prefill(turns, receipt, f"messages[{len(request.messages) - 1}].content")
    if not turns or turns[0].role != "user":
        receipt.added("messages[0]", "a conversation begins with a user turn")
        turns.insert(0, Message(role="user", parts=[Text(text=SAYS_NOTHING)]))
    return msgspec.structs.replace(request, system=system, messages=turns)


def _trim_prefill(turns: list[Message], receipt: Receipt, path: str) -> list[Message]:
    if not turns or turns[-1].role != "assistant":
        return turns
    last = turns[-1].parts[-1]
    if isinstance(last, Text) and last.text != last.text.rstrip():
        receipt.changed(path, "a last assistant turn does not end in white space")
        last.text = last.text.rstrip()
    return turns
