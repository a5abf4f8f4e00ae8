"""docs/configuration.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from busbar.config import loads, schema
from busbar.config.schema import ConfigFile, ProviderEntry
from busbar.config.support import SUPPORTED_VALUES

REFERENCE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")

SECTIONS = (
    *(ConfigFile, ProviderEntry, schema.AuthConfig, schema.HealthConfig, schema.ModelConfig, schema.MemberConfig),
    *(schema.PoolConfig, schema.BreakerConfig, schema.TripConfig, schema.FailoverConfig, schema.RetryConfig),
    *(schema.AffinityConfig, schema.LimitsConfig, schema.ObservabilityConfig, schema.GovernanceConfig),
    *(schema.PriceConfig, schema.PriceTier, schema.PriceChange, schema.ExhaustedConfig),
)


def test_the_reference_names_every_key() -> None:
    prose = re.sub(r"```.*?```", "", REFERENCE, flags=re.DOTALL)
    words = {word for code in re.findall(r"`([^`]+)`", prose) for word in re.split(r"\W+", code)}
    keys = {key for section in SECTIONS for key in section.__struct_fields__} - {"name"}
    assert sorted(keys - words) == []


@pytest.mark.parametrize("row", SUPPORTED_VALUES)
def test_the_reference_marks_what_is_still_to_come(row: str) -> None:
    keys = [step.removesuffix("[]") for step in row.split(".") if step != "*"]
    paragraphs = re.split(r"\n(?=\||\n)", REFERENCE)
    about = [text for text in paragraphs if re.search(rf"`{keys[-1]}`|`{keys[-2]}`", text)]
    assert any("**later**" in text for text in about)


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL))
def test_the_examples_of_the_reference_load(example: str) -> None:
    config = loads(
        example, env={"ANTHROPIC_API_KEY": "key", "AZURE_OPENAI_API_KEY": "key", "BUSBAR_ADMIN_TOKEN": "token"}
    )
    assert config.providers or config.governance.enabled
