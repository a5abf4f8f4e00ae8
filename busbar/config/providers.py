"""A provider's entry → a provider that can be dialled: address, headers and credential, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping as Environment
from ipaddress import ip_address
from urllib.parse import urlsplit

from busbar.config.expand import variable
from busbar.config.problems import KeyPath, Report, shown
from busbar.config.read import CREDENTIAL, malformed_credential, place
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
_URL_CHARACTERS = re.compile(r"[!-~]+\Z")


class ProviderResolver:
    """Resolves entries against one environment; what is wrong goes into the report."""

    def __init__(self, root: Mapping, env: Environment[str, str], passthrough: bool, report: Report) -> None:
        self._root = root
        self._env = env
        self._passthrough = passthrough
        self._report = report

    def resolve(self, entry: ProviderEntry) -> ProviderConfig:
        """The provider that `entry` describes; incomplete where something was reported."""
        auth = entry.auth or DEFAULT_AUTH[entry.protocol]
        return ProviderConfig(
            name=entry.name,
            protocol=entry.protocol,
            base_url=self._base_url(entry),
            path=entry.path,
            auth=auth,
            api_key=self._api_key(entry, auth),
            error_map=entry.error_map,
            error_status=self._error_status(entry),
            error_texts={text.lower(): kind for text, kind in entry.error_texts.items()},
            headers=self._headers(entry, auth),
            health=entry.health,
        )

    def _base_url(self, entry: ProviderEntry) -> str:
        complaint = url_complaint(entry.base_url)
        if complaint:
            self._add(entry, "base_url", complaint)
        return entry.base_url.rstrip("/")

    def _api_key(self, entry: ProviderEntry, auth: AuthStyle) -> Secret | None:
        if entry.api_key is not None and entry.api_key_env is not None:
            self._add(entry, "api_key", "there is also api_key_env; keep one of them")
        if self._passthrough or auth == "none":
            return None
        if entry.api_key is not None:
            return entry.api_key
        if entry.api_key_env is not None:
            return self._key_from_environment(entry, entry.api_key_env)
        if auth == "sigv4":
            return None  # AWS's own chain of credentials is asked
        written = (self._root.get("providers", entry.name, key) for key in ("api_key", "api_key_env"))
        if all(node is None or (isinstance(node, Scalar) and node.value is None) for node in written):
            self._add(entry, "api_key_env", "this key is required: the name of the variable that holds the key")
        return None

    def _key_from_environment(self, entry: ProviderEntry, name: str) -> Secret | None:
        value = self._env.get(name)
        if value is not None and CREDENTIAL.match(value):
            return Secret(value)
        complaint = "is not set" if value is None else f"cannot be used: {malformed_credential(value)}"
        path: KeyPath = ("providers", entry.name, "api_key_env")
        file, line = place(self._root, path)
        own_file, own_line = place(self._root, path[:2])
        if file != own_file:  # the catalog named the variable; the operator chose the provider
            file, line = own_file, own_line
        self._report.add(file, line, path, f"environment variable {variable(name)} {complaint}")
        return None

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
