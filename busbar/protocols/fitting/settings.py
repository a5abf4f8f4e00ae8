"""Settings of another dialect, brought within the bounds of this one, and reported where that changes them."""

from __future__ import annotations

from busbar.protocols.receipt import Receipt


def within(value: float, name: str, low: float, high: float, receipt: Receipt) -> float:
    """The nearest to `value` that is from `low` to `high`, both included."""
    bounded = min(max(value, low), high)
    if bounded != value:
        receipt.clamped(name, f"{low:g} to {high:g} here")
    return bounded


def within_if_stated(value: float | None, name: str, low: float, high: float, receipt: Receipt) -> float | None:
    return None if value is None else within(value, name, low, high, receipt)
