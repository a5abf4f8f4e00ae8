"""Entries of `model_list` → models: where each is served, under which name there, and what belongs to it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from busbar.config.providers import CREDENTIAL_HEADERS, DEFAULT_AUTH
from busbar.onboarding.litellm.accounts import Accounts, Literals, Overrides, host_name
from busbar.onboarding.litellm.addresses import SAMPLE_URL, address, callable_address
from busbar.onboarding.litellm.advice import PARAMS
from busbar.onboarding.litellm.clouds import Clouds
from busbar.onboarding.litellm.counterparts import (
    CLOUDS,
    COMPATIBLE,
    COUNTERPARTS,
    NO_COUNTERPART,
    Counterpart,
    guessed_provider,
    is_chat,
)
from busbar.onboarding.litellm.credentials import Credentials
from busbar.onboarding.litellm.params import Params, named, texts, variable_name
from busbar.onboarding.litellm.report import Findings
from busbar.onboarding.litellm.source import Values
from busbar.onboarding.offers import Entry
from busbar.onboarding.yaml_text import Value, Variable

MAX_TOKENS = 1_000_000_000
MILLIS_MAX = 86_400_000


class Deployment(Struct, frozen=True, kw_only=True):
    """One entry that is carried over."""

    group: str
    provider: str
    upstream_model: str
    options: Mapping[str, Value] = {}
    """Of the model."""
    weight: float | None = None
    order: int = 0
    context_max: int | None = None
    retries: int | None = None
    prices: Mapping[str, float] = {}
    place: int = 0
    """In `model_list`."""


class Deployments:
    """Reads one entry after another."""

    def __init__(
        self, accounts: Accounts, literals: Literals, credentials: Mapping[str, Values], findings: Findings
    ) -> None:
        self._accounts = accounts
        self._credentials = Credentials(literals, findings)
        self._named_credentials = credentials
        self._clouds = Clouds(accounts, self._credentials, findings)
        self._findings = findings

    def read(self, entry: Any, number: int) -> Deployment | None:
        """None: it cannot be carried over, and the report says why."""
        place = f"model_list[{number}]"
        given = entry.get("litellm_params") if isinstance(entry, dict) else None
        group = entry.get("model_name") if isinstance(entry, dict) else None
        if not isinstance(given, dict) or not isinstance(group, str) or not group:
            self._findings.left_out("model_list", "an entry needs model_name and litellm_params", place)
            return None
        place = f"{place} {named(group)}"
        params = Params(self._callable(self._with_credentials(given, place), place), place)
        info = (
            Params(entry.get("model_info") or {}, place) if isinstance(entry.get("model_info") or {}, dict) else None
        )
        found = self._read(group, params, info or Params({}, place))
        return None if found is None else replace(found, place=number)

    def _with_credentials(self, given: Values, place: str) -> Values:
        name = given.get("litellm_credential_name")
        if name is None:
            return given
        found = self._named_credentials.get(str(name))
        if found is None:
            self._findings.to_do("litellm_credential_name", "credential_list has no such name", place)
        return {**(found or {}), **{key: it for key, it in given.items() if key != "litellm_credential_name"}}

    def _callable(self, given: Values, place: str) -> Values:
        changed = {
            key: callable_address(it) for key in ("api_base", "base_url") if isinstance(it := given.get(key), str)
        }
        if any(given[key] != it for key, it in changed.items()):
            self._findings.changed("api_base", "a server that listens on 0.0.0.0 is called at 127.0.0.1 here", place)
        return {**given, **changed}

    def _read(self, group: str, params: Params, info: Params) -> Deployment | None:
        prefix, model = _provider_and_model(params)
        if not model:
            self._findings.left_out("litellm_params.model", "it has to be a text", params.place)
            return None
        if not is_chat(model, info.take("mode")):
            self._findings.left_out(
                "model_list", "Busbar serves chats; embeddings, pictures and sounds stay where they are", params.place
            )
            return None
        if model == "*" and not prefix:
            self._findings.left_out(
                "wildcards", "Busbar lists its models by name; add those that you call under `models`", params.place
            )
            return None
        provider, upstream_model = self._account(prefix, model, params)
        if provider is None:
            return None
        if "*" in group or "*" in upstream_model:
            self._findings.left_out(
                "wildcards",
                f"Busbar lists its models by name; the provider `{provider}` is there, add those that you call"
                " under `models`",
                params.place,
            )
            return None
        deployment = self._deployment(group, provider, upstream_model, params, info)
        self._leftovers(params, info)
        return deployment

    def _deployment(self, group: str, provider: str, upstream_model: str, params: Params, info: Params) -> Deployment:
        order, retries = params.whole("order"), params.whole("max_retries")
        weights = [params.number(key) for key in ("weight", "rpm", "tpm")]
        if weights[1] is not None or weights[2] is not None:
            self._findings.changed(
                "rpm, tpm",
                "they are weights here where no `weight` is; a provider's own limits are met by failing over on its"
                " 429, and a caller's are set on its key (docs/governance.md)",
                params.place,
            )
        own = info.whole("max_input_tokens")
        context = own or info.whole("max_tokens")
        info.take("max_tokens")
        return Deployment(
            group=group,
            provider=provider,
            upstream_model=upstream_model,
            options=self._options(params, info),
            weight=next((weight for weight in weights if weight is not None), None),
            order=order or 0,
            context_max=min(context, MAX_TOKENS) if context else None,
            retries=retries,
            prices=_prices(params, info),
        )

    def _options(self, params: Params, info: Params) -> dict[str, Value]:
        options: dict[str, Value] = {}
        if (limit := params.whole("max_parallel_requests")) is not None and limit > 0:
            options["max_concurrent"] = min(limit, 1_000_000)
        if (most := params.whole("max_tokens") or info.whole("max_output_tokens")) is not None and most > 0:
            options["default_max_tokens"] = min(most, MAX_TOKENS)
        info.take("max_output_tokens")
        if (timeout := millis(params.number("timeout"))) is not None:
            options["attempt_timeout_ms"] = timeout
        if (timeout := millis(params.number("stream_timeout"))) is not None:
            options["first_token_timeout_ms"] = options["stall_timeout_ms"] = timeout
        return options

    # --- whose it is

    def _account(self, prefix: str, model: str, params: Params) -> tuple[str | None, str]:
        """The provider's name here (None: it was told why not), and the model's there."""
        if prefix in CLOUDS:
            return self._clouds.account(prefix, model, params)
        base = params.text("api_base") or params.text("base_url")
        params.take("base_url")
        if prefix in COMPATIBLE and base is not None:
            found = address(base, "openai", self._accounts.catalog["openai"] if prefix == "openai" else None)
            if found != {}:
                return self._compatible(base, found, params), model
        counterpart = COUNTERPARTS.get(prefix)
        if counterpart is None or counterpart.catalog not in self._accounts.catalog:
            why = NO_COUNTERPART.get(
                prefix,
                "the catalog does not have it; if it speaks one of the six dialects, put it"
                " under `providers` with protocol and base_url",
            )
            self._findings.left_out(f"provider {named(prefix) or 'unknown'}", why, params.place)
            return None, model
        if prefix == "huggingface":
            model = _routed(model)
        return self._of_catalog(counterpart, base, params), model

    def _of_catalog(self, counterpart: Counterpart, base: str | Variable | None, params: Params) -> str:
        entry = self._accounts.catalog[counterpart.catalog]
        protocol = str(entry["protocol"])
        overrides: Overrides = {}
        if base is not None:
            overrides.update(self._address(base, protocol, entry, params))
            if counterpart.rooted:
                overrides.pop("path", None)
        auth = str(entry.get("auth") or DEFAULT_AUTH[protocol])
        overrides.update(self._credentials.key(params, counterpart, entry, auth))
        overrides.update(self._headers(params))
        return self._accounts.of_catalog(counterpart.catalog, overrides)

    def _compatible(self, base: str | Variable, found: Overrides | None, params: Params) -> str:
        """Whatever speaks OpenAI's dialect at an address of its own."""
        name = host_name(base)
        where = found if found is not None else self._address(base, "openai", None, params)
        credential = self._credentials.key_or_none(params, name)
        entry: Overrides = {"protocol": "openai", **where, **credential, **self._headers(params)}
        return self._accounts.of_its_own(name, entry)

    def _address(self, base: str | Variable, protocol: str, entry: Entry | None, params: Params) -> Overrides:
        found = address(base, protocol, entry)
        if found is not None:
            return found
        variable = Variable(variable_name(host_name(base), "base_url"), SAMPLE_URL)
        self._findings.to_do(
            "api_base",
            f"it is no plain http(s) address (a user, a password or a query in it?): set ${variable.name} to where"
            " it is, or write base_url yourself",
            params.place,
        )
        return {"base_url": variable}

    def _headers(self, params: Params) -> Overrides:
        headers: dict[str, Value] = {}
        given = {**texts(params.take("headers")), **texts(params.take("extra_headers"))}
        if isinstance(organization := params.text("organization"), str | Variable):
            headers["openai-organization"] = organization
        for name, value in given.items():
            headers[name.lower()] = self._credentials.header(name, value, params, name.lower() in CREDENTIAL_HEADERS)
        return {"headers": headers} if headers else {}

    def _leftovers(self, params: Params, info: Params) -> None:
        for key in params.left():
            kind, advice = PARAMS.get(key, PARAMS["*"])
            self._findings.add(kind, f"litellm_params.{named(key)}", advice, params.place)
        for key in info.left():
            if key not in ("id", "base_model", "description", "db_model", "created_at", "updated_at"):
                self._findings.left_out(f"model_info.{named(key)}", "nothing here goes by it", params.place)


