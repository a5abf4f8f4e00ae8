"""The deterministic kit: what users write their tests with."""

from __future__ import annotations

import msgspec
import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.runtime import Forward, LoopActor, LoopRef, handles
from busbar.testing import Delivered, Kit, Livelock, UnexpectedCrash, VirtualClock, seeds


class Note(msgspec.Struct, frozen=True):
    text: str


class Spin(msgspec.Struct, frozen=True):
    pass


class Alarm(msgspec.Struct, frozen=True):
    after_secs: float


class Speaker(LoopActor):
    """Tells its listeners about everything."""

    def __init__(self, *listeners: LoopRef) -> None:
        super().__init__()
        self.listeners = listeners

    @handles(Note)
    def note(self, message: Note) -> None:
        for listener in self.listeners:
            listener.tell(Note(f"{self.name}: {message.text}"))

    @handles(Spin)
    def spin(self, message: Spin) -> None:
        self.ref.tell(message)

    @handles(Alarm)
    def alarm(self, message: Alarm) -> None:
        self.schedule(message.after_secs, Note(f"after {message.after_secs}"))
        if message.after_secs == 0:
            self.schedule(0, message)


class Asks(LoopActor):
    """Passes questions to another."""

    def __init__(self, other: LoopRef) -> None:
        super().__init__()
        self.other = other

    @handles(Note)
    def note(self, message: Note) -> Forward:
        return Forward(self.other, message)


class Crasher(LoopActor):
    @handles(Note)
    def note(self, message: Note) -> None:
        raise ValueError(message.text)


def test_nothing_is_handled_before_its_step() -> None:
    with Kit() as kit:
        listener = kit.probe("listener")
        speaker = kit.spawn(Speaker, listener.ref)
        speaker.tell(Note("hello"))
        assert listener.messages == []
        assert kit.step() == Delivered("speaker", Note("hello"))
        assert listener.messages == []
        assert kit.step() == Delivered("listener", Note("speaker: hello"))
        assert kit.step() is None
        assert listener.take() == [Note("speaker: hello")]
        assert listener.take() == []


def test_message_from_on_start_waits_for_its_step_too() -> None:
    class Eager(Speaker):
        def on_start(self) -> None:
            self.ref.tell(Note("I am here"))

    with Kit() as kit:
        listener = kit.probe("listener")
        kit.spawn(Eager, listener.ref)
        assert kit.system.snapshot()[1].processed == 0
        assert kit.step() == Delivered("eager", Note("I am here"))


def test_without_a_seed_messages_are_handled_in_the_order_they_were_sent() -> None:
    with Kit() as kit:
        a, b = kit.probe("a").ref, kit.probe("b").ref
        for ref, text in ((a, "1"), (a, "2"), (b, "3"), (a, "4")):
            ref.tell(Note(text))
        assert [each.message.text for each in kit.run()] == ["1", "2", "3", "4"]


def order_of(seed: int) -> list[Delivered]:
    """What happens when two speakers tell three listeners five things."""
    with Kit(seed) as kit:
        listeners = [kit.probe(f"listener {i}").ref for i in range(3)]
        speakers = [kit.spawn(Speaker, *listeners, name=f"speaker {i}") for i in range(2)]
        for number in range(5):
            for speaker in speakers:
                speaker.tell(Note(f"{number}"))
        return kit.run()


@given(st.integers(min_value=0))
def test_same_seed_gives_the_same_order_and_no_pair_is_reordered(seed: int) -> None:
    order = order_of(seed)
    assert order == order_of(seed)
    assert len(order) == 2 * 5 * 4
    for listener in range(3):
        for speaker in range(2):
            heard = [e.message.text for e in order if e.actor == f"listener {listener}"]
            of_one = [text for text in heard if text.startswith(f"speaker {speaker}")]
            assert of_one == [f"speaker {speaker}: {number}" for number in range(5)]


def test_seeds_give_different_orders() -> None:
    assert len({str(order_of(seed)) for seed in range(20)}) == 20


def test_random_numbers_of_actors_follow_the_seed() -> None:
    assert Kit(5).system.random.random() == Kit(5).system.random.random()
    assert Kit(5).system.random.random() != Kit(6).system.random.random()


def test_ask_runs_until_the_answer_is_there() -> None:
    with Kit() as kit:
        probe = kit.probe("behind")
        probe.answer(Note, lambda note: note.text.upper())
        assert kit.ask(kit.spawn(Asks, probe.ref), Note("hi")) == "HI"


def test_ask_without_an_answer_says_so() -> None:
    with Kit() as kit:
        probe = kit.probe("silent")
        probe.hold(Note)
        with pytest.raises(pykka.Timeout, match="asks has not answered Note, and nothing is left to do"):
            kit.ask(kit.spawn(Asks, probe.ref), Note("hi"))


