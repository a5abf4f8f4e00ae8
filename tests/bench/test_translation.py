"""What the translation bench measures is what it says; the report's shape. Nothing here looks at a time."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bench import translation
from bench.__main__ import main
from bench.conversations import TURNS, request, said
from bench.scenarios import DIALECTS, Dialect
from bench.streams import events
from bench.translation import (
    ALL_PAIRS,
    ANSWER,
    COLUMNS,
    EVENT,
    PAIRS,
    Cost,
    Work,
    crossed,
    floors,
    measure_translation,
    passed,
    tapped,
    translated,
)
from bench.translation_profile import BETWEEN, DECODE, STAGES, Profile, profile_report, sample, stages
from busbar.protocols.ir import ArgumentsDelta, TextDelta
from busbar.protocols.registry import PROTOCOLS


def heard(dialect: Dialect, stream: bytes) -> tuple[str, list[str]]:
    """The text, and the arguments of each call, of a stream."""
    reader = PROTOCOLS[dialect].stream_reader()
    text = ""
    arguments: dict[int, str] = {}
    for chunk in [*reader.feed(stream), *reader.close()]:
        for event in chunk.events:
            match event:
                case TextDelta():
                    text += event.text
                case ArgumentsDelta():
                    arguments[event.index] = arguments.get(event.index, "") + event.fragment
    assert reader.malformed == 0
    return text, list(arguments.values())


def only(works: list[Work], column: str) -> Work:
    (found,) = (work for work in works if work.column == column)
    return found


# --- what is measured


@pytest.mark.parametrize("pair", ALL_PAIRS, ids="-".join)
def test_every_pair_has_every_column_and_all_of_it_runs(pair: tuple[Dialect, Dialect]) -> None:
    works = list(translated(*pair))
    assert [work.column for work in works] == list(COLUMNS)
    for work in works:
        assert work.run()


@pytest.mark.parametrize("pair", ALL_PAIRS, ids="-".join)
def test_a_translated_stream_says_what_the_provider_said(pair: tuple[Dialect, Dialect]) -> None:
    caller, _ = pair
    stream = only(list(translated(*pair)), EVENT).run()
    assert isinstance(stream, bytes)
    text, calls = heard(caller, stream)
    assert text == said().text
    parsed = [msgspec.json.decode(arguments) for arguments in calls]
    assert parsed == [msgspec.json.decode(call.arguments) for call in said().calls]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tapped_stream_is_whole_and_passes_as_it_came(dialect: Dialect) -> None:
    frames = events(dialect, said())
    tap = PROTOCOLS[dialect].stream_tap()
    assert passed(tap, frames) == b"".join(frames)
    assert (tap.ended, tap.error) == (True, None)
    assert tap.usage is not None
    assert tap.usage.output_tokens == said().tokens
    assert [work.run() for work in tapped(dialect)] == [b"".join(frames)] * 2


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_floor_is_of_the_documents_that_are_translated(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(translation, "_encode", lambda value: seen.append(len(msgspec.json.encode(value))))
    for work in floors(dialect):
        seen.clear()
        work.run()
        assert work.units in (1, len(seen))
        if work.column.startswith("request"):
            (size,) = (size for size in TURNS if work.column.endswith(size))
            assert seen == [len(request(dialect, size))]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_requests_have_about_the_size_that_they_are_called_by(dialect: Dialect) -> None:
    for size in TURNS:
        assert 0.8 < len(request(dialect, size)) / (int(size.split()[0]) * 1000) < 1.3


def test_a_request_goes_to_the_provider_with_all_of_its_turns_and_tools() -> None:
    calls, tools = TURNS["40 kB"]
    crossing = crossed(PROTOCOLS["openai"], PROTOCOLS["anthropic"], request("openai", "40 kB"))
    written = msgspec.json.decode(crossing.body)
    roles = [message["role"] for message in written["messages"]]
    assert roles == ["user"] + ["assistant", "user"] * calls
    assert len(written["tools"]) == tools


# --- the report


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_report_has_a_row_per_pair_and_one_per_dialect(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.__main__.measure_translation", quickly)
    raw = tmp_path / "raw.json"
    assert main(["--translation", "anthropic-cohere,openai-gemini", "--json", str(raw), "--seed", "1"]) == 0
    rows = [cells(line) for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == [
        *("caller → provider", "---", "anthropic → cohere", "openai → gemini"),
        *("dialect", "---", *DIALECTS),
    ]
    assert rows[0][1:] == list(COLUMNS)
    assert all(re.fullmatch(r"[\d.]+ / [\d.]+ \(×[\d.]+\)", cell) for row in rows[2:4] for cell in row[1:])
    assert all(re.fullmatch(r"[\d.]+ / [\d.]+", cell) for row in rows[6:] for cell in row[1:])
    written = msgspec.json.decode(raw.read_bytes())
    assert written["seed"] == 1
    assert len(written["costs"]) == 2 * len(COLUMNS) + 6 * len(DIALECTS)


def quickly(pairs: tuple[translation.Pair, ...], seed: int, _repeats: int) -> list[Cost]:
    return measure_translation(pairs, seed, 1, 1e-9)


def test_three_pairs_are_measured_unless_others_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert PAIRS == (("openai", "anthropic"), ("openai", "gemini"), ("anthropic", "bedrock"))
    assert len(ALL_PAIRS) == 30
    with pytest.raises(SystemExit, match="2"):
        main(["--translation", "openai-openai"])
    assert "openai-openai: not one of openai-anthropic" in capsys.readouterr().err


# --- the profile


def test_a_sample_belongs_to_the_innermost_frame_that_tells_its_stage() -> None:
    write = (
        "write_request (busbar/protocols/translate.py:70);write_request (busbar/protocols/gemini/request_write.py:9)"
    )
    stacks = [
        "crossed (bench/translation.py:1);write_request (busbar/protocols/translate.py:70) 1",
        f"{write} 2",
        f"{write};fit_turns (busbar/protocols/gemini/fit_turns.py:30);own_fields (busbar/protocols/native.py:4) 3",
        "read_request (busbar/protocols/openai/request.py:50);take_text (busbar/protocols/fields.py:7) 4",
        "GeminiStreamReader.feed (busbar/protocols/gemini/stream_read.py:9);msgspec decode 5",
        "GeminiStreamReader.feed (busbar/protocols/gemini/stream_read.py:9);Frames.feed "
        "(busbar/protocols/gemini/stream_frames.py:3);SseSplitter.feed (busbar/protocols/framing/sse.py:3) 5",
    ]
    found = {stage: share for stage, share in stages(stacks).items() if share}
    assert found == {DECODE: 0.25, "framing": 0.25, "fit": 0.15, "read": 0.2, "write": 0.1, BETWEEN: 0.05}


def test_a_running_work_is_sampled_from_its_outermost_function_of_the_package() -> None:
    work = only(list(translated("openai", "anthropic")), ANSWER)
    stacks = sample(work, 0.05)
    assert stacks
    assert all(re.fullmatch(r".*\(busbar/\S+:\d+\)(;msgspec (de|en)code)? \d+", line) for line in stacks)
    shares = stages(stacks)
    assert list(shares) == [*STAGES, BETWEEN]
    assert sum(shares.values()) == pytest.approx(1)


def test_the_profile_shows_stages_first_and_then_functions() -> None:
    stacks = ("read_request (busbar/protocols/openai/request.py:5) 3", "Body.document (busbar/protocols/body.py:6) 1")
    shown = profile_report([Profile(pair=("openai", "gemini"), column="event", best_us=8.0, stacks=stacks)])
    rows = [cells(line) for line in shown.splitlines() if line.startswith("| ")]
    assert rows[0] == ["caller → provider", "whole", DECODE, "read"]
    assert rows[2] == ["openai → gemini, event", "8.0", "2.0", "6.0"]
    assert "   75.0 %  read_request (busbar/protocols/openai/request.py)" in shown
