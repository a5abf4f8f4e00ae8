"""Admission and settlement: who is let in, what is reserved, what is charged."""

from __future__ import annotations

import pytest

from busbar.actors.governance.batch import Tokens
from busbar.actors.governance.messages import (
    Admitted,
    Budget,
    ChangeKey,
    Charge,
    DeleteKey,
    Denial,
    Denied,
    NotRecorded,
    Quota,
    Rate,
    Ready,
    Settled,
    UsageOf,
)
from busbar.actors.governance.money import DatedRates, Rates, Tariff
from busbar.actors.governance.periods import first_of_month
from busbar.actors.messages import Snapshot
from busbar.protocols.usage import Usage
from busbar.testing import Kit
from busbar.testing.store import MemoryStore

from .governance_world import CENT, Bank, charge, group, key, settlement

DAY = 86_400
DEADLY = Ready(None)  # type: ignore[arg-type]
"""Governance dies of it, whenever it comes."""


# --- key, pool


def test_an_unknown_a_disabled_and_an_expired_key_are_denied() -> None:
    with Kit() as kit:
        soon = int(kit.clock.time()) + 10
        bank = Bank(kit, key("off", enabled=False), key("old", expires_at=soon))
        assert isinstance(bank.admit("old"), Admitted)
        kit.advance(11)
        assert [bank.admit(name) for name in ("none", "off", "old")] == [Denied(reason=Denial.KEY)] * 3


def test_a_key_may_use_all_pools_those_that_are_listed_or_none() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("all"), key("some", allowed_pools=("p",)), key("none", allowed_pools=()))
        assert isinstance(bank.admit("all", pool="q"), Admitted)
        assert isinstance(bank.admit("some", pool="p"), Admitted)
        assert bank.admit("some", pool="q") == Denied(reason=Denial.POOL, level='key "some"')
        assert bank.admit("none", pool="p") == Denied(reason=Denial.POOL, level='key "none"')


def test_the_pool_is_looked_at_before_the_budget_and_the_budget_before_the_rate() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", allowed_pools=("p",), max_budget_cents=0, rpm_limit=1))
        assert bank.denied("k", pool="q").reason is Denial.POOL
        assert bank.denied("k").reason is Denial.BUDGET
        bank.told(ChangeKey("vk_k", {"max_budget_cents": None}))
        bank.admitted("k")
        assert bank.denied("k").reason is Denial.RATE


# --- budget


def test_a_request_is_refused_whose_worst_case_is_more_than_what_is_left() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=10))
        bank.spend("k", 4)
        assert bank.denied("k", input_tokens=3, output_tokens=4) == Denied(
            reason=Denial.BUDGET,
            level='key "k"',
            budget=Budget(
                period="total", limit=10 * CENT, spent=4 * CENT, reserved=0, needed=7 * CENT, resets_at=None
            ),
        )
        bank.admitted("k", input_tokens=3, output_tokens=3)


def test_what_is_reserved_for_running_requests_is_not_there_for_others() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=10))
        first = bank.admitted("k", output_tokens=6)
        denied = bank.denied("k", output_tokens=5)
        assert denied.budget is not None
        assert (denied.budget.spent, denied.budget.reserved) == (0, 6 * CENT)
        bank.settle("k", first, charge(2))
        bank.admitted("k", output_tokens=8)


def test_a_failed_request_gets_its_money_back_but_not_its_place_in_the_rate_window() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=10, rpm_limit=2))
        for _ in range(2):
            assert bank.settle("k", bank.admitted("k", output_tokens=10)) == Settled(0)
        assert bank.standing("vk_k").spent == 0
        assert bank.denied("k", output_tokens=10).reason is Denial.RATE


def test_the_dearest_model_that_may_answer_is_reserved_for() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=10))
        bank.admitted("k", models=("other",), output_tokens=100)  # a cent, whatever its length
        assert bank.standing("vk_k").reserved == CENT
        assert bank.denied("k", models=("other", "m"), output_tokens=100).budget is not None


def test_a_budget_that_is_used_up_refuses_even_what_costs_nothing_but_not_what_is_not_billed() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=1))
        bank.spend("k", 1)
        assert bank.denied("k").reason is Denial.BUDGET
        assert isinstance(bank.admit("k", billed=False, input_tokens=1000), Admitted)


