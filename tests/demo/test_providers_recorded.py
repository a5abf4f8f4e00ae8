"""The embedded providers accept what the real ones accepted, and refuse what the real ones refused."""

import pytest

from busbar.demo.providers.anthropic import Anthropic
from busbar.demo.providers.dialect import Dialect, Refused
from busbar.demo.providers.openai import OpenAI
from busbar.demo.providers.script import play
from busbar.demo.providers.usage import PromptCache, count
from tests.recordings import Recording, recordings, with_request

DIALECTS: dict[str, Dialect] = {"anthropic": Anthropic(), "openai": OpenAI()}
HOSTS = {"api.anthropic.com", "api.openai.com"}


UNSIGNED = ("Invalid `signature` in `thinking` block", "Invalid `data` in `redacted_thinking` block")
"""Thinking that was not signed by the demo cannot verify."""


def native(recording: Recording, status: int) -> bool:
    """Recorded against the provider itself, not one of its clones."""
    return (
        with_request(recording)
        and recording.meta["kind"] == "recorded"
        and recording.meta["upstream_host"] in HOSTS
        and recording.response.status == status
    )


def judge(recording: Recording) -> Dialect:
    dialect = DIALECTS[recording.protocol]
    beta = recording.request.headers.get("anthropic-beta", "recorded-without-headers")
    dialect.validate(recording.request.body, {"anthropic-version": "2023-06-01", "anthropic-beta": beta})
    return dialect


@pytest.mark.parametrize(
    "recording", [each for name in DIALECTS for each in recordings(name, lambda recording: native(recording, 200))]
)
def test_a_request_that_was_answered_is_accepted_read_and_answered(recording: Recording):
    try:
        dialect = judge(recording)
    except Refused as refused:
        if not refused.message.endswith(UNSIGNED):
            raise
        return
    body = recording.request.body
    ask = dialect.read(body)
    answer = play(ask)
    usage = count(ask, answer, PromptCache())
    assert usage.input > 0
    assert dialect.document(body, ask, answer, usage)["model"] == body["model"]
    assert dialect.frames(body, ask, answer, usage)[-1].part == "close"


SAME_WORDS = {"anthropic": {163, 164, 165}, "openai": {140, 155, 157, 175, 176}}
"""Recorded 400s that a validator can foresee (others depend on the model, the account, or what a picture shows)."""


@pytest.mark.parametrize(
    "recording",
    [
        each
        for name, numbers in SAME_WORDS.items()
        for each in recordings(name, lambda recording, numbers=numbers: recording.number in numbers)
    ],
)
def test_a_request_that_was_refused_is_refused_in_the_same_words(recording: Recording):
    with pytest.raises(Refused) as refused:
        judge(recording)
    recorded = recording.response.body["error"]
    said = refused.value
    assert {"message": said.message, "type": said.kind} == {key: recorded[key] for key in ("message", "type")}
    assert (said.param, said.code) == (recorded.get("param"), recorded.get("code"))
