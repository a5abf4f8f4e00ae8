"""From a configuration to the accounts that need an actor: the port between the two, and what is minted where."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.actors.credentials.wallet import CredentialPlan, KeyPlan, Wallet
from busbar.config import Config, ProviderConfig
from busbar.config.credentials import TOKEN_STYLES
from busbar.config.reach import Reach
from busbar.config.schema import KeySource
from busbar.credentials.key_sources import CommandKey, FileKey
from busbar.credentials.minting import Minter
from busbar.credentials.source import MintingSource, signer_of

FILE_LOOK_SECS = 1.0
"""How often it is looked whether a file holds another key."""


def credential_plans(config: Config, before: Mapping[str, CredentialPlan] | None = None) -> dict[str, CredentialPlan]:
    """The accounts whose credential is more than one fixed key, by provider. An account that is configured as it was
    `before` keeps its plan: the same object, with the same wallet and what is in it.

    Raises `MalformedCredential` for a key that cannot be sent as the provider wants it.
    """
    if config.auth.mode == "passthrough":
        return {}
    plans = {}
    for name, provider in config.providers.items():
        if not needs_an_actor(provider):
            continue
        made_from = (provider.auth, provider.keys, provider.identity, config.security.allow_private)
        known = (before or {}).get(name)
        if known is None or known.made_from != made_from:
            known = _plan(provider, Reach(config.security.allow_private), made_from)
        plans[name] = known
    return plans


def wallets_of(plans: Mapping[str, CredentialPlan]) -> dict[str, Wallet]:
    """By provider: what the lanes look at."""
    return {name: plan.wallet for name, plan in plans.items()}


def needs_an_actor(provider: ProviderConfig) -> bool:
    """Whether its credential may change while the gateway runs, or is one of several."""
    if provider.auth == "none":
        return False
    if not provider.keys:
        return provider.auth in TOKEN_STYLES or provider.auth == "sigv4"
    return len(provider.keys) > 1 or provider.keys[0].value is None


def minter_of(provider: ProviderConfig, reach: Reach) -> Minter:
    """What mints this provider's tokens: for auth styles without a key. Clients of clouds are loaded for those who
    need them only."""
    identity = provider.identity
    match provider.auth:
        case "gcp-oauth":
            from busbar.credentials.gcp import gcp_minter

            return gcp_minter(identity, reach)
        case "entra":
            from busbar.credentials.entra import entra_minter

            return entra_minter(identity, reach)
        case "oauth":
            from busbar.credentials.oauth import oauth_minter

            return oauth_minter(identity, reach)
        case "sigv4":
            from busbar.credentials.aws import aws_minter

            return aws_minter(identity, reach)
        case other:
            raise ValueError(f"nothing is minted for auth {other}")


def _plan(provider: ProviderConfig, reach: Reach, made_from: object) -> CredentialPlan:
    if provider.keys:
        kind = "keys"
        keys = tuple(_key_plan(provider, number, key) for number, key in enumerate(provider.keys, 1))
    else:
        kind = provider.auth
        style = "bearer" if provider.auth in TOKEN_STYLES else provider.auth
        source = MintingSource(provider.name, style, minter_of(provider, reach))
        keys = (KeyPlan(origin=provider.auth, source=source),)
    wallet = Wallet(several=len(keys) > 1)
    return CredentialPlan(provider=provider.name, kind=kind, keys=keys, wallet=wallet, made_from=made_from)


def _key_plan(provider: ProviderConfig, number: int, key: KeySource) -> KeyPlan:
    name, region = f"{provider.name}-{number}", provider.identity.region
    if key.value is not None:
        origin = "env" if key.env is not None else "value"
        return KeyPlan(origin=origin, credential=signer_of(provider.auth, key.value, region))
    if key.file is not None:
        source = MintingSource(name, provider.auth, FileKey(key.file), default_region=region)
        return KeyPlan(origin="file", source=source, refresh_secs=FILE_LOOK_SECS, renewal_secs=0.0)
    assert key.command is not None, "the resolver has checked that each source is one of four"
    source = MintingSource(name, provider.auth, CommandKey(key.command), default_region=region)
    return KeyPlan(origin="command", source=source, refresh_secs=key.refresh_secs)
