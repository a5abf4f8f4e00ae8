"""`make soak`: twenty minutes of good and faulty requests, with callers that go away; then a look at what is left.

Exit codes: 0 nothing leaked · 1 something did, or an answer hung.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from busbar.demo.providers import DemoProviders
from soak.callers import Callers
from soak.gateway import Gateway, Sample

FAULTS = (
    *("500", "429-1", "503", "401", "cut", "cut-start", "eof-mid", "error-first", "error-mid", "garbage"),
    *("malformed-chunk", "stall", "paced-5", "slow-30", "nodone", "split", "context", "400"),
)
"""What members other than the good ones do: words of the embedded providers."""

AUTH = {"anthropic": "x-api-key", "gemini": "x-goog-api-key", "bedrock": "sigv4"}
DIALECTS = ("anthropic", "openai", "responses", "gemini", "bedrock", "cohere")

QUIET_SECS = 20.0
"""After the last request: keep-alive connections may still be open for a while, tasks and permits may not."""

SLOPE_KB_PER_MIN_MAX = 100.0
"""Of the resident memory, over the second half of the run: 6 MB an hour. Below it is the allocator's noise."""

FDS_MORE_MAX = 64
TASKS_MORE_MAX = 4
"""What may be left over: connections to providers are kept alive for a while."""


async def soak(secs: float, callers_count: int, seed: int, engine: str | None = None) -> list[str]:
    """What has leaked: nothing, if all is well."""
    async with DemoProviders(host="127.0.0.1", port=0, keys=frozenset({"soak", "AKIDSOAK:soak"})) as providers:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.yaml").write_text(configuration(providers.base_url, engine))
            async with Gateway(Path(folder)) as gateway:
                return await _watch(gateway, secs, callers_count, seed)


async def _watch(gateway: Gateway, secs: float, callers_count: int, seed: int) -> list[str]:
    stats = await gateway.stats()
    before = await gateway.sample()
    callers = Callers(gateway.url, [*stats["pools"], "good-openai"], callers_count, seed)
    running = asyncio.create_task(callers.run())
    samples = [before]
    while samples[-1].at_secs - before.at_secs < secs and not running.done():
        await asyncio.sleep(max(0.5, secs / 60))
        samples.append(await gateway.sample())
        if len(samples) % 6 == 1:
            _say(samples[-1], callers)
    callers.stop()
    await running
    after = await _at_rest(gateway, before)
    _say(after, callers)
    slope = slope_kb_per_min([sample for sample in samples if sample.at_secs > before.at_secs + secs / 2])
    print(f"answers: {dict(sorted(callers.outcomes.items()))}")
    print(f"resident memory: {before.rss_kb} kB before, {after.rss_kb} kB after, slope {slope:+.1f} kB/min")
    return _leaks(await gateway.stats(), before, after, slope, secs)


async def _at_rest(gateway: Gateway, before: Sample) -> Sample:
    """The first sample in which nothing is running any more, or the last one that was waited for."""
    sample = await gateway.sample()
    deadline = sample.at_secs + QUIET_SECS
    while sample.at_secs < deadline and (sample.inflight or sample.tasks > before.tasks + TASKS_MORE_MAX):
        await asyncio.sleep(0.25)
        sample = await gateway.sample()
    return sample


def _leaks(stats: dict[str, object], before: Sample, after: Sample, slope: float, secs: float) -> list[str]:
    found = []
    if after.inflight:
        found.append(f"{after.inflight} permits are still held")
    if after.tasks > before.tasks + TASKS_MORE_MAX:
        found.append(f"{after.tasks} tasks, {before.tasks} before")
    if after.fds > before.fds + FDS_MORE_MAX:
        found.append(f"{after.fds} file descriptors, {before.fds} before")
    crashed = [actor for actor in _actors(stats) if actor["restarts"] or not actor["alive"]]
    found += [f"actor {actor['name']} crashed" for actor in crashed]
    # A short run is all warming up: its slope says nothing.
    if secs >= 300 and slope > SLOPE_KB_PER_MIN_MAX:
        found.append(f"resident memory grows by {slope:.0f} kB a minute")
    return found


