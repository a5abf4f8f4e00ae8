"""How a request to a provider is signed: a seam of its own, apart from the protocols.

Any provider may speak any dialect with any of these. A signer is made once per credential and used for every request.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping

_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class MalformedCredential(ValueError):
    """The credential cannot be what it should be. The text never holds any of it."""


class Signer(typing.Protocol):
    """Gives the headers that prove who calls."""

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes, now: float) -> Mapping[str, str]:
        """Headers to add to this request; `now` in Unix seconds."""
        ...


class StaticSigner:
    """A key in a header, the same for every request."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes, now: float) -> Mapping[str, str]:
        del method, url, headers, body, now
        return self._headers

    def __repr__(self) -> str:
        return f"StaticSigner({', '.join(self._headers)})"


def _checked(credential: str) -> str:
    if not credential or _UNPRINTABLE.search(credential):
        raise MalformedCredential("a key is one word of printable ASCII characters")
    return credential


def _sigv4(credential: str) -> Signer:
    from busbar.protocols.signing.sigv4 import sigv4_signer  # botocore is loaded for those who need it only

    return sigv4_signer(credential)


_STYLES: Mapping[str, Callable[[str], Signer]] = {
    "bearer": lambda key: StaticSigner({"authorization": f"Bearer {_checked(key)}"}),
    "x-api-key": lambda key: StaticSigner({"x-api-key": _checked(key)}),
    "x-goog-api-key": lambda key: StaticSigner({"x-goog-api-key": _checked(key)}),
    "api-key": lambda key: StaticSigner({"api-key": _checked(key)}),
    "sigv4": _sigv4,
    "none": lambda key: StaticSigner({}),
}

STYLES = tuple(_STYLES)


def make_signer(style: str, credential: str) -> Signer:
    """A signer of one of `STYLES`. Raises `MalformedCredential`; KeyError for a style that is not there."""
    return _STYLES[style](credential)
