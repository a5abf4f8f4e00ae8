"""The way to the OTLP receiver: the exporter's `requests` session, made to dial only what was checked.

Imported in the exporter's thread, where there are traces. Redirects lead nowhere, and `.netrc` is not read. With a
proxy of the environment the proxy does the dialling.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter

from busbar.config.reach import Reach
from busbar.reached import AddressInfo, Lookup

_PORTS = {"http": 80, "https": 443}


def otlp_session(url: str, reach: Reach) -> requests.Session:
    """A session for `url` and nothing else."""
    session = requests.Session()
    session.auth = _as_it_is  # else requests would look into `.netrc`
    session.adapters.clear()
    parts = urlsplit(url)
    session.mount(f"{parts.scheme}://", CheckedAdapter(url, Lookup(reach, "telemetry")))
    return session


class CheckedAdapter(HTTPAdapter):
    """Dials the addresses that passed, in turn until one answers; TLS and the header Host know the name."""

    def __init__(self, url: str, lookup: Lookup) -> None:
        parts = urlsplit(url)
        self._scheme, self._authority, self._host = parts.scheme, parts.netloc, parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._lookup = lookup
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        if self._scheme == "https":
            options |= {"server_hostname": self._host.rstrip("."), "assert_hostname": self._host.rstrip(".")}
        super().init_poolmanager(connections, maxsize, block, **options)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Raises `RefusedAddress` as a `requests.ConnectionError`."""
        assert request.url is not None, "it is prepared"
        if requests.utils.select_proxy(request.url, proxies):
            return _arrived(super().send(request, stream, timeout, verify, cert, proxies))
        written = urlsplit(request.url)
        request.headers["host"] = self._authority
        failure: requests.ConnectionError | None = None
        for address in self._addresses():
            request.url = urlunsplit(written._replace(netloc=address))
            try:
                answer = super().send(request, stream, timeout, verify, cert)
            except requests.ConnectionError as error:
                failure = error
            else:
                return _arrived(answer)
        assert failure is not None, "there is at least one address"
        raise failure

    def _addresses(self) -> list[str]:
        """Each with its port, as it stands in a URL."""
        try:
            found: list[Any] = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
            allowed = self._lookup.allowed(self._scheme, self._host, found)
        except (OSError, UnicodeError) as error:
            raise requests.ConnectionError(str(error)) from None
        return [_shown(info, self._port) for info in allowed]


def _arrived(answer: requests.Response) -> requests.Response:
    """A redirect would lead to what was not checked; and taken for an answer it would pass for success."""
    if answer.is_redirect:
        answer.close()
        raise requests.ConnectionError(f"it answered {answer.status_code}")
    return answer


def _shown(info: AddressInfo, port: int) -> str:
    address = info[4][0]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
