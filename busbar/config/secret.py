"""A value that is known to the process and shown to nobody."""

from __future__ import annotations

import hmac
from typing import NoReturn

MASK = "***"


class Secret:
    """A credential. It prints as `***`, compares in constant time, and is read by `reveal()` alone.

    Not hashable and not picklable: neither a dict nor a file should come to hold one by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The credential itself, for the one place that puts it on the wire."""
        return self._value

    def matches(self, candidate: str) -> bool:
        """Whether `candidate` is this credential, in time that depends on its length only."""
        return hmac.compare_digest(self._value.encode("utf-8"), candidate.encode("utf-8", "surrogatepass"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.matches(other._value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled")


def encode_hook(value: object) -> object:
    """The `enc_hook` for msgspec: a secret is encoded as `***`. Without it msgspec refuses to encode one."""
    if isinstance(value, Secret):
        return MASK
    raise TypeError(f"cannot encode {type(value).__name__}")
