"""The fidelity receipt: complete, without repeats, and bounded."""

from __future__ import annotations

import pytest

from busbar.protocols.receipt import RECEIPT_ENTRIES_MAX, Entry, Receipt


def test_receipt_lists_what_happened_in_order() -> None:
    receipt = Receipt()
    receipt.dropped("seed", "no place for it")
    receipt.changed("tool_choice")
    receipt.clamped("temperature", "at most 1")
    receipt.added("max_tokens", "required")
    assert receipt.entries == (
        Entry("dropped", "seed", "no place for it"),
        Entry("changed", "tool_choice"),
        Entry("clamped", "temperature", "at most 1"),
        Entry("added", "max_tokens", "required"),
    )
    assert (receipt.dropped_paths, len(receipt), receipt.overflow) == (("seed",), 4, 0)


def test_equal_entries_are_kept_once() -> None:
    receipt = Receipt()
    for _ in range(3):
        receipt.dropped("n")
    receipt.dropped("n", "another reason")
    receipt.changed("n")
    assert (len(receipt), receipt.dropped_paths) == (3, ("n", "n"))


def test_receipt_is_bounded_and_counts_the_rest() -> None:
    receipt = Receipt()
    for number in range(RECEIPT_ENTRIES_MAX + 40):
        receipt.dropped(f"field[{number}]")
    receipt.dropped("field[0]")
    assert (len(receipt), receipt.overflow) == (256, 40)
    assert receipt.dropped_paths[-1] == "field[255]"


def test_receipts_can_be_compared_whole() -> None:
    receipt = Receipt()
    assert repr(receipt) == "Receipt([])"
    receipt.dropped("n")
    assert repr(receipt) == "Receipt([Entry(change='dropped', path='n', why='')])"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("messages[2].content[0].cache_control", "messages[2].content[0].cache_control"),
        ("response_format.json_schema.$defs.x-y", "response_format.json_schema.$defs.x-y"),
        ("tools[0].my password is hunter2.type", "tools[0].(other).type"),
        ("x" * 65, "(other)"),
        (".".join("abcdefgh" for _ in range(100)), ".".join("abcdefgh" for _ in range(100))[:200]),
        ("ключ", "(other)"),
    ],
)
def test_what_looks_like_no_name_is_not_repeated(path: str, named: str) -> None:
    receipt = Receipt()
    receipt.dropped(path)
    assert receipt.dropped_paths == (named,)
