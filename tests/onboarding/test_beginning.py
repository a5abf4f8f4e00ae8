"""Proposals, drafts and files: the parts of `busbar init` that ask nobody."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from busbar.config import loads
from busbar.config.files import packaged_providers, read_text
from busbar.onboarding.draft import Draft, config_text, named_models, pool_complaint
from busbar.onboarding.files import Exists, write_whole
from busbar.onboarding.offers import offers, read_catalog
from busbar.onboarding.proposals import PROPOSALS, model_name, proposed

OFFERED = offers(read_catalog(read_text(packaged_providers()), "providers.yaml"))
PRICES = json.loads((Path(__file__).parents[2] / "busbar" / "prices.json").read_text())["prices"]


@pytest.mark.parametrize("provider", PROPOSALS)
def test_what_is_proposed_is_in_the_catalog_and_has_a_price(provider: str) -> None:
    assert provider in OFFERED
    assert len(proposed(provider)) == 2
    assert set(proposed(provider)) <= set(PRICES.get(provider, proposed(provider)))


@pytest.mark.parametrize("provider", sorted(OFFERED))
def test_a_draft_of_every_provider_is_a_configuration(provider: str) -> None:
    offer = OFFERED[provider]
    models = named_models([(provider, name) for name in proposed(provider) or ("some/model", "another")])
    draft = Draft(
        offers=[offer],
        models=models,
        pool="smart",
        variables={provider: dict.fromkeys(offer.asks, "value")} if offer.asks else {},
    )
    config = loads(config_text(draft, "# first"), env={offer.key_env: "key"} if offer.key_env else {})
    assert list(config.models) == list(models)
    assert [member.target for member in config.pools["smart"].members] == list(models)


def test_the_pool_is_over_the_first_model_of_each_provider() -> None:
    models = named_models([("groq", "a"), ("groq", "b"), ("openai", "c")])
    assert Draft(offers=[], models=models).members == ["a", "c"]
    assert Draft(offers=[], models=named_models([("groq", "a"), ("groq", "b")])).members == ["a", "b"]


def test_models_are_named_by_their_last_part_and_never_twice() -> None:
    chosen = [("groq", "openai/gpt-oss"), ("together", "openai/gpt-oss"), ("together", "x/gpt-oss"), ("groq", "a/")]
    assert named_models([*chosen, chosen[0]]) == {
        "gpt-oss": ("groq", "openai/gpt-oss"),
        "together-gpt-oss": ("together", "openai/gpt-oss"),
        "together-gpt-oss-2": ("together", "x/gpt-oss"),
        "a/": ("groq", "a/"),
    }
    assert model_name("m", "p", {}) == "m"


def test_a_pool_that_could_not_be_reached_is_refused() -> None:
    draft = Draft(offers=[OFFERED["groq"]], models={"m": ("groq", "m")})
    refused = {name: pool_complaint(name, draft) is not None for name in ("", "a b", "chat", "groq", "m", "smart")}
    assert refused == {"": True, "a b": True, "chat": True, "groq": True, "m": True, "smart": False}


def test_a_file_is_written_whole_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    write_whole(path, "one", force=False)
    write_whole(path, "one", force=False)  # it says that already
    with pytest.raises(Exists):
        write_whole(path, "two", force=False)
    assert path.read_text() == "one"
    write_whole(path, "two", force=True)
    assert (path.read_text(), oct(path.stat().st_mode & 0o777), os.listdir(tmp_path)) == (
        "two",
        "0o644",
        ["config.yaml"],
    )


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    (tmp_path / "config.yaml").symlink_to(tmp_path / "other")
    with pytest.raises(Exists):
        write_whole(tmp_path / "config.yaml", "two", force=False)
    write_whole(tmp_path / "config.yaml", "two", force=True)
    assert (tmp_path / "other").read_text() == "mine"


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "config.yaml"
    os.mkfifo(pipe)
    with pytest.raises(Exists, match="is no file"):
        write_whole(pipe, "two", force=True)
    assert pipe.is_fifo()