@pytest.mark.parametrize(("period", "back_after_days"), [("daily", 1), ("monthly", 31), ("total", None)])
def test_a_budget_is_there_again_when_its_window_ends(period: str, back_after_days: int | None) -> None:
    with Kit() as kit:
        kit.advance(-kit.clock.time() % DAY)  # midnight
        bank = Bank(kit, key("k", max_budget_cents=5, budget_period=period))
        bank.spend("k", 5)
        denied = bank.denied("k")
        assert denied.budget is not None
        if back_after_days is None:
            assert denied.budget.resets_at is None
            kit.advance(400 * DAY)
            assert bank.denied("k").reason is Denial.BUDGET
            return
        assert denied.budget.resets_at is not None
        kit.advance(denied.budget.resets_at - kit.clock.time() - 1)
        assert bank.denied("k").reason is Denial.BUDGET
        kit.advance(1)
        bank.admitted("k", output_tokens=5)


def test_a_request_over_midnight_is_charged_to_the_day_on_which_it_was_admitted() -> None:
    with Kit() as kit:
        kit.advance(-kit.clock.time() % DAY + DAY - 1)  # a second before
        today = int(kit.clock.time()) // DAY
        bank = Bank(kit, key("k", max_budget_cents=10, budget_period="daily"))
        late = bank.admitted("k", output_tokens=10)
        kit.advance(2)
        bank.spend("k", 3)
        bank.settle("k", late, charge(9))
        assert bank.standing("vk_k").spent == 3 * CENT
        assert bank.ledger_of("vk_k") == {
            (today, "m", False): Tokens(requests=1, output=9),
            (today + 1, "m", False): Tokens(requests=1, output=3),
        }
        bank.admitted("k", output_tokens=7)


def test_absurd_usage_is_not_believed_and_never_makes_anything_free() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=1))
        usage = Usage(input_tokens=-5, output_tokens=1 << 80, reasoning_tokens=1 << 81)
        bank.settle("k", bank.admitted("k"), Charge(model="m", usage=usage))
        assert bank.ledger_of("vk_k").popitem()[1] == Tokens(requests=1, output=10**12, reasoning=10**12)
        assert bank.denied("k").reason is Denial.BUDGET


# --- rate


def test_a_limit_admits_exactly_its_number_in_any_sixty_seconds() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", rpm_limit=3))
        bank.admitted("k")
        kit.advance(20)
        bank.admitted("k")
        bank.admitted("k")
        kit.advance(39)
        assert bank.denied("k") == Denied(
            reason=Denial.RATE,
            level='key "k"',
            rate=Rate(unit="requests", limit=3, used=3, asked=1, retry_after_secs=1.0, reset_secs=21.0),
        )
        kit.advance(1)
        assert bank.admitted("k").requests == Quota(3, 0, 60.0)
        assert bank.denied("k").rate == Rate(
            unit="requests", limit=3, used=3, asked=1, retry_after_secs=20.0, reset_secs=60.0
        )


def test_tokens_count_as_asked_for_until_it_is_known_what_was_used() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", tpm_limit=100))
        first = bank.admitted("k", input_tokens=20, output_tokens=60)
        assert first.tokens == Quota(100, 20, 60.0)
        assert bank.denied("k", input_tokens=21).rate == Rate(
            unit="tokens", limit=100, used=80, asked=21, retry_after_secs=60.0, reset_secs=60.0
        )
        bank.settle("k", first, charge(10, input_tokens=15, cache_read_tokens=5))
        assert bank.standing("vk_k").tokens == 30
        bank.admitted("k", input_tokens=70)


def test_what_a_failed_request_had_sent_stays_in_the_token_window() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", tpm_limit=100))
        bank.settle("k", bank.admitted("k", input_tokens=20, output_tokens=60))
        assert bank.standing("vk_k").tokens == 20


