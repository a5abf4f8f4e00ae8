"""Why an answer ended: its `status`, and for an incomplete one `incomplete_details.reason`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from busbar.protocols.ir import Stop, StopReason
from busbar.protocols.native import Native, is_own, own_form
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.words import DIALECT

_INCOMPLETE: Mapping[Any, StopReason] = {
    "max_output_tokens": StopReason.MAX_TOKENS,
    "content_filter": StopReason.CONTENT_FILTER,
}

_WORDS: Mapping[StopReason, tuple[str, str | None]] = {
    StopReason.END_TURN: ("completed", None),
    StopReason.STOP_SEQUENCE: ("completed", None),
    StopReason.TOOL_USE: ("completed", None),
    StopReason.REFUSAL: ("incomplete", "content_filter"),
    StopReason.PAUSE_TURN: ("completed", None),
    StopReason.OTHER: ("completed", None),
    StopReason.MAX_TOKENS: ("incomplete", "max_output_tokens"),
    StopReason.CONTEXT_WINDOW: ("incomplete", "max_output_tokens"),
    StopReason.CONTENT_FILTER: ("incomplete", "content_filter"),
    StopReason.ERROR: ("failed", None),
}

_SAYS_LESS = frozenset(
    {StopReason.REFUSAL, StopReason.PAUSE_TURN, StopReason.CONTEXT_WINDOW, StopReason.OTHER},
)


class StopForm(Struct, frozen=True):
    """The two fields as they came; the second is None when it was null or absent, which is a leftover."""

    status: str
    details: dict[str, Any] | None


def read_stop(left: dict[str, Any], *, called_tool: bool) -> Stop | None:
    """Takes the stop that a response states; None when it states none."""
    status = left.get("status")
    if not isinstance(status, str):
        return None
    del left["status"]
    details = left.pop("incomplete_details") if isinstance(left.get("incomplete_details"), dict) else None
    match status:
        case "completed":
            reason = StopReason.TOOL_USE if called_tool else StopReason.END_TURN
        case "incomplete":
            reason = _INCOMPLETE.get((details or {}).get("reason"), StopReason.OTHER)
        case "failed":
            reason = StopReason.ERROR
        case _:
            reason = StopReason.OTHER
    return Stop(reason=reason, native=Native(DIALECT, {}, StopForm(status, details)))


def write_stop(stop: Stop | None) -> dict[str, Any]:
    """`status` and, where it is stated, `incomplete_details`."""
    form = None if stop is None else own_form(stop, DIALECT)
    if isinstance(form, StopForm):
        return {"status": form.status} | ({} if form.details is None else {"incomplete_details": form.details})
    status, reason = _WORDS[StopReason.END_TURN if stop is None else stop.reason]
    return {"status": status, "incomplete_details": None if reason is None else {"reason": reason}}


def report_stop(stop: Stop, path: str, receipt: Receipt) -> None:
    """Reports what another dialect's stop, at `path`, says and a status does not."""
    if is_own(stop, DIALECT):
        return
    if stop.sequence is not None:
        receipt.dropped(f"{path}.sequence", "this dialect does not name the sequence that was met")
    if stop.reason in _SAYS_LESS:
        status, reason = _WORDS[stop.reason]
        receipt.changed(f"{path}.reason", f"{stop.reason.value} is said as {reason or status}")