def millis(secs: float | None) -> int | None:
    """As Busbar's timeouts are written: at least one, at most a day."""
    return None if secs is None or secs <= 0 else max(1, min(round(secs * 1000), MILLIS_MAX))


def _provider_and_model(params: Params) -> tuple[str, str]:
    model, custom = params.take("model"), params.take("custom_llm_provider")
    if not isinstance(model, str):
        return "", ""
    model = model.strip()
    if isinstance(custom, str) and custom:
        return custom, model.removeprefix(f"{custom}/")
    prefix, slash, rest = model.partition("/")
    if slash and (prefix in COUNTERPARTS or prefix in CLOUDS or prefix in COMPATIBLE or prefix in NO_COUNTERPART):
        return prefix, rest
    return guessed_provider(model) or (prefix if slash else ""), rest if slash else model


def _routed(model: str) -> str:
    """`together/org/name` as Hugging Face's router names it: `org/name:together`."""
    parts = model.split("/")
    return f"{'/'.join(parts[1:])}:{parts[0]}" if len(parts) == 3 else model


_PRICES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning",
}


def _prices(params: Params, info: Params) -> dict[str, float]:
    """US dollars for a million tokens; nothing where one of the two that count is not said."""
    found: dict[str, float] = {}
    for key, name in _PRICES.items():
        price, other = params.number(key), info.number(key)
        price = other if price is None else price
        if price is not None and price * 1e6 <= 1e6:
            found[name] = round(price * 1e6, 6)
    return found if {"input", "output"} <= found.keys() else {}
