"""What `busbar init` takes without asking: from its flags, or from the keys that are set."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence

from busbar.cli.init import WrongUsage
from busbar.config import parse_listen
from busbar.config.problems import closest, shown
from busbar.onboarding.draft import DEFAULT_LISTEN, DEFAULT_POOL, Draft, named_models, pool_complaint
from busbar.onboarding.offers import Offer
from busbar.onboarding.proposals import PROPOSALS, proposed

_VARIABLE = re.compile(r"([^=]+)\.([A-Za-z0-9_]{1,64})=(.+)\Z")


def by_flags(arguments: argparse.Namespace, offered: Mapping[str, Offer], env: Mapping[str, str]) -> Draft:
    """Raises `WrongUsage`."""
    pairs = [provider_and_model(written, offered) for written in arguments.model]
    names = list(dict.fromkeys([*arguments.provider, *(provider for provider, _ in pairs)]))
    chosen = [known(name, offered) for name in names]
    for offer in chosen:
        if not any(provider == offer.name for provider, _ in pairs):
            pairs += [(offer.name, model) for model in _proposed(offer)]
    return finish(arguments, chosen, pairs, given_variables(arguments.variable, offered))


def by_keys(arguments: argparse.Namespace, offered: Mapping[str, Offer], env: Mapping[str, str]) -> Draft:
    """The providers whose keys are set. Raises `WrongUsage` when there are none."""
    chosen = with_keys(offered, env)
    if not chosen and (others := with_other_keys(offered, env)):
        raise WrongUsage(
            f"${others[0].key_env} is set, but which models you have there is yours to say:"
            f" --model {others[0].name}/NAME"
        )
    if not chosen:
        raise WrongUsage(
            "no provider's key is in the environment: set one, such as ANTHROPIC_API_KEY, or name --provider"
        )
    pairs = [(offer.name, model) for offer in chosen for model in proposed(offer.name)]
    return finish(arguments, chosen, pairs, given_variables(arguments.variable, offered))


def with_keys(offered: Mapping[str, Offer], env: Mapping[str, str]) -> list[Offer]:
    """Providers with a key and with models to propose; of those that share a variable the first."""
    found: dict[str, Offer] = {}
    for offer in offered.values():
        if offer.key_env is not None and offer.has_key(env) and offer.name in PROPOSALS and not offer.asks:
            found.setdefault(offer.key_env, offer)
    return list(found.values())


def with_other_keys(offered: Mapping[str, Offer], env: Mapping[str, str]) -> list[Offer]:
    """Those with a key that `with_keys` leaves out: what is asked for there is the operator's to say."""
    found = {offer.key_env: offer for offer in with_keys(offered, env)}
    others: dict[str, Offer] = {}
    for offer in offered.values():
        if offer.key_env is not None and offer.has_key(env) and offer.key_env not in found:
            others.setdefault(offer.key_env, offer)
    return list(others.values())


def finish(
    arguments: argparse.Namespace,
    chosen: Sequence[Offer],
    pairs: Sequence[tuple[str, str]],
    variables: Mapping[str, Mapping[str, str]],
) -> Draft:
    """The draft, with the pool and the address that the flags say. Raises `WrongUsage`."""
    check_variables(variables, chosen)
    for offer in chosen:
        for word in offer.asks:
            if word not in variables.get(offer.name, {}):
                raise WrongUsage(f"{offer.name} has {{{word}}} in its address: --variable {offer.name}.{word}=…")
    listen = arguments.listen or DEFAULT_LISTEN
    if parse_listen(listen) is None:
        raise WrongUsage(f"--listen: expected HOST:PORT, not {listen!r}")
    draft = Draft(offers=chosen, models=named_models(pairs), listen=listen, variables=variables)
    if arguments.no_pool or (arguments.pool is None and len(draft.models) < 2):
        return draft
    pool = arguments.pool or DEFAULT_POOL
    if complaint := pool_complaint(pool, draft):
        raise WrongUsage(f"--pool {shown(pool)}: {complaint}")
    return Draft(offers=chosen, models=draft.models, pool=pool, listen=listen, variables=variables)


def known(name: str, offered: Mapping[str, Offer]) -> Offer:
    """Raises `WrongUsage`."""
    if name in offered:
        return offered[name]
    match = closest(name, list(offered))
    hint = f", did you mean {shown(match)}?" if match else "; `busbar providers` lists those that it has"
    raise WrongUsage(f"{shown(name)} is not in the catalog{hint}")


def provider_and_model(written: str, offered: Mapping[str, Offer]) -> tuple[str, str]:
    """`groq/openai/gpt-oss-120b` as (groq, openai/gpt-oss-120b). Raises `WrongUsage`."""
    provider, slash, model = written.partition("/")
    if not slash or not model or not model.isprintable() or " " in model:
        raise WrongUsage(
            f"--model: expected PROVIDER/MODEL, such as anthropic/claude-haiku-5-5, not {shown(written)}"
        )
    return known(provider, offered).name, model


def given_variables(written: Sequence[str], offered: Mapping[str, Offer]) -> dict[str, dict[str, str]]:
    """Raises `WrongUsage`."""
    found: dict[str, dict[str, str]] = {}
    for text in written:
        match = _VARIABLE.match(text)
        if match is None:
            raise WrongUsage(f"--variable: expected PROVIDER.NAME=VALUE, not {shown(text)}")
        found.setdefault(known(match[1], offered).name, {})[match[2]] = match[3]
    return found


def check_variables(given: Mapping[str, Mapping[str, str]], chosen: Sequence[Offer]) -> None:
    """Raises `WrongUsage` for one that no address of the chosen providers has."""
    offers = {offer.name: offer for offer in chosen}
    for name, variables in given.items():
        if name not in offers:
            raise WrongUsage(f"--variable {name}.…: {name} is not one of the providers: --provider {name}")
        for word in variables:
            if word not in offers[name].variables:
                has = ", ".join(f"{{{it}}}" for it in offers[name].variables) or "nothing"
                raise WrongUsage(f"--variable {name}.{word}=…: its address has {has} to fill in, no {{{word}}}")


def _proposed(offer: Offer) -> tuple[str, ...]:
    models = proposed(offer.name)
    if not models:
        raise WrongUsage(f"nobody knows which models you have at {offer.name}: --model {offer.name}/NAME")
    return models
