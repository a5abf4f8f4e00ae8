"""What a caller is told whom Governance does not let in: which budget or limit of whom, how it stands, and until
when. Texts name keys and groups as the operator named them."""

from __future__ import annotations

from busbar.actors.governance.messages import Budget, Denial, Denied, Rate
from busbar.actors.governance.money import PICODOLLARS_PER_DOLLAR, nanodollars
from busbar.actors.governance.periods import utc
from busbar.protocols.errors import ErrorKind, ErrorReport, Quota

STORE_FAILS = ErrorReport(
    kind=ErrorKind.EXHAUSTED,
    status=503,
    message="Usage cannot be recorded at the moment. Please try again later.",
    retry_after_secs=5.0,
)

UNRECORDED = ErrorReport(
    kind=ErrorKind.EXHAUSTED,
    status=503,
    message="The answer is there, but what it used cannot be recorded at the moment.",
    should_retry=False,
)
"""It is charged all the same, as the provider charges it. An SDK that tries again would pay twice."""

KEY_REVOKED = ErrorReport(kind=ErrorKind.UNAUTHENTICATED, message="The API key is not valid.", should_retry=False)


def denial(denied: Denied, pool: str) -> ErrorReport:
    """`pool` is what the caller asked for."""
    match denied.reason:
        case Denial.KEY:
            return KEY_REVOKED
        case Denial.POOL:
            return ErrorReport(
                kind=ErrorKind.FORBIDDEN,
                message=f"The {denied.level} may not use the model `{pool}`.",
                param="model",
                should_retry=False,
            )
        case Denial.BUDGET:
            assert denied.budget is not None, "it says which"
            return _over_budget(denied.level, denied.budget)
        case Denial.RATE:
            assert denied.rate is not None, "it says which"
            return _over_rate(denied.level, denied.rate)
        case Denial.STORE:
            return STORE_FAILS


def _over_budget(level: str, budget: Budget) -> ErrorReport:
    adjective = f"{budget.period} budget"
    reset = "it does not reset" if budget.resets_at is None else f"it resets at {utc(budget.resets_at)}"
    reserved = f", {dollars(budget.reserved)} reserved for running requests" if budget.reserved else ""
    needed = f"; this request may cost up to {dollars(budget.needed)}" if budget.spent < budget.limit else ""
    return ErrorReport(
        kind=ErrorKind.BUDGET,
        message=(
            f"The {adjective} of the {level} is exceeded: {dollars(budget.spent)} of {dollars(budget.limit)} used"
            f"{reserved}{needed}; {reset}."
        ),
        should_retry=False,
        quota=Quota(
            scope=level,
            unit="nanodollars",
            period=budget.period,
            limit=nanodollars(budget.limit),
            used=nanodollars(budget.spent + budget.reserved),
            resets_at=budget.resets_at,
        ),
    )


def _over_rate(level: str, rate: Rate) -> ErrorReport:
    asked = f", {rate.asked} asked for" if rate.unit == "tokens" else ""
    wait = rate.retry_after_secs
    advice = "Please try again later." if wait is not None else "It asks for more than the limit: make it smaller."
    return ErrorReport(
        kind=ErrorKind.RATE_LIMITED,
        message=(
            f"The {level} is over its limit of {rate.limit} {rate.unit} per minute: {rate.used} used{asked}. {advice}"
        ),
        retry_after_secs=wait,
        should_retry=None if wait is not None else False,
        quota=Quota(scope=level, unit=rate.unit, period="minute", limit=rate.limit, used=rate.used),
    )


def dollars(picodollars: int) -> str:
    """`$1.25`, with as many digits as it takes to see a difference, at least two."""
    whole, rest = divmod(picodollars, PICODOLLARS_PER_DOLLAR)
    digits = f"{rest:012d}".rstrip("0")[:9].rstrip("0")
    return f"${whole}.{digits:0<2}"
