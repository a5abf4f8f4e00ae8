"""A small HTTP client for token servers: blocking, for a thread of its own, and hard to lead astray.

A token URL decides where a secret is sent, and it may come from a file that somebody else wrote. So a name is
resolved first, every address is put to `busbar.config.reach`, and exactly an address that passed is dialled, by TLS
with the name checked. Redirects are answers like any other. A whole exchange has ten seconds (beside the resolver,
which has bounds of its own), an answer 64 KiB.

`TokenHttp` asks token servers. Where the environment names a proxy for https (`HTTPS_PROXY`, `ALL_PROXY`, but for
`NO_PROXY`), it is asked for a tunnel, and it resolves the name; the rule then is asked about the URL alone, and TLS
still checks the name. Plain http never goes through a proxy. `MetadataHttp` asks a metadata server: a fixed address
that the code knows, in clear, without proxies. Nothing that is configured leads there.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from msgspec import Struct

from busbar.config.reach import Reach
from busbar.credentials.minting import MintRefused
from busbar.http.proxies import EnvironmentProxies
from busbar.protocols.failures import FailureClass

if TYPE_CHECKING:
    from typing_extensions import Buffer

TIMEOUT_SECS = 10.0
"""For an exchange with a token server, to the answer's last byte."""

METADATA_TIMEOUT_SECS = 5.0
"""For one with a metadata server: it is near, or there is none."""

ANSWER_BYTES_MAX = 64 << 10
_PUBLIC_ADDRESS = "1.1.1.1"

ADDRESSES_MAX = 8
"""So many of a name's addresses are looked at."""

Resolve = Callable[[str, int], Sequence[tuple[str, int]]]
"""A host's name and port -> the addresses to dial, with ports. Raises OSError."""


class Answer(Struct, frozen=True):
    """What came back, whatever its status. Its `repr` shows no more than that."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes

    def json(self) -> object:
        """None for what is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def date(self) -> float | None:
        """The server's clock, in Unix seconds, where it says."""
        try:
            return parsedate_to_datetime(self.headers.get("date", "")).timestamp()
        except (ValueError, OverflowError, OSError):
            return None

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"


class TokenHttp:
    """Asks token servers that `reach` lets be called. What else can be given is for tests."""

    def __init__(
        self,
        reach: Reach,
        *,
        resolve: Resolve | None = None,
        context: ssl.SSLContext | None = None,
        proxies: Callable[[str], str | None] | None = None,
        timeout_secs: float = TIMEOUT_SECS,
    ) -> None:
        """`proxies` gives the proxy, if any, for a URL; None: as the environment says."""
        self._reach = reach
        self._resolve = resolve or _addresses
        self._context = context
        self._proxies = proxies or EnvironmentProxies().for_url
        self._timeout_secs = timeout_secs

    def post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """As HTML's forms are sent (RFC 6749 §4.4.2). Raises `MintRefused`."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self.request("POST", url, {**kind, **(headers or {})}, urlencode(form).encode("ascii"))

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Raises `MintRefused` where there is no answer: AUTH for a URL that may not be called, else NETWORK or
        TIMEOUT."""
        if complaint := self._reach.complaint("token", url):
            raise MintRefused(f"the token URL is refused: {complaint}", FailureClass.AUTH)
        target = urlsplit(url)
        line = _Line(time.monotonic() + self._timeout_secs)
        return _exchange(line, lambda: self._connect(line, target, url), target, method, headers, body)

    def named(self, host: str) -> bool:
        """Whether the operator has named `host` in `security.allow_private`, by its name or as an address: only then
        might plain http go there, whatever the address."""
        try:
            address = str(ip_address(host))
        except ValueError:
            address = _PUBLIC_ADDRESS
        return self._reach.refusal("token", "http", host, address) is None

    def _connect(self, line: _Line, target: SplitResult, url: str) -> None:
        host, port = target.hostname or "", target.port or (443 if target.scheme == "https" else 80)
        proxy = self._proxies(url) if target.scheme == "https" else None
        if proxy is not None:
            _tunnel(line, proxy, host, port)
        else:
            line.dial(self._allowed(target.scheme, host, port))
        if target.scheme == "https":
            line.encrypt(self._tls(), host)

    def _allowed(self, scheme: str, host: str, port: int) -> Sequence[tuple[str, int]]:
        """All of a name's addresses have to pass: one that does not says that the name is not what it should be."""
        found = self._resolve(host, port)[:ADDRESSES_MAX]
        for address, _ in found:
            if complaint := self._reach.refusal("token", scheme, host, address):
                raise MintRefused(f"the token server {host} is refused: {complaint}", FailureClass.AUTH)
        return found

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


