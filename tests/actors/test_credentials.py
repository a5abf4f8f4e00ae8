"""An account's credentials on virtual time: minted once for many, ahead of their end, and benched when refused."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import Any

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.credentials import account
from busbar.actors.credentials.account import Credentials
from busbar.actors.credentials.key import LIFETIME_SECS, Key, choose
from busbar.actors.credentials.messages import Given, Held, KeyRefused, NotGiven, Obtain, Withheld
from busbar.actors.credentials.wallet import CredentialPlan, KeyPlan, Wallet
from busbar.actors.gateway import GatewayPolicy
from busbar.actors.messages import Retire, Snapshot
from busbar.actors.runtime import LoopFuture, LoopRef
from busbar.actors.supervision import ChildView, Restart
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

START = 1000.0
AUTH, BILLING, RATE_LIMIT = FailureClass.AUTH, FailureClass.BILLING, FailureClass.RATE_LIMIT
NETWORK = FailureClass.NETWORK


class Issuer:
    """A source whose answers the test gives, one by one. Asking a second time before that is a fault of the actor."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._done: Callable[[Given | NotGiven], None] | None = None
        self.kit: Kit

    def begin(self, done: Callable[[Given | NotGiven], None]) -> None:
        assert self._done is None, "it is busy"
        self.asked.append(self.kit.clock.now() - START)
        self._done = done

    def answer(self, answer: Given | NotGiven) -> None:
        assert self._done is not None, "nobody asked"
        done, self._done = self._done, None
        done(answer)
        self.kit.run()

    def give(self, credential: object, lifetime_secs: float | None = 3600.0) -> None:
        self.answer(Given(credential, lifetime_secs))

    def refuse(self, kind: FailureClass = NETWORK, retry_after_secs: float | None = None) -> None:
        self.answer(NotGiven(kind, "no", retry_after_secs))


class Account:
    """An account in a kit. `keys`: texts are fixed keys, issuers are asked."""

    def __init__(self, kit: Kit, *keys: str | Issuer, **terms: Any) -> None:
        self.kit = kit
        self.wallet = Wallet(several=len(keys) > 1)
        for key in keys:
            if isinstance(key, Issuer):
                key.kit = kit
        plans = tuple(
            KeyPlan(origin="minted", source=key, **terms)
            if isinstance(key, Issuer)
            else KeyPlan(origin="env", credential=key)
            for key in keys
        )
        plan = CredentialPlan(provider="p", kind="keys", keys=plans, wallet=self.wallet)
        self.ref: LoopRef = kit.spawn(Credentials, plan, name="credentials:p")
        kit.run()

    def used(self, model: str = "m") -> Any:
        """What a request would send without asking; None: it has to ask."""
        held = self.wallet.find(model, self.kit.clock.now())
        return None if held is None else held.credential

    def ask(self, *tried: Held, model: str = "m") -> LoopFuture:
        future = self.ref.ask(Obtain(model, frozenset(held.serial for held in tried)))
        self.kit.run()
        return future

    def obtain(self, *tried: Held, model: str = "m") -> Held | Withheld:
        answer: Held | Withheld = self.ask(*tried, model=model).get()
        return answer

    def held(self, model: str = "m") -> Held:
        answer = self.obtain(model=model)
        assert isinstance(answer, Held)
        return answer

    def refused(self, held: Held, kind: FailureClass, secs: float | None = None, model: str = "m") -> None:
        refusal = KeyRefused(number=held.number, serial=held.serial, model=model, kind=kind, retry_after_secs=secs)
        self.ref.tell(refusal)
        self.kit.run()

    def key(self, number: int = 1) -> dict[str, Any]:
        shown: dict[str, Any] = self.kit.ask(self.ref, Snapshot())["keys"][number - 1]
        return shown


# --- tokens


def test_a_hundred_requests_without_a_token_are_one_mint() -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        waiting = [it.ask() for _ in range(100)]
        assert [future.done() for future in waiting] == [False] * 100
        kit.advance(2)
        issuer.give("token")
        got = Held(number=1, serial=1, credential="token", expires_at=START + 2 + 3600)
        assert [future.get() for future in waiting] == [got] * 100
        assert (issuer.asked, it.used()) == ([0], "token")
        assert it.key() == {
            "number": 1,
            "origin": "minted",
            "ready": True,
            "remaining_s": 3600,
            "benched_s": 0,
            "benched_for": None,
            "throttled_s": {},
            "minting": False,
            "mints": 1,
            "failures": 0,
            "failing": None,
        }


