"""The proxies that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), read once."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

ORIGINS_MAX = 1024
"""Origins whose answer is remembered; a configuration has far fewer."""


class EnvironmentProxies:
    """Which proxy, if any, leads to a URL. `.netrc` is not read: its logins are nobody's business but its owner's."""

    def __init__(self) -> None:
        self._proxies = urllib.request.getproxies()
        self._known: dict[str, str | None] = {}

    def for_url(self, url: str) -> str | None:
        if not self._proxies:
            return None
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._known:
            if len(self._known) >= ORIGINS_MAX:
                self._known.clear()
            self._known[origin] = self._look_up(parts.scheme, parts.hostname or "", parts.netloc)
        return self._known[origin]

    def _look_up(self, scheme: str, host: str, netloc: str) -> str | None:
        if urllib.request.proxy_bypass(host) or urllib.request.proxy_bypass(netloc):
            return None
        return self._proxies.get(scheme) or self._proxies.get("all")
