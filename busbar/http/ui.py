"""The live page at `/ui`: static files from the package, known by name.

They hold nothing but the page itself, so anybody may have them. All that it shows it asks for at `/stats` and
`/admin`, which want a token where the configuration says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files

from aiohttp import web
from msgspec import Struct

from busbar.http.dispatch import Controls, beneath

PREFIX = "/ui/"
INDEX = "index.html"

MODULES = (
    *("actors", "announce", "api", "app", "circuits", "diagram", "dom", "faults", "format", "keys", "members"),
    *("rates", "requests", "store", "stream", "token"),
)
CONTENT_TYPES: Mapping[str, str] = {
    INDEX: "text/html; charset=utf-8",
    "ui.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **{f"{name}.js": "text/javascript; charset=utf-8" for name in MODULES},
}
"""All the files that there are, by name."""

HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-cache",
}
"""Nothing from other hosts, no inline scripts or styles, no HTML made of strings, no frame around it. `no-cache`: a
browser asks each time whether its copy is still good, so that a page never meets a gateway of another version."""


class _File(Struct, frozen=True):
    body: bytes
    content_type: str
    etag: str


class Ui:
    """Reads the files once. Raises FileNotFoundError when the package was installed without one of them."""

    def __init__(self) -> None:
        folder = files("busbar") / "ui"
        self._files = {name: _file((folder / name).read_bytes(), kind) for name, kind in CONTENT_TYPES.items()}

    @property
    def pages(self) -> Controls:
        return {
            (method, path): page
            for path, page in ((PREFIX.rstrip("/"), self.enter), (PREFIX, self.file))
            for method in ("GET", "HEAD")
        }

    async def enter(self, _request: web.BaseRequest) -> web.Response:
        """To the folder, by a relative way: in front of the gateway there may be a proxy that adds a prefix."""
        return web.Response(status=302, headers={**HEADERS, "location": PREFIX.lstrip("/")})

    async def file(self, request: web.BaseRequest) -> web.Response:
        """One of the files, or 304 when the caller has it already."""
        found = self._files.get(beneath(request, PREFIX) or INDEX)
        if found is None:
            return web.Response(status=404, text="There is no such file.\n", headers=HEADERS)
        headers = {**HEADERS, "etag": found.etag}
        if found.etag in _tags(request.headers.get("if-none-match", "")):
            return web.Response(status=304, headers=headers)
        return web.Response(body=found.body, headers={**headers, "content-type": found.content_type})


def _file(body: bytes, content_type: str) -> _File:
    return _File(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')


def _tags(header: str) -> set[str]:
    """The entity tags of an `if-none-match`; a weak one is as good as a strong one (RFC 9110, 13.1.2)."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