@pytest.mark.parametrize(
    ("lifetime_secs", "earliest", "latest"),
    [(3600, 3352.5, 3375), (300, 234, 240), (10, 7.8, 8), (1, 1, 1), (86_400, 81_648, 82_080)],
)
def test_a_token_is_replaced_before_it_expires(lifetime_secs: float, earliest: float, latest: float) -> None:
    """225 s ahead, or a fifth of a short life, or a twentieth of a long one; and up to a tenth earlier than that."""
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        issuer.give("first", lifetime_secs)
        kit.advance(lifetime_secs)
        assert len(issuer.asked) == 2
        assert earliest <= issuer.asked[1] <= latest
        issuer.give("second", lifetime_secs)
        assert it.used() == "second"


def test_a_token_is_used_while_the_next_one_is_minted() -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        issuer.give("first", 100)
        kit.advance(99)
        assert (len(issuer.asked), it.used()) == (2, "first")
        kit.advance(1)
        assert it.used() is None, "expired"
        late = it.ask()
        issuer.give("second", 100)
        assert late.get().credential == "second"


def test_a_lifetime_is_counted_from_the_answer() -> None:
    """An issuer that took long to answer, or whose clock is wrong, shortens nobody's token."""
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        kit.advance(30)
        issuer.give("token", 60)
        kit.advance(59)
        assert it.used() == "token"


@pytest.mark.parametrize("lifetime_secs", [-1.0, 0.0, 0.5, math.nan, math.inf, 1e12])
def test_a_lifetime_that_cannot_be_is_a_failure(lifetime_secs: float) -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        waiting = it.ask()
        issuer.give("token", lifetime_secs)
        assert waiting.get() == Withheld(FailureClass.SERVER_ERROR, 1.0)
        assert it.used() is None


def test_a_refresh_that_fails_keeps_the_token_and_is_tried_again_ever_more_seldom() -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        issuer.give("token", 86_400)
        kit.advance(82_200)
        for waited_secs in (1, 2, 4, 8, 16, 32, 60, 60):
            failed_at, times = kit.clock.now() - START, len(issuer.asked)
            issuer.refuse()
            assert it.used() == "token"
            kit.advance(waited_secs)
            assert len(issuer.asked) == times + 1
            assert max(1, 0.8 * waited_secs) <= issuer.asked[-1] - failed_at <= waited_secs
        assert (it.key()["failures"], it.key()["failing"]) == (8, "network")
        issuer.give("second", 3600)
        assert (it.used(), it.key()["failing"]) == ("second", None)


def test_a_token_that_could_not_be_replaced_in_time_is_not_sent() -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        issuer.give("token", 10)
        kit.advance(8.5)
        issuer.refuse(retry_after_secs=30)
        kit.advance(5)
        assert it.used() is None
        answer = it.obtain()
        assert isinstance(answer, Withheld)
        assert answer.kind is NETWORK
        assert 24 < answer.retry_after_secs <= 25.2
        kit.advance(26)
        assert len(issuer.asked) == 3


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (NETWORK, NETWORK),
        (FailureClass.TIMEOUT, FailureClass.TIMEOUT),
        (FailureClass.SERVER_ERROR, FailureClass.SERVER_ERROR),
        (AUTH, FailureClass.OVERLOADED),
        (RATE_LIMIT, FailureClass.OVERLOADED),
    ],
)
def test_a_first_mint_that_fails_fails_those_who_wait_at_once(kind: FailureClass, told: FailureClass) -> None:
    """With what passes by itself: the source is asked again in a second, and whoever mends it mends the member."""
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        waiting = [it.ask() for _ in range(3)]
        issuer.refuse(kind)
        assert [future.get() for future in waiting] == [Withheld(told, 1.0)] * 3
        kit.advance(0.5)
        assert it.obtain() == Withheld(told, 0.5), "and those who come before the next attempt"
        assert len(issuer.asked) == 1
        kit.advance(0.5)
        late = it.ask()
        issuer.give("token")
        assert late.get().credential == "token"


