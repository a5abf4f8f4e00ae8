"""An entry of the catalog as an operator asks about it: where it is, what it needs, what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from busbar.config.credentials import IDENTITY_KEYS
from busbar.config.providers import DEFAULT_AUTH, VARIABLE, is_loopback
from busbar.config.schema import ProviderEntry
from busbar.protocols.registry import PROTOCOLS

_MODEL = "zzmodelzz"
"""A model's name that looks the same percent-encoded."""

_OTHER_AUTH: Mapping[str, tuple[str, ...]] = {
    "azure.com": ("entra",),
    "api.aws": ("sigv4",),
}
"""Where a provider takes more than one style, by the end of its host."""


class ErrorWords(Struct, frozen=True):
    """What of a provider's errors means the same."""

    codes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()


class Described(Struct, frozen=True, kw_only=True):
    """One entry. Names of variables, never their values."""

    name: str
    display_name: str
    protocol: str
    address: str
    stream_address: str
    """The same as `address` where only the body tells a stream."""
    count_address: str | None
    """None: the dialect does not count tokens."""
    variables: dict[str, str | None]
    """What stands in braces in the addresses, with what is taken where the operator says nothing."""
    auth: str
    other_auth: tuple[str, ...]
    """Styles that work there too, by an `auth` of the operator's."""
    identity: tuple[str, ...]
    """Keys of `identity` that go with `auth`."""
    api_key_env: str | None
    key_is_set: bool
    is_local: bool
    headers: dict[str, str]
    body: dict[str, str | int | float | bool | None]
    errors: dict[str, ErrorWords]
    """By failure class: what the entry says beyond what the dialect knows anyway."""
    docs: str | None
    same_account: tuple[str, ...]
    """Other entries for which the same key is good."""


def described(entry: ProviderEntry, catalog: Mapping[str, ProviderEntry], env: Mapping[str, str]) -> Described:
    """`entry` beside the others of its catalog, in this environment."""
    protocol = PROTOCOLS[entry.protocol]
    auth = entry.auth or DEFAULT_AUTH[entry.protocol]
    own_path = entry.path or protocol.egress_path(_MODEL, False)
    stream_path = entry.stream_path or entry.path or protocol.egress_path(_MODEL, True)
    count_path = entry.count_path or (protocol.count_path and protocol.count_path(_MODEL))
    if protocol.count_path is None:
        count_path = None
    return Described(
        name=entry.name,
        display_name=entry.display_name or entry.name,
        protocol=entry.protocol,
        address=_address(entry, own_path),
        stream_address=_address(entry, stream_path),
        count_address=count_path and _address(entry, count_path),
        variables=_variables(entry),
        auth=auth,
        other_auth=next((it for end, it in _OTHER_AUTH.items() if _host(entry.base_url).endswith(end)), ()),
        identity=tuple(sorted(IDENTITY_KEYS.get(auth, ()))),
        api_key_env=entry.api_key_env,
        key_is_set=entry.api_key_env is not None and bool(env.get(entry.api_key_env)),
        is_local=is_loopback(_host(entry.base_url)),
        headers=dict(entry.headers),
        body=dict(entry.body),
        errors=_errors(entry),
        docs=entry.docs,
        same_account=tuple(it.name for it in catalog.values() if it.name != entry.name and same_account(it, entry)),
    )


def same_account(one: ProviderEntry, other: ProviderEntry) -> bool:
    """Whether the same key is good for both, as far as a catalog shows it: the same variable holds it, and the same
    site is called, or explains the call. The twins of one company in two countries have neither in common."""
    if one.api_key_env != other.api_key_env:
        return False
    if is_loopback(_host(one.base_url)) != is_loopback(_host(other.base_url)):
        return False
    same_docs = one.docs is not None and other.docs is not None and _site(one.docs) == _site(other.docs)
    return _site(one.base_url) == _site(other.base_url) or (same_docs and one.api_key_env is not None)


def _address(entry: ProviderEntry, path: str) -> str:
    return entry.base_url.rstrip("/") + path.replace(_MODEL, "{model}")


def _variables(entry: ProviderEntry) -> dict[str, str | None]:
    said = (entry.base_url, entry.path, entry.stream_path, entry.count_path)
    names = dict.fromkeys(name for text in said if text for name in VARIABLE.findall(text))
    return {name: entry.variables.get(name) for name in names if name != "model"}


def _errors(entry: ProviderEntry) -> dict[str, ErrorWords]:
    def meaning(kind: str) -> ErrorWords:
        return ErrorWords(
            tuple(code for code, it in entry.error_map.items() if it.value == kind),
            tuple(status for status, it in entry.error_status.items() if it.value == kind),
            tuple(text for text, it in entry.error_texts.items() if it.value == kind),
        )

    return {kind: meaning(kind) for kind in dict.fromkeys(_kinds(entry))}


def _kinds(entry: ProviderEntry) -> Iterator[str]:
    for table in (entry.error_map, entry.error_status, entry.error_texts):
        yield from (kind.value for kind in table.values())


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _site(url: str) -> str:
    """The last two labels of the host; of this machine, the port too."""
    host = _host(url)
    return urlsplit(url).netloc if is_loopback(host) else ".".join(host.split(".")[-2:])
