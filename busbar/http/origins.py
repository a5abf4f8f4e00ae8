"""Web pages behind requests: a browser sends what any page tells it to, to this machine too.

It also says so. `Origin` and `Sec-Fetch-Site` are headers that no page can forge. Where nothing else is asked of a
caller, they tell the operator's own page from a stranger's; and `Host` shows a stranger's name that was pointed here
(DNS rebinding), whose pages would pass for our own.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from busbar.config.providers import is_loopback


def names_this_machine(request: web.BaseRequest) -> bool:
    """Whether the header Host is an address or `localhost`, which nobody else can point elsewhere. A request without
    it (HTTP/1.0) comes from no browser."""
    host = request.headers.get("host", "localhost")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name != "localhost" and not name.endswith(".localhost"):
            ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def from_own_page(request: web.BaseRequest) -> bool:
    """Whether no page is behind the request, or one that came from here. A proxy in front passes the Host that the
    browser sent, or says it in `X-Forwarded-Host`."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    return all(_is_own(origin, request) for origin in request.headers.getall("origin", []))


def from_web_page(request: web.BaseRequest) -> bool:
    """Whether a page of somebody else's on the web is behind the request: of a name that was pointed here, or of
    another origin. Programs on this machine that are built like pages (`app://…`, `vscode-webview://…`) are none, nor
    are pages that this machine serves."""
    origins = request.headers.getall("origin", [])
    return bool(origins) and (not names_this_machine(request) or any(_is_of_the_web(it, request) for it in origins))


def _is_of_the_web(origin: str, request: web.BaseRequest) -> bool:
    try:
        parts = urlsplit(origin)
        local = is_loopback(parts.hostname or "")
    except ValueError:
        return True
    of_the_web = parts.scheme in ("http", "https", "")  # a sandbox, on any page, says `null`
    return of_the_web and not local and not _is_own(origin, request)


def _is_own(origin: str, request: web.BaseRequest) -> bool:
    _, found, authority = origin.partition("://")
    return bool(found) and authority in (request.headers.get("host"), request.headers.get("x-forwarded-host"))
