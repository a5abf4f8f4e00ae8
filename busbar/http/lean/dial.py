"""Connecting: names to addresses that may be dialled, both IP families at once (RFC 8305), TLS."""

from __future__ import annotations

import asyncio
import ssl

import aiohappyeyeballs

from busbar.http.lean.connection import Connection, Keeper
from busbar.http.lean.target import Origin
from busbar.http.ports import UpstreamBroken
from busbar.protocols.failures import FailureClass
from busbar.reached import Lookup

FAMILY_DELAY_SECS = 0.25
"""The second family's start, when the first has not connected until then (RFC 8305 §5). By aiohappyeyeballs, as
aiohttp does it: uvloop's `create_connection` has no `happy_eyeballs_delay`."""

SESSIONS_MAX = 256
"""TLS sessions that are remembered, one for each host."""


class SessionContext(ssl.SSLContext):
    """A client's context that resumes each host's last session: asyncio has no argument for one, but makes its TLS
    objects here."""

    _sessions: dict[str, ssl.SSLSession]

    def remember(self, host: str, session: ssl.SSLSession | None) -> None:
        if session is not None:
            if len(self._sessions) >= SESSIONS_MAX and host not in self._sessions:
                self._sessions.clear()
            self._sessions[host] = session

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        if session is None and isinstance(server_hostname, str):
            session = self._sessions.get(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def client_context() -> SessionContext:
    """Certificates and names are verified against the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` count).
    Reading those takes tens of milliseconds, once."""
    context = SessionContext(ssl.PROTOCOL_TLS_CLIENT)
    context._sessions = {}
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Opens connections, each within `connect_timeout_secs` from the name's look-up to the end of TLS's handshake."""

    def __init__(self, connect_timeout_secs: float, lookup: Lookup, context: SessionContext | None = None) -> None:
        self._lookup = lookup
        self._timeout_secs = connect_timeout_secs
        self._context = context

    async def dial(self, origin: Origin, keeper: Keeper) -> Connection:
        """Raises `UpstreamBroken`."""
        timeout = asyncio.timeout(self._timeout_secs)
        try:
            async with timeout:
                return await self._connect(origin, keeper)
        except (OSError, UnicodeError) as error:
            kind = FailureClass.TIMEOUT if timeout.expired() else FailureClass.NETWORK
            raise UpstreamBroken(kind, type(error).__name__) from None

    def served(self, connection: Connection) -> None:
        """Its first answer is whole: by now a TLS 1.3 server has sent its tickets."""
        if connection.origin.tls and self._context is not None and connection.tls is not None:
            self._context.remember(_server_name(connection.origin), connection.tls.session)

    async def _connect(self, origin: Origin, keeper: Keeper) -> Connection:
        loop = asyncio.get_running_loop()
        infos = await self._lookup.addresses("https" if origin.tls else "http", origin.host, origin.port)
        sock = await aiohappyeyeballs.start_connection(
            infos, happy_eyeballs_delay=FAMILY_DELAY_SECS, interleave=1, loop=loop
        )
        connection = Connection(origin, keeper)
        if origin.tls:
            if self._context is None:
                self._context = client_context()
            await loop.create_connection(
                lambda: connection, sock=sock, ssl=self._context, server_hostname=_server_name(origin)
            )
        else:
            await loop.create_connection(lambda: connection, sock=sock)
        return connection


def _server_name(origin: Origin) -> str:
    return origin.host.rstrip(".")
