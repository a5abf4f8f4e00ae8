"""The keys, for those who only look: published by the Governance actor, read by everybody."""

from __future__ import annotations

import hashlib

from busbar.actors.governance.scopes import VirtualKey


class Keyring:
    """Which key a caller holds. Only the Governance actor changes it, and a change holds from that moment."""

    def __init__(self) -> None:
        self.ready = False
        """Whether it is known which keys there are. Until then nobody can be told that theirs is wrong."""
        self._by_hash: dict[bytes, VirtualKey] = {}
        self._by_aws_id: dict[str, VirtualKey] = {}

    def find(self, secret: str) -> VirtualKey | None:
        """By the secret. What is looked up is its SHA-256, so that the time it takes tells nothing about any key."""
        return self._by_hash.get(secret_hash(secret))

    def find_aws(self, access_key_id: str) -> VirtualKey | None:
        """By the public half of an AWS-shaped pair."""
        return self._by_aws_id.get(access_key_id)

    def put(self, key: VirtualKey, before: VirtualKey | None = None) -> None:
        """In place of `before`, whose secrets open nothing any more."""
        if before is not None:
            self.remove(before)
        self._by_hash[key.secret_hash] = key
        if key.aws_access_key_id is not None:
            self._by_aws_id[key.aws_access_key_id] = key

    def remove(self, key: VirtualKey) -> None:
        self._by_hash.pop(key.secret_hash, None)
        if key.aws_access_key_id is not None:
            self._by_aws_id.pop(key.aws_access_key_id, None)

    def clear(self) -> None:
        self.ready = False
        self._by_hash.clear()
        self._by_aws_id.clear()

    def __repr__(self) -> str:
        return f"Keyring({len(self._by_hash)} keys)"


def secret_hash(secret: str) -> bytes:
    """What is kept of a secret: its SHA-256. Salt and stretching are for what people choose: nobody can try all of
    2**256. Takes any text, so that whatever a caller presents can be looked up."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
