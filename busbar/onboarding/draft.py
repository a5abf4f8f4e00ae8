"""Choices → `config.yaml`, with comments that say what each part is for and what else there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from busbar.config.checks import RESERVED_SEGMENTS
from busbar.onboarding.offers import Offer
from busbar.onboarding.proposals import model_name
from busbar.onboarding.yaml_text import Path, Value, write

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_POOL = "smart"

_CLOSING = """
# What else there is: docs/configuration.md. Two things that are wanted soon:
#
# auth: {mode: token, client_tokens: ["${BUSBAR_CLIENT_TOKEN}"]}     # before others than this machine can reach it
# governance: {enabled: true, admin_token: "${BUSBAR_ADMIN_TOKEN}"}  # a key, a budget and limits for each caller
"""


class Draft(Struct, frozen=True, kw_only=True):
    """What was chosen."""

    offers: Sequence[Offer]
    models: Mapping[str, tuple[str, str]]
    """name → (provider, upstream model)."""
    pool: str | None = None
    """Over the first model of each provider; None: none."""
    listen: str = DEFAULT_LISTEN
    variables: Mapping[str, Mapping[str, str]] = {}
    """provider → what stands in braces in its address."""

    @property
    def members(self) -> list[str]:
        """The pool's: of each provider its first model, which is the strong one of the proposals."""
        first: dict[str, str] = {}
        for name, (provider, _) in self.models.items():
            first.setdefault(provider, name)
        members = list(first.values())
        return members if len(members) > 1 else list(self.models)

    @property
    def callable_name(self) -> str | None:
        """What a first call would ask for."""
        return self.pool or next(iter(self.models), None)


def named_models(chosen: Sequence[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """(provider, upstream model) pairs under names of their own."""
    named: dict[str, tuple[str, str]] = {}
    for provider, upstream_model in dict.fromkeys(chosen):
        named[model_name(upstream_model, provider, named)] = (provider, upstream_model)
    return named


def pool_complaint(pool: str, draft: Draft) -> str | None:
    """Why the pool cannot be called so; None: it can."""
    if not pool or not pool.isprintable() or " " in pool or len(pool) > 200:
        return "a name has 1 to 200 characters, none of them a space or a control character"
    if pool in RESERVED_SEGMENTS:
        return "this name is the first part of one of the gateway's own paths"
    if pool in draft.models or pool in {offer.name for offer in draft.offers}:
        return "a model or a provider has this name"
    return None


def config_text(draft: Draft, modeline: str) -> str:
    """The file. `modeline` is its first line, by which editors find the schema."""
    document: dict[str, Value] = {
        "listen": draft.listen,
        "providers": {offer.name: _provider(offer, draft) for offer in draft.offers},
        "models": {name: _model(name, *where) for name, where in draft.models.items()},
    }
    comments: dict[Path, str] = {
        ("listen",): "Where callers reach it; 0.0.0.0:8080 for other machines, too. Then set `auth`, below.",
        (
            "providers",
        ): "Accounts. Addresses and error words are the catalog's (`busbar providers NAME`); keys are in\n"
        "the environment, never in this file.",
        ("models",): "What callers may ask for, by your name for it. `upstream_model` is the provider's name for it.",
    }
    for offer in draft.offers:
        comments["providers", offer.name] = _comment(offer)
    if draft.pool is not None:
        document["pools"] = {draft.pool: {"members": [{"target": name, "weight": 1} for name in draft.members]}}
        comments["pools", draft.pool, "members"] = "Weights 3 and 1 would give the first three requests of four."
        comments["pools",] = (
            "Several models behind one name: requests are shared by weight, and one that fails is benched while\n"
            "the others take over. Callers' dialects do not matter: requests are translated where they have to be."
        )
    return f"{modeline}\n\n{write(document, comments)}{_CLOSING}"


def _provider(offer: Offer, draft: Draft) -> Value:
    variables = draft.variables.get(offer.name)
    return {"variables": dict(variables)} if variables else {}


def _comment(offer: Offer) -> str:
    if offer.key_env is not None:
        return f"{offer.title}: its key is in ${offer.key_env}"
    if offer.auth == "none":
        return f"{offer.title}: without a key"
    if offer.auth == "sigv4":
        return f"{offer.title}: AWS's own credentials (environment, profile, role)"
    return f"{offer.title}: tokens from an identity (docs/credentials.md)"


def _model(name: str, provider: str, upstream_model: str) -> Value:
    if name == upstream_model:
        return {"provider": provider}
    return {"provider": provider, "upstream_model": upstream_model}
