"""JSON as Google's front end reads it: protobuf's JSON mapping, with the leniency and the words of the real one.

A reader takes a value and its path and gives the canonical value: names in camelCase, one object where a list is
wanted put into a list, enum names in capitals, numbers out of strings; nulls are left out. Raises `Malformed` in the
words of recorded 400s.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Path = tuple[str | int, ...]
Reader = Callable[[Any, Path], Any]

PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta"
DEPTH_MAX = 100
"""Messages nested deeper than this are refused, as protobuf's parser does."""


class Malformed(Exception):
    """`field` is the path the error is about, `message` says what is wrong there."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.field, self.message = spelled(path), message


def spelled(path: Path) -> str:
    """A path as error texts have it: `contents[0].parts[1].function_call`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def camel_case(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def snake_case(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: f"_{match[1].lower()}", name)


def _invalid(path: Path, kind: str, value: Any) -> Malformed:
    if isinstance(value, list):
        return _unknown(path[:-1], str(path[-1]), "Proto field is not repeating, cannot start list.")
    return Malformed(path, f"Invalid value at '{spelled(path)}' ({kind}), {msgspec.json.encode(value).decode()}")


def _unknown(path: Path, name: str, why: str) -> Malformed:
    at = f" at '{spelled(path)}'" if path else ""
    return Malformed(path, f'Invalid JSON payload received. Unknown name "{name}"{at}: {why}')


def message(name: str, fields: Mapping[str, Reader], oneof: frozenset[str] = frozenset()) -> Reader:
    """An object with these members, in either spelling; of those in `oneof` at most one."""

    def read(value: Any, path: Path) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _invalid(path, f"{PACKAGE}.{name}", value)
        if len(path) > DEPTH_MAX:
            raise Malformed(path, "Message too deep. Max recursion depth reached.")
        members: dict[str, Any] = {}
        for key, member in value.items():
            camel = camel_case(key)
            if camel not in fields:
                raise _unknown(path, key, "Cannot find field.")
            if member is None:
                continue
            if camel in oneof and not oneof.isdisjoint(members):
                text = f"Invalid value at '{spelled(path)}' (oneof), oneof field 'data' is already set."
                raise Malformed(path, f"{text} Cannot set '{camel}'")
            members[camel] = fields[camel](member, (*path, snake_case(camel)))
        return members

    return read


def repeated(item: Reader) -> Reader:
    """A list; one object alone is a list of one."""

    def read(value: Any, path: Path) -> list[Any]:
        if isinstance(value, list):
            return [item(element, (*path, index)) for index, element in enumerate(value)]
        if isinstance(value, dict):
            return [item(value, path)]
        raise _invalid(path, "TYPE_LIST", value)

    return read


def mapping(item: Reader) -> Reader:
    """An object with any names."""

    def read(value: Any, path: Path) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _invalid(path, "TYPE_MAP", value)
        *way, last = path
        return {key: item(member, (*way, f"{last}[{key}]")) for key, member in value.items()}

    return read


def enum(name: str, *choices: str) -> Reader:
    """One of the names in any case, or its number."""

    def read(value: Any, path: Path) -> str:
        if isinstance(value, str) and value.upper() in choices:
            return value.upper()
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
            return choices[value]
        raise _invalid(path, f"{PACKAGE}.{name}", value)

    return read


def anything(value: Any, path: Path) -> Any:
    """Accepts every value: the part of the API that is not imitated here."""
    return value


def struct(value: Any, path: Path) -> dict[str, Any]:
    """A google.protobuf.Struct: any object."""
    if not isinstance(value, dict):
        raise _invalid(path, "type.googleapis.com/google.protobuf.Struct", value)
    return value


def string(value: Any, path: Path) -> str:
    if not isinstance(value, str):
        raise _invalid(path, "TYPE_STRING", value)
    return value


def boolean(value: Any, path: Path) -> bool:
    if not isinstance(value, bool):
        raise _invalid(path, "TYPE_BOOL", value)
    return value


def floating(value: Any, path: Path) -> float:
    number = _number(value)
    if number is None:
        raise _invalid(path, "TYPE_FLOAT", value)
    return number


def integer(value: Any, path: Path) -> int:
    number = _number(value)
    if number is None or number != int(number) or abs(number) >= 1 << 63:
        raise _invalid(path, "TYPE_INT32", value)
    return int(number)


def _number(value: Any) -> float | None:
    """A finite number, or one spelled as a string."""
    try:
        number = None if isinstance(value, bool) or not isinstance(value, int | float | str) else float(value)
    except (ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) else None


def blob(value: Any, path: Path) -> str:
    """Base64 in either alphabet, padded or not."""
    text = string(value, path)
    try:
        decoded(text)
    except (binascii.Error, ValueError):
        shown = msgspec.json.encode(text[:64]).decode()
        kind = f"Invalid value at '{spelled(path)}' (TYPE_BYTES), Base64 decoding failed for {shown}"
        raise Malformed(path, kind) from None
    return text


def decoded(text: str) -> bytes:
    """The bytes of a `blob`. Raises ValueError."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