def test_a_refused_token_is_minted_anew_once_for_all_who_were_refused() -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        issuer.give("first")
        first = it.held()
        for _ in range(5):
            it.refused(first, AUTH)
        assert it.used() is None, "it is thrown away"
        waiting = [it.ask(first) for _ in range(5)] + [it.ask()]
        issuer.give("second")
        assert {future.get().credential for future in waiting} == {"second"}
        it.refused(first, AUTH)
        assert (it.used(), len(issuer.asked)) == ("second", 2), "an old refusal says nothing of the new one"


def test_a_token_that_is_refused_as_soon_as_it_is_minted_is_not_minted_for_ever() -> None:
    """Then it is not the token: the account may not do this. The token stays, for requests that may."""
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        issuer.give("first")
        first = it.held()
        it.refused(first, AUTH)
        issuer.give("second")
        second = it.held()
        it.refused(second, AUTH)
        assert len(issuer.asked) == 2
        assert it.obtain(first, second) == Withheld(AUTH, 1800)
        assert it.used() == "second"
        kit.advance(61)
        it.refused(second, AUTH)
        assert len(issuer.asked) == 3


def test_a_refused_token_whose_issuer_is_away_is_gone() -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        issuer.give("first")
        first = it.held()
        it.refused(first, AUTH)
        waiting = it.ask(first)
        issuer.refuse(NETWORK)
        assert waiting.get() == Withheld(NETWORK, 1.0)
        assert (it.used(), it.obtain()) == (None, Withheld(NETWORK, 1.0))


def test_who_went_away_is_not_waited_for() -> None:
    async def leave(it: Account) -> None:
        waiting = asyncio.ensure_future(_await(it.ref.ask(Obtain("m"))))
        await asyncio.sleep(0)
        it.kit.run()
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    with Kit() as kit:
        it = Account(kit, Issuer())
        stays = it.ask()
        asyncio.run(leave(it))
        assert kit.ask(it.ref, Snapshot())["waiting"] == 1
        assert not stays.done()


async def _await(future: LoopFuture) -> Any:
    return await future


def test_those_who_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "WAITING_MAX", 3)
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer)
        waiting = [it.ask() for _ in range(3)]
        assert it.obtain() == Withheld(FailureClass.OVERLOADED, 1.0)
        issuer.give("token")
        assert [future.get().credential for future in waiting] == ["token"] * 3


# --- keys that somebody else keeps


def test_a_key_is_looked_at_again_and_again_and_the_last_good_one_kept() -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer, refresh_secs=1.0)
        issuer.give("first", None)
        for second in range(1, 6):
            kit.advance(1)
            issuer.refuse(AUTH)
            assert (it.used(), issuer.asked[-1]) == ("first", second), "the pace stays: one look a second"
        kit.advance(1)
        issuer.give("second", None)
        assert it.used() == "second"


def test_a_refused_key_is_benched_when_its_source_has_no_other() -> None:
    key = "first"
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer, refresh_secs=300.0)
        issuer.give(key, None)
        first = it.held()
        it.refused(first, AUTH)
        waiting = it.ask(first)
        issuer.give(key, None)
        assert waiting.get() == Withheld(AUTH, 1800)
        assert (it.used(), it.key()["benched_s"]) == (key, 1800), "there is no other"
        it.refused(first, AUTH)
        assert len(issuer.asked) == 2, "it was asked just now"
        kit.advance(300)
        issuer.give("second", None)
        assert (it.used(), it.key()["benched_s"]) == ("second", 0)


@pytest.mark.parametrize("gives", [True, False])
def test_an_answer_that_was_on_its_way_when_the_key_was_refused_is_not_the_last_word(gives: bool) -> None:
    """A program that had read the vault just before the key was replaced."""
    key = "first"
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer, refresh_secs=300.0)
        issuer.give(key, None)
        first = it.held()
        kit.advance(300)
        it.refused(first, AUTH)
        waiting = it.ask(first)
        if gives:
            issuer.give(key, None)
        else:
            issuer.refuse()
        assert (waiting.done(), issuer.asked) == (False, [0, 300, 300])
        issuer.give("second", None)
        assert (waiting.get().credential, it.key()["benched_s"]) == ("second", 0)


