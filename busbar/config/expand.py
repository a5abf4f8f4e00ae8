"""`${VAR}` in values, after parsing: what a variable holds is text and can never become YAML structure."""

from __future__ import annotations

import re
from collections.abc import Mapping as Environment

from msgspec.structs import replace

from busbar.config.problems import Report, shown
from busbar.config.source import Mapping, Node, Scalar, Sequence

VARIABLE_NAME = re.compile(r"[A-Za-z0-9_]{1,128}\Z")
_SHOUTED = re.compile(r"[A-Z0-9_]+\Z")
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")


def expand(node: Node, env: Environment[str, str], report: Report) -> Node:
    """The same tree with `${VAR}` replaced by the variable's value and `$${` by `${`; keys stay as they are.

    A variable that is not set, and a `${` that names none, are reported at the place where they are written.
    """
    match node:
        case Mapping():
            return replace(node, items={key: expand(item, env, report) for key, item in node.items.items()})
        case Sequence():
            return replace(node, items=tuple(expand(item, env, report) for item in node.items))
        case Scalar() if "${" in node.text:
            return _expand_scalar(node, env, report)
        case _:
            return node


def variable(name: str) -> str:
    """A variable's name for an error text. One in lower case may be a key that was put in the name's place."""
    return shown(name) if _SHOUTED.match(name) else "named here"


def _expand_scalar(node: Scalar, env: Environment[str, str], report: Report) -> Scalar:
    names: list[str] = []
    complaints: list[str] = []

    def substitute(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if not match[2] or not VARIABLE_NAME.match(name):
            complaints.append(
                "`${` starts the name of an environment variable, as in ${VAR}; write `$${` for a plain `${`"
            )
        elif name not in env:
            complaints.append(f"environment variable {variable(name)} is not set")
        else:
            names.append(name)
            return env[name]
        return ""

    text = _REFERENCE.sub(substitute, node.text)
    for complaint in complaints:
        report.add(node.file, node.line, node.path, complaint)
    return replace(node, text=text, plain=False, variables=tuple(names), broken=bool(complaints))
