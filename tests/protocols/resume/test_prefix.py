"""What has to be said again, and where what is new goes, case by case."""

from __future__ import annotations

import pytest

from busbar.protocols.ir import BlockStart, BlockStop, Text, ToolUse
from busbar.protocols.resume import Diverged
from busbar.protocols.resume.places import Places
from busbar.protocols.resume.prefix import Prefix
from tests.protocols.resume.streams import call, text, thinking


def test_text_is_skipped_while_it_is_the_same() -> None:
    prefix = Prefix([text("Hello", whole=True), text(" wor")])
    assert [prefix.text(piece) for piece in ("He", "llo w", "orld", "!")] == ["", "", "ld", "!"]
    assert prefix.matched


@pytest.mark.parametrize(("same", "other"), [("", "Hullo"), ("Hel", "p"), ("", "hello"), ("", " Hello")])
def test_the_first_other_character_ends_it(same: str, other: str) -> None:
    prefix = Prefix([text("Hello")])
    assert prefix.text(same) == ""
    with pytest.raises(Diverged):
        prefix.text(other)


def test_thinking_is_compared_only_where_there_is_nothing_else() -> None:
    assert not Prefix([thinking("hm", whole=True), text("Hello")]).thinks
    assert Prefix([thinking("hm", whole=True), text("Hello")]).text("Hello!") == "!"
    alone = Prefix([thinking("hm")])
    assert (alone.thinks, alone.text("hmm"), alone.matched) == (True, "m", True)


def test_a_complete_call_is_the_same_call_whatever_its_spelling() -> None:
    prefix = Prefix([call("look", '{"a":1,"b":[2]}', whole=True)])
    again = prefix.call("look")
    assert again is not None
    assert [again.take(piece) for piece in ('{"b": [2],', ' "a": 1}')] == ["", ""]
    assert not prefix.matched
    again.end()
    assert prefix.matched
    assert prefix.call("look") is None, "what comes now is new"


@pytest.mark.parametrize(
    ("name", "arguments"), [("find", '{"a":1}'), ("look", '{"a":2}'), ("look", '{"a":'), ("look", "")]
)
def test_another_call_is_another_answer(name: str, arguments: str) -> None:
    prefix = Prefix([call("look", '{"a":1}', whole=True)])

    def again() -> None:
        found = prefix.call(name)
        assert found is not None
        found.take(arguments)
        found.end()

    with pytest.raises(Diverged):
        again()


def test_half_a_call_goes_on_where_its_arguments_begin_the_same() -> None:
    prefix = Prefix([text("So: ", whole=True), call("look", '{"city":"Pa')])
    assert prefix.text("So: ") == ""
    again = prefix.call("look")
    assert again is not None
    assert again.index == 1
    assert [again.take(piece) for piece in ('{"city":', '"Paris', '"}')] == ["", "ris", '"}']
    again.end()
    assert prefix.matched


def test_half_a_call_that_begins_otherwise_is_another_answer() -> None:
    again = Prefix([call("look", '{"city":"Pa')]).call("look")
    assert again is not None
    with pytest.raises(Diverged):
        again.take('{"city":"Rome"}')


def test_a_call_in_the_place_of_text_and_text_in_the_place_of_a_call_diverge() -> None:
    prefix = Prefix([text("So: ", whole=True), call("look", "{}", whole=True)])
    with pytest.raises(Diverged):
        prefix.call("look")
    with pytest.raises(Diverged):
        prefix.text("So: and")


def test_a_text_goes_on_in_the_open_one_and_the_next_has_a_place_of_its_own() -> None:
    places = Places([thinking("hm", whole=True), text("Hel")])
    assert places.ensure(0, Text(text="")) == []
    assert (places.get(0), places.end(0), places.end(0)) == (1, [BlockStop(index=1)], [])
    assert places.ensure(1, Text(text="")) == [BlockStart(index=2, part=Text(text=""))]
    assert places.end_all() == [BlockStop(index=2)]


def test_what_stood_open_ends_before_something_else_begins_and_calls_may_stay_open() -> None:
    use = ToolUse(id="c", name="look", arguments="")
    assert Places([text("Hel")]).begin(0, use) == [BlockStop(index=0), BlockStart(index=1, part=use)]
    assert Places([call("look", "{")]).begin(0, use) == [BlockStart(index=1, part=use)]
