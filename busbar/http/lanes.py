"""Lanes: what it takes to reach each member. Read-only, made once from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from busbar.actors.credentials.wallet import Wallet
from busbar.actors.runtime import Clock
from busbar.config import Config, ProviderConfig
from busbar.credentials.assembly import credential_plans, wallets_of
from busbar.credentials.source import signer_of
from busbar.http.headers import media_type
from busbar.http.ports import UpstreamRequest
from busbar.protocols.failures import ErrorRules
from busbar.protocols.protocol import Operation, Protocol
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.signing import MalformedCredential, Signer, StaticSigner, make_signer


class Lane(Struct, frozen=True, kw_only=True):
    """The way to one model at one provider."""

    model: str
    provider: str
    protocol: Protocol
    upstream_model: str
    base_url: str
    path: str | None
    """This and the next two may hold `{model}`."""
    stream_path: str | None = None
    count_path: str | None = None
    changes: Mapping[str, object] = {}
    """Fields of the body's top level that this provider wants otherwise; None: it wants none of that name."""
    auth_style: str
    signer: Signer | None
    """None where the caller's own key goes upstream, or what the wallet holds."""
    wallet: Wallet | None = None
    """Where the provider's credential may change: what can be used now."""
    headers: Mapping[str, str]
    rules: ErrorRules
    default_max_tokens: int
    prefill: bool = False
    """The model goes on from a last turn of its own."""

    def head(self, *, stream: bool, operation: Operation = "chat", forwarded: Mapping[str, str]) -> RequestHead:
        """What goes out before the body. `forwarded` are the caller's allowed headers; the provider's own win over
        them."""
        headers = {
            "content-type": "application/json",
            "accept": media_type(self.protocol.stream_content_type) if stream else "application/json",
            "accept-encoding": "identity",
            "user-agent": "busbar",
            **self.protocol.required_headers,
            **forwarded,
            **self.headers,
        }
        return RequestHead(self, self.base_url + self._path(stream, operation), headers)

    @property
    def takes_callers_key(self) -> bool:
        """Whether it is the caller's own key that goes upstream."""
        return self.signer is None and self.wallet is None

    def callers_own(self, key: str | None) -> Signer:
        """Of the caller's key, never of an empty one: for some styles that means the process's own credential. Raises
        `MalformedCredential`."""
        if not key:
            raise MalformedCredential("No API key was provided.")
        return make_signer(self.auth_style, key)

    def _path(self, stream: bool, operation: Operation) -> str:
        model = self.upstream_model
        if operation == "count_tokens":
            assert self.protocol.count_path is not None, "only dialects that count have the route"
            return _filled(self.count_path, model) or self.protocol.count_path(model)
        template = (self.stream_path if stream else None) or self.path
        return _filled(template, model) or self.protocol.egress_path(model, stream)

    def changes_for(self, operation: Operation) -> Mapping[str, object]:
        """What of `changes` applies. Where tokens are counted, the body names the model whatever the path says."""
        if operation == "count_tokens" and "model" in self.changes:
            return {name: value for name, value in self.changes.items() if name != "model"}
        return self.changes

    def __repr__(self) -> str:
        return f"Lane({self.model} at {self.provider})"


class RequestHead:
    """What goes out before a body: the same for all requests of one kind, but for how they are signed."""

    __slots__ = ("_headers", "_kept", "_signed", "lane", "url")

    def __init__(self, lane: Lane, url: str, headers: dict[str, str]) -> None:
        self.lane = lane
        self.url = url
        self._headers = headers
        self._signed = isinstance(lane.signer, StaticSigner)
        """Whether `_headers` are all that there is to say, whatever the body."""
        if self._signed and lane.signer is not None:
            headers.update(lane.signer.sign("POST", url, headers, b"", 0.0))
        self._kept: dict[str, Any] = {}

    def __repr__(self) -> str:
        """Without its headers: a credential is among them."""
        return f"RequestHead({self.url})"

    def request(self, body: bytes, caller_key: str | None, clock: Clock, signer: Signer | None) -> UpstreamRequest:
        """`signer`: of a credential out of the wallet. Raises `MalformedCredential` when the caller's key cannot be
        sent as this provider wants it."""
        lane = self.lane
        if self._signed and signer is None:
            return UpstreamRequest(self.url, self._headers, body, "POST", lane.model, None, self._kept)
        signer = signer or lane.signer or lane.callers_own(caller_key)
        headers = {**self._headers}
        headers.update(signer.sign("POST", self.url, headers, body, clock.time()))
        return UpstreamRequest(self.url, headers, body, model=lane.model)


def _filled(template: str | None, model: str) -> str | None:
    return template and template.replace("{model}", quote(model, safe="@:"))


def build_lanes(config: Config, wallets: Mapping[str, Wallet] | None = None) -> dict[str, Lane]:
    """One lane for each model. `wallets`: by provider, of those whose credential is not one fixed key; None: some
    that nobody fills. Raises `MalformedCredential`."""
    wallets = wallets_of(credential_plans(config)) if wallets is None else wallets
    passthrough = config.auth.mode == "passthrough"
    lanes = {}
    for model in config.models.values():
        provider = config.providers[model.provider]
        wallet = wallets.get(provider.name)
        callers_own = passthrough and provider.auth != "none"
        lanes[model.name] = Lane(
            model=model.name,
            provider=provider.name,
            protocol=PROTOCOLS[provider.protocol],
            upstream_model=model.upstream_model,
            base_url=provider.base_url,
            path=provider.path,
            stream_path=provider.stream_path,
            count_path=provider.count_path,
            changes=provider.body,
            auth_style=provider.auth,
            signer=None if callers_own or wallet is not None else _fixed(provider),
            wallet=wallet,
            headers=provider.wire_headers(),
            rules=provider.error_rules,
            default_max_tokens=model.default_max_tokens,
            prefill=model.prefill,
        )
    return lanes


def _fixed(provider: ProviderConfig) -> Signer:
    """Of the one key that there is, or of none."""
    if provider.api_key is None:
        return make_signer(provider.auth, "")
    return signer_of(provider.auth, provider.api_key, provider.identity.region)
