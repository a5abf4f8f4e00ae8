"""What is refused before anybody asks where it leads: requests that are not what HTTP says, too large in their heads,
in an encoding that is not read, or sent by somebody else's web page. Always in the dialect of the path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from itertools import chain
from typing import TypeAlias

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from busbar.config import Config
from busbar.config.providers import is_loopback
from busbar.http.origins import from_own_page, from_web_page, names_this_machine
from busbar.http.routes import Routes
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.protocol import Hop
from busbar.protocols.registry import PROTOCOLS, by_headers

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

OPEN_PATHS = frozenset({"/healthz", "/api/hello"})
"""They tell and cost nothing, whoever asks."""

_READS = frozenset({"GET", "HEAD"})
_OPENING = re.compile(rb"[A-Z]{1,16} (/[!-~]{0,4000})")
_ROUTES = Routes(PROTOCOLS.values())

MALFORMED = ErrorReport(kind=ErrorKind.BAD_REQUEST, message="The request is not valid HTTP.")
HEAD_TOO_LARGE = ErrorReport(kind=ErrorKind.BAD_REQUEST, status=431, message="The request's headers are too large.")
NOT_A_PATH = ErrorReport(kind=ErrorKind.BAD_REQUEST, message="The request's target is not a path.")
ENCODED = ErrorReport(
    kind=ErrorKind.BAD_REQUEST,
    status=415,
    message="The body is in a content encoding that is not read here: send it as it is.",
)
TRANSFER = ErrorReport(kind=ErrorKind.BAD_REQUEST, message="The only transfer encoding that is read is `chunked`.")
FOREIGN_PAGE = ErrorReport(
    kind=ErrorKind.FORBIDDEN, message="Pages of other origins may not do this.", should_retry=False
)
FOREIGN_HOST = ErrorReport(
    kind=ErrorKind.FORBIDDEN,
    message="Ask for this by an address, or as `localhost`: nothing else guards it.",
    should_retry=False,
)
FAILED = ErrorReport(kind=ErrorKind.UPSTREAM, status=500, message="An internal error occurred.")


class Screen:
    """Stands in front of a handler."""

    def __init__(self, handler: Handler, config: Callable[[], Config]) -> None:
        """`config` gives the one that is in effect."""
        self._handler = handler
        self._config = config

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        report = self._report(request)
        if report is None:
            return await self._handler(request)
        answer = native_error(report, request.raw_path, request)
        if report is ENCODED:
            answer.headers["accept-encoding"] = "identity"
        answer.force_close()  # a body that was not read is not waited for
        return answer

    def _report(self, request: web.BaseRequest) -> ErrorReport | None:
        headers = request.headers
        if sum(map(len, chain.from_iterable(request.raw_headers))) > self._config().limits.headers_max_bytes:
            return HEAD_TOO_LARGE
        if not request.raw_path.startswith("/"):
            return NOT_A_PATH
        if headers.get("content-encoding", "identity").lower() != "identity":
            return ENCODED
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            return TRANSFER
        return self._page(request)

    def _page(self, request: web.BaseRequest) -> ErrorReport | None:
        """Why the web page that is behind the request may not send it."""
        path = request.raw_path.partition("?")[0]
        changes = request.method not in _READS
        if changes and path.startswith("/admin/"):  # these want a token besides
            return None if from_own_page(request) else FOREIGN_PAGE
        if path in OPEN_PATHS or (changes and "origin" not in request.headers) or not _unguarded(self._config()):
            return None
        if changes:
            return FOREIGN_PAGE if from_web_page(request) else None
        return None if names_this_machine(request) else FOREIGN_HOST


def _unguarded(config: Config) -> bool:
    """Whether nothing is asked of a caller, but to be on this machine. Then what browsers say counts."""
    open_to_all = config.auth.mode == "none" and not config.governance.enabled
    return open_to_all and not config.auth.open_telemetry_routes and is_loopback(config.listen_host)


def native_error(report: ErrorReport, target: str, request: web.BaseRequest | None = None) -> web.Response:
    """`report` in the dialect that the path or, where it has none, the headers show."""
    route = _ROUTES.match(target.partition("?")[0])
    dialect = by_headers({} if request is None else request.headers) if route is None else route.ingress
    answer = dialect.write_error(report, Hop())
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)


def answer_to_malformed(error: BaseException | None, status: int, opening: bytes) -> web.Response:
    """For a request that could not be read, or whose handler failed. `opening`: its first bytes. Nothing of it is
    repeated: a credential may stand anywhere."""
    if status >= 500:
        report = FAILED
    elif isinstance(error, LineTooLong) or "Too many headers" in str(error):
        report = HEAD_TOO_LARGE
    else:
        report = MALFORMED
    line = _OPENING.match(opening)
    answer = native_error(report, line[1].decode() if line else "")
    answer.force_close()
    return answer
