"""The JSON Schema and the reader say the same about every single value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as Table
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import inspect

from busbar.cli import main
from busbar.config.catalog import overlay
from busbar.config.describe import Section, Value, described, packaged_catalog
from busbar.config.expand import expand
from busbar.config.files import packaged_providers
from busbar.config.json_schema import modeline, schema, schema_text
from busbar.config.problems import Report
from busbar.config.read import Reader
from busbar.config.schema import ConfigFile
from busbar.config.secret import Secret
from busbar.config.source import Mapping, Node, Scalar, Sequence, parse
from tests.config.conftest import CATALOG, ENV
from tests.config.test_keys import CONTRACT, RANGES, complete

ROOT = Path(__file__).parents[2]
CONFIG, CATALOG_SCHEMA = Draft202012Validator(schema()), Draft202012Validator(schema(catalog=True))


def plain(node: Node) -> Any:
    """The document as an editor holds it: by YAML 1.2, every key a text."""
    match node:
        case Mapping():
            return {key: plain(item) for key, item in node.items.items()}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar():
            return node.value
    raise AssertionError(node)


def parsed(text: str) -> Mapping:
    report = Report()
    document = parse(text, "config.yaml", report)
    assert document is not None, report.problems
    assert not report.problems
    return document


def refused_by_schema(text: str, validator: Draft202012Validator = CONFIG) -> list[str]:
    return [error.message for error in validator.iter_errors(plain(parsed(text)))]


def refused_by_reader(text: str, env: Table[str, str] = ENV) -> list[str]:
    report = Report()
    root = expand(overlay(parsed(text), packaged_catalog()), env, report)
    assert isinstance(root, Mapping)
    Reader(report, {}).read(root, ConfigFile)
    return [str(problem) for problem in report.problems]


# What people write


@pytest.mark.parametrize("text", [schema_text(), schema_text(catalog=True)], ids=["config", "catalog"])
def test_it_is_a_schema_of_draft_2020_12(text: str) -> None:
    written = json.loads(text)
    assert written["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(written)


def documents() -> list[str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    snippets = [text for page in pages for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.S | re.M)]
    examples = [path.read_text() for path in sorted((ROOT / "examples").rglob("config.yaml"))]
    return [
        text for text in snippets if re.search("^providers:", text, re.M) and "duration_secs" not in text
    ] + examples


@pytest.mark.parametrize("text", [CONTRACT, "", *documents()])
def test_every_documented_configuration_is_accepted(text: str) -> None:
    assert refused_by_schema(text) == []


@pytest.mark.parametrize("row", RANGES, ids=lambda row: row.where.replace(": ", "."))
def test_each_key_s_range_is_that_of_the_reader(row: Any) -> None:
    texts = [complete(row.where.replace("@", value)) for value in (*row.legal, *row.illegal)]
    assert [(text, bool(refused_by_schema(text))) for text in texts] == [
        (text, bool(refused_by_reader(text))) for text in texts
    ]


def test_the_catalogs_are_accepted_and_what_is_wrong_in_one_is_not() -> None:
    for text in (CATALOG, packaged_providers().read_text(encoding="utf-8")):
        assert refused_by_schema(text, CATALOG_SCHEMA) == []
    for wrong in ("providers: {x: {prot: openai}}", "providers: {x: {error_map: {1: no}}}", "models: {}"):
        assert refused_by_schema(wrong, CATALOG_SCHEMA)


def test_a_word_that_looks_like_a_number_needs_no_quotes() -> None:
    text = "tls: {certificate: c, key: k, min_version: @}"
    assert [refused_by_schema(text.replace("@", word)) for word in ("1.3", "'1.3'")] == [[], []]
    assert refused_by_schema(text.replace("@", "1.1"))


# What an editor offers


def test_the_catalog_s_providers_are_offered_and_others_are_allowed() -> None:
    providers = schema()["properties"]["providers"]
    assert list(providers["properties"]) == list(packaged_catalog().items)
    assert all(entry["description"] for entry in providers["properties"].values())
    assert schema()["$defs"]["Model"]["properties"]["provider"]["examples"] == list(packaged_catalog().items)
    assert refused_by_schema("providers: {mine: {protocol: openai, base_url: 'http://localhost'}}") == []


def test_a_key_has_its_description_range_and_default() -> None:
    definitions = schema()["$defs"]
    variable = r"\$\{[A-Za-z0-9_]{1,128}\}"
    assert definitions["Failover"]["properties"]["cap"] == {
        "description": "Attempts after the first.",
        "type": ["integer", "string"],
        "minimum": 0,
        "maximum": 64,
        "pattern": variable,
        "patternErrorMessage": "expected a number, or ${VAR}",
        "default": 3,
    }
    assert definitions["Pool"]["properties"]["strategy"] == {
        "description": "How a member is picked; among equals, by weight.",
        "anyOf": [
            {"enum": ["weighted", "least_busy", "fastest", "cheapest"]},
            {"type": "string", "pattern": variable},
        ],
        "default": "weighted",
    }
    assert definitions["Pool"]["properties"]["stream_recovery"]["description"] == (
        "What happens when a stream breaks (streams)."
    )


def test_schema_prints_it_with_the_flag_that_of_the_catalog(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == schema_text()
    assert main(["schema", "--catalog"]) == 0
    assert capsys.readouterr().out == schema_text(catalog=True)
    assert modeline() == "# yaml-language-server: $schema=config.schema.json"
    assert modeline() in (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


# Every document

JUNK: list[Any] = [None, True, 0, -1, 1.5, 10**12, "", "x y", "x", [], {}, [1], {"zzz": 1}]


def values(value: Value) -> st.SearchStrategy[Any]:
    """What may stand in a place, and sometimes what may not."""
    return st.one_of(likely(value), likely(value), likely(value), st.sampled_from(JUNK))


def likely(value: Value) -> st.SearchStrategy[Any]:
    """At the edges of the range, and one step beyond."""
    if value.section is not None:
        word = [key.value for key in value.section.keys if key.name == value.shorthand]
        return st.one_of(sections(value.section), *map(values, word))
    if value.words or value.later:
        return st.sampled_from([*value.words, *value.later])
    match value.type:
        case inspect.DictType(key_type=key_type):
            assert value.item is not None
            numbers = isinstance(key_type, inspect.IntType)
            names = ["99", "100", "429", "599", "600", "x"] if numbers else ["anthropic", "a", ""]
            return st.dictionaries(st.sampled_from(names), values(value.item), max_size=2)
        case inspect.VarTupleType(min_length=low):
            assert value.item is not None
            return st.lists(values(value.item), min_size=low or 0, max_size=2)
        case inspect.CustomType(cls=cls) if cls is Secret:
            return st.sampled_from(["${TOKEN}", "Bearer-${TOKEN}"])
        case inspect.IntType() | inspect.FloatType() as number:
            edges = [edge for edge in (number.ge, number.gt, number.le) if edge is not None]
            return st.sampled_from([int(edge) + step for edge in edges for step in (-1, 0, 1)])
        case inspect.BoolType():
            return st.booleans()
        case _:
            return st.sampled_from([*value.examples, "a", "/a", "2026-12-01", "a:b"])


def sections(section: Section) -> st.SearchStrategy[Any]:
    required = {key.name: values(key.value) for key in section.keys if key.required}
    optional = {key.name: values(key.value) for key in section.keys if not key.required}
    unknown = {"zzz": st.just(1)}
    return st.one_of(
        *[st.fixed_dictionaries(required, optional={name: some}) for name, some in optional.items()],
        st.fixed_dictionaries(required, optional=unknown),
        st.fixed_dictionaries({}, optional=required),
    )


@settings(deadline=None, max_examples=300)
@given(sections(described()))
def test_the_reader_and_the_schema_refuse_the_same_documents(document: dict[str, Any]) -> None:
    providers = document.get("providers")
    if isinstance(providers, dict) and "a" in providers:  # the catalog has what an entry of one's own would need
        del providers["a"]
    text = json.dumps(document)
    assert bool(refused_by_schema(text)) == bool(refused_by_reader(text)), (
        text,
        refused_by_schema(text),
        refused_by_reader(text),
    )


def leaves(document: Any) -> list[tuple[Any, Any]]:
    """Where the single values of a document stand: the list or table, and the key in it."""
    found: list[tuple[Any, Any]] = []
    for key, item in document.items() if isinstance(document, dict) else enumerate(document):
        found += leaves(item) if isinstance(item, dict | list) else [(document, key)]
    return found


SAID = [number for number, (where, key) in enumerate(leaves(yaml.safe_load(CONTRACT))) if where[key] is not None]


@pytest.mark.parametrize("number", SAID)
def test_any_value_may_come_from_a_variable(number: int) -> None:
    document = yaml.safe_load(CONTRACT)
    where, key = leaves(document)[number]
    if "${" not in str(where[key]):
        env = {"FROM_OUTSIDE": json.dumps(where[key]).strip('"')}
        where[key] = "${FROM_OUTSIDE}"
    else:
        env = {}
    text = json.dumps(document)
    assert refused_by_schema(text) == []
    assert refused_by_reader(text, {**ENV, "ADMIN": "a", **env}) == []
