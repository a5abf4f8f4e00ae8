"""Prices that change while requests are under way: what was spent is what the last prices say, whoever waited."""

from __future__ import annotations

import logging
import random

import pytest

from busbar.actors.governance.governance import PATIENCE_SECS
from busbar.actors.governance.messages import Admit, Admitted, Denial, Denied, Retariff, Settle, Settled
from busbar.actors.governance.money import Rates, Tariff
from busbar.actors.runtime import LoopFuture
from busbar.testing import Kit, seeds
from busbar.testing.store import MemoryStore

from .governance_world import CENT, Bank, charge, key, settlement


def cents(price: int) -> Tariff:
    """Whatever the model, a token costs so much."""
    return Tariff({}, Rates(output=price * CENT))


def bank(kit: Kit, latency_secs: float = 0.01) -> Bank:
    return Bank(kit, key("k"), tariff=cents(1), store=MemoryStore(kit.clock, latency_secs=latency_secs))


def retariff(it: Bank, price: int) -> None:
    it.governance.tell(Retariff(cents(price)))
    it.kit.run()


def admit(it: Bank) -> LoopFuture:
    waiting: LoopFuture = it.ask(Admit(key="vk_k", pool="p", models=("m",), output_tokens=5))
    return waiting


def test_who_waits_for_new_prices_is_not_given_up_on_because_of_the_prices_before() -> None:
    with Kit() as kit:
        it = bank(kit)
        retariff(it, 2)
        kit.advance(PATIENCE_SECS - 0.005)
        retariff(it, 3)
        waiting = admit(it)
        assert not waiting.done()
        kit.advance(0.02)
        assert isinstance(waiting.get(), Admitted)


def test_who_waits_too_long_is_told_so() -> None:
    with Kit() as kit:
        it = bank(kit)
        it.store.latency_secs = 60.0
        retariff(it, 2)
        waiting = admit(it)
        kit.advance(PATIENCE_SECS + 0.1)
        assert waiting.get() == Denied(reason=Denial.STORE)


def test_what_was_read_with_older_prices_is_not_mistaken_for_what_a_new_instance_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "busbar.actors")
    with Kit() as kit:
        it = bank(kit, latency_secs=0.3)
        it.spend("k", 7)
        kit.advance(1.0)
        retariff(it, 2)
        retariff(it, 3)
        it.governance.tell(Settle(ticket={}, key="vk_k", day=0))  # type: ignore[arg-type]  # it is unhashable
        kit.run()
        kit.expect_crash(TypeError)
        kit.advance(2.0)
        assert it.standing("vk_k").spent == 7 * 3 * CENT


@pytest.mark.parametrize("seed", seeds(60))
def test_what_was_spent_is_what_the_last_prices_say(seed: int) -> None:
    chance = random.Random(f"prices {seed}")
    with Kit(seed) as kit:
        it = bank(kit, chance.choice([0.0, 0.01, 0.3]))
        asked: list[LoopFuture] = []
        running: list[Admitted] = []
        settling: list[LoopFuture] = []
        price, tokens = 1, 0
        for _ in range(80):
            match chance.choices(["ask", "settle", "price", "wait"], [5, 5, 2, 4])[0]:
                case "ask":
                    asked.append(it.governance.ask(Admit(key="vk_k", pool="p", models=("m",), output_tokens=5)))
                case "settle" if running:
                    used = chance.randrange(6)
                    tokens += used
                    message = settlement("k", running.pop(), *([charge(used)] if used else []))
                    settling.append(it.governance.ask(message))
                case "price":
                    price = chance.randint(1, 4)
                    it.governance.tell(Retariff(cents(price)))
                case "wait":
                    kit.advance(chance.choice([0.0, 0.005, 0.02, 1.0]))
            for _ in range(chance.randrange(6)):
                kit.step()
            running += [future.get() for future in asked if future.done()]
            asked = [future for future in asked if not future.done()]
        kit.advance(2.0)
        running += [future.get() for future in asked]
        assert all(isinstance(admitted, Admitted) for admitted in running), "nobody was turned away"
        assert all(isinstance(future.get(), Settled) for future in settling)
        standing = it.standing("vk_k")
        assert standing.spent == tokens * price * CENT
        for admitted in running:
            it.settle("k", admitted)
            kit.advance(1.0)
        standing = it.standing("vk_k")
        assert (standing.spent, standing.reserved) == (tokens * price * CENT, 0)