def test_probe_holds_answers_until_they_are_released() -> None:
    with Kit() as kit:
        probe = kit.probe("slow")
        probe.hold(Note)
        futures = [probe.ref.ask(Note(text)) for text in "abc"]
        kit.run()
        assert probe.held == [Note("a"), Note("b"), Note("c")]
        assert probe.release("first") is True
        assert probe.release(KeyError("second")) is True
        assert futures[0].get() == "first"
        with pytest.raises(KeyError):
            futures[1].get()
        assert not futures[2].done()


def test_probe_answers_values_forwards_and_errors() -> None:
    with Kit() as kit:
        other, probe = kit.probe("other"), kit.probe("probe")
        other.answer(Spin, "from other")
        assert kit.ask(probe.ref, Note("")) is None
        probe.answer(Note, 7)
        assert kit.ask(probe.ref, Note("")) == 7
        probe.answer(Note, Forward(other.ref, Spin()))
        assert kit.ask(probe.ref, Note("")) == "from other"
        probe.answer(Note, LookupError("no"))
        with pytest.raises(LookupError):
            kit.ask(probe.ref, Note(""))


def test_advance_fires_timers_in_order_each_at_its_time_and_runs_after_each() -> None:
    with Kit() as kit:
        listener = kit.probe("listener")
        speaker = kit.spawn(Speaker, listener.ref)
        start = kit.clock.now()
        seen: list[tuple[float, str]] = []
        listener.answer(Note, lambda note: seen.append((kit.clock.now() - start, note.text)))
        for after_secs in (3.0, 1.0, 2.0, 9.0):
            speaker.tell(Alarm(after_secs))
        kit.advance(5.0)
        assert seen == [(1.0, "speaker: after 1.0"), (2.0, "speaker: after 2.0"), (3.0, "speaker: after 3.0")]
        assert (kit.clock.now() - start, kit.clock.pending) == (5.0, 1)


def test_livelock_in_messages_is_an_error_with_the_seed() -> None:
    with Kit(seed=3) as kit:
        kit.spawn(Speaker).tell(Spin())
        with pytest.raises(Livelock, match=r"no rest after 50 messages \(seed 3\).*Spin to speaker"):
            kit.run(limit=50)


def test_livelock_in_timers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("busbar.testing.clock.TIMERS_PER_ADVANCE", 50)
    with Kit() as kit:
        kit.spawn(Speaker).tell(Alarm(0))
        with pytest.raises(Livelock, match="50 timers"):
            kit.advance(1.0)


def test_failure_in_the_with_block_names_the_seed_and_the_latest_messages() -> None:
    with pytest.raises(AssertionError) as failure, Kit(seed=17) as kit:  # noqa: PT012
        kit.probe("listener").ref.tell(Note("hello"))
        raise AssertionError("the test's own")
    assert failure.value.__notes__ == [
        "Kit seed: 17 (repeat it with BUSBAR_SEED=17)\n  1000.000  listener <- Note",
    ]


def test_crash_that_nobody_expected_fails_the_test() -> None:
    with pytest.raises(UnexpectedCrash, match="crasher crashed: ValueError") as failure, Kit() as kit:  # noqa: PT012
        kit.spawn(Crasher).tell(Note("oops"))
        kit.run()
    assert isinstance(failure.value.__cause__, ValueError)


def test_expected_crash_is_fine() -> None:
    with Kit() as kit:
        with pytest.raises(ValueError, match="oops"):
            kit.ask(kit.spawn(Crasher), Note("oops"))
        assert str(kit.expect_crash(ValueError)) == "oops"
        with pytest.raises(AssertionError, match="no actor has crashed"):
            kit.expect_crash()


def test_kit_leaves_nothing_behind() -> None:
    before = pykka.ActorRegistry.get_all()
    with Kit() as kit:
        ref = kit.probe("probe").ref
        assert pykka.ActorRegistry.get_all() == before
    assert not ref.is_alive()


def test_seed_of_the_environment_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUSBAR_SEED", raising=False)
    assert seeds(3) == [0, 1, 2]
    monkeypatch.setenv("BUSBAR_SEED", "12")
    assert seeds(3) == [12]
    assert repr(Kit(12)) == "<Kit seed=12 now=1000.0 sent=0>"


async def test_coroutine_waits_for_an_answer_that_a_step_brings() -> None:
    with Kit() as kit:
        probe = kit.probe("probe")
        probe.answer(Note, "late")
        future = probe.ref.ask(Note(""))
        assert not future.done()
        kit.run()
        assert await future == "late"


def test_virtual_clock_by_itself() -> None:
    clock = VirtualClock(now=5.0, time=50.0)
    fired: list[str] = []
    clock.call_later(2.0, lambda: fired.append("later"))
    clock.call_at(6.0, lambda: fired.append("at"))
    clock.call_at(1.0, lambda: fired.append("past"))
    clock.call_at(6.0, lambda: fired.append("at, second"))
    clock.call_at(6.5, lambda: fired.append("never")).cancel()
    clock.advance(0.0)
    assert (fired, clock.now(), clock.time()) == (["past"], 5.0, 50.0)
    clock.advance(2.0)
    assert fired == ["past", "at", "at, second", "later"]
    assert repr(clock) == "<VirtualClock 7.0, 0 timers>"
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1.0)
