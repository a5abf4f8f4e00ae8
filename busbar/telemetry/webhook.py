"""The request log's webhook: batches of records, POSTed to somebody's receiver as a JSON array."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from busbar.actors.request_log import Batch, Failed, Rejected, Result, Sent
from busbar.config.reach import Reach
from busbar.config.secret import Secret
from busbar.protocols.retry_after import retry_after_secs
from busbar.reached import Lookup, checked_session, reason_of

logger = logging.getLogger("busbar.telemetry")

DEADLINE_SECS = 5.0
"""From the lookup of the host's name to the status of the answer."""

CONNECTIONS_MAX = 1

_TRY_AGAIN = frozenset({408, 429})
"""With every 5xx. Any other 4xx says that the same request will never do (RFC 9110 §15.5)."""


class Webhook:
    """An `Outlet` to a URL.

    A batch is a POST with these headers, besides `content-type: application/json` and `user-agent: busbar`:

    `x-busbar-delivery`   the batch's id, the same when it is tried again: a receiver that has seen it may drop it
    `x-busbar-signature`  `sha256=` and the HMAC-SHA256 of the body in hexadecimal, if there is a secret

    2xx takes it. After 5xx, 408, 429, or no answer in time it may be tried again. Anything else rejects it, and so
    does a redirect.
    """

    def __init__(
        self,
        url: str,
        secret: Secret | None = None,
        *,
        reach: Reach | None = None,
        deadline_secs: float = DEADLINE_SECS,
    ) -> None:
        """Opens nothing. `reach`: whom it may call. `deadline_secs`: see `DEADLINE_SECS`."""
        self._lookup = Lookup(reach or Reach(), "webhook")
        self.name = _origin(url)
        self._url = url
        self._secret = secret
        self._deadline_secs = deadline_secs
        self._tasks: deque[tuple[Batch, Callable[[Result], None]]] = deque()
        """No bound of its own: who submits waits for the answer to one batch before the next."""
        self._working: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Webhook {self.name}{', closed' if self._closed else ''}>"

    def submit(self, batch: Batch, done: Callable[[Result], None]) -> None:
        """See `Outlet.submit`. After `close`, every batch fails.

        Raises:
            RuntimeError: no loop is running.
        """
        if self._closed:
            asyncio.get_running_loop().call_soon(done, Failed("it is closed"))
            return
        self._tasks.append((batch, done))
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def close(self, timeout_secs: float) -> None:
        """Send what was submitted, for at most so long; what is left then fails. Idempotent."""
        self._closed = True
        if self._working is not None:
            await asyncio.wait({self._working}, timeout=timeout_secs)
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait({self._working})
        while self._tasks:
            _, done = self._tasks.popleft()
            done(Failed("there was no time left"))
        if self._session is not None:
            await self._session.close()

    async def _work(self) -> None:
        """Until nothing is left to send."""
        try:
            while self._tasks:
                batch, done = self._tasks[0]
                result = await self._send(batch)
                self._tasks.popleft()
                done(result)
        finally:
            self._working = None

    async def _send(self, batch: Batch) -> Result:
        body = b"[" + b",".join(batch.records) + b"]"
        headers = {
            "content-type": "application/json",
            "user-agent": "busbar",
            "x-busbar-delivery": batch.id,
        }
        if self._secret is not None:
            headers["x-busbar-signature"] = signature(body, self._secret)
        try:
            async with asyncio.timeout(self._deadline_secs):
                return await self._dial(body, headers)
        except TimeoutError:
            return Failed(f"no answer within {self._deadline_secs:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Failed(reason_of(error))
        except Exception as error:  # supervises: the next batch is another matter
            logger.exception("the request log could not be sent")
            return Failed(type(error).__name__)

    async def _dial(self, body: bytes, headers: dict[str, str]) -> Result:
        """The only place where the URL is looked up and connected to, and no redirect leads anywhere else."""
        self._lookup.check(self._url)
        if self._session is None:
            self._session = checked_session(self._lookup, urlsplit(self._url).scheme, CONNECTIONS_MAX)
        async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
            return _verdict(response.status, {key.lower(): value for key, value in response.headers.items()})


def signature(body: bytes, secret: Secret) -> str:
    """For `x-busbar-signature`. A receiver makes it of the bytes that came, and compares in constant time."""
    return "sha256=" + hmac.new(secret.reveal().encode("utf-8", "surrogateescape"), body, hashlib.sha256).hexdigest()


def _verdict(status: int, headers: dict[str, str]) -> Result:
    if 200 <= status < 300:
        return Sent()
    reason = f"it answered {status}"
    if status >= 500 or status in _TRY_AGAIN:
        asked = {"retry-after": headers["retry-after"]} if "retry-after" in headers else {}
        return Failed(reason, retry_after_secs(asked, "", time.time()))
    return Rejected(reason)


def _origin(url: str) -> str:
    """As much of it as may be shown: a path, a query or a user's name may be a credential."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}"
