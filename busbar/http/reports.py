"""What callers are told when there is no answer to relay."""

from __future__ import annotations

from busbar.actors.messages import Exhausted
from busbar.config.schema import LimitsConfig
from busbar.http.destinations import NotOwned
from busbar.http.ports import BodyTooLarge, BodyTooSlow
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import Failure, FailureClass
from busbar.protocols.protocol import InvalidRequest

NAME_CHARS_MAX = 128
"""Of a name that a caller sent, no more than this is sent back."""

NOTHING_HERE = ErrorReport(kind=ErrorKind.NOT_FOUND, message="There is nothing at this path.")

SHUTTING_DOWN = ErrorReport(
    kind=ErrorKind.EXHAUSTED, message="The service is restarting. Please try again.", retry_after_secs=1.0
)
TOOK_TOO_LONG = ErrorReport(
    kind=ErrorKind.TIMEOUT, message="The request took too long to answer.", should_retry=False
)


def report_of_callers_account(failure: Failure) -> ErrorReport:
    """A provider refused the caller's own account (passthrough): the answer concerns it."""
    billing = failure.kind is FailureClass.BILLING
    return ErrorReport(
        kind=ErrorKind.BUDGET if billing else ErrorKind.UNAUTHENTICATED,
        message=failure.signal.message or "The model's provider refused the API key.",
        should_retry=False,
    )


def final(report: ErrorReport) -> ErrorReport:
    """Every attempt was used up: an SDK that tries again only multiplies the load."""
    return ErrorReport(
        kind=report.kind,
        message=report.message,
        code=report.code,
        type=report.type,
        param=report.param,
        should_retry=False,
    )


def exhausted(reply: Exhausted) -> ErrorReport:
    return ErrorReport(
        kind=ErrorKind.EXHAUSTED,
        message="The model is overloaded at the moment. Please try again later.",
        retry_after_secs=reply.retry_after_secs,
    )


def client_report(fault: Exception, limits: LimitsConfig) -> ErrorReport:
    """What is wrong with the request itself."""
    match fault:
        case BodyTooLarge():
            mebibytes = limits.body_max_bytes / (1 << 20)
            return ErrorReport(
                kind=ErrorKind.TOO_LARGE, message=f"The request body is larger than {mebibytes:g} MiB."
            )
        case BodyTooSlow():
            return ErrorReport(kind=ErrorKind.BAD_REQUEST, status=408, message="The request body came too slowly.")
        case InvalidRequest():
            return ErrorReport(kind=ErrorKind.BAD_REQUEST, message=str(fault), param=fault.path or None)
        case NotOwned():
            return ErrorReport(kind=ErrorKind.BAD_REQUEST, message="This provider does not serve that model.")
        case _:
            return ErrorReport(
                kind=ErrorKind.NOT_FOUND, message=f"The model `{_shown(fault)}` does not exist.", param="model"
            )


def _shown(fault: Exception) -> str:
    """A name that a caller sent, fit to be sent back: bounded, and printable."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(fault))[
        :NAME_CHARS_MAX
    ]


def outcome_of(report: ErrorReport) -> str:
    if report.quota is not None:
        return "client_error"  # the caller's own limit
    match report.kind:
        case ErrorKind.EXHAUSTED:
            return "exhausted"
        case ErrorKind.UPSTREAM | ErrorKind.OVERLOADED | ErrorKind.TIMEOUT | ErrorKind.RATE_LIMITED:
            return "error"
        case (
            ErrorKind.BAD_REQUEST
            | ErrorKind.UNAUTHENTICATED
            | ErrorKind.FORBIDDEN
            | ErrorKind.NOT_FOUND
            | ErrorKind.TOO_LARGE
            | ErrorKind.CONTEXT_LENGTH
            | ErrorKind.BUDGET
        ):
            return "client_error"
