"""What dialects say in plain text that others have a place or a flag for."""

from __future__ import annotations

from collections.abc import Callable

from busbar.protocols.ir import Part, Text, is_plain_text
from busbar.protocols.receipt import Receipt

ERROR_PREFIX = "Error: "
"""How a failed tool's result begins where the dialect has no flag for it."""


def instruction_texts(
    parts: list[Part], path: str, report_text: Callable[[Text, str, Receipt], None], receipt: Receipt
) -> list[str]:
    """The texts of instructions, of which the rest is dropped. `report_text` reports what is lost of a text."""
    texts = []
    for at, part in enumerate(parts):
        if is_plain_text(part):
            texts.append(part.text)
        elif isinstance(part, Text):
            report_text(part, f"{path}[{at}]", receipt)
            texts.append(part.text)
        else:
            receipt.dropped(f"{path}[{at}]", "instructions are text in this dialect")
    return texts
