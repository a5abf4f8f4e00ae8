"""Recorded requests go from each dialect to each other: the backends there take them.

They are judged by the embedded providers, which refuse what the real ones refuse, and by the SDKs' own types.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from busbar.protocols.ir import Request
from busbar.protocols.protocol import Hop, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from tests.protocols.backends import MODELS, accepts, countersigned
from tests.recordings import Recording, recordings, with_request

NO_REQUEST = {
    ("gemini", 140): "a role that there is not",
    ("openai", 155): "content that is an object",
    ("responses", 156): "a role that there is not",
    ("responses", 165): "a message without content",
}
"""Recorded requests that their own provider refused with a 400, and so do we."""


def requests(dialect: str) -> list[Any]:
    return recordings(dialect, lambda it: with_request(it) and (it.protocol, it.number) not in NO_REQUEST)


def pairs() -> list[Any]:
    """Each recorded request with each dialect that is not its own."""
    return [
        pytest.param(*parameter.values, target, marks=parameter.marks, id=f"{source}-{target}-{parameter.id}")
        for source in PROTOCOLS
        for parameter in requests(source)
        for target in PROTOCOLS
        if target != source
    ]


def hop_to(target: str, model: str = "") -> Hop:
    return Hop(model=model or MODELS[target][0], now=1_700_000_000, nonce="n")


def crossed(source: Protocol, target: str, request: Request, model: str = "") -> tuple[dict[str, Any], Receipt]:
    """A request that was read from `source`, as `target`'s."""
    receipt = Receipt(spell=partial(source.spell, request))
    return PROTOCOLS[target].write_request(request, hop_to(target, model), receipt), receipt


@pytest.mark.parametrize(("recording", "target"), pairs())
def test_a_request_is_accepted_in_every_other_dialect(recording: Recording, target: str) -> None:
    source = PROTOCOLS[recording.protocol]
    for model in MODELS[target]:
        request = countersigned(source.read_request(recording.request.body))
        document, _ = crossed(source, target, request, model)
        accepts(target, model, document)
