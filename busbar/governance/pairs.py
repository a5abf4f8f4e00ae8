"""AWS-shaped pairs of one gateway: issued, and their secret halves found again, from the seed beside its database."""

from __future__ import annotations

import logging
from pathlib import Path

from busbar.governance.aws_pair import (
    SeedError,
    create_seed,
    new_access_key_id,
    read_seed,
    secret_access_key,
    seed_path,
)

logger = logging.getLogger("busbar.governance")


class AwsPairs:
    """The seed is read when it is first needed, and kept; it is made with the first pair that is issued.

    Until there is one, each question looks for its file again: who restores it need not restart the gateway."""

    def __init__(self, database: Path) -> None:
        self._path = seed_path(database)
        self._seed: bytes | None = None
        self._told = False

    def secret(self, access_key_id: str) -> str | None:
        """The secret half that belongs to the public one, whether that was issued or not; None without a seed. A
        seed that cannot be used is logged, once, and counts as none."""
        try:
            seed = self._read()
        except SeedError as error:
            if not self._told:
                self._told = True
                logger.error("signed requests cannot be verified: %s", error)
            return None
        return None if seed is None else secret_access_key(seed, access_key_id)

    @property
    def seeded(self) -> bool:
        """Whether there is a seed. Raises `SeedError` when it cannot be used."""
        return self._read() is not None

    def issue(self, *, pairs_exist: bool) -> tuple[str, str]:
        """An access key id and its secret. Makes the seed where there is none, which blocks for a moment; but not
        when pairs exist: a new seed would quietly make all of them invalid. Raises `SeedError`, `NoEntropy`."""
        seed = self._read()
        if seed is None:
            if pairs_exist:
                raise SeedError(
                    f"{self._path} is gone, and with it the secrets of all AWS pairs that were issued: restore it"
                    " from a backup, or rotate each of their keys with issue_aws_credential: false"
                )
            seed = self._seed = create_seed(self._path)
        access_key_id = new_access_key_id()
        return access_key_id, secret_access_key(seed, access_key_id)

    def _read(self) -> bytes | None:
        if self._seed is None:
            self._seed = read_seed(self._path)
        return self._seed

    def __repr__(self) -> str:
        return f"AwsPairs({str(self._path)!r})"
