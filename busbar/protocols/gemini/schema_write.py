"""JSON Schemas in the subset that this dialect takes.

`parameters` and `responseSchema` refuse every keyword that is not in the API's `Schema` ("Unknown name
"additionalProperties" … Cannot find field"). What can be said otherwise is: `$ref` is put in place, `const` is an
`enum`, `oneOf` is `anyOf`, `allOf` is merged, null among the types is `nullable`. The rest is dropped and reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from busbar.protocols.receipt import Receipt

DEPTH_MAX = 32
"""References into themselves are put in place this deep at most; there the schema takes anything."""
REFERENCES_MAX = 512
"""References that are put in place, in one schema: each may hold others, so that few make many."""

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_PLAIN = frozenset({"title", "description", "required", "pattern", "minimum", "maximum"})
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_SILENT = frozenset({"$schema", "$id", "$defs", "definitions", "$comment"})
"""Dropped without a word: they say nothing of what fits, or say it where a reference asks for it."""
_SHAPES = frozenset({"properties", "items", "enum"})
_FORMATS = frozenset({"enum", "date-time", "int32", "int64", "float", "double"})


class Place(Struct, frozen=True):
    """Where the pieces of a schema stand: what it states itself at `at`, what it refers to at `home`. What it has
    from elsewhere (`allOf`) is looked for at `home` as a whole."""

    at: str
    stated: Mapping[str, Any]
    home: str
    referred: Mapping[str, Any]

    def of(self, key: str, name: str = "") -> str:
        """Of a member, or of what it holds under `name`."""
        for base, schema in ((self.at, self.stated), (self.home, self.referred)):
            if key in schema and (not name or name in schema[key]):
                return f"{base}.{key}{name and '.'}{name}"
        return self.home


class SchemaWriter:
    """Writes one schema; `path` is where it stands, in the IR's names.

    What a schema has no place for is told once, where it is met first: there may be as much of it as there are
    properties."""

    def __init__(self, root: Mapping[str, Any], path: str, receipt: Receipt) -> None:
        self._root = root
        self._path = path
        self._receipt = receipt
        self._references = 0
        self._told: set[str] = set()

    def write(self) -> dict[str, Any]:
        return self._write(dict(self._root), self._path, 0, ())

    def _write(self, schema: Mapping[str, Any], at: str, depth: int, trail: tuple[str, ...]) -> dict[str, Any]:
        """`at` is where `schema` stands."""
        stated = schema
        schema, home, trail = self._resolved(stated, at, trail)
        place = Place(at, stated, home, schema)
        if depth > DEPTH_MAX:
            self._receipt.changed(self._path, f"nested deeper than {DEPTH_MAX} levels: anything fits there")
            return {"type": "OBJECT"}
        schema = self._merged(schema, home, trail)
        written: dict[str, Any] = {}
        self._put_type(schema, written)
        for key, value in schema.items():
            if (
                key in _PLAIN
                or (key in _COUNTS and isinstance(value, int))
                or (key == "format" and value in _FORMATS)
            ):
                written[key] = value
            elif key not in _HANDLED:
                self._drop(key, value, place)
        self._put_enum(schema, written, place)
        self._put_inner(schema, written, place, depth, trail)
        if not written.keys() & {"type", "anyOf"}:
            written["type"] = "STRING"
            if depth:
                self._tell("type", at, "a schema that says no type is a text here")
        return _alone(written) if "anyOf" in written else written

    def _resolved(
        self, schema: Mapping[str, Any], at: str, trail: tuple[str, ...]
    ) -> tuple[Mapping[str, Any], str, tuple[str, ...]]:
        """Puts what a reference names in its place, with what stands beside the reference over it. Gives where that
        stands, too."""
        while isinstance(reference := schema.get("$ref"), str):
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            target = _at(self._root, reference)
            self._references += 1
            if target is None or reference in trail or self._references > REFERENCES_MAX:
                why = "a reference into itself" if target is not None else "a reference that leads nowhere"
                self._tell("$ref", f"{at}.$ref", f"{why}: anything fits there")
                return {"type": "object", **beside}, at, trail
            trail = (*trail, reference)
            schema = {**target, **beside}
            at = self._path + reference.removeprefix("#").replace("/", ".")
        return schema, at, trail

    def _merged(self, schema: Mapping[str, Any], at: str, trail: tuple[str, ...]) -> Mapping[str, Any]:
        """`allOf` in one schema: properties and required names add up, of the rest the first word stands."""
        pieces = schema.get("allOf")
        if not isinstance(pieces, list):
            return schema
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            whole = self._merged(self._resolved(piece, at, trail)[0], at, trail)
            for key, value in whole.items():
                if key == "properties" and isinstance(value, dict):
                    merged[key] = {**value, **merged.get(key, {})}
                elif key == "required" and isinstance(value, list):
                    merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
                else:
                    merged.setdefault(key, value)
        return merged

    def _put_type(self, schema: Mapping[str, Any], written: dict[str, Any]) -> None:
        kind = schema.get("type")
        kinds = [kind] if isinstance(kind, str) else kind if isinstance(kind, list) else []
        known = [each for each in kinds if each in _TYPES]
        if "null" in kinds or schema.get("nullable") is True:
            written["nullable"] = True
        if len(known) == 1:
            written["type"] = known[0].upper()
        elif known:
            written["anyOf"] = [self._alternative(each, schema) for each in known]
        elif "properties" in schema:
            written["type"] = "OBJECT"
        elif kinds == ["null"]:
            written["type"] = "STRING"

    def _alternative(self, kind: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        if kind == "array" and not isinstance(schema.get("items"), dict):
            return {"type": "ARRAY", "items": {"type": "STRING"}}
        return {"type": kind.upper()}

    def _put_enum(self, schema: Mapping[str, Any], written: dict[str, Any], place: Place) -> None:
        """Values are texts here; numbers and others have no place, except null."""
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        if not isinstance(values, list):
            return
        if None in values:
            written["nullable"] = True
        texts = [value for value in values if isinstance(value, str) and value]
        if len(texts) < len([value for value in values if value is not None]):
            stated = "const" if "const" in schema else "enum"
            self._tell("enum", place.of(stated), "the values of an enum are texts here")
            return
        if texts:
            written.setdefault("type", "STRING")
            written["enum"] = texts

    def _put_inner(
        self, schema: Mapping[str, Any], written: dict[str, Any], place: Place, depth: int, trail: tuple[str, ...]
    ) -> None:
        properties = schema.get("properties")
        if isinstance(properties, dict) and properties:
            named = {name: each if isinstance(each, dict) else {} for name, each in properties.items()}
            written["properties"] = {
                name: self._write(each, place.of("properties", name), depth + 1, trail)
                for name, each in named.items()
            }
        self._put_required(written)
        if written.get("type") == "ARRAY":
            items = schema.get("items")
            items = items if isinstance(items, dict) else {}
            written["items"] = self._write(items, place.of("items"), depth + 1, trail)
        key = "anyOf" if "anyOf" in schema else "oneOf"
        alternatives = schema.get(key)
        if isinstance(alternatives, list):
            self._put_alternatives(alternatives, written, place.of(key), depth, trail)

    def _put_required(self, written: dict[str, Any]) -> None:
        """Whoever requires a property that is not defined is refused."""
        required, defined = written.get("required"), written.get("properties", {})
        if required is None:
            return
        kept = [name for name in required if name in defined] if isinstance(required, list) else []
        del written["required"]
        if kept:
            written["required"] = kept

    def _put_alternatives(
        self, alternatives: list[Any], written: dict[str, Any], at: str, depth: int, trail: tuple[str, ...]
    ) -> None:
        """Null among the alternatives is `nullable`; one that is left alone is the schema itself."""
        kept = [
            (f"{at}[{nth}]", each)
            for nth, each in enumerate(alternatives)
            if isinstance(each, dict) and each.get("type") != "null"
        ]
        if len(kept) < len(alternatives):
            written["nullable"] = True
        if len(kept) == 1:
            for key, value in self._write(kept[0][1], kept[0][0], depth + 1, trail).items():
                written.setdefault(key, value)
        elif written.keys() & _SHAPES:
            self._tell("anyOf", at, "alternatives do not stand beside a schema's own shape")
        elif kept:
            written["anyOf"] = [self._write(each, where, depth + 1, trail) for where, each in kept]

    def _drop(self, key: str, value: Any, place: Place) -> None:
        if key in _SILENT or (key == "additionalProperties" and value is True):
            return
        self._tell(key, place.of(key), "not in this dialect's subset of JSON Schema")

    def _tell(self, what: str, at: str, why: str) -> None:
        if what not in self._told:
            self._told.add(what)
            (self._receipt.changed if what in _MENDED else self._receipt.dropped)(at, why)


_HANDLED = frozenset(
    {
        *("type", "nullable", "enum", "const", "properties", "items"),
        *("anyOf", "oneOf", "allOf", "$ref", "propertyOrdering"),
    }
)
_MENDED = frozenset({"type", "$ref"})
"""Members in whose place something else is said; others are dropped."""


def _alone(written: dict[str, Any]) -> dict[str, Any]:
    """`anyOf` by itself, as nothing else may stand beside it: what did is said by each alternative."""
    shared = {key: written[key] for key in ("description", "nullable") if key in written}
    return {"anyOf": [{**shared, **each} for each in written["anyOf"]]}


def write_schema(schema: Mapping[str, Any], path: str, receipt: Receipt) -> dict[str, Any]:
    """`schema`, in the subset."""
    return SchemaWriter(schema, path, receipt).write()


def _at(root: Mapping[str, Any], reference: str) -> dict[str, Any] | None:
    """What `#/$defs/Name` names in `root`."""
    if not reference.startswith("#"):
        return None
    value: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value if isinstance(value, dict) else None
