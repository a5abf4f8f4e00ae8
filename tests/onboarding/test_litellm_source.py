"""LiteLLM's file is read as PyYAML reads it, within bounds; whatever it holds, the import answers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from onboarding.litellm_files import CATALOG

from busbar.config.problems import Report
from busbar.config.source import parse
from busbar.onboarding.litellm import import_litellm
from busbar.onboarding.litellm.source import Unreadable, read

SAME_AS_PYYAML = """
base: &base {rpm: 20_000, timeout: 1.5, on: yes, off: No, none: ~, hex: 0x10}
model_list:
  - model_name: &name gpt-4
    litellm_params: {<<: *base, model: a/b, timeout: 3}
  - model_name: *name
    litellm_params:
      <<: [{a: 1, b: 2}, {b: 3, c: 4}]
      b: 5
text: |
  two
  lines
quoted: "yes"
"""


def test_anchors_aliases_and_merge_keys_are_followed() -> None:
    values = read(SAME_AS_PYYAML).values
    expected = yaml.safe_load(SAME_AS_PYYAML)
    expected["base"] = {
        "on" if key is True else "off" if key is False else key: it for key, it in values["base"].items()
    }
    assert values == {**expected, "model_list": values["model_list"]}
    assert values["model_list"][0]["litellm_params"]["timeout"] == 3
    assert values["model_list"][0]["litellm_params"]["rpm"] == 20_000
    assert values["model_list"][1] == {"model_name": "gpt-4", "litellm_params": {"a": 1, "b": 5, "c": 4}}


def test_dates_and_versions_stay_text() -> None:
    values = read(
        "api_version: 2024-06-01\nbinary: !!binary aGk=\nbad: !!int nonsense\ntag: !python/object:os.system x"
    )
    assert values.values == {"api_version": "2024-06-01", "binary": "aGk=", "bad": "nonsense", "tag": "x"}


def test_a_key_that_is_written_twice_is_told_and_the_last_one_taken() -> None:
    source = read("model_list: [1]\nmodel_list: [2]\n")
    assert (source.values, source.twice) == ({"model_list": [2]}, ("model_list",))
    result = import_litellm("model_list: []\nmodel_list: []\n", CATALOG)
    assert "repeated keys" in {finding.key for finding in result.findings}


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines)


HOSTILE = {
    "aliases that stand for a billion values": bomb(),
    "a merge of bombs": f"{bomb()}\nm: {{<<: [*a9]}}",
    "an alias within itself": "a: &a [*a]",
    "an alias of nothing": "a: *nobody",
    "deeper than anybody needs": "a: " + "[" * 5000,
    "deep by aliases": "a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)),
    "too large": "a: " + "x" * (1 << 20),
    "too many": "a: [" + "x," * 100_001 + "]",
    "two documents": "a: 1\n---\nb: 2\n",
    "no mapping": "- a\n- b\n",
    "a list as a key": "? [a, b]\n: c\n",
    "a merge of text": "a: {<<: text}",
    "no YAML": "a: [",
    "a control character": "a: \x01",
    "a surrogate": "a: \ud800",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_what_attacks_or_is_nothing_is_refused(text: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read(text)
    assert len(str(refused.value)) < 120


def test_an_empty_file_is_an_empty_configuration() -> None:
    assert import_litellm("", CATALOG).groups == 0


def test_a_number_of_ten_thousand_digits_stays_text() -> None:
    assert read(f"a: {'9' * 10_000}").values == {"a": "9" * 10_000}


SHAPES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["openai/m", "os.environ/A", "*", "a b"]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "model",
                    "api_key",
                    "api_base",
                    "rpm",
                    "order",
                    "weight",
                    "mode",
                    "fallbacks",
                    "a",
                    "model_name",
                    "timeout",
                ]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=10,
)
SECTIONS = st.sampled_from(
    [
        *("model_list", "router_settings", "litellm_settings", "general_settings", "credential_list"),
        *("environment_variables", "guardrails"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(SECTIONS, SHAPES, max_size=5))
def test_whatever_shape_it_has_there_is_an_answer(document: dict[str, Any]) -> None:
    result = import_litellm(yaml.safe_dump(document), CATALOG)
    assert yaml.safe_load(result.text)["providers"] is not None


ENTRIES = st.fixed_dictionaries(
    {"model_name": st.sampled_from(["a", "b", "chat", "groq", "a b", ""]) | SHAPES},
    optional={
        "litellm_params": st.fixed_dictionaries(
            {
                "model": st.sampled_from(
                    [
                        "openai/m",
                        "groq/x/y",
                        "azure/d",
                        "bedrock/m",
                        "vertex_ai/gemini",
                        "azure_ai/claude",
                        "cohere/c",
                    ]
                )
            },
            optional=dict.fromkeys(("api_key", "api_base", "weight", "order", "timeout", "vertex_project"), SHAPES),
        ),
        "model_info": SHAPES,
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ENTRIES, max_size=4), SHAPES)
def test_whatever_deployments_say_there_is_an_answer(entries: list[Any], router: Any) -> None:
    result = import_litellm(yaml.safe_dump({"model_list": entries, "router_settings": router}), CATALOG)
    report = Report()
    assert parse(result.text, "config.yaml", report) is not None, report.problems


def test_many_deployments_take_their_time_but_no_more() -> None:
    entry = {"model_name": "g", "litellm_params": {"model": "groq/m", "api_key": "os.environ/K"}}
    entries = [{**entry, "litellm_params": {**entry["litellm_params"], "api_key": f"key-{n}"}} for n in range(5000)]  # type: ignore[dict-item]
    result = import_litellm(yaml.safe_dump({"model_list": entries}), CATALOG)
    assert len(result.variables) == 5000
