"""What is asked: the scenarios, and the requests that they send.

The name of a model says what the upstream is to answer (`bench-50x10`: 50 events, 10 ms apart), so that the upstream
needs to know nothing of scenarios, and a gateway that forwards the wrong model is caught by the check of the answer.
"""

from __future__ import annotations

import json
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

Dialect: TypeAlias = Literal["openai", "anthropic", "responses", "gemini", "bedrock", "cohere"]

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

PATHS: dict[Dialect, str] = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
"""Where callers ask."""

WORD = "harbour"
"""Stands once in each event that has content, and once in a JSON answer; it is what answers are checked by."""

_SYSTEM = "You are a helpful assistant that answers briefly and names the section of the handbook that it used. "
_QUESTION = (
    "Explain to a new colleague what a gateway in front of language models does, in which order it checks "
    "credentials, limits and routes, and what should be measured. "
)
_REPEATS = 6
"""Makes a request of about 2 KB, the size of a short conversation."""


class Scenario(Struct, frozen=True, kw_only=True):
    """One kind of load. Closed loop (each connection asks again when it was answered), or open at a fixed rate."""

    name: str
    title: str
    ingress: Dialect
    egress: Dialect
    events: int = 0
    """Events with content in a stream; 0: JSON."""
    pace_ms: int = 0
    """Between two events; 0: as fast as they can be written, one write each."""
    connections: int = 16
    rate_per_sec: float = 0
    """0: closed loop."""
    at_random: bool = False
    """At that rate, requests come as those of many callers do, several at a time now and then; not: evenly."""
    ramp_secs: float = 0
    """Over which the connections are opened, so that streams are not all at the same event at the same time."""
    stall_ms: int = 0
    """A stream of which a caller hears nothing for longer counts as failed; 0: not looked at."""
    length: float = 1
    """How many times as long as others it is measured."""

    @property
    def stream(self) -> bool:
        return self.events > 0

    @property
    def translated(self) -> bool:
        return self.ingress != self.egress

    @property
    def upstream_model(self) -> str:
        return f"bench-{self.events}x{self.pace_ms}"

    @property
    def words(self) -> int:
        """How often `WORD` stands in a complete answer."""
        return self.events or 1

    @property
    def ending(self) -> str:
        """How a complete answer ends."""
        if not self.stream:
            return "}"
        return "data: [DONE]\n\n" if self.ingress == "openai" else '"message_stop"}\n\n'

    def body(self, model: str) -> bytes:
        """The request that a caller sends for `model`."""
        system, question = _SYSTEM * _REPEATS, _QUESTION * _REPEATS
        user = {"role": "user", "content": question}
        request: dict[str, object] = {"model": model, "max_tokens": 256, "temperature": 0.7, "stream": self.stream}
        if self.ingress == "anthropic":
            request |= {"system": system, "messages": [user]}
        else:
            request["messages"] = [{"role": "system", "content": system}, user]
            if self.stream:
                request["stream_options"] = {"include_usage": True}
        return json.dumps(request, separators=(",", ":")).encode()


def _burst(name: str, title: str, ingress: Dialect, egress: Dialect) -> Scenario:
    title = f"{title}, stream of 50 events at once"
    return Scenario(name=name, title=title, ingress=ingress, egress=egress, events=50)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="json-openai", title="OpenAI → OpenAI, JSON", ingress="openai", egress="openai"),
    Scenario(name="json-anthropic", title="Anthropic → Anthropic, JSON", ingress="anthropic", egress="anthropic"),
    Scenario(name="json-openai-anthropic", title="OpenAI → Anthropic, JSON", ingress="openai", egress="anthropic"),
    Scenario(name="json-openai-gemini", title="OpenAI → Gemini, JSON", ingress="openai", egress="gemini"),
    Scenario(name="json-anthropic-bedrock", title="Anthropic → Bedrock, JSON", ingress="anthropic", egress="bedrock"),
    _burst("burst-openai", "OpenAI → OpenAI", "openai", "openai"),
    _burst("burst-anthropic", "Anthropic → Anthropic", "anthropic", "anthropic"),
    _burst("burst-openai-anthropic", "OpenAI → Anthropic", "openai", "anthropic"),
    _burst("burst-openai-gemini", "OpenAI → Gemini", "openai", "gemini"),
    _burst("burst-anthropic-bedrock", "Anthropic → Bedrock", "anthropic", "bedrock"),
    Scenario(
        name="paced",
        title="OpenAI → OpenAI, 64 streams at a time, an event every 10 ms",
        ingress="openai",
        egress="openai",
        events=50,
        pace_ms=10,
        connections=64,
        ramp_secs=0.5,
        length=2,
    ),
    Scenario(
        name="low-rate",
        title="OpenAI → OpenAI, JSON, 50 requests a second",
        ingress="openai",
        egress="openai",
        rate_per_sec=50,
        length=2,
    ),
    Scenario(
        name="first-token",
        title="OpenAI → OpenAI, 10 streams a second, an event every 10 ms",
        ingress="openai",
        egress="openai",
        events=10,
        pace_ms=10,
        rate_per_sec=10,
        length=2,
    ),
)

STEADY = Scenario(
    name="steady",
    title="OpenAI → OpenAI, JSON, 200 requests a second at random times",
    ingress="openai",
    egress="openai",
    rate_per_sec=200,
    at_random=True,
    length=4,
)

CROWD = Scenario(
    name="crowd",
    title="OpenAI → OpenAI, 2,000 streams at a time, an event every 200 ms",
    ingress="openai",
    egress="openai",
    events=50,
    pace_ms=200,
    connections=2000,
    ramp_secs=3,
    stall_ms=1000,
)
"""A stream takes ten seconds, and nobody asks again so late: each caller has one, and for seven of these seconds all
of them do. 10,000 events a second are what upstream and load generator can carry on one core."""

COMPARED_SCENARIOS: tuple[Scenario, ...] = (
    *(each for each in SCENARIOS if each.name in ("json-openai", "burst-openai")),
    STEADY,
)
"""In which the gateway is compared with itself, under governance or with telemetry. The last is in no other run,
unless asked for."""

KNOWN_SCENARIOS = (*SCENARIOS, STEADY, CROWD)

BASELINES = {
    each.name: f"{each.name.partition('-')[0]}-{each.ingress}" for each in SCENARIOS if each.ingress != each.egress
}
"""What a translated scenario is compared with, as a plain proxy cannot serve it: the same load from the same callers,
not translated."""


def baseline(scenario: str) -> str:
    """The scenario in which nginx and `direct` are looked up when `scenario` is compared with them."""
    return BASELINES.get(scenario, scenario)
