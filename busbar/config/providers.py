"""A provider's entry → a provider that can be dialled: address, headers and credential, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping as Environment
from ipaddress import ip_address
from urllib.parse import urlsplit

from busbar.config.credentials import CredentialResolver
from busbar.config.problems import KeyPath, Report, shown
from busbar.config.read import place
from busbar.config.schema import HEADER_NAME_PATTERN, AuthStyle, ProviderConfig, ProviderEntry
from busbar.config.secret import Secret
from busbar.config.source import Mapping, Scalar
from busbar.protocols.failures import FailureClass

DEFAULT_AUTH: dict[str, AuthStyle] = {
    "anthropic": "x-api-key",
    "openai": "bearer",
    "responses": "bearer",
    "gemini": "x-goog-api-key",
    "bedrock": "sigv4",
    "cohere": "bearer",
}
"""The auth style of a protocol's own provider, for entries that do not name one."""

CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
)
_AUTH_HEADERS = {
    "bearer": "authorization",
    "sigv4": "authorization",
    "x-api-key": "x-api-key",
    "x-goog-api-key": "x-goog-api-key",
    "api-key": "api-key",
}
_CONNECTION_HEADERS = frozenset(
    {
        *("host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer"),
        *("upgrade", "keep-alive", "proxy-connection", "expect", "accept-encoding"),
    }
)
_HEADER_NAME = re.compile(HEADER_NAME_PATTERN)
_HEADER_VALUE = re.compile(r"([!-~]([ -~]*[!-~])?)?\Z")
VARIABLE = re.compile(r"\{([A-Za-z0-9_]{1,64})\}")
"""A place in an address that one of `variables` fills."""

_VARIABLE_VALUE = re.compile(r"[A-Za-z0-9._@-]{1,200}\Z")
_URL_CHARACTERS = re.compile(r"[!-~]+\Z")


class ProviderResolver:
    """Resolves entries against one environment; what is wrong goes into the report."""

    def __init__(self, root: Mapping, env: Environment[str, str], passthrough: bool, report: Report) -> None:
        self._root = root
        self._report = report
        self._credentials = CredentialResolver(root, env, passthrough, report)

    def resolve(self, entry: ProviderEntry) -> ProviderConfig:
        """The provider that `entry` describes; incomplete where something was reported."""
        auth = entry.auth or DEFAULT_AUTH[entry.protocol]
        self._variables(entry)
        return ProviderConfig(
            name=entry.name,
            protocol=entry.protocol,
            base_url=self._base_url(entry),
            path=self._filled(entry, "path", entry.path),
            stream_path=self._filled(entry, "stream_path", entry.stream_path),
            count_path=self._filled(entry, "count_path", entry.count_path),
            body=entry.body,
            auth=auth,
            keys=self._credentials.keys(entry, auth),
            identity=self._credentials.identity(entry, auth),
            display_name=entry.display_name,
            docs=entry.docs,
            error_map=entry.error_map,
            error_status=self._error_status(entry),
            error_texts={text.lower(): kind for text, kind in entry.error_texts.items()},
            headers=self._headers(entry, auth),
            health=entry.health,
        )

    def _base_url(self, entry: ProviderEntry) -> str:
        filled = self._filled(entry, "base_url", entry.base_url)
        assert filled is not None, "there was one"
        complaint = url_complaint(filled)
        if complaint and not VARIABLE.search(filled):
            self._add(entry, "base_url", complaint)
        return filled.rstrip("/")

    def _variables(self, entry: ProviderEntry) -> None:
        """The operator's must have a place in the catalog's address. Beside an address of the operator's own they may
        be left from another, and what is missing there is told anyway."""
        templates = (entry.base_url, entry.path, entry.stream_path, entry.count_path)
        places = {name for template in templates if template is not None for name in VARIABLE.findall(template)}
        own_file, _ = place(self._root, ("providers", entry.name))
        if place(self._root, ("providers", entry.name, "base_url"))[0] == own_file:
            return
        for name in entry.variables:
            file, _ = place(self._root, ("providers", entry.name, "variables", name))
            if name not in places and file == own_file:
                self._add(entry, "variables", f"no part of the address has {{{name}}} in it", name)

    def _filled(self, entry: ProviderEntry, key: str, template: str | None) -> str | None:
        """`template` with the operator's `variables` in it; `{model}` stays in a path until there is a request."""
        if template is None:
            return None

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name == "model" and key != "base_url":
                return match[0]
            given = entry.variables.get(name)
            if given is None:
                self._add(entry, "variables", f"the address has {{{name}}} in it; write `variables: {{{name}: …}}`")
            elif not _VARIABLE_VALUE.match(given):
                self._add(entry, "variables", "expected letters, digits and . _ - @ alone", name)
            else:
                return given
            return match[0]

        return VARIABLE.sub(value, template)

    def _error_status(self, entry: ProviderEntry) -> dict[int, FailureClass]:
        for status, kind in entry.error_status.items():
            if status >= 500 and kind is FailureClass.CONTEXT_LENGTH:
                self._add(entry, "error_status", f"a {status} is never context_length", str(status))
        return entry.error_status

    def _headers(self, entry: ProviderEntry, auth: AuthStyle) -> dict[str, str | Secret]:
        headers: dict[str, str | Secret] = {}
        for written, value in entry.headers.items():
            name = written.lower()
            node = self._root.get("providers", entry.name, "headers", written)
            from_variable = isinstance(node, Scalar) and bool(node.variables)
            if complaint := _header_complaint(name, value, auth, from_variable):
                self._add(entry, "headers", complaint, written)
            elif name in headers:
                self._add(entry, "headers", f"{shown(name)} is given twice (header names know no case)", written)
            else:
                headers[name] = Secret(value) if from_variable else value
        return headers

    def _add(self, entry: ProviderEntry, key: str, message: str, *below: str) -> None:
        path: KeyPath = ("providers", entry.name, key, *below)
        self._report.add(*place(self._root, path), path, message)


def url_complaint(url: str) -> str | None:
    """Why `url` cannot be a base URL, without quoting it: a URL may carry a password."""
    try:
        parts = urlsplit(url)
        port_is_legal = parts.port != 0
    except ValueError:
        return "not a URL"
    if not _URL_CHARACTERS.match(url) or "\\" in url:
        return "a URL has no spaces, backslashes, control or non-ASCII characters"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_legal:
        return "expected http:// or https:// with a host"
    if "@" in parts.netloc:
        return "a URL with a user or password in it is not accepted; use api_key_env"
    if "?" in url or "#" in url:
        return "a base URL ends before ? and #"
    return None


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _header_complaint(name: str, value: str, auth: AuthStyle, from_variable: bool) -> str | None:
    if not _HEADER_NAME.match(name):
        return "not the name of an HTTP header"
    if name in _CONNECTION_HEADERS:
        return "this header belongs to the connection and cannot be set"
    if name == _AUTH_HEADERS.get(auth):
        return f"auth style {auth} sets this header; a request carries one credential"
    if name in CREDENTIAL_HEADERS and not from_variable:
        return "secrets are never in config files; write ${VAR} and set the variable"
    if not _HEADER_VALUE.match(value):
        return "a header's value has no control or non-ASCII characters, and no spaces at its ends"
    return None
