"""Files that prove who asks: a client's secret, a federated token, Google's JSON. Read again for each token, as
whoever rotates them only replaces the file."""

from __future__ import annotations

import json
from pathlib import Path

from busbar.credentials.minting import MintRefused
from busbar.protocols.failures import FailureClass

PROOF_BYTES_MAX = 64 << 10


def read_proof(file: str, name: str) -> str:
    """The file's text, without white space around it. `name` says in a refusal which file is meant. Raises
    `MintRefused`."""
    text = _read(file, name).strip()
    if not text:
        raise MintRefused(f"{name} is empty", FailureClass.AUTH)
    return text


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
        with Path(file).open("rb") as opened:
            content = opened.read(PROOF_BYTES_MAX + 1)
    except OSError as error:
        raise MintRefused(f"{name} cannot be read: {error.strerror}", FailureClass.AUTH) from None
    if len(content) > PROOF_BYTES_MAX:
        raise MintRefused(f"{name} is larger than {PROOF_BYTES_MAX} bytes", FailureClass.AUTH)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MintRefused(f"{name} is not UTF-8 text", FailureClass.AUTH) from None