def test_a_request_that_asks_for_more_than_the_limit_is_told_that_waiting_does_not_help() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", tpm_limit=100))
        assert bank.denied("k", output_tokens=101).rate == Rate(
            unit="tokens", limit=100, used=0, asked=101, retry_after_secs=None, reset_secs=0.0
        )


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_rate_windows_survive(how: str) -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", rpm_limit=2, tpm_limit=100))
        bank.settle("k", bank.admitted("k", input_tokens=10), charge(30))
        kit.advance(0.2 if how == "kill" else 0)
        if how == "restart":
            kit.system.stop_now()
            kit.advance(1)
        bank.store.restart(kit.clock)
        with Kit() as after:
            after.clock.advance(kit.clock.now() - after.clock.now(), after.run)
            bank.store.restart(after.clock)
            again = Bank(after, store=bank.store)
            assert again.admitted("k", input_tokens=60).requests == Quota(2, 0, 60.0)
            assert again.denied("k").reason is Denial.RATE


# --- groups


def test_admission_walks_up_and_the_level_that_refuses_is_named() -> None:
    with Kit() as kit:
        bank = Bank(
            kit,
            group("org", max_budget_cents=10),
            group("team", parent="grp_org", rpm_limit=3),
            key("a", group="grp_team", max_budget_cents=5),
            key("b", group="grp_team"),
        )
        bank.spend("a", 5)
        assert bank.denied("a").level == 'key "a"'
        bank.spend("b", 4)
        assert bank.standing("grp_team").spent == bank.standing("grp_org").spent == 9 * CENT
        assert bank.denied("b", output_tokens=2).level == 'group "org"'
        bank.admitted("b")
        assert bank.denied("b").level == 'group "team"'


def test_usage_counts_for_the_groups_that_the_key_belonged_to_when_it_was_admitted() -> None:
    with Kit() as kit:
        bank = Bank(kit, group("old"), group("new"), key("k", group="grp_old"))
        running = bank.admitted("k")
        bank.told(ChangeKey("vk_k", {"group": "grp_new"}))
        bank.settle("k", running, charge(2))
        bank.spend("k", 3)
        assert [bank.standing(scope).spent // CENT for scope in ("vk_k", "grp_old", "grp_new")] == [5, 2, 3]


# --- settlement


def test_an_answer_waits_for_the_commit_when_durability_is_strict() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"), store=MemoryStore(kit.clock, latency_secs=0.5))
        future = bank.ask(settlement("k", bank.admitted("k"), charge(3)))
        kit.advance(0.4)
        assert not future.done()
        kit.advance(0.2)
        assert future.get() == Settled(3 * CENT)
        assert len(bank.ledger_of("vk_k")) == 1


def test_an_answer_does_not_wait_when_it_is_relaxed_and_is_written_within_a_tenth_of_a_second() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"), strict=False)
        assert bank.ask(settlement("k", bank.admitted("k"), charge(3))).get() == Settled(3 * CENT)
        assert not bank.ledger_of("vk_k")
        kit.advance(0.1)
        assert len(bank.ledger_of("vk_k")) == 1


def test_a_request_of_several_parts_counts_once_and_each_model_for_what_it_did() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        told = bank.settle("k", bank.admitted("k"), charge(3, estimated=True), charge(4, "other"))
        assert told == Settled(3 * CENT)
        day = int(kit.clock.time()) // DAY
        assert bank.ledger_of("vk_k") == {
            (day, "m", True): Tokens(requests=1, output=3),  # a request of which a part is an estimate is one
            (day, "other", False): Tokens(requests=0, output=4),
        }


def test_a_settlement_that_comes_after_a_crash_is_charged_all_the_same() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=10))
        running = bank.admitted("k", output_tokens=5)
        bank.governance.tell(ChangeKey("vk_k", {"nonsense": 1}))
        kit.run()
        kit.expect_crash(TypeError)
        early = bank.ask(settlement("k", running, charge(4)))
        assert bank.denied("k") == Denied(reason=Denial.STORE)  # nothing is known yet
        kit.advance(0)
        assert early.get() == Settled(4 * CENT)
        assert bank.standing("vk_k").spent == 4 * CENT
        assert bank.denied("k", output_tokens=7).reason is Denial.BUDGET


# --- changes


def test_a_change_holds_before_it_is_answered() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"), store=MemoryStore(kit.clock, latency_secs=1))
        assert bank.keyring.find("secret of k") == key("k")
        future = bank.ask(DeleteKey("vk_k"))
        assert not future.done()
        assert bank.keyring.find("secret of k") is None
        assert bank.denied("k").reason is Denial.KEY
        kit.advance(1)
        assert future.get() == key("k")


