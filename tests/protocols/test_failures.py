"""Stage 1 and stage 2: which of nine words a provider's answer is, and what each means."""

from __future__ import annotations

import re

import pytest

from busbar.protocols.failures import (
    CONTEXT_LENGTH_TEXT,
    DialectKnowledge,
    Disposition,
    ErrorRules,
    Failure,
    FailureClass,
    FailureSignal,
    TextRule,
    classify,
    disposition,
)

NOTHING = DialectKnowledge()
NO_RULES = ErrorRules()
TOO_LONG = "This model's maximum context length is 8192 tokens."


def judge(
    status: int | None = None,
    message: str = "",
    *,
    code: str | None = None,
    type: str | None = None,  # noqa: A002  # the envelope's own word
    knowledge: DialectKnowledge = NOTHING,
    rules: ErrorRules = NO_RULES,
) -> str:
    signal = FailureSignal(status=status, code=code, type=type, message=message)
    return classify(signal, knowledge, rules).value


# --- stage 2


def test_every_class_has_its_disposition() -> None:
    assert {failure.value: disposition(failure).value for failure in FailureClass} == {
        "rate_limit": "transient",
        "overloaded": "transient",
        "server_error": "transient",
        "timeout": "transient",
        "network": "transient",
        "auth": "hard_down",
        "billing": "hard_down",
        "client_error": "client_fault",
        "context_length": "context_length",
    }


def test_failure_knows_its_disposition() -> None:
    assert Failure(kind=FailureClass.BILLING).disposition is Disposition.HARD_DOWN


# --- the status table


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, "client_error"),
        (401, "auth"),
        (402, "billing"),
        (403, "auth"),
        (404, "client_error"),
        (408, "timeout"),
        (409, "client_error"),
        (413, "client_error"),
        (422, "client_error"),
        (424, "overloaded"),
        (425, "rate_limit"),
        (429, "rate_limit"),
        (451, "client_error"),
        (499, "client_error"),
        (500, "server_error"),
        (501, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (504, "server_error"),
        (529, "overloaded"),
        (599, "server_error"),
        (302, "server_error"),
        (None, "server_error"),
    ],
)
def test_status_alone(status: int | None, expected: str) -> None:
    assert judge(status) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("429", "rate_limit"),
        ("402", "billing"),
        ("529", "overloaded"),
        ("400", "client_error"),
        ("502", "server_error"),
        ("200", "server_error"),
        ("4290", "server_error"),
        ("rate", "server_error"),
    ],
)
def test_error_without_a_status_uses_its_numeric_code_as_one(code: str, expected: str) -> None:
    assert judge(None, code=code) == expected


def test_numeric_code_does_not_override_a_status() -> None:
    assert judge(400, code="429") == "client_error"


# --- context length


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 215000 tokens > 200000 maximum",
        TOO_LONG,
        "Your input exceeds the context window of this model.",
        "The input token count (1048580) exceeds the maximum number of tokens allowed (1048576).",
        "Input is too long for requested model.",
        "Please reduce the length of the messages or completion.",
        "litellm: exceed_context_size_error",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422, None])
def test_texts_about_the_context_are_context_length(status: int | None, message: str) -> None:
    assert judge(status, message) == "context_length"


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503, 529])
def test_texts_about_the_context_count_on_three_statuses_only(status: int) -> None:
    assert judge(status, TOO_LONG) == judge(status)


@pytest.mark.parametrize(
    "message",
    [
        "Request too large for model: tokens per minute (TPM): Limit 8000. Please reduce the length of the messages.",
        "Rate limit: maximum context length is 8192 for your tier",
        "too many requests: prompt is too long for now",
        "maximum context length is 5 per day",
        "string_above_max_length: exceeds the maximum context length",
    ],
)
def test_throttles_that_speak_of_lengths_are_no_context_length(message: str) -> None:
    assert judge(413, message) == "client_error"


