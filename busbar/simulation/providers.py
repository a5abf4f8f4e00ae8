"""Scripted providers: what each model does with a request, by its script, at each time."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from msgspec import Struct

from busbar.config import Config, ProviderConfig
from busbar.protocols.failures import FailureClass, FailureSignal, classify
from busbar.protocols.registry import PROTOCOLS
from busbar.simulation.course import NEVER, Answer
from busbar.simulation.draws import drawing
from busbar.simulation.scenario import Fault, ModelScript, ProviderScript, RateLimit, Scenario

REFUSED_SECS = 0.02
"""Until a connection that nobody takes is refused."""

TOKENS_PER_CHUNK = 1
"""Providers send about one token in an event of a stream."""


class Wish(Struct, frozen=True):
    """What a provider sees of one request."""

    stream: bool
    input_tokens: int
    output_tokens: int
    bad: bool = False


class RateWindow:
    """Counts requests in windows that follow each other, as providers do."""

    __slots__ = ("_limit", "_served", "_window")

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._window = -1
        self._served = 0

    def refuses(self, now: float) -> float | None:
        """Seconds until the next window, at least 1, when this one is full. `now` from the start, rising."""
        window = int(now // self._limit.window_secs)
        if window != self._window:
            self._window, self._served = window, 0
        if self._served < self._limit.requests:
            return None
        return float(max(1, math.ceil((window + 1) * self._limit.window_secs - now)))

    def serve(self) -> None:
        self._served += 1


class ScriptedModel:
    """One model. `answer` is asked once for each attempt, in the order of time."""

    def __init__(
        self,
        script: ModelScript,
        provider: ProviderScript,
        deviations: ProviderConfig,
        shared_window: RateWindow | None,
        rng: random.Random,
    ) -> None:
        """`deviations`: how the provider's errors are judged. `shared_window`: over all of its models."""
        own = RateWindow(script.rate_limit) if script.rate_limit is not None else None
        self._windows = [window for window in (own, shared_window) if window is not None]
        self._faults = [
            (fault.from_secs, NEVER if fault.until_secs is None else fault.until_secs, fault)
            for fault in (*script.faults, *provider.faults)
        ]
        self._context_tokens = script.context_tokens
        self._judged = {fault: _class_of(fault, deviations) for _, _, fault in self._faults if fault.kind == "error"}
        self._rng = rng
        self._ttft_ms = drawing(script.ttft_ms, rng)
        self._headers_ms = None if script.headers_ms is None else drawing(script.headers_ms, rng)
        self._tokens_per_sec = drawing(script.tokens_per_sec, rng)
        self._output_tokens = None if script.output_tokens is None else drawing(script.output_tokens, rng)
        self._error_ms = drawing(script.error_ms, rng)

    def answer(self, wish: Wish, now: float) -> Answer:
        """What becomes of a request that arrives at `now`, in seconds from the start."""
        fault = self._fault(now)
        if fault is not None and fault.kind == "refused":
            return Answer(headers=REFUSED_SECS, failure=FailureClass.NETWORK)
        for window in self._windows:
            wait_secs = window.refuses(now)
            if wait_secs is not None:
                return self._error(FailureClass.RATE_LIMIT, wait_secs)
        if wish.bad:
            return self._error(FailureClass.CLIENT_ERROR)
        if self._context_tokens is not None and wish.input_tokens > self._context_tokens:
            return self._error(FailureClass.CONTEXT_LENGTH)
        for window in self._windows:
            window.serve()
        if fault is not None and fault.kind == "error":
            return self._error(self._judged[fault], fault.retry_after_secs)
        return self._content(wish, fault)

    def _fault(self, now: float) -> Fault | None:
        """The first that holds now and hits this attempt."""
        for since, until, fault in self._faults:
            if since <= now < until and (fault.share >= 1 or self._rng.random() < fault.share):
                return fault
        return None

    def _error(self, failure: FailureClass, retry_after_secs: float | None = None) -> Answer:
        return Answer(headers=self._error_ms() / 1000, failure=failure, retry_after_secs=retry_after_secs)

    def _content(self, wish: Wish, fault: Fault | None) -> Answer:
        kind = None if fault is None else fault.kind
        if kind == "silent":
            return Answer(headers=NEVER)
        slower = fault.factor if fault is not None and kind == "slow" else 1.0
        first = self._ttft_ms() / 1000 * slower
        headers = first if self._headers_ms is None else self._headers_ms() / 1000 * slower
        tokens = wish.output_tokens if self._output_tokens is None else max(1, round(self._output_tokens()))
        speed = max(self._tokens_per_sec(), 1e-3) / slower
        end = max(headers, first) + tokens / speed
        quiet_from = breaks = NEVER
        if fault is not None and kind in ("break", "stall"):
            quiet_from = first + (end - first) * fault.after_share
            breaks = quiet_from + (fault.stall_secs if kind == "stall" else 0.0)
        return Answer(
            # The headers of a whole answer come when it is there.
            headers=headers if wish.stream else min(end, breaks),
            first=max(headers, first),
            end=end if breaks == NEVER else max(end, math.nextafter(breaks, NEVER)),
            quiet_from=quiet_from,
            breaks=breaks,
            chunk_secs=TOKENS_PER_CHUNK / speed,
            tokens=tokens,
        )


def _class_of(fault: Fault, provider: ProviderConfig) -> FailureClass:
    """As the gateway would judge it: by the dialect, and the provider's own deviations."""
    if fault.failure is not None:
        return fault.failure
    signal = FailureSignal(status=fault.status, code=fault.code, message=fault.message)
    return classify(signal, PROTOCOLS[provider.protocol].knowledge, provider.error_rules)


def scripted_models(scenario: Scenario, seed: int) -> Mapping[str, ScriptedModel]:
    """All models of the configuration, by name. Each draws from a source of its own, so that one more request to one
    of them changes nothing for the others."""
    config: Config = scenario.config
    windows = {
        name: RateWindow(script.rate_limit)
        for name, script in scenario.providers.items()
        if script.rate_limit is not None
    }
    return {
        name: ScriptedModel(
            scenario.models.get(name) or ModelScript(name=name),
            scenario.providers.get(model.provider) or ProviderScript(name=model.provider),
            config.providers[model.provider],
            windows.get(model.provider),
            random.Random(f"{seed} model {name}"),  # noqa: S311  # repeatable is the point
        )
        for name, model in config.models.items()
    }
