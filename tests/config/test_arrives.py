"""What an operator wrote about failures arrives where it takes effect: in the plan of the actors, and in the
destinations of requests."""

from __future__ import annotations

from busbar.actors.gateway import PoolLine, PoolPlan
from busbar.actors.journey import Destination
from busbar.actors.messages import Directory, Terms, Timeouts
from busbar.actors.selection import Price
from busbar.actors.telemetry import Line, Listing
from busbar.config.schema import PriceChange, PriceConfig, PriceTier
from busbar.http.destinations import Destinations
from busbar.plan import plan_of
from busbar.testing import Kit
from tests.config.conftest import BASE, Read

TEXT = """
providers: {anthropic: {}}
models:
  a: {provider: anthropic, attempt_timeout_ms: 100, first_token_timeout_ms: 200, stall_timeout_ms: 300}
  b: {provider: anthropic}
pools:
  main:
    members: [{target: a, first_token_timeout_ms: 5}, {target: b, stall_timeout_ms: 7, context_max: 9}]
    failover: {deadline_secs: 60, cap: 1}
    retry: {same_member: 2, retry_after_max_secs: 1.5}
    strategy: cheapest
    affinity: {header_name: X-Talk}
    on_exhausted: "fallback_pool:last"
  last: {members: [{target: b}], strategy: fastest, on_exhausted: least_bad}
  line: {members: [{target: b}], strategy: least_busy, on_exhausted: "queue:2500"}
governance:
  prices: {b: {input: 3, output: 15, cache_read: 0.3}}
"""


def test_strategy_price_timeouts_and_what_happens_when_exhausted_arrive_at_the_pools(read: Read) -> None:
    plan = plan_of(read(TEXT))
    b = Price(input=3, output=15)
    assert plan.pools == (
        PoolPlan(
            name="main",
            members=(
                PoolLine(model="a", terms=Terms(timeouts=Timeouts(attempt_ms=100, first_token_ms=5, stall_ms=300))),
                PoolLine(model="b", terms=Terms(context_max=9, timeouts=Timeouts(stall_ms=7)), price=b),
            ),
            strategy="cheapest",
        ),
        PoolPlan(name="last", members=(PoolLine(model="b"),), strategy="fastest", least_bad=True),
        PoolPlan(name="line", members=(PoolLine(model="b"),), strategy="least_busy", queue_secs=2.5),
    )
    assert plan.direct == {
        "a": Terms(timeouts=Timeouts(attempt_ms=100, first_token_ms=200, stall_ms=300)),
        "b": Terms(),
    }


def test_failover_retry_and_fallback_arrive_at_the_destinations(read: Read) -> None:
    with Kit() as kit:
        ref = kit.probe("anybody").ref
        names = ("main", "last", "line")
        only_b = (Line(member="b", protocol="anthropic"),)
        directory = Directory(
            generation=1, pools=dict.fromkeys(names, ref), direct={}, members={}, metrics=ref, continuity=ref
        )
        assert Destinations(read(TEXT), directory).pools == {
            "main": Destination(
                name="main",
                ref=ref,
                deadline_secs=60,
                cap=1,
                same_member=2,
                retry_after_max_secs=1.5,
                fallback="last",
                session_header="x-talk",
                estimates=True,
                listing=Listing(
                    "cheapest",
                    (
                        Line(member="a", protocol="anthropic"),
                        Line(member="b", protocol="anthropic", context_max=9),
                    ),
                ),
            ),
            "last": Destination(name="last", ref=ref, listing=Listing("fastest", only_b)),
            "line": Destination(name="line", ref=ref, listing=Listing("least_busy", only_b)),
        }


def test_tiers_and_changes_of_a_price_are_read_whole(read: Read) -> None:
    text = """
governance:
  prices:
    a:
      input: 3
      output: 15
      cache_write_1h: 6
      reasoning: 20
      tiers: [{above: 200000, input: 6, output: 22.5, cache_read: 0.6}]
      changes: [{from_day: 2027-01-01, input: 2, output: 10, tiers: [{above: 1000, input: 4, output: 20}]}]
"""
    assert read(BASE + text).governance.prices == {
        "a": PriceConfig(
            input=3,
            output=15,
            cache_write_1h=6,
            reasoning=20,
            tiers=(PriceTier(above=200_000, input=6, output=22.5, cache_read=0.6),),
            changes=(
                PriceChange(
                    from_day="2027-01-01", input=2, output=10, tiers=(PriceTier(above=1000, input=4, output=20),)
                ),
            ),
        )
    }


def test_prices_are_dollars_for_a_million_tokens(read: Read) -> None:
    text = BASE + "governance: {prices: {a: {input: 3, output: 15}, b: {input: 1, output: 5, cache_write: 1.25}}}"
    assert read(text).governance.prices == {
        "a": PriceConfig(input=3, output=15),
        "b": PriceConfig(input=1, output=5, cache_read=None, cache_write=1.25),
    }
