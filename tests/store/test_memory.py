"""What a test can make the store in memory do: fail, take its time, and outlive the process."""

from __future__ import annotations

import pytest

from busbar.actors.governance.batch import Batch, Commit, Committed, ReadUsage, Result, StoreFailed, Tokens
from busbar.testing import VirtualClock
from busbar.testing.store import MemoryStore

from .worlds import counted, requests_in, usage_key


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock, latency_secs=0.5)


def submitted(store: MemoryStore, *jobs: Commit | ReadUsage) -> list[Result]:
    answers: list[Result] = []
    for job in jobs:
        store.submit(job, answers.append)
    return answers


def test_a_job_takes_its_time(store: MemoryStore, clock: VirtualClock) -> None:
    answers = submitted(store, counted(1))
    clock.advance(0.4)
    assert (answers, store.commits, store.waiting) == ([], [], 1)
    clock.advance(0.1)
    assert (answers, store.commits, store.waiting) == ([Committed(1)], [counted(1).batch], 0)


def test_without_latency_the_answer_still_comes_later(store: MemoryStore, clock: VirtualClock) -> None:
    store.latency_secs = 0
    answers = submitted(store, counted(1))
    assert answers == []
    clock.advance(0)
    assert answers == [Committed(1)]


def test_a_quicker_job_does_not_overtake(store: MemoryStore, clock: VirtualClock) -> None:
    answers = submitted(store, counted(1))
    store.latency_secs = 0.1
    later = submitted(store, ReadUsage("vk_1"))
    clock.advance(0.1)
    assert answers == [Committed(1)]
    assert [requests_in(read) for read in later] == [1]
    clock.advance(1)
    assert len(answers) == len(later) == 1


def test_a_store_that_fails_writes_nothing_until_it_is_healed(store: MemoryStore, clock: VirtualClock) -> None:
    store.fail("the disk is full")
    answers = submitted(store, counted(1), ReadUsage("vk_1"))
    clock.advance(1)
    store.heal()
    again = submitted(store, counted(1))
    clock.advance(1)
    assert answers == [StoreFailed("the disk is full")] * 2
    assert (again, store.commits) == ([Committed(1)], [counted(1).batch])


def test_what_failed_after_it_was_written_counts_once_when_it_comes_again(
    store: MemoryStore, clock: VirtualClock
) -> None:
    store.fail("the power went", after_writing=True)
    answers = submitted(store, counted(1))
    clock.advance(1)
    store.heal()
    answers += submitted(store, counted(1))
    again = submitted(store, counted(1))
    clock.advance(1)
    assert (answers, again) == ([StoreFailed("the power went")], [Committed(1)])
    assert store.usage() == {usage_key(): Tokens(requests=1)}
    assert store.commits == [counted(1).batch]


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_restart_loses_what_was_not_written_and_nobody_is_told(
    store: MemoryStore, clock: VirtualClock, written: int
) -> None:
    answers = submitted(store, counted(1), counted(2))
    next_clock = VirtualClock()
    store.restart(next_clock, written=written)
    clock.advance(1)
    next_clock.advance(1)
    assert answers == []
    assert [batch.number for batch in store.commits] == [1, 2][:written]
    after = submitted(store, counted(3))
    next_clock.advance(1)
    assert after == [Committed(3)]


def test_a_batch_that_is_changed_after_it_was_handed_over_is_a_mistake(
    store: MemoryStore, clock: VirtualClock
) -> None:
    batch = Batch(number=1, usage={usage_key(): Tokens(requests=1)})
    submitted(store, Commit(batch))
    batch.usage[usage_key()].requests += 1
    with pytest.raises(AssertionError, match="changed after it was handed over"):
        clock.advance(1)
