"""The embedded Gemini provider accepts what the real one accepted, refuses what it refused, and never breaks."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busbar.demo.providers.dialect import PATH_MODEL, Refused
from busbar.demo.providers.gemini import Gemini
from busbar.demo.providers.script import play
from busbar.demo.providers.usage import PromptCache, count
from tests.demo.test_providers_gemini_refuses import gemini_body, unknown
from tests.demo.test_providers_hostile import JUNK, places
from tests.recordings import Recording, recordings, with_request

GEMINI = Gemini()
UNSIGNED = "skip_thought_signature_validator"
ALTERNATE = "Please ensure that multiturn requests alternate between user and model."
EXCEPTIONS = {
    **dict.fromkeys((24, 52, 73, 77, 92, 102, 108, 114, 115), ALTERNATE),
    **dict.fromkeys((5, 13), unknown("modelArmorConfig")),
    14: "required oneof field 'data' must have one initialized field",
    87: unknown("labels"),
}
"""Requests that were answered and are refused here: turns that do not alternate, which the API has come to overlook
but every other backend refuses; members that Vertex has and the Gemini API has not; a part that is nothing but
`videoMetadata`."""


def native(recording: Recording) -> bool:
    return (
        with_request(recording)
        and recording.meta["kind"] == "recorded"
        and recording.response.status == 200
        and "generateContent" in recording.request.path.replace("streamG", "g")
    )


def placed(recording: Recording) -> dict[str, Any]:
    """The body with its model, its signatures stood in for: the demo can verify its own only."""

    def unsigned(value: Any) -> Any:
        match value:
            case dict():
                signed = ("thoughtSignature", "thought_signature")
                return {key: UNSIGNED if key in signed else unsigned(member) for key, member in value.items()}
            case list():
                return [unsigned(element) for element in value]
            case _:
                return value

    model = recording.request.path.split("/models/")[1].split(":")[0]
    return {**unsigned(recording.request.body), PATH_MODEL: model}


@pytest.mark.parametrize("recording", recordings("gemini", native))
def test_a_request_that_was_answered_is_accepted_read_and_answered(recording: Recording):
    body = placed(recording)
    if recording.number in EXCEPTIONS:
        with pytest.raises(Refused) as refused:
            GEMINI.validate(body, {})
        assert EXCEPTIONS[recording.number] in refused.value.message
        return
    GEMINI.validate(body, {})
    ask = GEMINI.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert usage.input > 0
    assert GEMINI.document(body, ask, answer, usage)["modelVersion"] == body[PATH_MODEL]
    assert GEMINI.frames(body, ask, answer, usage)[-1].part == "close"


@pytest.mark.parametrize("recording", recordings("gemini", lambda recording: recording.number in {140, 141, 152}))
def test_a_request_that_was_refused_is_refused_in_the_same_words(recording: Recording):
    recorded = recording.response.body or msgspec.yaml.decode(recording.response.body_text or "")[0]
    with pytest.raises(Refused) as refused:
        GEMINI.validate(copy.deepcopy(placed(recording)), {})
    assert GEMINI.error(refused.value, "") == recorded


@pytest.mark.parametrize("recording", recordings("gemini", lambda recording: recording.number == 142))
def test_a_bad_key_is_refused_in_the_same_words(recording: Recording):
    with pytest.raises(Refused) as refused:
        GEMINI.admit({"x-goog-api-key": "wrong"}, frozenset({"demo-key"}))
    said, recorded = GEMINI.error(refused.value, "")["error"], recording.response.body["error"]
    assert said["details"] == recorded["details"][:1]
    assert {**said, "details": None} == {**recorded, "details": None}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_junk_anywhere_is_answered_or_refused(data: st.DataObject):
    body = gemini_body()
    *way, last = data.draw(
        st.sampled_from([place for place in places(body) if place != (PATH_MODEL,)]), label="place"
    )
    node: Any = body
    for step in way:
        node = node[step]
    node[last] = data.draw(JUNK, label="junk")
    try:
        GEMINI.validate(body, {})
    except Refused as refused:
        msgspec.json.encode(GEMINI.error(refused, ""))
        return
    ask = GEMINI.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert msgspec.json.encode(GEMINI.document(body, ask, answer, usage))
    assert all(frame.encode() for frame in GEMINI.frames(body, ask, answer, usage))
