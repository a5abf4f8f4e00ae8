"""JSON Schema (draft 2020-12) of the two files, for editors that complete and check YAML.

It says what `read.py` says about single values: keys, types, ranges. What only the whole shows (names that have to
exist, numbers that contradict each other) is left to `busbar check`. In one place it is the wider of the two: to JSON
Schema 1.0 is a whole number.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias

import msgspec
from msgspec import NODEFAULT, Struct, inspect

from busbar.config.catalog import SHARED_ERRORS
from busbar.config.describe import PROVIDER, Key, Section, Value, described, packaged_catalog
from busbar.config.secret import Secret
from busbar.config.source import Mapping, Scalar, word_value

Schema: TypeAlias = dict[str, Any]

FILE_NAME = "config.schema.json"
"""What the schema is called beside a config.yaml."""

VARIABLE = r"\$\{[A-Za-z0-9_]{1,128}\}"
"""A value may come from a variable, or from several, whatever its type."""

_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")


def modeline(file: str = FILE_NAME) -> str:
    """The comment by which yaml-language-server finds the schema; a line of its own, the first of the file."""
    return f"# yaml-language-server: $schema={file}"


def schema_text(*, catalog: bool = False) -> str:
    """The schema of config.yaml, or with `catalog` of providers.yaml, as a file's text."""
    return json.dumps(schema(catalog=catalog), indent=2, ensure_ascii=False) + "\n"


def schema(*, catalog: bool = False) -> Schema:
    """The same as a value."""
    writer = _Writer(suggest=not catalog)
    root = described()
    if catalog:
        providers = [key for key in root.keys if key.name == "providers"]
        meaning = "How each provider is reached and how it reports errors; config.yaml overrides it."
        root = Section(kind=root.kind, meaning=meaning, keys=tuple(providers))
    body = writer.section(root)
    if catalog:
        writer.definitions["ProviderEntry"]["properties"][SHARED_ERRORS] = {
            "description": "The entry whose tables of errors are this one's too; it has them itself.",
            "type": "string",
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Busbar provider catalog" if catalog else "Busbar configuration",
        **body,
        "$defs": dict(sorted(writer.definitions.items())),
    }


class _Writer:
    """Writes values; each section once, under `definitions`."""

    def __init__(self, *, suggest: bool) -> None:
        self.definitions: dict[str, Schema] = {}
        self._catalog = packaged_catalog() if suggest else None

    def section(self, section: Section) -> Schema:
        required = [key.name for key in section.keys if key.required]
        return {
            "description": _plain(section.meaning),
            "type": "object" if required else ["object", "null"],
            "properties": {key.name: self._key(key) for key in section.keys},
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }

    def _key(self, key: Key) -> Schema:
        written = {"description": _plain(key.meaning), **self._value(key.value)}
        is_section = isinstance(key.default, Struct)
        if key.default not in (NODEFAULT, None, "") and not is_section:
            written["default"] = msgspec.to_builtins(key.default)
        if self._catalog is not None and key.path == PROVIDER.removesuffix(".*"):
            entry = written["additionalProperties"]
            written["properties"] = {
                name: {**entry, "description": _provider(name, node)}
                for name, node in self._catalog.items.items()
                if isinstance(node, Mapping)
            }
        if self._catalog is not None and key.path == "models.*.provider":
            written["examples"] = list(self._catalog.items)
        return written

    def _value(self, value: Value) -> Schema:
        written = self._by_type(value)
        if value.examples:
            written["examples"] = list(value.examples)
        return _or_null(written) if value.nullable else written

    def _by_type(self, value: Value) -> Schema:
        if value.section is not None:
            return self._section_or_word(value, value.section)
        if value.words:
            plain = [other for word in value.words if not isinstance(other := word_value(word), str)]
            words = [*value.words, *plain]  # 1.2 without quotes is a number to an editor, and the word to Busbar
            return {"anyOf": [{"enum": words}, {"type": "string", "pattern": VARIABLE}]}
        match value.type:
            case inspect.DictType():
                assert value.key is not None
                assert value.item is not None
                return {"type": ["object", "null"], **_table(value.key, self._value(value.item))}
            case inspect.VarTupleType(min_length=low, max_length=high):
                assert value.item is not None
                bounds = _present(minItems=low, maxItems=high)
                return {"type": "array" if low else ["array", "null"], "items": self._value(value.item), **bounds}
            case inspect.CustomType(cls=cls) if cls is Secret:
                return {"type": "string", **_pattern(VARIABLE, "${VAR}, for secrets are never in config files")}
            case inspect.UnionType():
                return {"type": ["string", "number", "boolean"]}
            case _:
                return _scalar(value)

    def _section_or_word(self, value: Value, section: Section) -> Schema:
        name = section.kind.__name__.removesuffix("Config")
        if name not in self.definitions:
            self.definitions[name] = {}  # its place, while it is written
            self.definitions[name] = self.section(section)
        reference = {"$ref": f"#/$defs/{name}"}
        if value.shorthand is None:
            return reference
        word = next(key for key in section.keys if key.name == value.shorthand)
        return {"anyOf": [self._value(word.value), reference]}


def _scalar(value: Value) -> Schema:
    match value.type:
        case inspect.IntType() | inspect.FloatType() as info:
            kind = "integer" if isinstance(info, inspect.IntType) else "number"
            bounds = _present(minimum=info.ge, exclusiveMinimum=info.gt, maximum=info.le)
            return {"type": [kind, "string"], **bounds, **_pattern(VARIABLE, "a number, or ${VAR}")}
        case inspect.BoolType():
            return {"type": ["boolean", "string"], **_pattern(VARIABLE, "true, false or ${VAR}")}
        case inspect.StrType(pattern=str(pattern)):
            assert value.expected is not None, "whoever restricts a text says to what"
            return {"type": "string", **_pattern(f"{_ecma(pattern)}|{VARIABLE}", value.expected)}
        case inspect.StrType(min_length=low):
            return {"type": "string", **_present(minLength=low)}
        case other:
            raise AssertionError(f"no way to write {other}")


def _pattern(pattern: str, expected: str) -> Schema:
    """With what yaml-language-server says instead of the pattern."""
    return {"pattern": pattern, "patternErrorMessage": f"expected {expected}"}


def _table(key: Value, item: Schema) -> Schema:
    """The keys of a table: text that is not empty, or numbers of three digits."""
    if not isinstance(key.type, inspect.IntType):
        return {"additionalProperties": item, "propertyNames": {"minLength": 1}}
    low, high = key.type.ge, key.type.le
    assert low is not None
    assert high is not None
    assert (low % 100, high % 100) == (0, 99), "what the pattern can say"
    return {"patternProperties": {f"^[{low // 100}-{high // 100}][0-9]{{2}}$": item}, "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": kinds if "null" in kinds else [*kinds, "null"]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def _present(**bounds: float | None) -> Schema:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _ecma(pattern: str) -> str:
    """JavaScript's spelling of the end of a text, which JSON Schema goes by."""
    return pattern.replace(r"\Z", "$")


def _plain(markdown: str) -> str:
    """Links lead nowhere in an editor; what they are called stays."""
    return _LINK.sub(r"\1", markdown)


def _provider(name: str, entry: Mapping) -> str:
    """A line about a provider of the catalog."""
    said = {key: node.text for key in ("display_name", "docs") if isinstance(node := entry.get(key), Scalar)}
    return ": ".join(said.values()) or f"{name}, as the catalog knows it"
