"""AWS-shaped pairs for callers that can only sign: an access key id, and a secret access key derived from it.

To verify a signature its secret must be known, so a hash of it will not do. Nor may it lie in the database, which is
copied and backed up. So no secret is kept at all: each is derived from its access key id and one seed, and the seed
is in a file of its own beside the database. Who loses the seed loses all pairs, and nothing else; a seed that is
replaced makes all pairs invalid. One pair is made invalid by giving its key another access key id.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import stat
from pathlib import Path

from busbar.governance.minting import random_bytes
from busbar.store.opening import sync_directory

ACCESS_KEY_ID_PREFIX = "AKBB"
SEED_BYTES = 32

_ACCESS_KEY_ID_BYTES = 10
_SECRET_BYTES = 30
_PURPOSE = b"busbar/aws-secret-access-key/1\0"
"""So that the seed can one day serve another purpose without telling anything about this one."""
_SEED_LINE = re.compile(rb"busbar-seed-1:([0-9a-f]{64})\n")
_SEED_LINE_BYTES = 79


class SeedError(Exception):
    """The seed's file cannot be used as it is. The text names the file and says what to do, and tells none of it."""


def new_access_key_id() -> str:
    """20 characters, as AWS's have: `AKBB` and 80 random bits in base32 (A-Z, 2-7). Raises `NoEntropy`."""
    return ACCESS_KEY_ID_PREFIX + base64.b32encode(random_bytes(_ACCESS_KEY_ID_BYTES)).decode()


def secret_access_key(seed: bytes, access_key_id: str) -> str:
    """40 characters of A-Z, a-z, 0-9, `+` and `/`, as AWS's have: 240 bits of HMAC-SHA256 under the seed.

    It can be derived for any id, minted or not: who verifies first and looks the id up then needs the same time for
    both."""
    assert len(seed) == SEED_BYTES
    return base64.b64encode(hmac.digest(seed, _PURPOSE + access_key_id.encode(), "sha256")[:_SECRET_BYTES]).decode()


def seed_path(database: Path) -> Path:
    """`<database>.seed`."""
    return database.with_name(f"{database.name}.seed")


def read_seed(path: Path) -> bytes | None:
    """The seed; None when there is no such file. Raises `SeedError` for one that cannot be read or is not exactly as
    `create_seed` made it: a damaged seed would quietly give other secrets."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SeedError(f"{path} is not a file")
        with path.open("rb") as file:
            line = file.read(_SEED_LINE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SeedError(f"{path} cannot be read: {error.strerror}") from error
    found = _SEED_LINE.fullmatch(line)
    if found is None:
        raise SeedError(f"{path} is damaged: restore it from a backup, or remove it and issue all AWS pairs anew")
    return bytes.fromhex(found[1].decode())


def create_seed(path: Path) -> bytes:
    """A new seed, durably in a file that only its owner may read. Raises `SeedError` when the file is there already,
    which is left as it is, or cannot be made, and `NoEntropy`.

    The file gets its name when it is complete and on disk: whoever is killed in between leaves no half of a seed."""
    seed = random_bytes(SEED_BYTES)
    draft = path.with_name(f".{path.name}.{random_bytes(8).hex()}")
    try:
        try:
            with open(draft, "xb", opener=_for_its_owner_only) as file:
                file.write(b"busbar-seed-1:%s\n" % seed.hex().encode())
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError as error:
        raise SeedError(f"{path} is there already") from error
    except OSError as error:
        raise SeedError(f"{path} cannot be made: {error.strerror}") from error
    return seed


def _for_its_owner_only(path: str, flags: int) -> int:
    """On Windows, which has no such modes, the folder's access list decides."""
    return os.open(path, flags, 0o600)
