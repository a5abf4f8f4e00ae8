"""LiteLLM's file → Busbar's `config.yaml` and the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from busbar.onboarding.litellm.accounts import Accounts, Literals
from busbar.onboarding.litellm.counterparts import COUNTERPARTS
from busbar.onboarding.litellm.deployments import Deployments
from busbar.onboarding.litellm.groups import Groups
from busbar.onboarding.litellm.params import Params
from busbar.onboarding.litellm.report import Finding, Findings
from busbar.onboarding.litellm.routing import read_routing
from busbar.onboarding.litellm.settings import credentials, general, litellm, router_leftovers, top
from busbar.onboarding.litellm.source import Values, read
from busbar.onboarding.offers import Entry
from busbar.onboarding.yaml_text import Joined, Path, Value, Variable, write

_REFERENCE = re.compile(r"os\.environ/([A-Za-z0-9_]{1,128})")

_COMMENTS: Mapping[Path, str] = {
    ("auth",): "LiteLLM's master key.",
    ("providers",): "Accounts: one for each key and address. Keys are in the environment, never in this file.",
    ("models",): "A model of a pool is named GROUP@PROVIDER; callers ask for the pool.",
    ("pools",): "Groups: entries of one model_name, or what retries and fallbacks are said of.",
}


class Imported(Struct, frozen=True):
    """What came of a file."""

    text: str
    """`config.yaml`."""
    findings: tuple[Finding, ...]
    variables: Mapping[str, str]
    """Variables that it needs → what they may stand for while nobody has set them."""
    groups: int
    """Names that callers may ask for."""
    lists_models: bool
    """Whether there is a `model_list` at all."""


def import_litellm(text: str, catalog: Mapping[str, Entry], modeline: str = "") -> Imported:
    """`modeline` is the first line of the result. The same file gives the same result. Raises `source.Unreadable`."""
    source = read(text)
    values, findings = source.values, Findings()
    if source.twice:
        findings.changed(
            "repeated keys", "a key is written twice in one place: as LiteLLM does, the last one was taken"
        )
    literals = Literals(_variables_named(values))
    router, settings = _section(values, "router_settings"), _section(values, "litellm_settings")
    routing = read_routing(router, settings, findings)
    listed = values.get("model_list")
    entries = listed if isinstance(listed, list) else []
    names = (str(it.get("model_name")) for it in entries if isinstance(it, dict))
    accounts = Accounts(catalog, (*names, *routing.aliases))
    reader = Deployments(accounts, literals, credentials(values.get("credential_list")), findings)
    deployments = [found for number, it in enumerate(entries) if (found := reader.read(it, number)) is not None]
    groups = Groups(routing, accounts.entries, findings)
    groups.build(deployments)
    sections = general(_section(values, "general_settings"), accounts, literals, findings)
    sections |= litellm(settings, findings)
    router_leftovers(router, findings)
    top(values, findings)
    document = _document(sections, accounts, groups)
    written = write(document, {path: words for path, words in _COMMENTS.items() if path[0] in document})
    return Imported(
        text=f"{modeline}\n\n{written}" if modeline else written,
        findings=findings.all(),
        variables=_needed(document, catalog),
        groups=len({*groups.pools, *(name for name in groups.models if "@" not in name)}),
        lists_models="model_list" in values,
    )


def _document(sections: dict[str, Value], accounts: Accounts, groups: Groups) -> dict[str, Value]:
    document: dict[str, Value] = {key: sections[key] for key in ("auth",) if key in sections}
    document["providers"] = accounts.entries
    document["models"] = groups.models
    if groups.pools:
        document["pools"] = groups.pools
    governance = sections.get("governance")
    if groups.prices:
        governance = {**(governance if isinstance(governance, Mapping) else {}), "prices": groups.prices}
    if governance is not None:
        document["governance"] = governance
    return document | {key: sections[key] for key in ("limits", "observability") if key in sections}


def _section(values: Values, key: str) -> Params:
    found = values.get(key)
    return Params(found if isinstance(found, dict) else {}, key)


def _variables_named(values: Any) -> set[str]:
    """Every variable that the file names, and those that LiteLLM goes by where it names none."""
    named = set()
    for text in _texts(values):
        named.update(_REFERENCE.findall(text))
    for entry in values.get("model_list") or [] if isinstance(values.get("model_list"), list) else []:
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        if isinstance(params, dict) and params.get("api_key") is None:
            counterpart = COUNTERPARTS.get(str(params.get("model")).partition("/")[0])
            named.update(counterpart.key_envs if counterpart is not None else ())
    return named


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case _:
            pass


def _needed(document: Mapping[str, Value], catalog: Mapping[str, Entry]) -> dict[str, str]:
    """The variables of the document, and of the catalog's entries that it uses."""
    found: dict[str, str] = {}

    def look(value: Value) -> None:
        match value:
            case Variable(name=name, sample=sample):
                found.setdefault(name, sample)
            case Joined(parts=parts):
                for part in parts:
                    look(part)
            case Mapping():
                for key, item in value.items():
                    if key == "api_key_env" and isinstance(item, str):
                        found.setdefault(item, "value")
                    look(item)
            case list() | tuple():
                for item in value:
                    look(item)
            case _:
                pass

    look(document)
    providers = document.get("providers")
    for name, entry in providers.items() if isinstance(providers, Mapping) else ():
        own = entry if isinstance(entry, Mapping) else {}
        names_key = any(key in own for key in ("api_key_env", "api_key")) or own.get("auth") in ("entra", "none")
        key = catalog.get(name, {}).get("api_key_env")
        if isinstance(key, str) and not names_key and catalog[name].get("auth") != "none":
            found.setdefault(key, "value")
    return found
