"""What each key of the two files is called, takes and means: for the reference, and for editors.

Everything is read off the structs of `busbar.config.schema`: types, ranges and defaults as msgspec knows them, the
meaning from the text below each field. Python keeps no such text, so it is taken from the modules' source, which a
wheel has with it.
"""

from __future__ import annotations

import ast
import functools
from inspect import getsource
from itertools import pairwise
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct, inspect

from busbar.config.catalog import catalog_entries
from busbar.config.files import packaged_providers, read_text
from busbar.config.problems import Report
from busbar.config.schema import SHORTHANDS, ConfigFile
from busbar.config.source import Mapping, parse
from busbar.config.support import SUPPORTED_VALUES

PROVIDER = "providers.*"
"""The one section that the catalog completes: none of its keys has to be in config.yaml."""


class Value(Struct, frozen=True, kw_only=True):
    """What may stand in one place."""

    type: inspect.Type
    """Without what is said about it elsewhere here: no annotations, no null."""
    nullable: bool = False
    noun: str | None = None
    """How to call it in a word, in Markdown, where the type alone says too little: `path`."""
    expected: str | None = None
    """How error texts call it: `a day, such as 2026-12-01`."""
    examples: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """The only ones that are accepted, in the order of the schema."""
    later: tuple[str, ...] = ()
    """Words that are known and not supported yet."""
    section: Section | None = None
    shorthand: str | None = None
    """The key of `section` for which a single word may stand in its place."""
    key: Value | None = None
    """Of a table: what its keys are."""
    item: Value | None = None
    """Of a table or a list: what is in it."""


class Key(Struct, frozen=True, kw_only=True):
    """One key of a section."""

    name: str
    path: str
    """From the top, `*` for a name and `[]` for a place in a list: `pools.*.members[].weight`."""
    value: Value
    required: bool
    default: object
    """NODEFAULT where there is none to name."""
    meaning: str
    """One or a few sentences, in Markdown; links are relative to docs/."""


class Section(Struct, frozen=True, kw_only=True):
    """Keys that stand together."""

    kind: type[Struct]
    meaning: str
    keys: tuple[Key, ...]


@functools.cache
def described() -> Section:
    """config.yaml. A provider's section, `providers.*`, is also that of providers.yaml."""
    return _section(cast(inspect.StructType, inspect.type_info(ConfigFile)), "")


@functools.cache
def packaged_catalog() -> Mapping:
    """The entries of the catalog that ships with the package, by provider."""
    report = Report()
    document = parse(read_text(packaged_providers()), "providers.yaml", report)
    assert document is not None, report.problems
    return catalog_entries(document, report)


def texts(kind: type[Struct]) -> dict[str, str]:
    """The text below each field that has one, inherited fields included."""
    found: dict[str, str] = {}
    for base in reversed(_lineage(kind)):
        body = _class(base).body
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = " ".join(words.split())
    return found


def parent(kind: type[Struct]) -> type[Struct] | None:
    """The struct whose keys `kind` has too, beside its own."""
    lineage = _lineage(kind)
    return lineage[1] if len(lineage) > 1 else None


def _lineage(kind: type[Struct]) -> list[type[Struct]]:
    return [base for base in kind.__mro__ if issubclass(base, Struct) and base is not Struct]


@functools.cache
def _class(kind: type[Struct]) -> ast.ClassDef:
    definition = ast.parse(getsource(kind)).body[0]
    assert isinstance(definition, ast.ClassDef)
    return definition


def _section(info: inspect.StructType, path: str) -> Section:
    hints = get_type_hints(info.cls, include_extras=True)
    meanings = texts(info.cls)
    keys = []
    for field in info.fields:
        if field.name == "name":  # stands in the file as the section's own key
            continue
        below = f"{path}.{field.name}" if path else field.name
        value = _value(field.type, below, _literal(hints[field.name]))
        factory = field.default_factory
        keys.append(
            Key(
                name=field.name,
                path=below,
                value=value,
                required=field.required and path != PROVIDER,
                default=field.default if factory is NODEFAULT else factory(),
                meaning=meanings.get(field.name) or (value.section.meaning if value.section else ""),
            )
        )
    meaning = ast.get_docstring(_class(info.cls)) or ""
    return Section(kind=info.cls, meaning=" ".join(meaning.split()), keys=tuple(keys))


def _value(info: inspect.Type, path: str, literal: tuple[str, ...]) -> Value:
    nullable = False
    if isinstance(info, inspect.UnionType):
        others = [each for each in info.types if not isinstance(each, inspect.NoneType)]
        nullable = len(others) < len(info.types)
        if len(others) == 1:
            info = others[0]
    said: dict[str, Any] = {}
    if isinstance(info, inspect.Metadata):
        said = {**(info.extra_json_schema or {}), **(info.extra or {})}
        info = info.type
    return Value(
        type=info,
        nullable=nullable,
        noun=said.get("title"),
        expected=said.get("expected"),
        examples=tuple(said.get("examples", ())),
        **_within(info, path, literal),
    )


def _within(info: inspect.Type, path: str, literal: tuple[str, ...]) -> dict[str, Any]:
    """What is said of a value by its type alone, as fields of `Value`."""
    match info:
        case inspect.StructType():
            return {"section": _section(info, path), "shorthand": SHORTHANDS.get(path)}
        case inspect.DictType():
            return {"key": _value(info.key_type, path, ()), "item": _value(info.value_type, f"{path}.*", literal)}
        case inspect.VarTupleType():
            return {"item": _value(info.item_type, f"{path}[]", literal)}
        case inspect.EnumType(cls=cls):
            return {"words": tuple(str(member.value) for member in cls)}
        case inspect.LiteralType():
            supported = SUPPORTED_VALUES.get(path, literal)
            return {
                "words": tuple(word for word in literal if word in supported),
                "later": tuple(word for word in literal if word not in supported),
            }
        case _:
            return {}


def _literal(hint: object) -> tuple[str, ...]:
    """The words of the first Literal in `hint`, in the order of the source; msgspec sorts them."""
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    return next((words for part in get_args(hint) if (words := _literal(part))), ())
