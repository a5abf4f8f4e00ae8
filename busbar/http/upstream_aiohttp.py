"""The reference upstream: aiohttp's client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace

import aiohttp
from yarl import URL

from busbar.config.reach import Reach
from busbar.http.ports import Sink, UpstreamAnswer, UpstreamBroken, UpstreamRequest
from busbar.http.proxies import EnvironmentProxies
from busbar.protocols.failures import FailureClass
from busbar.reached import CheckedResolver, Lookup, reason_of

SILENCE_SECS_MAX = 600.0
"""A provider that sends nothing for so long is given up, whatever else is configured."""

KEEPALIVE_SECS = 30.0

STALE_TRIES = 3
"""How often a request is sent at most, when it meets connections that the provider has just closed."""


class AiohttpUpstream:
    """Pooled keep-alive connections, `connections_max` each by http, by https, and through a proxy; no cookies, no
    redirects, environment proxies honoured. What a proxy dials is the proxy's business."""

    def __init__(self, *, connect_timeout_secs: float, connections_max: int, reach: Reach | None = None) -> None:
        self._proxies = EnvironmentProxies()
        self._lookup = Lookup(reach or Reach(), "provider")
        self._connector = partial(aiohttp.TCPConnector, limit=connections_max, keepalive_timeout=KEEPALIVE_SECS)
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        """By scheme, and one for what goes through a proxy."""
        self._new_session = partial(
            aiohttp.ClientSession,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=connect_timeout_secs, sock_read=SILENCE_SECS_MAX
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            # It would read `.netrc` for every request, and send what it finds there to providers.
            trust_env=False,
            trace_configs=[_reuse_noted()],
            # Ours or the caller's allowed headers only; aiohttp would add its own.
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
        )

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        for more in reversed(range(STALE_TRIES)):
            noted = SimpleNamespace(reused=False, on_connected=request.on_connected)
            try:
                return AiohttpAnswer(await self._request(request, noted))
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError) as error:
                # The provider closed an idle connection just as it was used again. Not one byte of an answer came,
                # so the request is sent once more (RFC 9112 §9.3.1); a new connection is never given a second try.
                if not (noted.reused and more):
                    raise _broken(error) from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _broken(error) from None
        raise AssertionError("the last try answers or raises")

    async def _request(self, request: UpstreamRequest, noted: SimpleNamespace) -> aiohttp.ClientResponse:
        self._lookup.check(request.url)
        url = URL(request.url, encoded=True)  # signed as it stands: not to be quoted anew
        proxy = self._proxies.for_url(request.url)
        return await self._session(url.scheme if proxy is None else "proxy").request(
            request.method,
            url,
            data=request.body,
            headers=request.headers,
            allow_redirects=False,
            proxy=proxy,
            trace_request_ctx=noted,
        )

    def _session(self, way: str) -> aiohttp.ClientSession:
        session = self._sessions.get(way)
        if session is None:
            resolver = None if way == "proxy" else CheckedResolver(self._lookup, way)
            session = self._sessions[way] = self._new_session(connector=self._connector(resolver=resolver))
        return session

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()


class AiohttpAnswer:
    """One answer of aiohttp's client."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._headers = {name.lower(): value for name, value in response.headers.items()}

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    async def stream(self, sink: Sink) -> None:
        content = self._response.content
        while True:
            try:
                data = await content.readany()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _broken(error) from None
            if not data:
                return
            waiting = sink(data)
            if waiting is not None:
                await waiting

    def close(self) -> None:
        # Releases a connection whose answer was read whole; closes any other.
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _broken(error: Exception) -> UpstreamBroken:
    timed_out = isinstance(error, TimeoutError | asyncio.TimeoutError)
    kind = FailureClass.TIMEOUT if timed_out else FailureClass.NETWORK
    return UpstreamBroken(kind, reason_of(error))


def _reuse_noted() -> aiohttp.TraceConfig:
    """Notes on a request's context whether it went over a connection that had served another before, and tells
    whoever wants to know that there is one."""

    async def reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.reused = True
        _tell_connected(context)

    async def created(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        _tell_connected(context)

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(reused)
    config.on_connection_create_end.append(created)
    return config


def _tell_connected(context: SimpleNamespace) -> None:
    if context.trace_request_ctx.on_connected is not None:
        context.trace_request_ctx.on_connected()
