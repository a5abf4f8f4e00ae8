"""The packaged price list: what the well-known models of the well-known providers cost.

It prices a request only where it is certain: a wrong price is worse than none, as nobody looks for it. What it does
not know is for the operator to say, in `governance.prices`.

Providers are known by their names in the catalog. Those that are another door to the same account share its prices
(`SAME_ACCOUNT`). Not priced: providers of one's own; subscriptions and coding plans, which bill no tokens (`z.ai`,
`kimi-coding`); doors to other goods (`perplexity-responses`, `bedrock-mantle`); the twins in other countries, which
bill in other currencies (`moonshot-cn`, `byteplus`); resellers; and Azure and Vertex, where deployments are named at
will and regions cost more. Bedrock is the exception: its dialect is spoken by AWS only, so a provider of any name
that speaks it is Bedrock.

Models are found, in this order,

1. by the exact name;
2. at Gemini without `models/`, as its API lists them;
3. at OpenAI and Anthropic a dated snapshot by its undated name (`gpt-4o-2024-08-06` by `gpt-4o`), and an undated name
   by its one snapshot in the list; not the snapshots that kept a price of their own (`OWN_PRICE`);
4. at Bedrock by the last part of the ARN of a foundation model or a system-defined inference profile; with or without
   the version `-v1:0`, which says nothing about the price, and with or without the date of a Claude, as in 3; a name
   without a region by that of the US and the other way round, as the price is that of the region in which a request
   starts and lists give the US's; and `eu.` Claudes by those of the US, as both are the global price and a tenth.
   Other regions, and `global.`, have to be listed: their prices differ by model.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from busbar.config.schema import ModelConfig, PriceConfig, ProtocolName, ProviderConfig, Tokens

SAME_ACCOUNT: Mapping[str, str] = {
    "anthropic-openai": "anthropic",
    "bedrock-api-key": "bedrock",
    "cohere-openai": "cohere",
    "dashscope-anthropic": "dashscope",
    "dashscope-responses": "dashscope",
    "deepseek-anthropic": "deepseek",
    "deepseek-responses": "deepseek",
    "fireworks-anthropic": "fireworks",
    "fireworks-responses": "fireworks",
    "gemini-openai": "gemini",
    "groq-responses": "groq",
    "meta-anthropic": "meta",
    "meta-openai": "meta",
    "minimax-anthropic": "minimax",
    "minimax-responses": "minimax",
    "moonshot-anthropic": "moonshot",
    "openai-responses": "openai",
    "responses": "openai",
    "volcengine-anthropic": "volcengine",
    "volcengine-responses": "volcengine",
    "xai-responses": "xai",
    "xiaomi-anthropic": "xiaomi",
    "xiaomi-responses": "xiaomi",
}
"""Providers of the catalog → the one under whose name the list has their prices."""

OWN_PRICE = frozenset({"gpt-4o-2024-05-13"})
"""Snapshots that cost something else than the model that they are snapshots of."""

_DATES: Mapping[str, re.Pattern[str]] = {
    "openai": re.compile(r"-20\d\d-\d\d-\d\d\Z"),
    "anthropic": re.compile(r"-20\d{6}\Z"),
}
_BEDROCK_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:(foundation-model|inference-profile)/")
_BEDROCK_VERSION = re.compile(r"(-v1)?(:0)?\Z")
_BEDROCK_REGION = re.compile(r"(us|eu|apac|jp|au|ca|sa|me|af|us-gov|global)\.")


class _Listed(PriceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_output: Tokens | None = None


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    as_of: str
    notes: tuple[str, ...]
    prices: dict[str, dict[str, _Listed]]


class PriceList:
    """Prices by provider and model. `price_list` gives the packaged one."""

    def __init__(self, content: bytes) -> None:
        """Raises `msgspec.DecodeError` when it is not a price list."""
        file = msgspec.json.decode(content, type=_File)
        self.as_of = file.as_of
        """The day of the newest of its sources, as an ISO date."""
        self.prices = {
            provider: {model: _price(listed) for model, listed in models.items()}
            for provider, models in file.prices.items()
        }
        self._max_output = {
            (provider, model): listed.max_output
            for provider, models in file.prices.items()
            for model, listed in models.items()
        }
        self._by_alias = {provider: _aliases(provider, models) for provider, models in file.prices.items()}

    def find(self, provider: str, protocol: ProtocolName, upstream_model: str) -> PriceConfig | None:
        """What the model costs at the provider; None where that is not certain."""
        place = self._place(provider, protocol, upstream_model)
        return None if place is None else self.prices[place[0]][place[1]]

    def max_output(self, provider: str, protocol: ProtocolName, upstream_model: str) -> int | None:
        """The most tokens that one answer may have; None where that is not known."""
        place = self._place(provider, protocol, upstream_model)
        return None if place is None else self._max_output[place]

    def _place(self, provider: str, protocol: ProtocolName, model: str) -> tuple[str, str] | None:
        known = "bedrock" if protocol == "bedrock" else SAME_ACCOUNT.get(provider, provider)
        models = self.prices.get(known)
        if models is None:
            return None
        if model in models:
            return known, model
        for spelling in _spellings(known, model):
            if (listed := self._by_alias[known].get(spelling)) is not None:
                return known, listed
        return None


@functools.cache
def price_list() -> PriceList:
    """The list that ships with the package, read once, when first asked for."""
    from importlib import resources  # not needed by most

    return PriceList((resources.files("busbar") / "prices.json").read_bytes())


def price_of(model: ModelConfig, provider: ProviderConfig, prices: Mapping[str, PriceConfig]) -> PriceConfig | None:
    """The operator's price of the model (`prices` are those of `governance.prices`), else the packaged list's."""
    own = prices.get(model.name)
    return price_list().find(provider.name, provider.protocol, model.upstream_model) if own is None else own


def _price(listed: _Listed) -> PriceConfig:
    fields = asdict(listed)
    del fields["max_output"]
    return PriceConfig(**fields)


def _aliases(provider: str, models: Mapping[str, _Listed]) -> dict[str, str]:
    """Other names → the listed name; a name that would mean several models means none."""
    found: dict[str, set[str]] = {}
    for model in models:
        for spelling in {model, *_shortened(provider, model)}:
            found.setdefault(spelling, set()).add(model)
    return {spelling: next(iter(names)) for spelling, names in found.items() if len(names) == 1 or spelling in names}


def _spellings(provider: str, model: str) -> Iterator[str]:
    """How the list may spell the name that an operator wrote, the likelier first."""
    match provider:
        case "gemini":
            yield model.removeprefix("models/")
        case "bedrock":
            model = _BEDROCK_ARN.sub("", model)
            for name in (model, *_elsewhere(model)):
                yield name
                yield from _shortened(provider, name)
        case _:
            yield model
            yield from _shortened(provider, model)


def _shortened(provider: str, model: str) -> Iterator[str]:
    """The name without its version, then without its date."""
    if provider == "bedrock":
        model = _BEDROCK_VERSION.sub("", model)
        yield model
    date = _DATES.get("anthropic" if provider == "bedrock" and ".claude-" in f".{model}" else provider)
    if date is not None and model not in OWN_PRICE and date.search(model):
        yield date.sub("", model)


def _elsewhere(model: str) -> Iterator[str]:
    """The same Bedrock model under the name of a region with the same price."""
    if not _BEDROCK_REGION.match(model):
        yield f"us.{model}"
    elif model.startswith("us."):
        yield model.removeprefix("us.")
    elif model.startswith("eu.anthropic.claude-"):
        yield model.replace("eu.", "us.", 1)
