"""The catalog as people read it: the list, one entry, a table for the documentation."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator

from busbar.cli.described import Described
from busbar.cli.scope_tables import table
from busbar.config.credentials import IDENTITY_KEYS

_WIDTH = 110

_STYLES = {
    "bearer": "Authorization: Bearer KEY",
    "x-api-key": "x-api-key: KEY",
    "x-goog-api-key": "x-goog-api-key: KEY",
    "api-key": "api-key: KEY",
    "sigv4": "signed with AWS credentials",
    "gcp-oauth": "Authorization: Bearer, with a token from Google",
    "entra": "Authorization: Bearer, with a token from Microsoft Entra ID",
    "oauth": "Authorization: Bearer, with a token from `identity.token_url`",
    "none": "no key",
}

_WITHOUT_IDENTITY = {
    "sigv4": "without: AWS's own chain of credentials",
    "gcp-oauth": "without: as Google's libraries find a credential",
}


def listing(entries: Iterable[Described]) -> str:
    head = ("NAME", "PROVIDER", "DIALECT", "AUTH", "KEY", "SET", "WHERE")
    rows = [
        (it.name, it.display_name, it.protocol, it.auth, it.api_key_env or "-", _is_set(it), _where(it))
        for it in entries
    ]
    return table(head, rows)


def page(it: Described) -> str:
    """All about one entry, and how it is used."""
    lines = [f"{it.name}: {it.display_name}", *(_row(name, text) for name, text in _rows(it) if text)]
    return "\n".join([*lines, "", "In config.yaml:", "", textwrap.indent(snippet(it), "  ")])


def snippet(it: Described) -> str:
    """A configuration that uses the entry, with names of its own in place of an operator's."""
    missing = [name for name, default in it.variables.items() if default is None]
    own = f"\n    variables: {{{', '.join(f'{name}: my-{_dashed(name)}' for name in missing)}}}" if missing else " {}"
    return f"providers:\n  {_key(it.name)}:{own}\nmodels:\n  my-model: {{provider: {_key(it.name)}}}"


def markdown(entries: Iterable[Described]) -> str:
    """The table of docs/providers.md."""
    head = ["| Name | Provider | Dialect | Address | Auth | Key |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *map(_markdown_row, entries)])


def _rows(it: Described) -> Iterator[tuple[str, str]]:
    yield "dialect", it.protocol
    yield "address", it.address
    yield "streams", it.stream_address if it.stream_address != it.address else ""
    yield "counting", it.count_address or ""
    for name, default in it.variables.items():
        yield (
            f"{{{name}}}",
            "yours to give, in `variables`" if default is None else f"{default}, or what you say",
        )
    yield "auth", f"{it.auth} ({_STYLES[it.auth]})"
    if it.api_key_env is not None:
        unless = ", where it wants one" if it.auth == "none" else ""
        yield "key", f"in {it.api_key_env}{unless} ({'set' if it.key_is_set else 'not set'})"
    if it.identity:
        otherwise = f"; {_WITHOUT_IDENTITY[it.auth]}" if it.auth in _WITHOUT_IDENTITY else ""
        yield "identity", ", ".join(it.identity) + otherwise
    for style in it.other_auth:
        yield "or", f"auth: {style} ({_STYLES[style]}), from `identity`: {', '.join(sorted(IDENTITY_KEYS[style]))}"
    yield "headers", ", ".join(f"{name}: {value}" for name, value in it.headers.items())
    yield "body", ", ".join(_change(name, value) for name, value in it.body.items())
    for number, (kind, words) in enumerate(it.errors.items()):
        said = (*words.codes, *map(str, words.statuses), *(json.dumps(text) for text in words.texts))
        yield "" if number else "errors", f"{kind}: {', '.join(said)}"
    yield "docs", it.docs or ""
    yield "same account", ", ".join(it.same_account)


def _row(name: str, text: str) -> str:
    column = 16
    wrapped = textwrap.wrap(text, _WIDTH - column, break_long_words=False, break_on_hyphens=False)
    return f"  {name.ljust(column - 2)}" + ("\n" + " " * column).join(wrapped)


def _change(name: str, value: object) -> str:
    return f"without {name}" if value is None else f"{name}: {json.dumps(value)}"


def _markdown_row(it: Described) -> str:
    name = f"[{it.display_name}]({it.docs})" if it.docs else it.display_name
    key = f"`{it.api_key_env}`" if it.api_key_env else "–"
    return f"| `{it.name}` | {name} | {it.protocol} | `{it.address}` | {it.auth} | {key} |"


def _is_set(it: Described) -> str:
    if it.api_key_env is None:
        return "-"
    return "yes" if it.key_is_set else "no"


def _where(it: Described) -> str:
    return "local" if it.is_local else ""


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _key(name: str) -> str:
    """A name as a key of YAML: one that begins with a digit is quoted."""
    return json.dumps(name) if name[0].isdigit() else name
