"""LiteLLM's file → plain values.

LiteLLM reads with PyYAML, so people write what PyYAML knows: anchors, aliases, merge keys, `20_000`, `yes`. Busbar's
own files refuse the first three; here they are followed, because the file is only read once, by the person whose it
is. The bounds are those of Busbar's reader, and they hold for what aliases stand for: a bomb is refused before it is
built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml
from msgspec import Struct

from busbar.config.source import DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX

Values: TypeAlias = dict[str, Any]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_resolver: Any = yaml.resolver.Resolver()
_constructor: Any = yaml.constructor.SafeConstructor()
_KINDS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "null")}
_MERGE = "<<"
_NUMBER_CHARS_MAX = 40


class Unreadable(Exception):
    """The file cannot be read; the text says where and why, and quotes nothing."""


class Source(Struct, frozen=True):
    """What the file says. `twice` names the keys that are written twice in one place: PyYAML goes by the last."""

    values: Values
    twice: tuple[str, ...] = ()


class _Node(Struct, frozen=True):
    value: Any
    size: int
    """Nodes beneath it, aliases written out."""
    depth: int


def read(text: str) -> Source:
    """Raises `Unreadable`."""
    if len(text.encode("utf-8", "surrogatepass")) > FILE_BYTES_MAX:
        raise Unreadable(f"larger than {FILE_BYTES_MAX} bytes")
    builder = _Builder(text)
    try:
        value = builder.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(f"{f'line {mark.line + 1}: ' if mark else ''}not valid YAML") from None
    except (yaml.YAMLError, UnicodeEncodeError):
        raise Unreadable("not valid YAML: it contains a character that text files do not have") from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise Unreadable("expected keys and values at the top of the file")
    return Source(value, tuple(dict.fromkeys(builder.twice)))


class _Builder:
    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._anchors: dict[str, _Node] = {}
        self._read = 0
        self.twice: list[str] = []

    def document(self) -> Any:
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        root = self._node(next(self._events), 0)
        next(self._events)
        if not isinstance(after := next(self._events), yaml.StreamEndEvent):
            raise Unreadable(f"line {_line(after)}: a second YAML document: one file is one document")
        return root.value

    def _node(self, event: Any, depth: int) -> _Node:
        self._count(event, 1, depth)
        match event:
            case yaml.AliasEvent():
                found = self._anchors.get(str(event.anchor))
                if found is None:
                    raise Unreadable(f"line {_line(event)}: an alias without its anchor before it")
                self._count(event, found.size, depth + found.depth)
                return found
            case yaml.ScalarEvent():
                node = _Node(_scalar(event), 1, 0)
            case yaml.SequenceStartEvent():
                node = self._sequence(depth)
            case _:
                node = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _count(self, event: Any, nodes: int, depth: int) -> None:
        self._read += nodes
        if self._read > NODES_MAX or depth > DEPTH_MAX:
            raise Unreadable(f"line {_line(event)}: more than {NODES_MAX} values or {DEPTH_MAX} levels")

    def _sequence(self, depth: int) -> _Node:
        nodes = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            nodes.append(self._node(event, depth + 1))
        return _Node([node.value for node in nodes], *_measures(nodes))

    def _mapping(self, depth: int) -> _Node:
        nodes: list[_Node] = []
        values: Values = {}
        merged: Values = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if isinstance(key.value, dict | list):
                raise Unreadable(f"line {_line(event)}: a key is a single word, not a list or a mapping")
            node = self._node(next(self._events), depth + 1)
            nodes += [key, node]
            if getattr(event, "value", None) == _MERGE and getattr(event, "style", None) in (None, ""):
                merged = {**merged, **_merged(node.value, event)}
                continue
            name = event.value if isinstance(event, yaml.ScalarEvent) else str(key.value)
            if name in values:
                self.twice.append(name)
            values[name] = node.value
        return _Node({**merged, **values}, *_measures(nodes))


def _merged(value: Any, event: Any) -> Values:
    """What `<<:` brings in; of several mappings the earlier wins."""
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(it, dict) for it in sources):
        raise Unreadable(f"line {_line(event)}: `<<` merges mappings, and nothing else")
    together: Values = {}
    for it in reversed(sources):
        together.update(it)
    return together


def _measures(nodes: list[_Node]) -> tuple[int, int]:
    return 1 + sum(node.size for node in nodes), 1 + max((node.depth for node in nodes), default=0)


def _scalar(event: yaml.ScalarEvent) -> Any:
    """The value as PyYAML has it; dates, binaries and unknown tags stay text."""
    tag = event.tag
    if tag is None and event.style in (None, ""):
        tag = _resolver.resolve(yaml.ScalarNode, event.value, (True, False))
    if tag not in _KINDS or (len(event.value) > _NUMBER_CHARS_MAX):
        return event.value
    try:
        return _constructor.construct_object(yaml.ScalarNode(tag, event.value))
    except (ValueError, KeyError, yaml.YAMLError):  # `!!int nonsense`
        return event.value


def _line(event: Any) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0
