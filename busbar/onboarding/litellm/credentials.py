"""Keys of LiteLLM's file → the names of variables. A key itself goes nowhere, neither into a file nor the report."""

from __future__ import annotations

from busbar.onboarding.litellm.accounts import Literals, Overrides
from busbar.onboarding.litellm.counterparts import Counterpart
from busbar.onboarding.litellm.params import Params, named, variable_name
from busbar.onboarding.litellm.report import Findings
from busbar.onboarding.offers import Entry
from busbar.onboarding.yaml_text import Value, Variable

_NOT_KEYS = frozenset(
    {"none", "null", "empty", "dummy", "na", "n/a", "nokey", "no-key", "not-needed", "fake", "fake-key", "anything"}
)
"""What people write where an SDK insists on a key and the server does not."""


class Credentials:
    """`literals` names the keys that stand in the file."""

    def __init__(self, literals: Literals, findings: Findings) -> None:
        self._literals = literals
        self._findings = findings

    def key(self, params: Params, counterpart: Counterpart, entry: Entry, auth: str) -> Overrides:
        """What is to be written about the key of a provider that the catalog has."""
        catalogs = entry.get("api_key_env")
        given = params.text("api_key")
        if auth == "none":
            if given is None or self._is_no_key(given):
                return {}
            return {
                "auth": "bearer",
                "api_key_env": self.variable(given, params, counterpart.catalog, "api_key").name,
            }
        if given is not None:
            words = (str(catalogs),) if catalogs else (counterpart.catalog, "api_key")
            name = self.variable(given, params, *words).name
        elif catalogs in counterpart.key_envs or not counterpart.key_envs:
            return {}
        else:
            name = counterpart.key_envs[0]
        return {} if name == catalogs else {"api_key_env": name}

    def key_or_none(self, params: Params, name: str) -> Overrides:
        """The same of a server of one's own, which may want none."""
        given = params.text("api_key")
        if given is None or self._is_no_key(given):
            return {"auth": "none"}
        return {"auth": "bearer", "api_key_env": self.variable(given, params, name, "api_key").name}

    def variable(self, given: str | Variable, params: Params, *words: str, key: str = "api_key") -> Variable:
        """The variable that holds it, or will."""
        if isinstance(given, Variable):
            return given
        name = self._literals.variable(given, *words)
        self._findings.to_do(
            named(key), f"a secret stands in LiteLLM's file; it was not copied: set ${name} to it", params.place
        )
        return Variable(name)

    def header(self, name: str, value: str, params: Params, is_credential: bool) -> Value:
        from busbar.onboarding.litellm.params import reference

        if (found := reference(value)) is not None:
            return found
        if is_credential or _looks_secret(name):
            return self.variable(value, params, variable_name("header", name), key=f"header {name}")
        return value

    @staticmethod
    def _is_no_key(given: str | Variable) -> bool:
        return isinstance(given, str) and given.lower() in _NOT_KEYS


def _looks_secret(name: str) -> bool:
    return any(word in name.lower() for word in ("key", "token", "secret", "auth", "password", "credential"))
