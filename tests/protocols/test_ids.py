"""Ids that cross a hop and come back the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.ids import ANSWER_PREFIXES, TOOL_CALL_PREFIXES, IdStyle, mint_id, translate_id

TOOLU = IdStyle("toolu_")
CALL = IdStyle("call_", 40)
BODY = st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True)


def to(style: IdStyle, foreign: str) -> str:
    return translate_id(foreign, style, TOOL_CALL_PREFIXES)


@pytest.mark.parametrize(
    ("foreign", "toolu", "call"),
    [
        ("toolu_01A", "toolu_01A", "call_01A"),
        ("call_01A", "toolu_01A", "call_01A"),
        ("tooluse_01A", "toolu_01A", "call_01A"),
        ("01A-x", "01A-x", "01A-x"),
        ("", "", ""),
    ],
)
def test_known_prefixes_are_changed_and_unknown_ids_kept(foreign: str, toolu: str, call: str) -> None:
    assert (to(TOOLU, foreign), to(CALL, foreign)) == (toolu, call)


@given(BODY)
def test_there_and_back_gives_the_first_id(body: str) -> None:
    assert to(TOOLU, to(CALL, f"toolu_{body}")) == f"toolu_{body}"
    assert to(CALL, to(TOOLU, f"call_{body}")) == f"call_{body}"


@given(st.text(max_size=100))
def test_translation_is_idempotent_bounded_and_clean(foreign: str) -> None:
    for style in (TOOLU, CALL):
        once = to(style, foreign)
        assert to(style, once) == once
        assert len(once) <= style.length_max
        assert re.fullmatch(r"[A-Za-z0-9_-]*", once)
        assert bool(once) == bool(foreign)


def test_id_that_does_not_fit_is_replaced_by_a_hash_of_itself() -> None:
    long = "call_" + "x" * 70
    assert to(TOOLU, long) == "toolu_0d387374764b96e0fa09a661"
    assert to(TOOLU, "functions.get_weather:0") == "toolu_79ac1aaab216b228c7ab2241"
    assert to(TOOLU, "functions.get_weather:1") != to(TOOLU, "functions.get_weather:0")


@pytest.mark.parametrize("hostile", ["a\nb", "a\n", "a b", "ä", "\ud800", "call_\x00", 'x"y'])
def test_characters_that_a_dialect_refuses_never_cross(hostile: str) -> None:
    assert re.fullmatch(r"toolu_[0-9a-f]{24}", to(TOOLU, hostile))


def test_id_at_the_limit_is_kept_and_one_beyond_is_not() -> None:
    assert to(CALL, "call_" + "x" * 35) == "call_" + "x" * 35
    assert to(CALL, "call_" + "x" * 36) != "call_" + "x" * 36
    assert to(CALL, "x" * 40) == "x" * 40


def test_answer_ids_change_their_prefix() -> None:
    assert translate_id("msg_01", IdStyle("chatcmpl-"), ANSWER_PREFIXES) == "chatcmpl-01"
    assert translate_id("chatcmpl-01", IdStyle("msg_"), ANSWER_PREFIXES) == "msg_01"


def test_minted_ids_are_deterministic_and_told_apart() -> None:
    assert mint_id(TOOLU, "n1") == mint_id(TOOLU, "n1", 0) == "toolu_9da078e7cfde61cd709b4a75"
    minted = {mint_id(TOOLU, nonce, ordinal) for nonce in ("n1", "n2") for ordinal in range(50)}
    assert len(minted) == 100
