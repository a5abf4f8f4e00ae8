"""Who may call: the caller's key, found in any of its carriers and compared in constant time."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec import Struct

from busbar.actors.governance.keyring import Keyring
from busbar.actors.governance.scopes import VirtualKey
from busbar.actors.runtime import Clock
from busbar.config import Secret
from busbar.http.ports import Exchange, remember
from busbar.protocols.signing.sigv4_verify import BadSignature, Claim, claim_of, verify

_BEARER = re.compile(r"\s*bearer\s+(\S+)\s*\Z", re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e]{1,4096}\Z")


class Refused(Exception):
    """The caller has no key, or a wrong one. The text is safe to show."""


class NotReady(Exception):
    """It is not known yet which keys there are."""


class Caller(Struct, frozen=True):
    """Who calls. `key` is the caller's own, kept only where it goes upstream (`passthrough`)."""

    key: str | None = None
    virtual: VirtualKey | None = None
    """The key that it holds, where there is governance. None for the operator's own tokens."""
    claim: Claim | None = None
    """It says that it signed the request: to be verified once the body is there."""

    def __repr__(self) -> str:
        return "Caller()"


class Keys(Struct, frozen=True):
    """The virtual keys, where there is governance. `aws_secret`: the secret half of an AWS-shaped pair by its public
    half; None: there is none any more."""

    keyring: Keyring
    clock: Clock
    aws_secret: Callable[[str], str | None]

    def check(self, key: VirtualKey) -> None:
        """Whether it is in force. Raises `Refused`."""
        if not key.enabled:
            raise Refused("The API key is disabled.")
        if key.expires_at is not None and key.expires_at <= self.clock.time():
            raise Refused("The API key has expired.")


class Doorkeeper:
    """Decides by `auth.mode`: `none` lets everybody in, `token` knows its keys, `passthrough` wants any. With
    `keys`, a virtual key is wanted, unless it is a token."""

    def __init__(
        self,
        mode: Literal["none", "token", "passthrough"],
        tokens: Iterable[str] = (),
        keys: Keys | None = None,
        admin_token: Secret | None = None,
    ) -> None:
        self._mode = mode
        self._admin_token = admin_token
        self._tokens = [token.encode() for token in tokens] if mode == "token" else []
        self._keys = keys

    @property
    def passthrough(self) -> bool:
        return self._mode == "passthrough"

    @property
    def governed(self) -> bool:
        """Whether callers hold virtual keys."""
        return self._keys is not None

    def recognise(self, exchange: Exchange) -> Caller:
        """`admit` for a request. Fixed tokens say the same of the connection's next request with the same head."""
        memo = exchange.memo
        if memo is None or self._keys is not None:
            return self.admit(exchange.headers, exchange.query)
        caller: Caller | None = memo.get(self)
        if caller is None:
            caller = self.admit(exchange.headers, exchange.query)
            remember(memo, self, caller)
        return caller

    def admit(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Caller:
        """Raises `Refused`, `NotReady`. Several carriers may hold keys; in `token` mode one right key is enough."""
        if self._mode == "none" and self._keys is None:
            return Caller()
        keys = presented_keys(headers, query)
        if self._mode == "passthrough" and keys:
            return Caller(keys[0])
        if sum(self._known(key) for key in keys):
            return Caller()
        if self._keys is not None:
            return self._holder(self._keys, keys, headers)
        raise _refused(keys)

    def is_operator(self, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether one of the keys is the admin token, or one of `auth.client_tokens`."""
        token = sum(self._known(key) for key in presented_keys(headers, query)) > 0
        return holds_admin_token(self._admin_token, headers) or token

    def verify(self, caller: Caller, exchange: Exchange, body: bytes) -> None:
        """Whether a caller that says that it signed did. Raises `Refused`."""
        if caller.claim is None:
            return
        assert self._keys is not None, "only a virtual key's pair can sign"
        secret = self._keys.aws_secret(caller.claim.access_key_id)
        if secret is None:
            raise Refused("The security token included in the request is invalid.")
        try:
            verify(
                caller.claim,
                secret=secret,
                method=exchange.method,
                raw_path=exchange.path,
                query=exchange.raw_query,
                headers=exchange.headers,
                body=body,
                now=self._keys.clock.time(),
            )
        except BadSignature as bad:
            raise Refused(str(bad)) from None
        assert caller.virtual is not None, "it was found by the pair"
        self._keys.check(caller.virtual)

    def _holder(self, keys: Keys, presented: list[str], headers: Mapping[str, str]) -> Caller:
        """The caller as the holder of a virtual key that is in force."""
        found = next((key for secret in presented if (key := keys.keyring.find(secret)) is not None), None)
        claim = None
        if found is None:
            try:
                claim = claim_of(headers.get("authorization", ""))
            except BadSignature as bad:
                raise Refused(str(bad)) from None
            found = None if claim is None else keys.keyring.find_aws(claim.access_key_id)
        if not keys.keyring.ready:
            raise NotReady
        if found is None:
            raise _refused(presented or claim)
        if claim is None:  # who only claims to have signed is told nothing of the key
            keys.check(found)
        return Caller(virtual=found, claim=claim)

    def _known(self, key: str) -> bool:
        """Compares with every token, so that the time says nothing about which one was near."""
        presented = key.encode()
        return sum(hmac.compare_digest(presented, token) for token in self._tokens) > 0


def holds_admin_token(token: Secret | None, headers: Mapping[str, str]) -> bool:
    """In constant time, whichever of the two headers holds it."""
    keys = (headers.get("x-admin-token"), bearer_token(headers))
    return token is not None and sum(token.matches(key) for key in keys if key is not None) > 0


def _refused(presented: object) -> Refused:
    return Refused("The API key is not valid." if presented else "No API key was provided.")


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """What stands behind `Authorization: Bearer`."""
    bearer = _BEARER.match(headers.get("authorization", ""))
    return bearer.group(1) if bearer else None


def presented_keys(headers: Mapping[str, str], query: Mapping[str, str]) -> list[str]:
    """The well-formed keys that a caller presents, in order: bearer, `x-api-key`, `api-key`, `x-goog-api-key`,
    `?key=`. A malformed one counts as none."""
    candidates = (
        bearer_token(headers),
        headers.get("x-api-key"),
        headers.get("api-key"),
        headers.get("x-goog-api-key"),
        query.get("key"),
    )
    return [key for key in candidates if key is not None and _KEY.match(key)]