def _actors(stats: dict[str, object]) -> list[dict[str, object]]:
    actors = stats["actors"]
    assert isinstance(actors, list), "a list of actors"
    return actors


def slope_kb_per_min(samples: Sequence[Sample]) -> float:
    """Least squares over the samples; 0 for fewer than two."""
    if len(samples) < 2:
        return 0.0
    times = [sample.at_secs for sample in samples]
    mean_at = sum(times) / len(times)
    mean_kb = sum(sample.rss_kb for sample in samples) / len(samples)
    above = sum((sample.at_secs - mean_at) * (sample.rss_kb - mean_kb) for sample in samples)
    return 60 * above / sum((at - mean_at) ** 2 for at in times)


def configuration(base_url: str, engine: str | None = None) -> str:
    """Pools over good and faulty members of all dialects, with each kind of recovery."""
    providers = {
        f"demo-{dialect}": {
            "protocol": dialect,
            "base_url": base_url,
            "auth": (auth := AUTH.get(dialect, "bearer")),
            "api_key_env": "SOAK_AWS_KEY" if auth == "sigv4" else "SOAK_KEY",
        }
        for dialect in DIALECTS
    }
    limits = {"attempt_timeout_ms": 3000, "first_token_timeout_ms": 3000, "stall_timeout_ms": 400}
    models: dict[str, dict[str, object]] = {
        f"good-{dialect}": {"provider": f"demo-{dialect}", "upstream_model": "demo"} for dialect in DIALECTS
    }
    for number, fault in enumerate(FAULTS):
        provider = f"demo-{DIALECTS[number % len(DIALECTS)]}"
        models[f"bad-{fault}"] = {"provider": provider, "upstream_model": f"fault-{fault}", **limits}
    pools = {
        f"mix-{fault}": {
            "members": [
                {"target": f"bad-{fault}", "weight": 2},
                {"target": f"good-{DIALECTS[(number + 2) % len(DIALECTS)]}"},
            ],
            "breaker": {
                "base_cooldown_secs": 1,
                "max_cooldown_secs": 2,
                "trip": {"threshold": 1.0, "min_requests": 1024},
            },
            "stream_recovery": ("none", "hold:20", "continue")[number % 3],
            "on_exhausted": ("reject", "least_bad", "queue:300")[number % 3],
            "retry": {"same_member": number % 2, "retry_after_max_secs": 0},
        }
        for number, fault in enumerate(FAULTS)
    }
    document: dict[str, object] = {
        "listen": "127.0.0.1:0",
        "providers": providers,
        "models": models,
        "pools": pools,
        **({} if engine is None else {"upstream_engine": engine}),
    }
    return yaml.safe_dump(document, sort_keys=False)


def _say(sample: Sample, callers: Callers) -> None:
    total = sum(callers.outcomes.values())
    print(
        f"{sample.at_secs:7.1f} s  {total:8d} requests  {sample.rss_kb:7d} kB  {sample.fds:4d} fds"
        f"  {sample.tasks:4d} tasks  {sample.inflight:3d} in flight",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--secs", type=float, default=1200.0, help="how long (default: 1200)")
    parser.add_argument("--callers", type=int, default=24, help="at once (default: 24)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--engine", choices=("lean", "aiohttp", "auto"), help="of the upstream (default: the gateway's)"
    )
    options = parser.parse_args(argv)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the providers', when the gateway hangs up
    leaks = asyncio.run(soak(options.secs, options.callers, options.seed, options.engine))
    for leak in leaks:
        print(f"LEAK: {leak}", file=sys.stderr)
    print("leaked: nothing" if not leaks else f"leaked: {len(leaks)} things")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
