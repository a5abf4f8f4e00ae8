"""Where single providers put the words by which their errors are judged."""

from __future__ import annotations

import json

import pytest

from busbar.protocols.error_body import decode_error, signal_of


@pytest.mark.parametrize(
    ("body", "code", "kind"),
    [
        ({"error": {"code": "insufficient_quota", "type": "billing"}}, "insufficient_quota", "billing"),
        ({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Slow down."}, "REQUEST_LIMIT_EXCEEDED", None),
        ({"error": {"message": "Slow down.", "error_type": "overloaded"}}, None, "overloaded"),
        ({"error": {"type": "validation", "error_type": "overloaded"}}, None, "validation"),
    ],
    ids=["most", "Databricks", "TGI", "the usual place wins"],
)
def test_code_and_type_are_found(body: dict[str, object], code: str | None, kind: str | None) -> None:
    signal = signal_of(decode_error(json.dumps(body).encode()))
    assert (signal.code, signal.type) == (code, kind)
