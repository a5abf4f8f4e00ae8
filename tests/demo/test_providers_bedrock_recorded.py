"""The embedded Bedrock provider accepts what the real one accepted, refuses what it refused, and never breaks."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busbar.demo.providers.bedrock import Bedrock
from busbar.demo.providers.dialect import PATH_MODEL, Refused
from busbar.demo.providers.script import play
from busbar.demo.providers.usage import PromptCache, count
from tests.demo.test_providers_bedrock_refuses import bedrock_body, extra
from tests.demo.test_providers_hostile import JUNK, places
from tests.recordings import Recording, recordings, with_request

BEDROCK = Bedrock()
ALTERNATE = "A conversation must alternate between user and assistant roles."
EXCEPTIONS = {
    **dict.fromkeys((24, 79, 88, 115), ALTERNATE),
    **dict.fromkeys((27, 28, 45), extra("name", "messages/0/content/1/image")),
    20: "Field required",
    32: "The document file name can only contain alphanumeric characters",
    103: "The text field in the ContentBlock object at messages.0.content.2 is blank.",
    111: "The toolResult block at messages.1.content.1 can only be in user messages.",
}
"""Requests that were answered and are refused here: rules of the documentation that some models overlook (turns that
alternate, names of documents, text that is not blank, signed reasoning), an unknown member that the service ignores,
and the results of Nova's own tools, which stand in assistant turns."""
UNSIGNED = ("Invalid `signature` in `thinking` block", "Invalid `data` in `redacted_thinking` block")
"""Thinking that was not signed by the demo cannot verify."""


def native(recording: Recording, status: int = 200) -> bool:
    recorded = with_request(recording) and recording.meta["kind"] == "recorded"
    return recorded and recording.response.status == status


def placed(recording: Recording) -> dict[str, Any]:
    return {**recording.request.body, PATH_MODEL: recording.request.path.split("/")[-2]}


@pytest.mark.parametrize("recording", recordings("bedrock", native))
def test_a_request_that_was_answered_is_accepted_read_and_answered(recording: Recording):
    body = placed(recording)
    if recording.number in EXCEPTIONS:
        with pytest.raises(Refused) as refused:
            BEDROCK.validate(body, {})
        assert EXCEPTIONS[recording.number] in refused.value.message
        return
    try:
        BEDROCK.validate(body, {})
    except Refused as said:
        if not said.message.endswith(UNSIGNED):
            raise
        return
    ask = BEDROCK.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert usage.input > 0
    assert BEDROCK.document(body, ask, answer, usage)["usage"]["totalTokens"] == usage.input + usage.output
    assert BEDROCK.frames(body, ask, answer, usage)[-1].event == "metadata"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_junk_anywhere_is_answered_or_refused(data: st.DataObject):
    body = bedrock_body()
    *way, last = data.draw(
        st.sampled_from([place for place in places(body) if place != (PATH_MODEL,)]), label="place"
    )
    node: Any = body
    for step in way:
        node = node[step]
    node[last] = data.draw(JUNK, label="junk")
    try:
        BEDROCK.validate(body, {})
    except Refused as refused:
        msgspec.json.encode(BEDROCK.error(refused, ""))
        return
    ask = BEDROCK.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert msgspec.json.encode(BEDROCK.document(body, ask, answer, usage))
    assert all(frame.event for frame in BEDROCK.frames(body, ask, answer, usage))
