"""Where a provider's credential comes from: keys, or an identity that tokens are minted for; checked."""

from __future__ import annotations

import os
from collections.abc import Mapping as Environment

from msgspec.structs import replace

from busbar.config.expand import variable
from busbar.config.problems import KeyPath, Report
from busbar.config.read import CREDENTIAL, malformed_credential, place
from busbar.config.schema import AuthStyle, IdentityConfig, KeySource, ProviderEntry
from busbar.config.secret import Secret
from busbar.config.source import Mapping, Scalar, Sequence

TOKEN_STYLES = frozenset({"gcp-oauth", "entra", "oauth"})
"""Auth styles whose credential is minted, and lives for an hour or so."""

IDENTITY_KEYS = {
    "gcp-oauth": {"credentials_file", "scope"},
    "entra": {
        *("tenant", "client_id", "client_secret", "client_secret_file", "client_assertion_file"),
        *("managed_identity", "authority", "scope"),
    },
    "oauth": {"token_url", "client_id", "client_secret", "client_secret_file", "scope", "audience", "client_auth"},
    "sigv4": {"profile", "region"},
}
"""What of `identity` goes with which auth style."""

_SINGLE = ("api_key_env", "api_key", "api_key_file", "api_key_command")


class CredentialResolver:
    """Resolves against one environment; what is wrong goes into the report."""

    def __init__(self, root: Mapping, env: Environment[str, str], passthrough: bool, report: Report) -> None:
        self._root = root
        self._env = env
        self._passthrough = passthrough
        self._report = report

    def keys(self, entry: ProviderEntry, auth: AuthStyle) -> tuple[KeySource, ...]:
        """The entry's key or keys, those of the environment with their values."""
        written = self._written(entry)
        node = self._root.get("providers", entry.name, "api_keys")
        if isinstance(node, Sequence) and not node.items:
            self._add(entry, "api_keys", "expected at least 1 in the list")
            return ()
        if len(written) > 1:
            self._add(entry, written[1], f"there is also {written[0]}; keep one of them")
            return ()
        if auth in TOKEN_STYLES:
            if written and self._is_operators(entry, written[0]):
                self._add(entry, written[0], f"auth {auth} mints its tokens from `identity`; there is no key to it")
            return ()
        if self._passthrough or auth == "none":
            return ()
        if auth == "sigv4" and written and not self._is_operators(entry, written[0]):
            return ()  # the catalog's key is one for another style
        if not written:
            if auth != "sigv4" and not self._says_something(entry):  # AWS's own chain is asked for SigV4
                self._add(entry, "api_key_env", "this key is required: the name of the variable that holds the key")
            return ()
        if auth == "sigv4" and (entry.identity.profile is not None):
            self._add(entry, written[0], "there is also identity.profile; keep one of them")
        return self._sources(entry, written[0])

    def identity(self, entry: ProviderEntry, auth: AuthStyle) -> IdentityConfig:
        """Checks that what it needs is there, and nothing that it does not know."""
        identity = entry.identity
        said = [key for key in identity.__struct_fields__ if getattr(identity, key) != getattr(IdentityConfig(), key)]
        known = IDENTITY_KEYS.get(auth, set())
        for key in said:
            if key not in known:
                self._add(entry, "identity", f"auth {auth} does not use this key", key)
        if self._passthrough and auth in TOKEN_STYLES:
            self._add(entry, "auth", f"with auth.mode passthrough the caller's key is sent; {auth} mints tokens")
        elif auth == "entra":
            self._entra(entry)
        elif auth == "oauth":
            self._oauth(entry)
        return identity

    # --- keys

    def _written(self, entry: ProviderEntry) -> list[str]:
        found = [key for key in _SINGLE if getattr(entry, key) is not None]
        return [*found, "api_keys"] if entry.api_keys else found

    def _is_operators(self, entry: ProviderEntry, key: str) -> bool:
        """Whether `key` was written by the operator; the catalog's word on keys is for its own auth style."""
        own_file, _ = place(self._root, ("providers", entry.name))
        return place(self._root, ("providers", entry.name, key))[0] == own_file

    def _says_something(self, entry: ProviderEntry) -> bool:
        """Whether a key was named, though not one that can be used: that has been reported already."""
        for key in (*_SINGLE, "api_keys"):
            node = self._root.get("providers", entry.name, key)
            if node is not None and not (isinstance(node, Scalar) and node.value is None):
                return True
        return False

    def _sources(self, entry: ProviderEntry, key: str) -> tuple[KeySource, ...]:
        match key:
            case "api_key":
                return (KeySource(value=entry.api_key),)
            case "api_key_file":
                return (KeySource(file=entry.api_key_file),)
            case "api_key_command":
                self._programs_can_be_run(entry, "api_key_command")
                return (KeySource(command=entry.api_key_command),)
            case "api_key_env":
                assert entry.api_key_env is not None, "it was written"
                source = self._from_environment(entry, KeySource(env=entry.api_key_env), "api_key_env")
                return () if source is None else (source,)
            case _:
                self._each_is_another(entry)
                found = (self._one_of_several(entry, place, it) for place, it in enumerate(entry.api_keys))
                return tuple(source for source in found if source is not None)

    def _one_of_several(self, entry: ProviderEntry, number: int, source: KeySource) -> KeySource | None:
        given = [it for it in (source.env, source.value, source.file, source.command) if it is not None]
        if len(given) != 1:
            self._add(entry, "api_keys", "expected one of env, value, file and command", number)
            return None
        if source.command is not None:
            self._programs_can_be_run(entry, "api_keys", number, "command")
        return source if source.env is None else self._from_environment(entry, source, "api_keys", number, "env")

    def _each_is_another(self, entry: ProviderEntry) -> None:
        """A request would show the provider the same key twice."""
        known: list[KeySource] = []
        for number, it in enumerate(entry.api_keys):
            place = replace(it, refresh_secs=0)
            if place in known:
                self._add(entry, "api_keys", f"it is there already, at {known.index(place)}", number)
            known.append(place)

    def _programs_can_be_run(self, entry: ProviderEntry, key: str, *below: str | int) -> None:
        """With what they have started ended in time, which takes groups of processes."""
        if not hasattr(os, "killpg"):
            self._add(entry, key, "this system cannot run it safely (Windows); use a variable or a file", *below)

    def _from_environment(self, entry: ProviderEntry, source: KeySource, *where: str | int) -> KeySource | None:
        name = source.env
        assert name is not None, "it is one from the environment"
        value = self._env.get(name)
        if value is not None and CREDENTIAL.match(value):
            return replace(source, value=Secret(value))
        complaint = "is not set" if value is None else f"cannot be used: {malformed_credential(value)}"
        path: KeyPath = ("providers", entry.name, *where)
        file, line = place(self._root, path)
        own_file, own_line = place(self._root, path[:2])
        if file != own_file:  # the catalog named the variable; the operator chose the provider
            file, line = own_file, own_line
        self._report.add(file, line, path, f"environment variable {variable(name)} {complaint}")
        return None

    # --- identities

    def _entra(self, entry: ProviderEntry) -> None:
        identity = entry.identity
        proofs = [
            key
            for key in ("client_secret", "client_secret_file", "client_assertion_file", "managed_identity")
            if getattr(identity, key)
        ]
        if len(proofs) != 1:
            proof = "client_secret, client_secret_file, client_assertion_file and managed_identity"
            self._add(entry, "identity", f"auth entra needs one of {proof}")
        if not identity.managed_identity:
            self._required(entry, "tenant", "client_id")
            return
        for key in ("tenant", "authority"):
            if proofs == ["managed_identity"] and getattr(identity, key) is not None:
                self._add(entry, "identity", "a managed identity has its tenant from the machine", key)

    def _oauth(self, entry: ProviderEntry) -> None:
        identity = entry.identity
        self._required(entry, "token_url", "client_id")
        if (identity.client_secret is None) == (identity.client_secret_file is None):
            self._add(entry, "identity", "auth oauth needs one of client_secret and client_secret_file")

    def _required(self, entry: ProviderEntry, *keys: str) -> None:
        for key in keys:
            if (
                getattr(entry.identity, key) is None
                and self._root.get("providers", entry.name, "identity", key) is None
            ):
                self._add(entry, "identity", "this key is required", key)

    def _add(self, entry: ProviderEntry, key: str, message: str, *below: str | int) -> None:
        path: KeyPath = ("providers", entry.name, key, *below)
        self._report.add(*place(self._root, path), path, message)
