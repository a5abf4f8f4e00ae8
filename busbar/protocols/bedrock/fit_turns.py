"""The conversation of another dialect, as this one wants it (`fitting.turns`). A turn with a document holds a text as
well ("A text block is required when you include a document").
"""

from __future__ import annotations

from busbar.protocols.bedrock.fit_parts import PartFitter
from busbar.protocols.bedrock.models import family_of
from busbar.protocols.fitting.turns import SAYS_NOTHING, fit_conversation
from busbar.protocols.ir import Document, Message, Request, Text
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt


def fit_turns(request: Request, hop: Hop, receipt: Receipt) -> Request:
    """`request` with system and messages that this dialect accepts; everything else is left as it is."""
    fitted = fit_conversation(request, PartFitter(receipt, hop.nonce, family_of(hop.model)), receipt)
    for turn in fitted.messages:
        _speak_of_documents(turn, receipt)
    return fitted


def _speak_of_documents(turn: Message, receipt: Receipt) -> None:
    kinds = {type(part) for part in turn.parts}
    if Document in kinds and Text not in kinds:
        receipt.added("messages.content", "a document is accompanied by a text")
        turn.parts.append(Text(text=SAYS_NOTHING))