def test_a_rotated_secret_opens_nothing_any_more() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", aws_access_key_id="AKBBOLD"))
        bank.told(ChangeKey("vk_k", {"secret_hash": key("new").secret_hash, "aws_access_key_id": "AKBBNEW"}))
        found = bank.keyring.find("secret of new")
        assert found is not None
        assert found.id == "vk_k"
        assert (bank.keyring.find("secret of k"), bank.keyring.find_aws("AKBBOLD")) == (None, None)
        assert bank.keyring.find_aws("AKBBNEW") == found


def test_nobody_is_admitted_before_it_is_known_what_was_spent() -> None:
    with Kit() as kit:
        store = MemoryStore(kit.clock)
        Bank(kit, key("k", max_budget_cents=5), store=store).spend("k", 5)
        with Kit() as after:
            store.restart(after.clock)
            store.fail("not yet")
            again = Bank(after, store=store)
            assert not again.keyring.ready
            assert again.denied("k") == Denied(reason=Denial.STORE)
            store.heal()
            after.advance(1)
            assert again.keyring.ready
            assert again.denied("k").reason is Denial.BUDGET


def test_usage_of_a_deleted_key_stays_in_the_ledger() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        bank.spend("k", 3)
        bank.told(DeleteKey("vk_k"))
        assert len(bank.ledger_of("vk_k")) == 1