def test_a_refused_key_is_benched_when_its_source_fails() -> None:
    with Kit() as kit:
        issuer = Issuer()
        it = Account(kit, issuer, refresh_secs=300.0)
        issuer.give("first", None)
        first = it.held()
        it.refused(first, AUTH)
        waiting = it.ask(first)
        issuer.refuse(FailureClass.TIMEOUT)
        assert waiting.get() == Withheld(AUTH, 1800)
        assert it.used() == "first"


# --- several keys


def test_one_key_is_used_until_it_is_refused_and_the_next_one_from_then_on() -> None:
    with Kit() as kit:
        it = Account(kit, "a", "b", "c")
        assert it.used() == "a"
        it.refused(it.held(), AUTH)
        assert it.used() == "b"
        kit.advance(1800)
        assert it.used() == "b", "it was not refused"
        assert [it.key(number)["benched_s"] for number in (1, 2, 3)] == [0, 0, 0]
        it.refused(it.held(), BILLING)
        assert it.used() == "c"
        it.refused(it.held(), AUTH)
        assert it.used() == "a"


def test_a_throttled_key_rests_for_that_model_only() -> None:
    with Kit() as kit:
        it = Account(kit, "a", "b")
        it.refused(it.held("busy"), RATE_LIMIT, 40, model="busy")
        assert (it.used("busy"), it.used("calm")) == ("b", "a")
        assert it.key(1)["throttled_s"] == {"busy": 40}
        snapshot = kit.ask(it.ref, Snapshot())
        assert (snapshot["used"], snapshot["used_by_model"]) == (1, {"busy": 2})


@pytest.mark.parametrize(("asked", "secs"), [(None, 15), (7.5, 7.5), (0, 0), (1e9, 86_400)])
def test_a_throttled_key_rests_as_long_as_the_provider_asks(asked: float | None, secs: float) -> None:
    with Kit() as kit:
        it = Account(kit, "a", "b")
        it.refused(it.held(), RATE_LIMIT, asked)
        assert it.key(1)["throttled_s"] == ({"m": secs} if secs else {})


def test_a_request_is_given_each_key_once_and_then_told_when_the_first_is_back() -> None:
    with Kit() as kit:
        it = Account(kit, "a", "b")
        first = it.held()
        it.refused(first, RATE_LIMIT, 30)
        second = it.obtain(first)
        assert isinstance(second, Held)
        assert second.credential == "b"
        it.refused(second, RATE_LIMIT, 10)
        assert it.obtain(first, second) == Withheld(RATE_LIMIT, 10)
        assert it.used() == "b", "the soonest to be back: never a dead end"


def test_a_request_is_not_given_a_second_key_that_is_resting() -> None:
    with Kit() as kit:
        it = Account(kit, "a", "b")
        first = it.held()
        it.refused(first, AUTH)
        second = it.held()
        it.refused(second, RATE_LIMIT, 10)
        assert it.obtain(second) == Withheld(RATE_LIMIT, 10)


def test_a_dead_key_among_throttled_ones_is_not_what_is_told() -> None:
    with Kit() as kit:
        it = Account(kit, "a", "b")
        first = it.held()
        it.refused(first, RATE_LIMIT, 10)
        second = it.obtain(first)
        assert isinstance(second, Held)
        it.refused(second, AUTH)
        assert it.obtain(first, second) == Withheld(RATE_LIMIT, 10)
        assert it.used() == "a"


def test_a_key_that_is_throttled_for_long_is_told_before_a_dead_one_whose_rest_is_over_sooner() -> None:
    with Kit() as kit:
        it = Account(kit, "a", "b")
        first = it.held()
        it.refused(first, AUTH)
        second = it.obtain(first)
        assert isinstance(second, Held)
        it.refused(second, RATE_LIMIT, 7200)
        assert it.obtain(first, second) == Withheld(RATE_LIMIT, 7200)


def test_other_failures_bench_nothing() -> None:
    with Kit() as kit:
        it = Account(kit, "a", "b")
        for kind in set(FailureClass) - {AUTH, BILLING, RATE_LIMIT}:
            it.refused(it.held(), kind)
        assert it.used() == "a"


