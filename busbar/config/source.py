"""YAML text → a tree of nodes that know their file, line and key path.

Built from the parser's events, not from Python objects, because an operator needs the place of every mistake, and
because the parts of YAML that surprise or attack are best not built at all: aliases (bombs), tags, merge keys,
a second document, the same key twice. Plain words are read by YAML 1.2's core schema, so `on` and
`2023-06-01` stay text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml
from msgspec import Struct

from busbar.config.problems import KeyPath, Report, shown

FILE_BYTES_MAX = 1 << 20
DEPTH_MAX = 32
NODES_MAX = 100_000

_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where it is compiled in: ten times the speed, the same events."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,30}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,2})?\Z")
_QUOTED_IN_MESSAGE = re.compile(r"'[^']{5,}'|\"[^\"]{5,}\"")


class Node(Struct, frozen=True, kw_only=True):
    """A place in a file. `line` is that of the node's key, where it has one."""

    file: str
    line: int
    path: KeyPath


class Scalar(Node, frozen=True, kw_only=True):
    """One value. `variables` names the environment variables that were expanded into `text`."""

    text: str
    plain: bool = True
    variables: tuple[str, ...] = ()
    broken: bool = False
    """Its expansion failed and was reported; nobody needs to hear of it again."""

    @property
    def value(self) -> bool | int | float | str | None:
        """What the text stands for: quoted or expanded text is itself, a plain word may be a number."""
        return word_value(self.text) if self.plain and not self.variables else self.text


class Mapping(Node, frozen=True, kw_only=True):
    items: dict[str, Node]

    def get(self, *path: str) -> Node | None:
        """The node under these keys, or None."""
        node: Node | None = self
        for key in path:
            node = node.items.get(key) if isinstance(node, Mapping) else None
        return node


class Sequence(Node, frozen=True, kw_only=True):
    items: tuple[Node, ...]


def word_value(text: str) -> bool | int | float | str | None:
    """A plain word by YAML 1.2's core schema (decimal numbers only)."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


def parse(text: str, file: str, report: Report) -> Mapping | None:
    """The document as a tree, or None when it is no usable YAML mapping; what is wrong goes into `report`."""
    if len(text.encode("utf-8", "surrogatepass")) > FILE_BYTES_MAX:
        report.add(file, 0, (), f"larger than {FILE_BYTES_MAX} bytes")
        return None
    builder = _Builder(text, file, report)
    try:
        return builder.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = _QUOTED_IN_MESSAGE.sub("…", error.problem or "cannot be parsed")
        report.add(file, mark.line + 1 if mark else 0, (), f"not valid YAML: {reason}")
    except yaml.YAMLError:
        report.add(file, 0, (), "not valid YAML: it contains a character that text files do not have")
    except _Unreadable as error:
        report.add(file, error.line, error.path, error.reason)
    return None


class _Unreadable(Exception):
    def __init__(self, line: int, path: KeyPath, reason: str) -> None:
        super().__init__(reason)
        self.line, self.path, self.reason = line, path, reason


class _Builder:
    """Turns parser events into nodes, one recursive step per level, at most DEPTH_MAX deep."""

    def __init__(self, text: str, file: str, report: Report) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_Parser)
        self._file = file
        self._report = report
        self._nodes = 0

    def document(self) -> Mapping | None:
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Mapping(file=self._file, line=1, path=(), items={})
        root = self._node(next(self._events), ())
        next(self._events)
        if not isinstance(after := next(self._events), yaml.StreamEndEvent):
            raise _Unreadable(_line(after), (), "a second YAML document: one file is one document")
        if isinstance(root, Scalar) and root.value is None:
            return Mapping(file=self._file, line=1, path=(), items={})
        if not isinstance(root, Mapping):
            raise _Unreadable(root.line, (), "expected keys and values at the top of the file")
        return root

    def _node(self, event: yaml.Event, path: KeyPath, key_line: int | None = None) -> Node:
        line = key_line if key_line is not None else _line(event)
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            raise _Unreadable(line, path[:DEPTH_MAX], f"more than {NODES_MAX} values or {DEPTH_MAX} levels")
        match event:
            case yaml.AliasEvent():
                raise _Unreadable(line, path, "YAML aliases are not accepted; write the value out")
            case yaml.ScalarEvent(tag=None, anchor=None):
                return Scalar(
                    file=self._file, line=line, path=path, text=event.value, plain=event.style in (None, "")
                )
            case yaml.MappingStartEvent(tag=None, anchor=None):
                return Mapping(file=self._file, line=line, path=path, items=self._items(path))
            case yaml.SequenceStartEvent(tag=None, anchor=None):
                return Sequence(file=self._file, line=line, path=path, items=tuple(self._elements(path)))
            case _:
                raise _Unreadable(line, path, "YAML tags and anchors are not accepted")

    def _items(self, path: KeyPath) -> dict[str, Node]:
        items: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            key = self._node(event, path)
            if not isinstance(key, Scalar):
                raise _Unreadable(line, path, "a key is a single word, not a list or a mapping")
            below = (*path, key.text)
            node = self._node(next(self._events), below, line)
            if key.text in items:
                first = items[key.text].line
                self._report.add(
                    self._file, line, below, f"{shown(key.text)} is written twice, first on line {first}"
                )
            else:
                items[key.text] = node
        return items

    def _elements(self, path: KeyPath) -> Iterator[Node]:
        position = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, (*path, position))
            position += 1


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0
