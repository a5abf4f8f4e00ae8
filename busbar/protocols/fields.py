"""Taking fields out of a decoded JSON object: what is understood is taken, the rest stays as the native leftover.

Every `take` removes the field from `left` and gives its value when it has the expected type. A field that is
absent or null gives None and stays where it is (an explicit null is the dialect's own way of saying nothing, and
goes back as it came). A field of another type raises `InvalidRequest` naming its path.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.protocol import InvalidRequest


def take_text(left: dict[str, Any], key: str, path: str = "") -> str | None:
    value = left.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidRequest(_at(path, key), "expected a string")
    del left[key]
    return value


def take_bool(left: dict[str, Any], key: str, path: str = "") -> bool | None:
    value = left.get(key)
    if value is None:
        return None
    if not isinstance(value, bool):
        raise InvalidRequest(_at(path, key), "expected true or false")
    del left[key]
    return value


def take_int(left: dict[str, Any], key: str, path: str = "") -> int | None:
    """Takes an integer; a float without fraction counts, as JSON has only numbers."""
    value = left.get(key)
    if value is None:
        return None
    if type(value) is not int:
        if type(value) is not float or value != int(value):
            raise InvalidRequest(_at(path, key), "expected an integer")
        value = int(value)
    del left[key]
    return value


def take_number(left: dict[str, Any], key: str, path: str = "") -> float | None:
    value = left.get(key)
    if value is None:
        return None
    if type(value) is not float and type(value) is not int:
        raise InvalidRequest(_at(path, key), "expected a number")
    del left[key]
    return value


def take_object(left: dict[str, Any], key: str, path: str = "") -> dict[str, Any] | None:
    """Takes an object; the copy may be taken apart further."""
    value = left.get(key)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidRequest(_at(path, key), "expected an object")
    del left[key]
    return dict(value)


def take_list(left: dict[str, Any], key: str, path: str = "") -> list[Any] | None:
    value = left.get(key)
    if value is None:
        return None
    if not isinstance(value, list):
        raise InvalidRequest(_at(path, key), "expected an array")
    del left[key]
    return value


def as_object(value: Any, path: str) -> dict[str, Any]:
    """A copy of `value`, to be taken apart. Raises `InvalidRequest` when it is not an object."""
    if not isinstance(value, dict):
        raise InvalidRequest(path, "expected an object")
    return dict(value)


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