@pytest.mark.parametrize("status", [500, 503, 529, 599])
def test_server_error_is_never_context_length_whoever_says_so(status: int) -> None:
    too_long = FailureClass.CONTEXT_LENGTH
    for rules in (
        ErrorRules(words={"big": too_long}),
        ErrorRules(statuses={status: too_long}),
        ErrorRules(texts={"too long": too_long}),
    ):
        assert judge(status, "too long", code="big", rules=rules) == judge(status)
    known = DialectKnowledge(texts=[TextRule(CONTEXT_LENGTH_TEXT, too_long)], words={"big": too_long})
    assert judge(status, TOO_LONG, code="big", knowledge=known) == judge(status)
    assert judge(None, TOO_LONG, code=str(status), knowledge=known) == judge(status)


def test_opinion_after_a_refused_context_length_still_counts() -> None:
    rules = ErrorRules(texts={"too long": FailureClass.CONTEXT_LENGTH}, words={"busy": FailureClass.OVERLOADED})
    assert judge(503, "too long", code="busy", rules=rules) == "overloaded"


# --- the order of opinions


def test_opinions_are_asked_in_their_order() -> None:
    """Each line takes away the opinion that decided the line before."""
    known_text = TextRule(re.compile("magic"), FailureClass.BILLING)
    knowledge = DialectKnowledge(texts=[known_text], words={"word": FailureClass.TIMEOUT})
    texts = {"MAGIC": FailureClass.AUTH}
    statuses = {429: FailureClass.NETWORK}
    words = {"word": FailureClass.OVERLOADED}

    def verdict(knowledge: DialectKnowledge, **rules: object) -> str:
        return judge(429, "magic", code="word", knowledge=knowledge, rules=ErrorRules(**rules))  # type: ignore[arg-type]

    only_words = DialectKnowledge(words=knowledge.words)
    assert [
        verdict(knowledge, texts=texts, statuses=statuses, words=words),
        verdict(knowledge, statuses=statuses, words=words),
        verdict(only_words, statuses=statuses, words=words),
        verdict(only_words, words=words),
        verdict(only_words),
        verdict(NOTHING),
    ] == ["auth", "billing", "network", "overloaded", "timeout", "rate_limit"]


def test_error_map_is_looked_up_by_code_then_by_type() -> None:
    rules = ErrorRules(words={"the_code": FailureClass.BILLING, "the_type": FailureClass.OVERLOADED})
    assert judge(400, code="the_code", type="the_type", rules=rules) == "billing"
    assert judge(400, code="other", type="the_type", rules=rules) == "overloaded"
    assert judge(400, type="the_code", rules=rules) == "billing"
    assert judge(400, code="other", type="other", rules=rules) == "client_error"


def test_error_map_compares_numbers_as_text() -> None:
    assert judge(400, code="1113", rules=ErrorRules(words={"1113": FailureClass.BILLING})) == "billing"


def test_error_texts_ignore_case_and_the_first_that_matches_decides() -> None:
    rules = ErrorRules(texts={"Arrears": FailureClass.BILLING, "account": FailureClass.AUTH})
    assert judge(400, "ACCOUNT IN ARREARS", rules=rules) == "billing"
    assert judge(400, "wrong Account", rules=rules) == "auth"
    assert judge(400, "", rules=rules) == "client_error"


def test_error_status_speaks_for_its_status_only() -> None:
    rules = ErrorRules(statuses={498: FailureClass.OVERLOADED})
    assert (judge(498, rules=rules), judge(499, rules=rules), judge(None, rules=rules)) == (
        "overloaded",
        "client_error",
        "server_error",
    )
    assert judge(None, code="498", rules=rules) == "overloaded"


# --- what a dialect knows


def test_known_text_may_be_bound_to_statuses_and_words() -> None:
    rule = TextRule(re.compile("quota"), FailureClass.BILLING, frozenset({429}), frozenset({"insufficient_quota"}))
    knowledge = DialectKnowledge(texts=[rule])
    assert judge(429, "quota", code="insufficient_quota", knowledge=knowledge) == "billing"
    assert judge(429, "quota", type="insufficient_quota", knowledge=knowledge) == "billing"
    assert judge(None, "quota", code="insufficient_quota", knowledge=knowledge) == "billing", "no status to differ"
    assert judge(429, "quota", code="other", knowledge=knowledge) == "rate_limit"
    assert judge(400, "quota", code="insufficient_quota", knowledge=knowledge) == "client_error"
    assert judge(429, "other", code="insufficient_quota", knowledge=knowledge) == "rate_limit"