def test_a_corrected_price_corrects_the_past() -> None:
    with Kit() as kit:
        store = MemoryStore(kit.clock)
        Bank(kit, key("k", max_budget_cents=10), store=store).spend("k", 10)
        with Kit() as after:
            store.restart(after.clock)
            cheaper = Tariff({"m": (DatedRates(base=Rates(output=CENT // 2)),)}, Rates())
            again = Bank(after, store=store, tariff=cheaper)
            assert again.standing("vk_k").spent == 5 * CENT


# --- the store


def test_a_store_that_fails_refuses_new_work_and_recovers_by_itself() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        running = bank.admitted("k")
        bank.store.fail("disk full")
        future = bank.ask(settlement("k", running, charge(3)))
        kit.advance(1)
        assert bank.denied("k") == Denied(reason=Denial.STORE)
        assert not future.done()
        bank.store.heal()
        kit.advance(2)
        assert future.get() == Settled(3 * CENT)
        assert bank.ledger_of("vk_k").popitem()[1] == Tokens(requests=1, output=3)
        bank.admitted("k")


def test_who_waits_for_a_store_that_does_not_come_back_is_told_so_and_nothing_is_lost() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        running = bank.admitted("k")
        bank.store.fail("disk full")
        future = bank.ask(settlement("k", running, charge(3)))
        kit.advance(6)
        assert future.get() == NotRecorded()
        bank.store.heal()
        kit.advance(6)
        assert bank.ledger_of("vk_k").popitem()[1] == Tokens(requests=1, output=3)
        assert bank.standing("vk_k").spent == 3 * CENT


def test_a_store_that_is_slow_counts_as_failing_until_it_answers() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        running = bank.admitted("k")
        bank.store.latency_secs = 20.0
        bank.ask(settlement("k", running, charge(3)))
        kit.advance(7)
        assert bank.denied("k").reason is Denial.STORE
        bank.store.latency_secs = 0.0
        kit.advance(14)
        bank.admitted("k")


def test_a_commit_that_failed_after_it_was_written_counts_once() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        running = bank.admitted("k")
        bank.store.fail("the end of the commit", after_writing=True)
        future = bank.ask(settlement("k", running, charge(3)))
        kit.advance(0.05)
        bank.store.heal()
        kit.advance(1)
        assert future.get() == Settled(3 * CENT)
        assert bank.ledger_of("vk_k").popitem()[1] == Tokens(requests=1, output=3)


def test_those_who_wait_share_one_commit() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"), store=MemoryStore(kit.clock, latency_secs=0.01))
        running = [bank.admitted("k") for _ in range(50)]
        before = len(bank.store.commits)
        futures = [bank.ask(settlement("k", each, charge(1))) for each in running]
        kit.advance(0.03)
        assert all(future.get() == Settled(CENT) for future in futures)
        assert len(bank.store.commits) - before == 2  # the first, and all that came while it was written


def test_a_deletion_is_taken_even_while_the_store_fails() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        bank.store.fail("disk full")
        bank.ask(DeleteKey("vk_k"))
        assert bank.keyring.find("secret of k") is None
        bank.store.heal()
        kit.advance(1)
        assert kit.ask(bank.governance, Snapshot()) == {
            "ready": True,
            "store_ok": True,
            "store_failure": None,
            "keys": 0,
            "groups": 0,
            "reservations": 0,
        }


# --- crashes, clocks, damage


def test_a_crash_forgets_no_reservation_and_no_settlement_that_waited_for_it() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=10))
        running = bank.admitted("k", output_tokens=6)
        other = bank.admitted("k", output_tokens=4)
        for _ in range(2):  # the second time before it is ready
            bank.governance.tell(DEADLY)
            kit.run()
            kit.expect_crash(AttributeError)
            bank.ask(settlement("k", running, charge(5)))
        kit.advance(0)
        assert (bank.standing("vk_k").spent, bank.standing("vk_k").reserved) == (5 * CENT, 4 * CENT)
        assert bank.denied("k", output_tokens=2).reason is Denial.BUDGET
        bank.settle("k", other, charge(4))
        assert bank.ledger_of("vk_k").popitem()[1] == Tokens(requests=2, output=9)


def test_a_settlement_that_waits_for_too_long_after_a_crash_is_told_so_and_charged_later() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        running = bank.admitted("k")
        bank.store.fail("disk full")
        bank.governance.tell(DEADLY)
        kit.run()
        kit.expect_crash(AttributeError)
        told = bank.ask(settlement("k", running, charge(5)))
        kit.advance(6)
        assert told.get() == NotRecorded()
        bank.store.heal()
        kit.advance(6)
        assert bank.ledger_of("vk_k").popitem()[1] == Tokens(requests=1, output=5)


def test_another_period_forgets_nothing_that_is_reserved() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=10))
        running = bank.admitted("k", output_tokens=10)
        for period in ("daily", "monthly", "total"):
            bank.told(ChangeKey("vk_k", {"budget_period": period}))
            assert bank.denied("k", output_tokens=1).reason is Denial.BUDGET
        bank.settle("k", running)
        bank.admitted("k", output_tokens=10)


def test_a_restart_just_after_a_month_began_still_knows_the_one_before() -> None:
    """For a clock that is set back later, or was wrong at the start."""
    with Kit() as kit:
        bank = Bank(kit, key("k", max_budget_cents=10, budget_period="monthly"))
        bank.spend("k", 10)
        then = int(kit.clock.time()) // DAY
        with Kit() as after:
            next_month = first_of_month(first_of_month(then) + 31)
            after.clock.advance(next_month * DAY - after.clock.time(), after.run)
            bank.store.restart(after.clock)
            again = Bank(after, store=bank.store)
            assert again.standing("vk_k").spent == 0
            registry = again.governance.node.actor._registry  # type: ignore[union-attr]
            assert registry.levels["vk_k"].spending.within("monthly", then) == 10 * CENT


def test_rates_that_a_clock_ahead_of_its_time_left_count_for_nobody() -> None:
    with Kit() as kit:
        store = MemoryStore(kit.clock)
        with Kit() as ahead:
            ahead.clock.advance(400 * DAY, ahead.run)
            store.restart(ahead.clock)
            bank = Bank(ahead, key("k", rpm_limit=1), store=store)
            bank.settle("k", bank.admitted("k"), charge(1))
        store.restart(kit.clock)
        assert isinstance(Bank(kit, store=store).admit("k"), Admitted)


def test_a_key_whose_groups_are_damaged_is_refused_and_not_without_a_budget() -> None:
    with Kit() as kit:
        bank = Bank(kit, group("g", max_budget_cents=0), key("k", group="grp_g"), key("other"))
        store = bank.store
        store._groups["grp_g"] = None
        with Kit() as after:
            store.restart(after.clock)
            again = Bank(after, store=store)
            assert again.denied("k").reason is Denial.KEY
            again.admitted("other")


def test_usage_that_a_store_does_not_tell_in_time_is_not_waited_for() -> None:
    with Kit() as kit:
        bank = Bank(kit, key("k"))
        bank.store.latency_secs = 60.0
        asked = bank.ask(UsageOf("vk_k"))
        kit.advance(7)
        assert asked.get() == NotRecorded()
