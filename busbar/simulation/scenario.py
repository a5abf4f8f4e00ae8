"""A scenario, typed: what the providers do, and what callers ask. These structs are the schema of scenario files.

Times are in seconds from the start of the simulation; a range is closed at `from_secs` and open at `until_secs`, and
without `until_secs` it lasts to the end. A field called `name` is not a key: it takes the key of its section.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from busbar.config import Config
from busbar.config.schema import Count, Name, Secs, Tokens
from busbar.protocols.failures import FailureClass

DURATION_SECS_MAX = 31_536_000
"""A year."""

Amount = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Moment = Annotated[float, Meta(ge=0, le=DURATION_SECS_MAX)]
Rate = Annotated[float, Meta(ge=0, le=100_000)]


class Distribution(Struct, frozen=True, kw_only=True):
    """How a number is drawn; which, the keys say. A plain number is a constant.

    keys                    distribution
    ----------------------  -----------------------------------------------
    `constant`              always the same
    `low`, `high`           uniform between the two
    `median`, `p95`         lognormal: most are near the median, few far above
    `mean`                  exponential
    """

    constant: Amount | None = None
    low: Amount | None = None
    high: Amount | None = None
    median: Annotated[float, Meta(gt=0, le=1_000_000_000)] | None = None
    p95: Annotated[float, Meta(gt=0, le=1_000_000_000)] | None = None
    mean: Annotated[float, Meta(gt=0, le=1_000_000_000)] | None = None
    max: Amount | None = None
    """What is drawn above it counts as it."""


class RateLimit(Struct, frozen=True, kw_only=True):
    """So many requests are served in each window; further ones are answered 429, with the rest of the window as
    `Retry-After`."""

    requests: Count
    window_secs: Secs = 60


class Fault(Struct, frozen=True, kw_only=True):
    """A time in which a share of the attempts goes wrong.

    kind      what the provider does
    --------  ------------------------------------------------------------------------------
    error     answers with `failure`, or with `status` (and `code`, `message`), judged as it
              would be; `retry_after_secs` comes with it
    refused   takes no connection
    silent    takes the connection and says nothing
    break     breaks the connection after `after_share` of the answer
    stall     says nothing more after `after_share` of the answer; breaks `stall_secs` later
    slow      takes `factor` times as long
    """

    kind: Literal["error", "refused", "silent", "break", "stall", "slow"] = "error"
    from_secs: Moment = 0
    until_secs: Moment | None = None
    share: Share = 1.0
    failure: FailureClass | None = None
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    code: str | None = None
    message: str = ""
    retry_after_secs: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    after_share: Share = 0.5
    stall_secs: Secs = 600
    factor: Annotated[float, Meta(gt=0, le=10_000)] = 5


class ProviderScript(Struct, frozen=True, kw_only=True):
    """What all models of a provider share."""

    name: str
    rate_limit: RateLimit | None = None
    faults: tuple[Fault, ...] = ()


class ModelScript(Struct, frozen=True, kw_only=True):
    """How one model answers. Of several faults that meet, the first in the list wins, the model's own before the
    provider's."""

    name: str
    ttft_ms: Distribution = Distribution(median=500, p95=1500)
    """To the first token of a stream; of a whole answer, to the beginning of its generation."""
    headers_ms: Distribution | None = None
    """To the headers of a stream; None: they come with the first token."""
    tokens_per_sec: Distribution = Distribution(constant=60)
    output_tokens: Distribution | None = None
    """How long its answers are; None: as long as the request wants."""
    error_ms: Distribution = Distribution(constant=50)
    """How soon it answers with an error."""
    context_tokens: Tokens | None = None
    """A larger input is answered with a context-length error."""
    rate_limit: RateLimit | None = None
    faults: tuple[Fault, ...] = ()


class Phase(Struct, frozen=True, kw_only=True):
    """A time with a rate of its own; with `end_rate_per_sec` it changes evenly until then."""

    from_secs: Moment = 0
    until_secs: Moment | None = None
    rate_per_sec: Rate
    end_rate_per_sec: Rate | None = None


class HangUp(Struct, frozen=True, kw_only=True):
    """A share of the callers goes away, so long after having asked, unless answered by then."""

    share: Share
    after_ms: Distribution = Distribution(median=2000, p95=10_000)


class Traffic(Struct, frozen=True, kw_only=True):
    """Callers who ask for one pool or model."""

    to: Name
    rate_per_sec: Rate = 1
    """Outside of the phases."""
    arrivals: Literal["poisson", "constant"] = "poisson"
    """`poisson`: independent of each other; `constant`: in equal distances."""
    burst: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """So many come at once, each time; the rate counts all of them."""
    from_secs: Moment = 0
    until_secs: Moment | None = None
    phases: tuple[Phase, ...] = ()
    stream_share: Share = 1.0
    input_tokens: Distribution = Distribution(median=800, p95=4000)
    output_tokens: Distribution = Distribution(median=250, p95=1000)
    sessions: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Each request belongs to one of so many sessions; None: to none."""
    bad_share: Share = 0.0
    """Requests that any provider refuses, as the caller's own fault (400)."""
    hang_up: HangUp | None = None


class ScenarioFile(Struct, frozen=True, kw_only=True):
    """The file, section by section."""

    title: str = ""
    duration_secs: Annotated[float, Meta(gt=0, le=DURATION_SECS_MAX)]
    seed: Annotated[int, Meta(ge=0, le=1 << 53)] = 1
    config: str | None = None
    """The gateway's configuration: written here, or the name of its file beside this one."""
    providers: dict[str, ProviderScript] = {}
    models: dict[str, ModelScript] = {}
    traffic: Annotated[tuple[Traffic, ...], Meta(min_length=1, max_length=64)]


class Scenario(Struct, frozen=True, kw_only=True):
    """Everything that a simulation is made from, checked: the file, and the gateway's configuration."""

    title: str
    duration_secs: float
    seed: int
    config: Config
    providers: dict[str, ProviderScript]
    models: dict[str, ModelScript]
    traffic: tuple[Traffic, ...]


DISTRIBUTIONS = (
    *(f"models.*.{key}" for key in ("ttft_ms", "headers_ms", "tokens_per_sec", "output_tokens", "error_ms")),
    *("traffic[].input_tokens", "traffic[].output_tokens", "traffic[].hang_up.after_ms"),
)
"""Where a plain number may stand for a constant, as patterns."""
