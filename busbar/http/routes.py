"""Which dialect a path speaks, and which pool or model it names.

The dialects declare their own ways in (`Protocol.routes`); this file only matches them. Segments are told apart
before they are percent-decoded, so that a name may hold a slash (`%2F`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from busbar.protocols.protocol import Operation, Protocol


class Target(Struct, frozen=True, kw_only=True):
    """What a request's path says. `name` None: the body's `model` names the pool or model."""

    ingress: Protocol
    name: str | None = None
    provider: str | None = None
    """Given: `name` is a model that this provider must own (an ad-hoc direct route)."""
    stream: bool | None = None
    """What the path says of streaming; None: the body says it."""
    operation: Operation = "chat"


class Routes:
    """The data plane's paths. Literal segments win over placeholders, so `/v1/messages` is never a pool `v1`."""

    def __init__(self, protocols: Iterable[Protocol]) -> None:
        self._exact: dict[str, Target] = {}
        self._patterns: list[tuple[re.Pattern[str], Target]] = []
        for protocol in protocols:
            for route in protocol.routes:
                target = Target(ingress=protocol, stream=route.stream, operation=route.operation)
                if route.target_in == "body":
                    self._exact[route.path] = target
                else:
                    self._patterns.append((_compile(route.path), target))

    def match(self, path: str) -> Target | None:
        """The target of `path` (as it came, percent-encoded, without its query), or None."""
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        for pattern, target in self._patterns:
            found = pattern.match(path)
            if found is not None:
                named = {key: unquote(value) for key, value in found.groupdict().items()}
                name = named.get("name") or named.get("model")
                return msgspec.structs.replace(target, name=name, provider=named.get("provider"))
        return None


def _compile(path: str) -> re.Pattern[str]:
    literal = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", literal) + r"\Z")
