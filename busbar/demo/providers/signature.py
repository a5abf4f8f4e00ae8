"""Signatures of thinking blocks, which come back with the next turn and must not have been touched."""

import base64
import binascii
import hashlib
import hmac

_KEY = b"the embedded providers' own"
_LEAD = b"\x12\x48\x0a"
"""Real signatures are base64 of a protobuf message and begin alike."""
_TOKEN = b"\x80\x00\x00\x00\x00"
"""Encrypted reasoning is a Fernet token: a version and a time, `gAAAAA…` in base64."""


def sign(thinking: str) -> str:
    """The signature of a thinking text."""
    return base64.b64encode(_LEAD + hmac.digest(_KEY, thinking.encode(), "sha512")).decode()


def signature_verifies(thinking: str, signature: str) -> bool:
    return hmac.compare_digest(sign(thinking).encode(), signature.encode())


def redact(thinking: str) -> str:
    """Opaque data that stands for a thinking text, and carries its own proof."""
    sealed = hashlib.sha256(thinking.encode()).digest()
    return base64.b64encode(_LEAD + sealed + hmac.digest(_KEY, sealed, "sha256")).decode()


def encrypt(thinking: str) -> str:
    """Encrypted reasoning: opaque as `redact`, but of another provider, which verifies its own only."""
    sealed = hashlib.sha256(thinking.encode()).digest()
    return base64.urlsafe_b64encode(_TOKEN + sealed + hmac.digest(_KEY, _TOKEN + sealed, "sha256")).decode()


def encryption_verifies(data: str) -> bool:
    try:
        raw = base64.b64decode(data, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    sealed, proof = raw[: len(_TOKEN) + 32], raw[len(_TOKEN) + 32 :]
    return raw.startswith(_TOKEN) and hmac.compare_digest(hmac.digest(_KEY, sealed, "sha256"), proof)


def redaction_verifies(data: str) -> bool:
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    sealed, proof = raw[len(_LEAD) : len(_LEAD) + 32], raw[len(_LEAD) + 32 :]
    return raw.startswith(_LEAD) and hmac.compare_digest(hmac.digest(_KEY, sealed, "sha256"), proof)


_THOUGHT = b"\x12\x68\x0a\x66"
"""Gemini's thought signatures are protobuf, too, of another message."""


def sign_thought(about: str) -> bytes:
    """Gemini's signature of a part: opaque, says nothing of the thought, and verifies with Gemini only."""
    sealed = _THOUGHT + hashlib.sha256(about.encode()).digest()
    return sealed + hmac.digest(_KEY, sealed, "sha256")


def thought_verifies(signature: bytes, about: str | None = None) -> bool:
    """Whether a signature is Gemini's and, where `about` is given, of that."""
    size = len(_THOUGHT) + 32
    sealed, proof = signature[:size], signature[size:]
    genuine = sealed.startswith(_THOUGHT) and hmac.compare_digest(hmac.digest(_KEY, sealed, "sha256"), proof)
    return genuine and (about is None or hmac.compare_digest(sign_thought(about), signature))
