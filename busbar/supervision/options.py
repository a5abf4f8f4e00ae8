"""A policy's options, checked against what the policy is made with.

Options are the named parameters of the class's `create` after `context`. A `create` that takes `**options`, like the
one that every policy inherits, hands them on to the constructor: then the constructor's parameters are options too.
All of them under the inherited `create`; only those behind the `*` under the class's own, which fills the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, TypeAlias

import msgspec

from busbar.actors.supervision import SupervisionPolicy
from busbar.config.problems import KeyPath, did_you_mean

Complaint: TypeAlias = tuple[KeyPath, str]
"""Where in the configuration, and what is wrong there."""

_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def read_options(
    policy: type[SupervisionPolicy], written: Mapping[str, object], place: KeyPath
) -> tuple[dict[str, Any], list[Complaint]]:
    """The options as the policy takes them, and everything that is wrong with them."""
    known, takes_any = _known_options(policy)
    options: dict[str, Any] = {}
    complaints: list[Complaint] = []
    for name, value in written.items():
        if name not in known and not takes_any:
            complaints.append(((*place, name), _unknown(name, list(known))))
            continue
        try:
            options[name] = _converted(value, known[name].annotation if name in known else Parameter.empty)
        except msgspec.ValidationError as error:
            complaints.append(((*place, name), _reason(error)))
    for name, parameter in known.items():
        if parameter.default is Parameter.empty and name not in written:
            complaints.append(((*place, name), "this policy needs this option"))
    return options, complaints


def _known_options(policy: type[SupervisionPolicy]) -> tuple[dict[str, Parameter], bool]:
    """By name; and whether any other name is taken, too."""
    inherited = next(each for each in policy.__mro__ if "create" in vars(each)) is SupervisionPolicy
    makes = [] if inherited else _parameters(policy.create)[1:]
    known = {parameter.name: parameter for parameter in makes if parameter.kind in _NAMED}
    if not inherited and all(parameter.kind is not Parameter.VAR_KEYWORD for parameter in makes):
        return known, False
    is_made_with = _parameters(policy)
    kinds = _NAMED if inherited else (Parameter.KEYWORD_ONLY,)
    handed_on = {parameter.name: parameter for parameter in is_made_with if parameter.kind in kinds}
    return handed_on | known, any(parameter.kind is Parameter.VAR_KEYWORD for parameter in is_made_with)


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, AttributeError):  # annotated with names that are only there for a type checker
        signature = inspect.signature(function)
    return list(signature.parameters.values())


def _converted(value: object, wanted: Any) -> object:
    """`value` as an annotation wants it: numbers, text, booleans, null, literals, enums, `Annotated` with a
    `msgspec.Meta`. Raises msgspec.ValidationError."""
    if wanted is Parameter.empty or isinstance(wanted, str):
        return value
    try:
        return msgspec.convert(value, wanted, strict=True)
    except TypeError:
        return value  # an annotation that says nothing about plain values: the policy checks for itself


def _reason(error: msgspec.ValidationError) -> str:
    """Without the value, which msgspec quotes when it is none of a few words: it may be a credential by mistake."""
    words = str(error)
    return words[:1].lower() + words[1:].partition(" '")[0]


def _unknown(name: str, known: list[str]) -> str:
    if not known:
        return "unknown option: this policy has none"
    near = did_you_mean(name, known)
    return f"unknown option{near}" if near else f"unknown option; known are {', '.join(known)}"
