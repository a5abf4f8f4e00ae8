"""Secrets and ids, made from the operating system's random source. When it fails, nothing is made."""

from __future__ import annotations

import secrets
from typing import Literal

SECRET_PREFIX = "sk-bb-"  # noqa: S105
_SECRET_BYTES = 32
_ID_BYTES = 8

IdPrefix = Literal["vk", "grp"]


class NoEntropy(Exception):
    """The operating system has no randomness to give. There is no second source."""


def mint_secret() -> str:
    """A virtual key's secret: `sk-bb-` and 64 hexadecimal digits. Raises `NoEntropy`."""
    return SECRET_PREFIX + random_bytes(_SECRET_BYTES).hex()


def mint_id(prefix: IdPrefix) -> str:
    """The id of a virtual key or a group: `vk_` or `grp_` and 16 hexadecimal digits. Raises `NoEntropy`."""
    return f"{prefix}_{random_bytes(_ID_BYTES).hex()}"


def random_bytes(count: int) -> bytes:
    """Raises `NoEntropy`."""
    try:
        return secrets.token_bytes(count)
    except (OSError, NotImplementedError) as error:  # what os.urandom documents
        raise NoEntropy("the operating system's random source does not answer") from error
