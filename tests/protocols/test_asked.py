"""How much answer a request asks for is read from one or two fields, and nothing that is wrong there does harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from busbar.protocols.asked import Asked
from busbar.protocols.body import Body
from busbar.protocols.protocol import InvalidRequest, Protocol
from busbar.protocols.registry import PROTOCOLS
from tests.protocols.strategies import json_values
from tests.recordings import Recording, recordings, with_request

every_dialect = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)


def asked(dialect: str, document: dict[str, Any]) -> Asked:
    return PROTOCOLS[dialect].asked(Body(json.dumps(document).encode()))


def said(tokens: int | None, choices: int = 1) -> Asked:
    return Asked(max_output_tokens=tokens, choices=choices)


@pytest.mark.parametrize(
    ("dialect", "document", "expected"),
    [
        ("openai", {"max_completion_tokens": 7}, said(7)),
        ("openai", {"max_tokens": 8, "n": 3}, said(8, 3)),
        ("openai", {"max_completion_tokens": 7, "max_tokens": 900}, said(900)),
        ("openai", {"max_completion_tokens": "7", "max_tokens": 8}, said(8)),
        ("openai", {"max_output_tokens": 7}, said(None)),
        ("responses", {"max_output_tokens": 7, "n": 3}, said(7)),
        ("responses", {"max_tokens": 7}, said(None)),
        ("anthropic", {"max_tokens": 7, "n": 3}, said(7)),
        ("cohere", {"max_tokens": 7}, said(7)),
        ("bedrock", {"inferenceConfig": {"maxTokens": 7}}, said(7)),
        ("bedrock", {"maxTokens": 7}, said(None)),
        ("gemini", {"generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}}, said(7, 2)),
        ("gemini", {"generationConfig": {"max_output_tokens": 7, "candidate_count": 2}}, said(7, 2)),
        ("gemini", {"generation_config": {"maxOutputTokens": 7}}, said(7)),
        ("gemini", {"maxOutputTokens": 7, "candidateCount": 2}, said(None)),
    ],
)
def test_each_dialect_says_it_in_its_own_field(dialect: str, document: dict[str, Any], expected: Asked) -> None:
    assert asked(dialect, {"model": "m", **document}) == expected


PLACES: dict[str, list[tuple[str, ...]]] = {
    "openai": [("max_completion_tokens",), ("max_tokens",)],
    "responses": [("max_output_tokens",)],
    "anthropic": [("max_tokens",)],
    "cohere": [("max_tokens",)],
    "bedrock": [("inferenceConfig", "maxTokens")],
    "gemini": [("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens")],
}


def at(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    for name in reversed(place):
        value = {name: value}
    assert isinstance(value, dict)
    return value


@every_dialect
@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        *((0, 0), (1, 1), (5.0, 5), (10**9, 10**9), ("7", 7)),
        *((value, 10**9) for value in (10**9 + 1, 10**30, 1e300, "9" * 99)),
        *((value, None) for value in (True, False, None, -1, 1.5, -1.0, "7.5", "-7", "٧", "9" * 999, [7], {"n": 7})),
    ],
)
def test_a_whole_number_is_a_maximum_and_an_absurd_one_is_the_largest(
    protocol: Protocol, value: Any, tokens: int | None
) -> None:
    for place in PLACES[protocol.name]:
        assert asked(protocol.name, at(place, value)) == said(tokens)


@pytest.mark.parametrize("value", [0, True, -1, 1.5, [3], None])
def test_there_is_one_choice_unless_more_are_asked_for(value: Any) -> None:
    assert asked("openai", {"n": value}) == said(None)
    assert asked("gemini", {"generationConfig": {"candidateCount": value}}) == said(None)


@every_dialect
@given(value=json_values, deeper=json_values)
def test_no_type_is_too_wrong(protocol: Protocol, value: Any, deeper: Any) -> None:
    names = {name for places in PLACES.values() for place in places for name in place} | {"n"}
    for wrong in (value, dict.fromkeys(names, deeper)):
        result = asked(protocol.name, dict.fromkeys(names, wrong))
        assert result.choices >= 1
        assert result.max_output_tokens is None or result.max_output_tokens >= 0


@every_dialect
def test_a_field_that_is_no_json_is_refused_as_the_body_refuses_it(protocol: Protocol) -> None:
    for place in PLACES[protocol.name]:
        with pytest.raises(InvalidRequest) as caught:
            protocol.asked(Body(b'{"%s":"\xff"}' % place[0].encode()))
        assert caught.value.path == place[0]


@pytest.mark.parametrize("recording", [it for dialect in PROTOCOLS for it in recordings(dialect, with_request)])
def test_it_is_what_reading_the_whole_request_would_say(recording: Recording) -> None:
    """On recorded traffic, of which the odd one is for its provider to refuse."""
    protocol = PROTOCOLS[recording.protocol]
    body = Body(json.dumps(recording.request.body).encode())
    try:
        request = protocol.read_request(body.document())
    except InvalidRequest:
        return
    assert protocol.asked(body) == said(request.max_tokens, request.n or 1)
