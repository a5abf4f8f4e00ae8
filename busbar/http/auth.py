"""Who may call: the caller's key, found in any of its carriers and compared in constant time."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

_BEARER = re.compile(r"\s*bearer\s+(\S+)\s*\Z", re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e]{1,4096}\Z")


class Refused(Exception):
    """The caller has no key, or a wrong one. The text is safe to show."""


class Caller(Struct, frozen=True):
    """Who calls. `key` is the caller's own, kept only where it goes upstream (`passthrough`)."""

    key: str | None = None

    def __repr__(self) -> str:
        return "Caller()"


class Doorkeeper:
    """Decides by `auth.mode`: `none` lets everybody in, `token` knows its keys, `passthrough` wants any."""

    def __init__(self, mode: Literal["none", "token", "passthrough"], tokens: Iterable[str] = ()) -> None:
        self._mode = mode
        self._tokens = [token.encode() for token in tokens]

    @property
    def passthrough(self) -> bool:
        return self._mode == "passthrough"

    def admit(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Caller:
        """Raises `Refused`. Several carriers may hold keys; in `token` mode one right key is enough."""
        if self._mode == "none":
            return Caller()
        keys = presented_keys(headers, query)
        if not keys:
            raise Refused("No API key was provided.")
        if self._mode == "passthrough":
            return Caller(keys[0])
        if not sum(self._known(key) for key in keys):
            raise Refused("The API key is not valid.")
        return Caller()

    def _known(self, key: str) -> bool:
        """Compares with every token, so that the time says nothing about which one was near."""
        presented = key.encode()
        return sum(hmac.compare_digest(presented, token) for token in self._tokens) > 0


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
