"""What is written is read back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.config.expand import expand
from busbar.config.problems import Report
from busbar.config.source import Mapping, parse
from busbar.onboarding.offers import plain
from busbar.onboarding.yaml_text import Joined, Variable, scalar, write


def read_back(text: str, env: dict[str, str] | None = None) -> Any:
    report = Report()
    document = parse(text, "written", report)
    assert document is not None, report.problems
    expanded = expand(document, env or {}, report)
    assert report.problems == []
    assert isinstance(expanded, Mapping)
    return plain(expanded)


words = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
keys = words.filter(bool)
leaves = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | words
values = st.recursive(
    leaves, lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=3), max_leaves=12
)


@given(st.dictionaries(keys, values, max_size=5))
def test_a_document_is_read_back_as_it_was(document: dict[str, Any]) -> None:
    assert read_back(write(document)) == document


@given(st.floats(0, 1e9).map(lambda number: round(number, 6)))
def test_a_number_is_read_back_as_it_was(number: float) -> None:
    assert read_back(f"n: {scalar(number)}\n") == {"n": number}


def test_sections_are_blocks_and_what_is_small_is_one_line() -> None:
    document = {"listen": "127.0.0.1:80", "models": {"m": {"provider": "p", "upstream_model": "a/b"}}, "empty": {}}
    assert write(document, {("models",): "What there is.", ("models", "m"): "One of\ntwo lines."}) == (
        'listen: "127.0.0.1:80"\n'
        "\n"
        "# What there is.\n"
        "models:\n"
        "  # One of\n"
        "  # two lines.\n"
        "  m: {provider: p, upstream_model: a/b}\n"
        "\n"
        "empty: {}\n"
    )


def test_variables_are_references_and_text_that_looks_like_one_is_not() -> None:
    text = write({"a": Variable("A"), "b": Joined((Variable("A"), ":", Variable("B"), "${C}")), "c": "${A}"})
    assert read_back(text, {"A": "one", "B": "two"}) == {"a": "one", "b": "one:two${C}", "c": "${A}"}


@pytest.mark.parametrize(
    "word", ["yes", "1.0", "0x1f", "2024-10-21", "null", "on", "~", "- a", "a: b", "#", "*", "&a"]
)
def test_words_that_mean_something_stay_text(word: str) -> None:
    assert read_back(write({"k": word, "l": [word]})) == {"k": word, "l": [word]}


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError, match="no YAML is written for object"):
        write({"a": object()})  # type: ignore[dict-item]


def test_what_others_take_for_a_date_is_quoted() -> None:
    assert write({"a": {"b": "2024-10-21"}, "c": "2024-10-21-preview"}) == (
        'a:\n  b: "2024-10-21"\n\nc: 2024-10-21-preview\n'
    )
