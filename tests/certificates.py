"""Certificates for tests: an authority of their own, and what it has signed."""

from __future__ import annotations

from pathlib import Path

import trustme


class Certificates:
    """Files in `folder`. Each call signs anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._count = 0
        self.authority = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.authority))

    def server(self, *names: str) -> tuple[Path, Path]:
        """The chain and the key for host names and addresses."""
        return self._write(self._ca.issue_cert(*names, key_type=trustme.KeyType.ECDSA))

    def client(self, name: str) -> tuple[Path, Path]:
        """The chain and the key for a caller."""
        return self._write(self._ca.issue_cert(f"{name}@example.com", key_type=trustme.KeyType.ECDSA))

    def _write(self, leaf: trustme.LeafCert) -> tuple[Path, Path]:
        self._count += 1
        chain, key = self._folder / f"{self._count}.pem", self._folder / f"{self._count}.key"
        chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        return chain, key
