"""A token server on real sockets, plain and by TLS, that can be told to misbehave.

What it grants is decided by `Issuers`, which check signatures, secrets and times as the real ones do. Its certificate
is good for the issuers' real names, so clients use the real URLs; only where a name leads to is another matter.
"""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from certificates import Certificates
from msgspec import Struct

from busbar.config.reach import Reach
from busbar.credentials.token_http import TokenHttp

NAMES = (
    *("oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"),
    *("login.microsoftonline.com", "login.microsoftonline.us", "login.example", "tokens.example"),
)
LOOPBACK = "127.0.0.1"


class Asked(Struct, frozen=True):
    """A request as it came."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=bool(self.body)))


class Reply(Struct, frozen=True):
    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    late: bool = False
    """Answered when the test is over."""
    dripping: bool = False
    """The status line byte by byte, until nobody listens."""


class TokenServer:
    """`answer` gives the reply to each request, unless one was put into `faults` before."""

    def __init__(self, answer: Callable[[Asked], Reply], clock: Callable[[], float]) -> None:
        self._answer = answer
        self._clock = clock
        self._over = threading.Event()
        self.asked: list[Asked] = []
        self.faults: deque[Reply] = deque()
        self.names: list[str | None] = []
        """That TLS was asked for."""

    def __enter__(self) -> TokenServer:
        with tempfile.TemporaryDirectory() as folder:
            made = Certificates(Path(folder))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*made.server(*NAMES))
            self.authority = made.authority.read_text()
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._servers = [_Listener(self, None), _Listener(self, context)]
        self.port, self.tls_port = (server.server_port for server in self._servers)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def client(self, *allowed: str, timeout_secs: float = 10.0) -> TokenHttp:
        """A client for which the whole internet is this server. Without `allowed`, loopback is no private network."""
        context = ssl.create_default_context(cadata=self.authority)
        return TokenHttp(
            Reach(allowed or (LOOPBACK,)),
            resolve=lambda _host, port: [(LOOPBACK, self.tls_port if port == 443 else port)],
            context=context,
            proxies=lambda _url: None,
            timeout_secs=timeout_secs,
        )

    def reply_to(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return self.faults.popleft() if self.faults else self._answer(asked)

    def date(self) -> str:
        return formatdate(self._clock(), usegmt=True)

    def wait_until_over(self) -> None:
        self._over.wait(30)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: TokenServer, context: ssl.SSLContext | None) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.owner = owner
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._context is not None:
            request = self._context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up, which is its right."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        owner = self.server.owner
        target = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            host=self.headers.get("host", ""),
            path=target.path,
            query=dict(parse_qsl(target.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("content-length", "0"))),
        )
        reply = owner.reply_to(asked)
        if reply.late:
            owner.wait_until_over()
        if reply.dripping:
            while not owner._over.wait(0.005):
                self.wfile.write(b"H")
            return
        self.send_response_only(reply.status)
        headers = {"date": owner.date(), "content-type": "application/json", "content-length": str(len(reply.body))}
        for name, value in {**headers, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    do_POST = do_PUT = do_GET  # noqa: N815
