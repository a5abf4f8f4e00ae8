"""`api_base` → where Busbar goes: LiteLLM's ends where an SDK would go on, Busbar's before the dialect's path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from busbar.config.providers import url_complaint
from busbar.onboarding.litellm.accounts import Overrides
from busbar.onboarding.offers import Entry
from busbar.onboarding.yaml_text import Variable
from busbar.protocols.registry import PROTOCOLS

SAMPLE_URL = "https://sample.invalid"
"""What a variable with an address stands for, while it is not set."""

_SDK_ADDS: Mapping[str, str] = {"openai": "/chat/completions"}
"""What follows LiteLLM's `api_base`; of other dialects the whole path of the dialect."""


_ALL_ADDRESSES = re.compile(r"(\A\s*https?://)(?:0\.0\.0\.0|\[::\])(?=[:/]|\s*\Z)")


def address(base: str | Variable, protocol: str, entry: Entry | None) -> Overrides | None:
    """What of `base_url` and `path` is to be written, if the catalog says `entry`; None: it is no address."""
    if isinstance(base, Variable):
        added = _SDK_ADDS.get(protocol)
        return {"base_url": Variable(base.name, SAMPLE_URL), **({"path": added} if added else {})}
    base = base.strip().rstrip("/")
    if url_complaint(base) is not None:
        return None
    catalogs = "" if entry is None else str(entry.get("base_url", ""))
    if PROTOCOLS[protocol].model_in == "path":
        return {} if base == catalogs else {"base_url": base}
    usual = PROTOCOLS[protocol].egress_path("", False)
    known = usual if entry is None else str(entry.get("path", usual))
    url, path = _split(base, protocol, usual)
    if url + path == catalogs + known:
        return {}
    return {"base_url": url, **({} if path == known else {"path": path})}


def _split(base: str, protocol: str, usual: str) -> tuple[str, str]:
    """The part before the dialect's own path, and the path: `https://h/v1` is `https://h` and the usual one."""
    added = _SDK_ADDS.get(protocol, usual)
    whole = base if base.endswith(added) else base + added
    if protocol not in _SDK_ADDS and base.endswith("/v1") and usual.startswith("/v1/"):
        whole = base.removesuffix("/v1") + usual
    if whole.endswith(usual):
        return whole.removesuffix(usual), usual
    return whole.removesuffix(added), added


def callable_address(base: str) -> str:
    """Where servers listen on all addresses, one calls this machine: `0.0.0.0` is no address to call."""
    return _ALL_ADDRESSES.sub(r"\g<1>127.0.0.1", base)


def host_of(base: str | Variable | None) -> str:
    """The host of an address that stands in the file; empty: nobody knows it yet."""
    return (urlsplit(base).hostname or "") if isinstance(base, str) and url_complaint(base.strip()) is None else ""
