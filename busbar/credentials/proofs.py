"""Files that prove who asks: a client's secret, a federated token, Google's JSON. Read again for each token, as
whoever rotates them only replaces the file."""

from __future__ import annotations

import json

from busbar.credentials.files import read_small
from busbar.credentials.minting import MintRefused
from busbar.protocols.failures import FailureClass

PROOF_BYTES_MAX = 64 << 10


def read_proof(file: str, name: str) -> str:
    """The file's first line, without white space around it. `name` says in a refusal which file is meant. Raises
    `MintRefused`."""
    line = _read(file, name).strip().split("\n", 1)[0].rstrip()
    if not line:
        raise MintRefused(f"{name} is empty", FailureClass.AUTH)
    return line


def read_document(file: str, name: str) -> dict[str, object]:
    """The file's JSON object. Raises `MintRefused`."""
    try:
        document = json.loads(_read(file, name))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise MintRefused(f"{name} is no JSON object", FailureClass.AUTH)
    return document


def _read(file: str, name: str) -> str:
    try:
        return read_small(file, PROOF_BYTES_MAX).decode("utf-8-sig")
    except OSError as error:
        raise MintRefused(f"{name} cannot be read: {error.strerror}", FailureClass.AUTH) from None
    except UnicodeDecodeError:
        raise MintRefused(f"{name} is not UTF-8 text", FailureClass.AUTH) from None
