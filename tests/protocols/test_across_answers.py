"""Recorded answers go from each dialect to each other: what comes out is native there, and says the same."""

from __future__ import annotations

import re
from functools import partial

import msgspec
import pytest

from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from tests.protocols.across import HOP, answered, expected, known_paths, others, said_by, whole
from tests.protocols.sdk_heard import heard_in_answer
from tests.protocols.sdk_models import native_answer
from tests.recordings import Recording

ID_BEGINS = {"anthropic": "msg_", "openai": "chatcmpl-", "responses": "resp_"}

SPELLED_LOOSELY = re.compile(r"(^candidates\[0\])?\.(citations|finishReason|stop\.reason)\b.*")
"""Ends of a receipt's paths: what is said there stands in the provider's answer, but near that place."""


@pytest.mark.parametrize("recording", answered(whole))
def test_an_answer_is_native_everywhere_and_says_the_same(recording: Recording) -> None:
    for target in others(recording):
        check_told(recording, target)


def check_told(recording: Recording, target: str) -> None:
    source, there = PROTOCOLS[recording.protocol], PROTOCOLS[target]
    answer = source.read_response(recording.response.body)
    told = expected(said_by(answer), target, calls_whole=True)
    receipt = Receipt(spell=partial(source.spell, answer))
    wire = msgspec.json.encode(there.write_response(answer, HOP, receipt))
    document = msgspec.json.decode(wire)
    assert heard_in_answer(target, native_answer(target, document)) == told.heard
    assert said_by(there.read_response(document)) == told
    assert document.get("id", "").startswith(ID_BEGINS.get(target, ""))
    named = {SPELLED_LOOSELY.sub("", entry.path) for entry in receipt.entries}
    assert named <= known_paths(recording.response.body)
