"""Names to addresses that may be dialled: looked up, put to `Reach`, and given to whoever dials exactly those.

Who looked a name up to check it and then dialled the name would be looking it up twice, and the second answer may be
another (DNS rebinding). Of several addresses the good ones are left; a name with no good one is refused.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from busbar.config.reach import Purpose, Reach

logger = logging.getLogger("busbar.reach")

AddressInfo: TypeAlias = tuple[int, int, int, str, Any]
"""As `socket.getaddrinfo` gives them: (family, type, protocol, canonical name, socket address)."""

SAID_AGAIN_SECS = 60.0
HOSTS_SAID_MAX = 256
"""A refusal is said once a minute for each host, however often it is tried."""


class RefusedAddress(OSError):
    """Where it leads must not be called. The text is safe to show to operators."""


def reason_of(error: Exception) -> str:
    """An error in one word for a log: its text may quote a URL, which may hold a token. aiohttp wraps a refusal."""
    return type(cause if isinstance(cause := getattr(error, "os_error", None), RefusedAddress) else error).__name__


class Lookup:
    """Looks up names for one purpose."""

    def __init__(self, reach: Reach, purpose: Purpose) -> None:
        self._reach = reach
        self._purpose = purpose
        self._said: dict[str, float] = {}

    async def addresses(self, scheme: str, host: str, port: int) -> list[AddressInfo]:
        """What may be dialled. Raises `RefusedAddress`, and OSError and UnicodeError as a resolver does."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        return self.allowed(scheme, host, found)

    def allowed(self, scheme: str, host: str, found: list[Any]) -> list[AddressInfo]:
        """Of the addresses that a resolver gave, those that may be dialled. Raises `RefusedAddress`."""
        good: list[AddressInfo] = []
        refusal: str | None = "it has no address"
        for info in found:
            refusal = self._reach.refusal(self._purpose, scheme, host, info[4][0])
            if refusal is None:
                good.append(info)
        if good:
            return good
        assert refusal is not None, "else there would be a good one"
        raise self._refused(host, refusal)

    def check(self, url: str) -> None:
        """What a URL shows by itself; it comes before a connection that somebody else makes. Raises
        `RefusedAddress`."""
        complaint = self._reach.complaint(self._purpose, url)
        if complaint is not None:
            raise self._refused(urlsplit(url).hostname or "", complaint)

    def _refused(self, host: str, reason: str) -> RefusedAddress:
        now = time.monotonic()
        if now - self._said.get(host, -SAID_AGAIN_SECS) >= SAID_AGAIN_SECS:
            if len(self._said) >= HOSTS_SAID_MAX:
                self._said.clear()
            self._said[host] = now
            logger.warning("%s %s is not called: %s", self._purpose, host, reason)
        return RefusedAddress(reason)


class CheckedResolver(AbstractResolver):
    """For aiohttp's connector, which dials what its resolver gives. (A host that is an address it does not ask about:
    `Lookup.check` the URL first.)"""

    def __init__(self, lookup: Lookup, scheme: str) -> None:
        self._lookup = lookup
        self._scheme = scheme

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, protocol, _, address in await self._lookup.addresses(self._scheme, host, port)
            if family in (socket.AF_UNSPEC, found)
        ]

    async def close(self) -> None:
        """It holds nothing."""


def checked_session(lookup: Lookup, scheme: str, connections_max: int, **options: Any) -> aiohttp.ClientSession:
    """A client's session for URLs of `scheme`, whose host names are checked as they are dialled; no cookies, no
    proxies and logins of the environment. `options`: as aiohttp's own."""
    connector = aiohttp.TCPConnector(limit=connections_max, resolver=CheckedResolver(lookup, scheme))
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, **options)
