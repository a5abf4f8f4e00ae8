"""Signatures of thinking blocks, which come back with the next turn and must not have been touched."""

import base64
import binascii
import hashlib
import hmac

_KEY = b"the embedded providers' own"
_LEAD = b"\x12\x48\x0a"
"""Real signatures are base64 of a protobuf message and begin alike."""


def sign(thinking: str) -> str:
    """The signature of a thinking text."""
    return base64.b64encode(_LEAD + hmac.digest(_KEY, thinking.encode(), "sha512")).decode()


def signature_verifies(thinking: str, signature: str) -> bool:
    return hmac.compare_digest(sign(thinking).encode(), signature.encode())


def redact(thinking: str) -> str:
    """Opaque data that stands for a thinking text, and carries its own proof."""
    sealed = hashlib.sha256(thinking.encode()).digest()
    return base64.b64encode(_LEAD + sealed + hmac.digest(_KEY, sealed, "sha256")).decode()


def redaction_verifies(data: str) -> bool:
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    sealed, proof = raw[len(_LEAD) : len(_LEAD) + 32], raw[len(_LEAD) + 32 :]
    return raw.startswith(_LEAD) and hmac.compare_digest(hmac.digest(_KEY, sealed, "sha256"), proof)
