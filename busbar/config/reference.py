"""The tables of docs/configuration.md, written from `describe.py`: `python -m busbar.config.reference PAGE`.

Only what stands between two comments is written, the text around them stays:

    <!-- generated: limits -->
    …
    <!-- end of what is generated -->

There is such a place for each top-level section, and one, `top`, for the top level itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import NODEFAULT, Struct, inspect

from busbar.config.describe import Key, Section, Value, described, packaged_catalog, parent
from busbar.config.secret import Secret
from busbar.config.source import Mapping

HEAD = ("| Key | Type, range | Default | Meaning |", "|---|---|---|---|")
INLINE_KEYS_MAX = 6
"""A section with more keys than this has a table of its own."""

LATER = 'A word marked **later** is known, but its feature is not built yet: it is answered with "not supported yet".'

_PLACE = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end of what is generated -->)", re.DOTALL)
_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


class OutOfPlace(Exception):
    """The page has no place for a section, or a place for something that is none."""


def main(arguments: Sequence[str]) -> int:
    """Writes the page that is named. Raises OutOfPlace."""
    page = Path(arguments[0])
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def rewritten(page: str) -> str:
    """The page with its tables as they should be. Raises OutOfPlace."""
    written = tables()
    places = [name for _, name, _ in _PLACE.findall(page)]
    if sorted(places) != sorted(written):
        wrong = ", ".join(sorted(set(places) ^ set(written))) or "one of them is there twice"
        raise OutOfPlace(f"the page wants one `<!-- generated: … -->` for each section; see to {wrong}")
    return _PLACE.sub(lambda match: f"{match[1]}\n{written[match[2]]}\n\n{match[3]}", page)


def tables() -> dict[str, str]:
    """Markdown by place: the table of a section, and under headings those that belong to it."""
    root = described()
    top = _Tables(links=True)
    top.table(root, "")
    written = {}
    for key in root.keys:
        path, section = _beneath(key.name, key.value)
        if section is not None:
            one = _Tables()
            one.table(section, path)
            written[key.name] = one.text
    later = any("**later**" in text for text in written.values())
    return {"top": f"{top.text}\n\n{LATER}" if later else top.text, **written}


class _Tables:
    """Writes one section and what is beneath it."""

    def __init__(self, *, links: bool = False) -> None:
        self._links = links
        self._lines: list[str] = []
        self._further: list[tuple[str, Section]] = []
        self._seen: dict[type[Struct], str] = {}

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    def table(self, section: Section, path: str) -> None:
        """The section's table, then those of the sections that are too large or too many to stand in it."""
        self._note(section.kind, path)
        self._lines += HEAD
        self._rows(section, path)
        self._classes(section)
        while self._further and not self._links:
            below, inner = self._further.pop(0)
            self._lines += ["", f"#### `{below}`", "", inner.meaning, ""]
            self.table(inner, below)

    def _note(self, kind: type[Struct], path: str) -> None:
        self._seen.setdefault(kind, path)
        if (base := parent(kind)) is not None:
            self._seen.setdefault(base, path)

    def _rows(self, section: Section, path: str, prefix: str = "") -> None:
        base = parent(section.kind)
        there = self._seen.get(base, path) if base is not None else path
        inherited = base.__struct_fields__ if base is not None and there != path else ()
        for key in section.keys:
            if key.name not in inherited:
                self._key(key, path, prefix)
        if inherited:
            names = ", ".join(f"`{name}`" for name in inherited)
            self._lines.append(f"| {names} | as there | as there | As in [`{there}`](#{anchor(there)}) |")

    def _key(self, key: Key, path: str, prefix: str) -> None:
        below, section = _beneath(f"{path}.{key.name}" if path else key.name, key.value)
        inline = not self._links and section is not None and section is key.value.section
        if section is not None and inline and key.value.shorthand and len(section.keys) == 1:
            only = section.keys[0]
            takes = f"{_takes(only.value, only.name)}; or `{{{only.name}: …}}`"
            self._row(prefix + key.name, takes, _default(only), only.meaning)
            return
        if section is not None and inline and len(section.keys) <= INLINE_KEYS_MAX:
            word = f"; or a word, its `{key.value.shorthand}`" if key.value.shorthand else ""
            self._row(prefix + key.name, f"section{word}", _default(key), key.meaning)
            self._rows(section, path, f"{prefix}{key.name}.")
            return
        takes = _takes(key.value, key.name)
        if section is not None:
            there = self._seen.get(section.kind)
            takes = re.sub("sections?", lambda word: f"[{word[0]}](#{anchor(there or below)})", takes)
            if there is None:
                self._note(section.kind, below)
                self._further.append((below, section))
        self._row(prefix + key.name, takes, _default(key), key.meaning)

    def _row(self, name: str, takes: str, default: str, meaning: str) -> None:
        cells = (f"`{name}`", takes, default, meaning.removesuffix("."))
        assert not any("|" in cell for cell in cells), "it would end the cell"
        self._lines.append("".join(f"| {cell} ".replace("  ", " ") for cell in cells) + "|")

    def _classes(self, section: Section) -> None:
        """The words that tables may hold, said once beneath instead of in each row."""
        told = set()
        for key in section.keys:
            item = key.value.item
            if item is not None and isinstance(item.type, inspect.EnumType) and item.type.cls not in told:
                told.add(item.type.cls)
                words = ", ".join(f"`{word}`" for word in item.words)
                self._lines += ["", f"The {_noun(item.type.cls)} is one of {words}."]