def test_keys_that_are_there_do_not_wait_for_those_that_are_not() -> None:
    with Kit() as kit:
        slow = Issuer()
        it = Account(kit, slow, "b")
        assert it.used() == "b"
        second = it.held()
        it.refused(second, RATE_LIMIT)
        waiting = it.ask(second)
        assert not waiting.done(), "the first may come yet"
        slow.give("a", None)
        assert (waiting.get().credential, it.used()) == ("a", "a")


# --- its life


def test_a_restart_begins_anew_and_takes_no_answer_to_the_instance_before() -> None:
    class Broken(Issuer):
        def begin(self, done: Callable[[Given | NotGiven], None]) -> None:
            if len(self.asked) == 1:
                self.asked.append(0.0)
                raise ZeroDivisionError
            self._done = None
            super().begin(done)

    with Kit() as kit:
        issuer = Broken()
        it = Account(kit, issuer)
        stale = issuer._done
        issuer.give("first")
        first = it.held()
        it.refused(first, AUTH)
        kit.expect_crash(ZeroDivisionError)
        assert stale is not None
        stale(Given("stale"))
        kit.run()
        assert it.used() is None
        issuer.give("second")
        assert it.used() == "second"


def test_what_has_retired_serves_for_as_long_as_requests_can_last() -> None:
    with Kit() as kit:
        it = Account(kit, "a")
        it.ref.tell(Retire())
        kit.advance(3599)
        assert it.held().credential == "a"
        kit.advance(1)
        assert not it.ref.is_alive()
        with pytest.raises(pykka.ActorDeadError):
            it.obtain()


def test_nothing_that_is_printed_shows_a_credential() -> None:
    held = Held(number=1, serial=1, credential="hunter2", expires_at=math.inf)
    wallet = Wallet()
    wallet.publish(held, {})
    plan = KeyPlan(origin="env", credential="hunter2")
    account_plan = CredentialPlan(provider="p", kind="keys", keys=(plan,), wallet=wallet, made_from="hunter2")
    for value in (held, Given("hunter2"), wallet, plan, account_plan):
        assert "hunter2" not in repr(value)


# --- for any history


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([AUTH, BILLING, RATE_LIMIT]),
        st.sampled_from(["m", "n"]),
        st.floats(0, 100_000),
        st.floats(0, 3000),
    ),
    max_size=12,
)


@given(st.integers(1, 4), EVENTS)
def test_whatever_was_refused_there_is_a_key_and_a_rested_one_if_any_is(
    count: int, events: list[tuple[FailureClass, str, float, float]]
) -> None:
    with Kit() as kit:
        it = Account(kit, *(f"key{number}" for number in range(count)))
        for kind, model, retry_after_secs, pause_secs in events:
            before = it.held(model)
            assert it.used(model) == before.credential, "what is published is what would be answered"
            it.refused(before, kind, retry_after_secs, model)
            now, after = kit.clock.now(), it.held(model)
            shown = [it.key(number + 1) for number in range(count)]
            resting = [max(key["benched_s"], key["throttled_s"].get(model, 0)) for key in shown]
            assert resting[after.number - 1] == min(resting) or resting[after.number - 1] == 0, (now, shown)
            kit.advance(pause_secs)


@given(st.floats(*LIFETIME_SECS), st.integers(0, 2**32))
def test_any_lifetime_is_refreshed_within_it(lifetime_secs: float, seed: int) -> None:
    secs = Key(1, KeyPlan(origin="t")).refresh_secs(lifetime_secs, random.Random(seed))
    assert secs is not None
    assert 1 <= secs <= lifetime_secs
    assert secs == 1 or lifetime_secs - secs >= min(225, 0.2 * lifetime_secs) * 0.999


def test_a_choice_goes_round_from_the_first() -> None:
    keys = [Key(number, KeyPlan(origin="env")) for number in (1, 2, 3)]
    for key in keys:
        key.take(f"key{key.number}", key.number, None, START)
    assert [choose(keys, first, "m", START) for first in (1, 2, 3)] == keys
    assert choose(keys, 2, "m", START, frozenset({2})) is keys[2]
    assert choose(keys, 3, "m", START, frozenset({1, 2, 3})) is None


def test_it_is_restarted_however_often_it_crashes() -> None:
    child = ChildView(name="credentials:p", kind=Credentials.__name__, restarts=1000, started_at=START)
    assert GatewayPolicy().on_crash(child, ZeroDivisionError()) == Restart()
