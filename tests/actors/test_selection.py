"""Who is picked: smooth weighted round robin and rendezvous hashing, as pure functions."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.selection import Candidate, Currents, rendezvous, smooth_weighted

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=6)
SESSIONS = [f"session-{number}" for number in range(20_000)]


def named(weights: Sequence[int]) -> list[Candidate]:
    return [Candidate(name, weight) for name, weight in zip("abcdefgh", weights, strict=False)]


def picks(usable: Sequence[Candidate], count: int, currents: Currents | None = None) -> tuple[list[str], Currents]:
    state: Currents = currents or {}
    chosen = []
    for _ in range(count):
        choice, state = smooth_weighted(state, usable)
        chosen.append(choice)
    return chosen, state


# --- smooth weighted round robin


def test_five_one_one_is_spread_and_not_a_burst() -> None:
    chosen, state = picks(named([5, 1, 1]), 7)
    assert "".join(chosen) == "aabacaa"
    assert state == {"a": 0, "b": 0, "c": 0}


def test_one_two_three_over_600_picks_is_exact() -> None:
    chosen, _ = picks(named([1, 2, 3]), 600)
    assert Counter(chosen) == {"a": 100, "b": 200, "c": 300}


def test_ties_go_by_the_configured_order() -> None:
    assert picks([Candidate(name) for name in "zam"], 6)[0] == ["z", "a", "m", "z", "a", "m"]


def test_member_that_drops_out_keeps_its_credit() -> None:
    _, before = picks(named([5, 1, 1]), 3)
    assert before == {"a": 1, "b": -4, "c": 3}
    _, without_c = picks(named([5, 1]), 6, before)
    assert without_c["c"] == 3
    # Back again with the credit of before: it is the next but one, not at the end of a new round.
    assert picks(named([5, 1, 1]), 2, without_c)[0] == ["a", "c"]


def test_selection_leaves_the_state_that_it_was_given_alone() -> None:
    before: dict[str, int] = {"a": 2}
    smooth_weighted(before, named([1, 1]))
    assert before == {"a": 2}


@given(weights=WEIGHTS, cycles=st.integers(1, 3))
def test_each_cycle_picks_each_member_exactly_weight_times(weights: list[int], cycles: int) -> None:
    state: Currents = {}
    for _ in range(cycles):
        chosen, state = picks(named(weights), sum(weights), state)
        assert Counter(chosen) == {candidate.member: candidate.weight for candidate in named(weights)}
        assert set(state.values()) == {0}


@given(weights=WEIGHTS)
def test_credits_always_sum_to_zero(weights: list[int]) -> None:
    state: Currents = {}
    for _ in range(sum(weights)):
        _, state = smooth_weighted(state, named(weights))
        assert sum(state.values()) == 0


def lead(weights: list[int]) -> tuple[float, float]:
    """By how many picks a member is behind and ahead of its exact share, at the worst prefix of one cycle."""
    state: Currents = {}
    owed = []
    for _ in range(sum(weights)):
        _, state = smooth_weighted(state, named(weights))
        owed.extend(state.values())
    return max(owed) / sum(weights), -min(owed) / sum(weights)


@given(weights=st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_up_to_four_members_are_within_one_pick_of_their_share_at_every_prefix(weights: list[int]) -> None:
    behind, ahead = lead(weights)
    assert behind <= 1
    assert ahead <= 1


@given(weights=WEIGHTS)
def test_nobody_is_ever_a_whole_pick_ahead_of_its_share(weights: list[int]) -> None:
    """True for any number of members; behind, from six members on, it may be slightly more than one."""
    behind, ahead = lead(weights)
    assert ahead < 1
    assert behind < 1.5


# --- rendezvous


def test_a_session_prefers_the_same_member_after_a_restart() -> None:
    usable = named([1, 1, 1, 1])
    here = "".join(rendezvous(session, usable) for session in SESSIONS[:40])
    assert here == KNOWN_PICKS
    code = (
        "from busbar.actors.selection import Candidate, rendezvous\n"
        "usable = [Candidate(name) for name in 'abcd']\n"
        "print(''.join(rendezvous(f'session-{n}', usable) for n in range(40)))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == KNOWN_PICKS


KNOWN_PICKS = "caacddbaadcabbcacbcabacccabadbccbccaabba"


def test_losing_a_member_moves_only_its_own_sessions() -> None:
    four, three = named([1, 2, 3, 4]), [Candidate("a", 1), Candidate("b", 2), Candidate("d", 4)]
    before = {session: rendezvous(session, four) for session in SESSIONS[:4000]}
    after = {session: rendezvous(session, three) for session in SESSIONS[:4000]}
    moved = {session for session in before if before[session] != after[session]}
    assert moved == {session for session, member in before.items() if member == "c"}
    assert {after[session] for session in moved} == {"a", "b", "d"}


def test_weights_are_respected_over_many_sessions() -> None:
    counts = Counter(rendezvous(session, named([1, 2, 5])) for session in SESSIONS)
    assert {name: round(count / 20_000, 2) for name, count in counts.items()} == {
        "a": pytest.approx(1 / 8, abs=0.015),
        "b": pytest.approx(2 / 8, abs=0.015),
        "c": pytest.approx(5 / 8, abs=0.015),
    }


def test_the_order_of_the_list_does_not_matter() -> None:
    usable = named([3, 1, 2])
    for session in SESSIONS[:200]:
        assert rendezvous(session, usable) == rendezvous(session, usable[::-1])


@given(session=st.text())
def test_any_header_value_finds_a_member(session: str) -> None:
    assert rendezvous(session, named([1, 7])) in "ab"


def test_a_broken_surrogate_in_a_header_is_no_crash() -> None:
    assert rendezvous("\udce4", named([1, 1])) in "ab"


@pytest.mark.parametrize("digest", [b"\xff" * 8, b"\x00" * 8])
def test_the_extreme_digests_are_no_crash(digest: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of all ones must not round up to 1, whose logarithm is 0."""

    class Extreme:
        def __init__(self, data: bytes, digest_size: int) -> None: ...

        def digest(self) -> bytes:
            return digest

    monkeypatch.setattr("busbar.actors.selection.hashlib.blake2b", Extreme)
    assert rendezvous("s", named([1, 2])) in "ab"
