"""What every store does: the one on disk, and the one that tests of actors use in its place."""

from __future__ import annotations

import asyncio
import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busbar.actors.governance.batch import (
    Batch,
    Commit,
    Committed,
    Load,
    RateCount,
    RateKey,
    ReadUsage,
    Result,
    Tokens,
    UsageKey,
    UsageRead,
)

from .worlds import (
    FULL_BATCH,
    FULL_KEY,
    FULL_LOADED,
    LOAD,
    InMemory,
    OnDisk,
    World,
    ask,
    counted,
    requests_in,
    requests_price,
    usage_key,
    virtual_key,
)


@pytest.fixture(params=[InMemory, OnDisk], ids=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    make: Callable[[Path], World] = request.param
    world = make(tmp_path / "busbar.db")
    yield world
    world.close()


async def test_everything_comes_back_after_a_restart(world: World) -> None:
    assert await ask(world, Commit(copy.deepcopy(FULL_BATCH))) == Committed(1)
    assert await ask(world, LOAD) == FULL_LOADED
    world.restart()
    assert await ask(world, LOAD) == FULL_LOADED


async def test_a_new_store_is_empty(world: World) -> None:
    loaded = await ask(world, LOAD)
    assert (loaded.last_number, loaded.keys, loaded.groups, loaded.spent, loaded.rates) == (0, (), (), {}, {})


async def test_a_batch_written_twice_counts_once(world: World) -> None:
    assert await ask(world, counted(1)) == Committed(1)
    assert await ask(world, counted(2)) == Committed(2)
    world.restart()
    assert await ask(world, counted(2)) == Committed(2)
    assert await ask(world, counted(1)) == Committed(1)
    assert requests_in(await ask(world, ReadUsage("vk_1"))) == 2
    assert (await ask(world, LOAD)).last_number == 2


async def test_sums_stay_exact_where_floating_point_would_not(world: World) -> None:
    big = 2**53
    for number, more in enumerate((big, 1, 10**12), start=1):
        await ask(world, counted(number, more))
    assert requests_in(await ask(world, ReadUsage("vk_1"))) == big + 1 + 10**12


async def test_usage_of_each_kind_is_a_sum_of_its_own(world: World) -> None:
    keys = [
        usage_key(),
        usage_key(estimated=True),
        usage_key(model="n"),
        usage_key(context_tier=200_000),
        usage_key(day=20_001),
    ]
    for number in (1, 2):
        usage = {key: Tokens(requests=10**place) for place, key in enumerate(keys)}
        await ask(world, Commit(Batch(number=number, usage=usage)))
    read = await ask(world, ReadUsage("vk_1"))
    assert dict(read.rows) == {key: Tokens(requests=2 * 10**place) for place, key in enumerate(keys)}


async def test_usage_is_read_of_one_scope_from_a_day_on_oldest_first(world: World) -> None:
    usage = {usage_key(scope, day): Tokens(requests=day) for scope in ("vk_1", "vk_2") for day in (30, 10, 20)}
    await ask(world, Commit(Batch(number=1, usage=usage)))
    assert await ask(world, ReadUsage("vk_1", 20)) == UsageRead(
        ((usage_key("vk_1", 20), Tokens(requests=20)), (usage_key("vk_1", 30), Tokens(requests=30)))
    )
    assert await ask(world, ReadUsage("vk_3")) == UsageRead(())


async def test_older_days_are_not_told_apart(world: World) -> None:
    usage = {usage_key(day=day): Tokens(requests=2**day) for day in range(5)}
    await ask(world, Commit(Batch(number=1, usage=usage)))
    loaded = await ask(world, Load(requests_price, 3))
    assert loaded.spent == {("vk_1", -1): 7, ("vk_1", 3): 8, ("vk_1", 4): 16}


async def test_a_deleted_key_is_gone_and_its_usage_stays(world: World) -> None:
    await ask(world, Commit(copy.deepcopy(FULL_BATCH)))
    await ask(world, Commit(Batch(number=2, keys={"vk_full": None}, groups={"grp_top": None})))
    loaded = await ask(world, LOAD)
    assert [key.id for key in loaded.keys] == ["vk_none", "vk_plain"]
    assert [group.id for group in loaded.groups] == ["grp_low"]
    assert loaded.spent == {("grp_low", 20_001): 11}, "what is gone needs no memory"
    assert requests_in(await ask(world, ReadUsage("vk_full"))) == 1 + 8 + 9 + 10


async def test_a_key_that_was_deleted_before_it_was_ever_written_needs_no_memory(world: World) -> None:
    await ask(world, Commit(Batch(number=1, keys={"vk_1": None}, usage={usage_key(): Tokens(requests=3)})))
    loaded = await ask(world, LOAD)
    assert (loaded.keys, loaded.spent) == ((), {})
    assert requests_in(await ask(world, ReadUsage("vk_1"))) == 3


async def test_a_key_is_as_it_was_written_last(world: World) -> None:
    await ask(world, Commit(Batch(number=1, keys={"vk_full": FULL_KEY})))
    changed = virtual_key("vk_full", name="other", secret_hash=b"\x01" * 32)
    await ask(world, Commit(Batch(number=2, keys={"vk_full": changed})))
    assert (await ask(world, LOAD)).keys == (changed,)


async def test_an_id_may_come_back(world: World) -> None:
    await ask(world, Commit(copy.deepcopy(FULL_BATCH)))
    await ask(world, Commit(Batch(number=2, keys={"vk_full": None}, groups={"grp_low": None})))
    await ask(world, Commit(Batch(number=3, keys={"vk_full": FULL_KEY}, groups=dict(FULL_BATCH.groups))))
    loaded = await ask(world, LOAD)
    assert (loaded.keys, loaded.groups, loaded.spent) == (FULL_LOADED.keys, FULL_LOADED.groups, FULL_LOADED.spent)


async def test_rates_of_one_second_add_up(world: World) -> None:
    key = RateKey("vk_1", 1000)
    for number in (1, 2):
        await ask(world, Commit(Batch(number=number, rates={key: RateCount(1, 10)})))
    assert (await ask(world, LOAD)).rates == {key: RateCount(2, 20)}


async def test_rates_of_two_minutes_are_kept_and_old_ones_forgotten(world: World) -> None:
    for number, second in enumerate(range(1000, 2000, 10), start=1):
        await ask(world, Commit(Batch(number=number, rates={RateKey("vk_1", second): RateCount(1, 1)})))
    seconds = {key.second for key in (await ask(world, LOAD)).rates}
    assert set(range(1880, 2000, 10)) <= seconds
    assert min(seconds) >= 1990 - 180 - 10


async def test_rates_are_forgotten_after_the_clock_was_set_back_too(world: World) -> None:
    for number, second in enumerate((9000, *range(1000, 1400, 10)), start=1):
        await ask(world, Commit(Batch(number=number, rates={RateKey("vk_1", second): RateCount(1, 1)})))
    assert RateKey("vk_1", 1000) not in (await ask(world, LOAD)).rates


async def test_answers_come_later_and_in_the_order_of_the_jobs(world: World) -> None:
    answers: list[Result] = []
    for number in (1, 2, 3):
        world.store.submit(counted(number), answers.append)
    world.store.submit(LOAD, answers.append)
    assert answers == []
    await world.settle()
    assert answers[:3] == [Committed(1), Committed(2), Committed(3)]
    assert answers[3].last_number == 3  # type: ignore[union-attr]
    assert len(answers) == 4


SCOPES = ("vk_1", "vk_2", "grp_1")
usage_keys = st.builds(
    UsageKey,
    st.sampled_from(SCOPES),
    st.integers(0, 3),
    st.sampled_from(["m", "ü 'm'"]),
    st.sampled_from([0, 200_000]),
    st.booleans(),
)
amounts = st.integers(0, 10**12)
batches = st.builds(
    Batch,
    number=st.integers(1, 12),
    keys=st.dictionaries(
        st.sampled_from(SCOPES[:2]), st.booleans().map(lambda there: virtual_key() if there else None)
    ),
    usage=st.dictionaries(usage_keys, st.builds(Tokens, requests=amounts, output=amounts, cache_write_1h=amounts)),
    rates=st.dictionaries(
        st.builds(RateKey, st.sampled_from(SCOPES), st.integers(1000, 1050)), st.builds(RateCount, amounts, amounts)
    ),
)


def _named(batch: Batch) -> Batch:
    keys = {key_id: key and virtual_key(key_id) for key_id, key in batch.keys.items()}
    return Batch(number=batch.number, keys=keys, usage=batch.usage, rates=batch.rates)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.one_of(batches.map(_named), st.just("restart")), max_size=12), st.integers(0, 4))
def test_both_stores_keep_the_same(steps: list[Batch | str], since_day: int) -> None:
    async def kept(world: World) -> list[Result]:
        for step in steps:
            if isinstance(step, str):
                world.restart()
            else:
                assert await ask(world, Commit(step)) == Committed(step.number)
        asked = [Load(requests_price, since_day), *(ReadUsage(scope, since_day) for scope in SCOPES)]
        return [await ask(world, job) for job in asked]

    with tempfile.TemporaryDirectory() as folder:
        worlds: list[World] = [InMemory(Path()), OnDisk(Path(folder, "busbar.db"))]
        in_memory, on_disk = (asyncio.run(kept(world)) for world in worlds)
        for world in worlds:
            world.close()
    assert in_memory == on_disk
