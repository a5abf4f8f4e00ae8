"""The audit log: who changed what in a running gateway, one record a change. Ids and names only: nothing secret comes
here.

A record is a line of the logger `busbar.audit`, and holds its fields beside the text, for `audit_log_file`.
"""

from __future__ import annotations

import logging

audit = logging.getLogger("busbar.audit")

FIELDS = "busbar_audit"
"""The attribute of a log record under which they stand."""


def record(who: str, action: str, outcome: str = "", /, **fields: object) -> None:
    """`who`: admin, signal, demo, or busbar itself. `outcome`: how it went, where it may go wrong."""
    said = {"who": who, "action": action, **fields}
    text = " ".join(f"{name}={value}" for name, value in said.items())
    if outcome:
        said["outcome"] = outcome
    audit.info("%s %s" if outcome else "%s%s", text, outcome, extra={FIELDS: said})
