"""What `busbar init` asks at a terminal. Enter takes what stands in brackets."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TypeVar

from busbar.cli.init import WrongUsage
from busbar.cli.init_choices import check_variables, finish, given_variables, known, with_keys, with_other_keys
from busbar.onboarding.draft import DEFAULT_POOL, Draft, named_models, pool_complaint
from busbar.onboarding.offers import Offer
from busbar.onboarding.proposals import proposed

T = TypeVar("T")

SUGGESTED = ("anthropic", "openai", "gemini", "mistral", "groq", "openrouter", "bedrock", "azure-openai", "ollama")
"""Shown where no key is set."""


def ask(arguments: argparse.Namespace, offered: Mapping[str, Offer], env: Mapping[str, str]) -> Draft:
    """Raises `WrongUsage` (a flag is wrong), EOFError, KeyboardInterrupt."""
    given = given_variables(arguments.variable, offered)
    found, others = with_keys(offered, env), with_other_keys(offered, env)
    if found:
        print("Keys that are set: " + ", ".join(map(_key, found)))
    if others:
        print("Set, too, where you would have to name models: " + ", ".join(map(_key, others)))
    if not found and not others:
        print("No provider's key is set yet. Often used: " + ", ".join(n for n in SUGGESTED if n in offered))
    chosen = _until_right(
        f"Which providers? {_default(' '.join(it.name for it in found))}",
        lambda line: _providers(line, offered, found),
    )
    check_variables(given, chosen)
    pairs: list[tuple[str, str]] = []
    for offer in chosen:
        variables = given.setdefault(offer.name, {})
        for word in offer.asks:
            if word not in variables:
                variables[word] = _until_right(f"{offer.name}: {word} in {offer.base_url} ? ", _word)
        models = proposed(offer.name)
        prompt = f"{offer.name}: which models? {_default(' '.join(models))}"
        pairs += [(offer.name, model) for model in _until_right(prompt, _words(models))]
    arguments.pool = _pool(arguments, Draft(offers=chosen, models=named_models(pairs)))
    arguments.no_pool = arguments.pool is None
    return finish(arguments, chosen, pairs, given)


def confirmed(question: str) -> bool:
    """Leaving is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        print()
        return False


def _pool(arguments: argparse.Namespace, draft: Draft) -> str | None:
    if arguments.no_pool or arguments.pool is not None or len(draft.models) < 2:
        pool: str | None = arguments.pool
        return pool

    def name(line: str) -> str | None:
        if line == "-":
            return None
        pool = line or DEFAULT_POOL
        if complaint := pool_complaint(pool, draft):
            raise WrongUsage(complaint)
        return pool

    return _until_right(f"A pool over {', '.join(draft.members)}: its name, or - for none? [{DEFAULT_POOL}] ", name)


def _until_right(prompt: str, read: Callable[[str], T]) -> T:
    """Asks until the answer can be read."""
    while True:
        try:
            return read(input(prompt).strip())
        except WrongUsage as wrong:
            print(f"  {wrong}")


def _key(offer: Offer) -> str:
    return f"${offer.key_env} ({offer.name})"


def _default(text: str) -> str:
    return f"[{text}] " if text else ""


def _providers(line: str, offered: Mapping[str, Offer], found: list[Offer]) -> list[Offer]:
    names = line.replace(",", " ").split()
    if not names and not found:
        raise WrongUsage("name at least one; `busbar providers` lists them")
    return [known(name, offered) for name in dict.fromkeys(names)] if names else found


def _word(line: str) -> str:
    if not line or len(line.split()) != 1:
        raise WrongUsage("one word, please")
    if "/" in line or ":" in line:
        raise WrongUsage("only what stands for the braces, not the whole address")
    return line


def _words(default: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def read(line: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(line.replace(",", " ").split())) or default
        if not words:
            raise WrongUsage("name at least one, as the provider calls it")
        return words

    return read