class MetadataHttp:
    """Asks the metadata server at `base_url`, plain http, which is the caller's constant or comes from a variable
    that the cloud itself documents; never from a configuration or a credentials file."""

    def __init__(self, base_url: str, timeout_secs: float = METADATA_TIMEOUT_SECS) -> None:
        self._base_url = base_url
        self._timeout_secs = timeout_secs

    def get(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Raises `MintRefused` where there is no answer."""
        target = urlsplit(self._base_url + path + (f"?{urlencode(query)}" if query else ""))
        line = _Line(time.monotonic() + self._timeout_secs)
        place = [(target.hostname or "", target.port or 80)]
        return _exchange(line, lambda: line.dial(place), target, "GET", headers, None)


class _Line:
    """A connection with a deadline for all that is done on it. http.client takes it for a socket."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._sock: socket.socket | None = None

    def dial(self, places: Sequence[tuple[str, int]]) -> None:
        """The first that answers. Raises OSError."""
        last: OSError = OSError("no address")
        for number, place in enumerate(places):
            share = self._left_secs() / (len(places) - number)
            try:
                self._sock = socket.create_connection(place, timeout=share)
            except OSError as error:
                last = error
            else:
                return
        raise last

    def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        self._sock = context.wrap_socket(self._timed(), server_hostname=host.rstrip("."))

    def sendall(self, data: bytes) -> None:
        self._timed().sendall(data)

    def receive_into(self, buffer: memoryview) -> int:
        return self._timed().recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # http.client reads only
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()

    def _timed(self) -> socket.socket:
        assert self._sock is not None, "dial comes first"
        self._sock.settimeout(self._left_secs())
        return self._sock

    def _left_secs(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Incoming(io.RawIOBase):
    """What comes in, each read in what is left of the time: many small ones do not add up to more."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        return self._line.receive_into(memoryview(buffer))


def _exchange(
    line: _Line,
    connect: Callable[[], None],
    target: SplitResult,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> Answer:
    host = target.hostname or ""
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    connection = http.client.HTTPConnection(host, target.port)
    try:
        connect()
        connection.sock = line  # it has what http.client uses of a socket
        whole = {"user-agent": "busbar", "accept": "application/json", "host": target.netloc, "connection": "close"}
        connection.request(method, path, body, {**whole, **headers})
        response = connection.getresponse()
        content = response.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        _no_answer(host, error)
    finally:
        line.close()
    if len(content) > ANSWER_BYTES_MAX:
        raise MintRefused(f"{host} answered with more than {ANSWER_BYTES_MAX} bytes", FailureClass.SERVER_ERROR)
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def _no_answer(host: str, error: Exception) -> NoReturn:
    """By its type: the texts of these errors may repeat what was sent or received."""
    kind = FailureClass.TIMEOUT if isinstance(error, TimeoutError) else FailureClass.NETWORK
    raise MintRefused(f"no answer from {host}: {type(error).__name__}", kind) from None


def _addresses(host: str, port: int) -> Sequence[tuple[str, int]]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(str(info[4][0]), port) for info in infos]


def _tunnel(line: _Line, proxy: str, host: str, port: int) -> None:
    """RFC 9110 §9.3.6: CONNECT. Raises OSError when the proxy will not."""
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    line.dial([(parts.hostname or "", parts.port or 80)])
    named = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {named} HTTP/1.1\r\nhost: {named}\r\n"
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        head += f"proxy-authorization: Basic {base64.b64encode(login).decode()}\r\n"
    line.sendall(f"{head}\r\n".encode("ascii"))
    response = http.client.HTTPResponse(line, method="CONNECT")  # type: ignore[arg-type]
    response.begin()
    if response.status != 200:
        raise ConnectionError(f"the proxy answered {response.status}")
