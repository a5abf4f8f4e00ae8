"""YAML as the configuration reads it: places, and the parts of YAML that are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.config.problems import Report
from busbar.config.source import DEPTH_MAX, FILE_BYTES_MAX, Mapping, Scalar, Sequence, parse, word_value


def refusals(text: str) -> list[str]:
    report = Report()
    parse(text, "f.yaml", report)
    return [str(problem) for problem in report.problems]


def test_each_value_knows_its_line_and_its_way_from_the_top() -> None:
    root = parse("a:\n  b:\n    - x\n    - {c: 1}\n", "f.yaml", Report())
    assert isinstance(root, Mapping)
    b = root.get("a", "b")
    assert isinstance(b, Sequence)
    assert (b.line, b.path) == (2, ("a", "b"))
    one = b.items[1]
    assert isinstance(one, Mapping)
    assert one.items["c"] == Scalar(file="f.yaml", line=4, path=("a", "b", 1, "c"), text="1")


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("a: &x 1\nb: *x", "f.yaml:1: a: YAML tags and anchors are not accepted"),
        ("b: *x", "f.yaml:1: b: YAML aliases are not accepted; write the value out"),
        ("a: !!python/object/apply:os.system [ls]", "f.yaml:1: a: YAML tags and anchors are not accepted"),
        ("a: 1\n---\nb: 2", "f.yaml:2: a second YAML document: one file is one document"),
        ("- a", "f.yaml:1: expected keys and values at the top of the file"),
        ("? [a]\n: 1", "f.yaml:1: a key is a single word, not a list or a mapping"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3: a: `a` is written twice, first on line 1"),
        ("a: {b: 1, b: 2}", "f.yaml:1: a.b: `b` is written twice, first on line 1"),
        ("a: \x01", "f.yaml: not valid YAML: it contains a character that text files do not have"),
    ],
)
def test_what_surprises_in_yaml_is_refused_with_its_place(text: str, refusal: str) -> None:
    assert refusals(text) == [refusal]


def test_broken_yaml_is_reported_with_its_line() -> None:
    assert refusals("a: 1\nb: 'x\n")[0].startswith("f.yaml:3: not valid YAML: ")


def test_depth_and_size_are_bounded() -> None:
    assert "levels" in refusals("a: " + "[" * 10_000)[0]
    assert "levels" in refusals("a: " + "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1))[0]
    assert refusals("a: " + "[" * DEPTH_MAX + "]" * DEPTH_MAX) == []
    assert refusals("a: " + "x" * FILE_BYTES_MAX) == [f"f.yaml: larger than {FILE_BYTES_MAX} bytes"]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    report = Report()
    root = parse(text, "f.yaml", report)
    assert isinstance(root, Mapping)
    assert (root.items, report.problems) == ({}, [])


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *[("", None), ("~", None), ("null", None), ("true", True), ("FALSE", False), ("-7", -7), ("0.5", 0.5)],
        *[("1e3", 1000.0), ("on", "on"), ("yes", "yes"), ("2023-06-01", "2023-06-01"), ("12:30", "12:30")],
        *[(".nan", ".nan"), (".inf", ".inf"), ("1_000", "1_000"), ("9" * 5000, "9" * 5000), ("1e999", "1e999")],
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(word: str, value: object) -> None:
    assert word_value(word) == value
    assert type(word_value(word)) is type(value)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_and_never_crashes(text: str) -> None:
    report = Report()
    assert parse(text, "f.yaml", report) is not None or report.problems
