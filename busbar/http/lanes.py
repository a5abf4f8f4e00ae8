"""Lanes: what it takes to reach each member. Read-only, made once from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from msgspec import Struct

from busbar.config import Config
from busbar.http.headers import media_type
from busbar.http.ports import UpstreamRequest
from busbar.protocols.failures import ErrorRules
from busbar.protocols.protocol import Operation, Protocol
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.signing import MalformedCredential, Signer, make_signer


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
    """None where the caller's own key goes upstream."""
    headers: Mapping[str, str]
    rules: ErrorRules
    default_max_tokens: int
    prefill: bool = False
    """The model goes on from a last turn of its own."""

    def request(
        self,
        body: bytes,
        *,
        stream: bool,
        operation: Operation = "chat",
        forwarded: Mapping[str, str],
        caller_key: str | None,
        now: float,
    ) -> UpstreamRequest:
        """What goes out. `forwarded` are the caller's allowed headers; the provider's own win over them.

        Raises `MalformedCredential` when the caller's key cannot be sent as this provider wants it.
        """
        url = self.base_url + self._path(stream, operation)
        headers = {
            "content-type": "application/json",
            "accept": media_type(self.protocol.stream_content_type) if stream else "application/json",
            "accept-encoding": "identity",
            "user-agent": "busbar",
            **self.protocol.required_headers,
            **forwarded,
            **self.headers,
        }
        signer = self.signer or self._callers_own(caller_key)
        headers.update(signer.sign("POST", url, headers, body, now))
        return UpstreamRequest(url, headers, body, model=self.model)

    def _callers_own(self, key: str | None) -> Signer:
        """Never an empty key: for some styles that means the process's own credential."""
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


def _filled(template: str | None, model: str) -> str | None:
    return template and template.replace("{model}", quote(model, safe="@:"))


def build_lanes(config: Config) -> dict[str, Lane]:
    """One lane for each model. Raises `MalformedCredential`."""
    passthrough = config.auth.mode == "passthrough"
    lanes = {}
    for model in config.models.values():
        provider = config.providers[model.provider]
        key = provider.api_key.reveal() if provider.api_key is not None else ""
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
            signer=None if passthrough and provider.auth != "none" else make_signer(provider.auth, key),
            headers=provider.wire_headers(),
            rules=provider.error_rules,
            default_max_tokens=model.default_max_tokens,
            prefill=model.prefill,
        )
    return lanes
