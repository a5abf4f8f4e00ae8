"""docs/configuration.md says what the code does: its tables are those that the schema makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from busbar.config import loads
from busbar.config.catalog import MERGED_KEYS
from busbar.config.describe import Key, Section, described, texts
from busbar.config.reference import LATER, OutOfPlace, anchor, main, rewritten, tables
from busbar.config.schema import ConfigFile, PriceTier, ProviderEntry, TripConfig
from busbar.config.support import SUPPORTED_VALUES

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
REFERENCE = PAGE.read_text(encoding="utf-8")


def keys(section: Section) -> Iterator[Key]:
    for key in section.keys:
        yield key
        for value in (key.value, key.value.item):
            if value is not None and value.section is not None:
                yield from keys(value.section)


KEYS = {key.path: key for key in keys(described())}


def test_the_reference_is_what_the_schema_makes_of_it() -> None:
    assert rewritten(REFERENCE) == REFERENCE, "write it again: make reference"


def test_writing_it_changes_the_tables_and_leaves_the_prose(tmp_path: Path) -> None:
    page = tmp_path / "configuration.md"
    page.write_text(REFERENCE.replace("| `cap` |", "| `lid` |").replace("A caller's body", "Somebody"), "utf-8")
    assert main([str(page)]) == 0
    assert page.read_text("utf-8") == REFERENCE


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("<!-- generated: limits -->", ""), "limits"),
        (("<!-- generated: limits -->", "<!-- generated: auth -->"), "limits"),
        (("<!-- generated: limits -->", "<!-- generated: limit -->"), "limit, limits"),
    ],
)
def test_a_page_without_a_place_for_a_section_is_refused(change: tuple[str, str], named: str) -> None:
    with pytest.raises(OutOfPlace, match=f"see to {named}$"):
        rewritten(REFERENCE.replace(*change))


def test_no_key_is_without_a_meaning() -> None:
    assert [path for path, key in KEYS.items() if not key.meaning.rstrip().endswith((".", "!"))] == []
    sections = {key.value.section.kind for key in KEYS.values() if key.value.section}
    assert all((kind.__doc__ or "").strip() for kind in sections)


def test_every_field_of_every_section_is_described() -> None:
    def fields(kind: type[Struct]) -> set[str]:
        return set(kind.__struct_fields__) - {"name"}

    assert {path for path in KEYS if "." not in path} == fields(ConfigFile)
    assert {path.rpartition(".")[2] for path in KEYS if re.fullmatch(r"providers\.\*\.\w+", path)} == fields(
        ProviderEntry
    )
    assert {path.rpartition(".")[2] for path in KEYS if path.startswith("governance.prices.*.tiers[].")} == fields(
        PriceTier
    )


def test_a_key_s_meaning_is_the_text_below_its_field() -> None:
    assert texts(TripConfig)["min_requests"] == "`error_rate`: outcomes before it may trip."
    inherited = texts(PriceTier)
    assert (inherited["cache_read"], inherited["above"]) == (
        "Input that the provider had in its cache; null: as `input`.",
        "For prompts of more tokens than this, cached ones included.",
    )
    assert KEYS["limits"].meaning == "Bounds on what callers and providers can make the gateway hold."


def test_a_row_shows_type_range_default_and_meaning() -> None:
    written = tables()
    rows = {
        "limits": "| `body_max_bytes` | 1 KiB–1 GiB | 32 MiB | A caller's body; above it 413 |",
        "auth": '| `client_tokens` | list of `"${VAR}"` | `[]` | At least one in mode `token`. With',
        "models": "| `max_requests` | -1 to 1,000,000,000 | -1 | Requests in the life",
        "pools": "| `breaker.trip.threshold` | above 0, to 1 | 0.5 | `error_rate`: failures",
        "providers": "| `protocol` | `anthropic`, `openai`, `responses`, `gemini`, `bedrock`, `cohere` | catalog's |",
        "governance": "| `changes` | list of [sections](#governancepricesmodelchanges), up to 64 | `[]` | Prices",
        "tls": "| `certificate` | path | required | A file with the chain",
        "top": "| `tls` | [section](#tls) | null | The listener speaks TLS",
    }
    assert [name for name, row in rows.items() if row not in written[name]] == []
    assert (
        "| `on_exhausted` | `reject`, `least_bad`, `fallback_pool:NAME`, `queue:MILLISECONDS`; or `{action: …}` |"
        in (written["pools"])
    )


def test_every_row_has_four_cells_and_every_link_inside_the_page_leads_somewhere() -> None:
    rows = [line for text in tables().values() for line in text.splitlines() if line.startswith("|")]
    assert [row for row in rows if row.count("|") != 5] == []
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", REFERENCE, re.MULTILINE)}
    assert [target for target in re.findall(r"\]\(#([^)]+)\)", REFERENCE) if target not in headings] == []


def test_what_is_still_to_come_is_marked() -> None:
    for path in SUPPORTED_VALUES:
        assert KEYS[path].value.later
    assert (LATER in tables()["top"]) == any(key.value.later for key in KEYS.values())


def test_the_prose_names_every_table_that_joins_the_catalog_s() -> None:
    sentence = re.search(r"Any key overrides the catalog's; (.*?) are merged entry by entry", REFERENCE, re.DOTALL)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) == set(MERGED_KEYS)


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL))
def test_the_examples_of_the_reference_load(example: str) -> None:
    config = loads(
        example, env={"ANTHROPIC_API_KEY": "key", "AZURE_OPENAI_API_KEY": "key", "BUSBAR_ADMIN_TOKEN": "token"}
    )
    assert config.providers or config.governance.enabled