def anchor(heading: str) -> str:
    """The fragment by which Markdown renderers find a heading: lower case, words and hyphens alone."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _beneath(path: str, value: Value) -> tuple[str, Section | None]:
    """The section that stands at `path`, in its list or under its names, and how the way there is written."""
    if value.section is not None or value.item is None:
        return path, value.section
    if value.key is not None:
        return f"{path}.<{value.key.noun or 'name'}>", value.item.section
    return f"{path}[]", value.item.section


def _takes(value: Value, name: str) -> str:
    """The column "Type, range" of one value; `name` says by its last word what a number counts."""
    if value.words or value.later:
        words = ", ".join(f"`{word}`" for word in value.words)
        later = ", ".join(f"`{word}`" for word in value.later)
        return f"{words}; **later**: {later}" if later else words
    if value.noun is not None:
        return value.noun
    match value.type:
        case inspect.StructType():
            return "section"
        case inspect.DictType():
            assert value.key is not None
            assert value.item is not None
            keys = value.key.noun or ("name" if isinstance(value.key.type, inspect.StrType) else None)
            return f"{keys or _takes(value.key, '')} → {_item(value.item)}"
        case inspect.VarTupleType(min_length=low, max_length=high):
            assert value.item is not None
            several = _item(value.item).replace("section", "sections")
            bounds = "" if high is None else f", {low}–{high}" if low else f", up to {high}"
            return f"list of {several}{bounds}"
        case inspect.CustomType(cls=cls) if cls is Secret:
            return '`"${VAR}"`'
        case inspect.BoolType():
            return "`true`, `false`"
        case inspect.IntType() | inspect.FloatType():
            return _range(value.type, name)
        case inspect.UnionType():
            return "single value"
        case _:
            return "text"


def _item(value: Value) -> str:
    return _noun(value.type.cls) if isinstance(value.type, inspect.EnumType) else _takes(value, "")


def _noun(kind: type) -> str:
    """`FailureClass` as words."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).lower()


def _range(info: inspect.IntType | inspect.FloatType, name: str) -> str:
    high = "" if info.le is None else _number(info.le, name)
    if info.gt is not None:
        return f"above {_number(info.gt, name)}, to {high}"
    low = _number(info.ge or 0, name)
    return f"{low} to {high}" if low.startswith("-") else f"{low}–{high}"


def _default(key: Key) -> str:
    if key.required:
        return "required"
    if key.path.startswith("providers.*.") and key.path.count(".") == 2 and key.name in _catalog_keys():
        return "catalog's"
    match key.default:
        case None:
            return "" if isinstance(key.value.type, inspect.CustomType) else "null"
        case bool():
            return f"`{key.default}`".lower()
        case int() | float():
            return _number(key.default, key.name)
        case str() if key.default:
            return f"`{key.default}`"
        case tuple():
            return "`[]`"
        case dict():
            return "`{}`" if key.value.item is not None and key.value.item.section is None else ""
        case _:
            assert key.default is NODEFAULT or key.default == "" or isinstance(key.default, Struct)
            return ""


def _catalog_keys() -> set[str]:
    """What the packaged catalog says about one provider or another."""
    return {key for entry in packaged_catalog().items.values() if isinstance(entry, Mapping) for key in entry.items}


def _number(number: float, name: str) -> str:
    if name.endswith("_bytes"):
        for size, unit in _SIZES:
            if number >= size and number % size == 0:
                return f"{int(number) // size} {unit}"
    return f"{number:,}" if abs(number) >= 10_000 else f"{number}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
