"""From the `supervision` section to a policy: by name, by class, with options, and every mistake at its place."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from busbar.actors.gateway import PoolPlan
from busbar.actors.policies.adaptive_concurrency import AdaptiveConcurrency
from busbar.actors.policies.quarantine import Quarantine
from busbar.actors.supervision import BreakerSettings, PoolContext
from busbar.actors.two_stage import TwoStagePolicy
from busbar.cli import main
from busbar.config import Config, ConfigErrors, loads
from busbar.plan import plan_of
from busbar.supervision import BUILT_IN, GROUP, PolicyRejected, complaints, find_policy

ROOT = Path(__file__).parents[2]

CONTEXT = PoolContext(pool="p", random=random.Random())

POLICIES = '''
from __future__ import annotations
import enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from msgspec import Meta
from busbar.actors.supervision import CellView, Directive, Outcome, PoolContext, RestartPolicy, SupervisionPolicy
if TYPE_CHECKING:
    from somewhere import Thing

class Word(enum.Enum):
    ONE = "one"

class Plain(RestartPolicy):
    """Made by the inherited `create`: every parameter of its constructor is an option."""
    def __init__(self, name: str, count: int = 1, *, share: float = 0.5, strict: bool = False) -> None:
        self.made_with = (name, count, share, strict)

class Typed(RestartPolicy):
    def __init__(self, mode: Literal["a", "b"] = "a", size: Annotated[int, Meta(ge=1, le=9)] = 1,
                 word: Word = Word.ONE, limit: int | None = 5, anything=None) -> None:
        self.made_with = (mode, size, word, limit, anything)

class Unchecked(RestartPolicy):
    """Its annotation is only there for a type checker."""
    def __init__(self, thing: Thing = None) -> None:
        self.made_with = (thing,)

class OfThePool(RestartPolicy):
    """Fills the first parameters itself and hands the others on."""
    def __init__(self, pool: str, settings: Any, *, failures: int = 3) -> None:
        self.made_with = (pool, failures)
    @classmethod
    def create(cls, context: PoolContext, **options: Any) -> Self:
        return cls(context.pool, context.breaker, **options)

class Named(RestartPolicy):
    """Names its options in `create`."""
    def __init__(self, pool: str, *, secret: int = 0) -> None:
        self.made_with = (pool,)
    @classmethod
    def create(cls, context: PoolContext, suffix: str = "!") -> Self:
        return cls(context.pool + suffix)

class Open(RestartPolicy):
    def __init__(self, **options: Any) -> None:
        self.made_with = options

class Ranged(RestartPolicy):
    def __init__(self, share: float = 0.5) -> None:
        if share > 1:
            raise ValueError("share has to be\\n  at most 1")

class Broken(RestartPolicy):
    def __init__(self) -> None:
        {}["missing"]

class Elsewhere(RestartPolicy):
    @classmethod
    def create(cls, context: PoolContext) -> Any:
        return object()

class Abstract(SupervisionPolicy):
    pass

class NotOne:
    pass

value = 5
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes modules that can be imported during the test. Their names are used once: imports are for ever."""

    def write(name: str, text: str = POLICIES) -> None:
        (tmp_path / f"{name}.py").write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    return write


def config_text(supervision: str) -> str:
    return f"""
providers: {{own: {{protocol: openai, base_url: "http://127.0.0.1:9", auth: none}}}}
models: {{m: {{provider: own}}}}
pools:
  p:
    members: [{{target: m}}]
    breaker: {{trip: {{mode: consecutive, consecutive_n: 2}}}}
    supervision: {supervision}
"""


def read(supervision: str) -> Config:
    return loads(config_text(supervision), env={}, check_pools=complaints)


def found(supervision: str) -> list[str]:
    """The complaints, without their file."""
    with pytest.raises(ConfigErrors) as errors:
        read(supervision)
    return [line.removeprefix("config.yaml:") for line in str(errors.value).splitlines()]


def made_with(supervision: str) -> object:
    policy = find_policy(read(supervision).pools["p"])(CONTEXT)
    return policy.made_with  # type: ignore[attr-defined]


# --- names


def test_no_section_is_the_two_stage_breaker() -> None:
    plan = plan_of(loads(config_text("null"), env={}))
    assert plan.pools[0].policy == TwoStagePolicy.create == PoolPlan(name="p", members=()).policy


@pytest.mark.parametrize(
    ("name", "kind"),
    [("two-stage", TwoStagePolicy), ("adaptive-concurrency", AdaptiveConcurrency), ("quarantine", Quarantine)],
)
def test_built_in_policies_have_names(name: str, kind: type) -> None:
    for written in (name, f"{{policy: {name}, options: {{}}}}", BUILT_IN[name]):
        assert type(find_policy(read(written).pools["p"])(CONTEXT)) is kind


def test_the_package_declares_the_built_in_ones_as_entry_points() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][GROUP] == BUILT_IN


def test_another_packages_entry_point_is_found_by_its_name(
    tmp_path: Path, module: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    module("acme_policies_of_a_package")
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    points = "[busbar.supervision]\nacme-plain = acme_policies_of_a_package:Plain\ntwo-stage = nowhere:Nothing\n"
    (info / "entry_points.txt").write_text(points)
    assert "acme-plain" in entry_points(group=GROUP).names
    assert made_with("{policy: acme-plain, options: {name: x}}") == ("x", 1, 0.5, False)
    assert type(find_policy(read("two-stage").pools["p"])(CONTEXT)) is TwoStagePolicy, "nobody can take its name"
    assert found("acme-plane") == [
        "8: pools.p.supervision.policy: no policy has this name, did you mean `acme-plain`? "
        "a class is written package.module:Class"
    ]


def test_a_name_that_nobody_has_is_answered_with_the_known_ones() -> None:
    assert found("{policy: bespoke}") == [
        "8: pools.p.supervision.policy: no policy has this name, known are adaptive-concurrency, quarantine, "
        "two-stage; a class is written package.module:Class"
    ]


@pytest.mark.parametrize("written", ["a policy", "':Class'", "'module:'", "'module:a.b'", "'-name'", "3"])
def test_what_can_be_no_name_is_refused_before_anything_is_imported(written: str) -> None:
    assert [line.partition(": expected ")[0] for line in found(written)] == ["8: pools.p.supervision.policy"]


# --- classes


def test_a_class_that_cannot_be_had_is_told_plainly(module: Callable[..., None]) -> None:
    module("policies_that_are")
    module("policies_that_fail", "import policies_that_are\nimport no_such_dependency\n")
    module("policies_with_an_error", "x = (1,\n")
    module("policies_that_raise", "raise RuntimeError('not\\n  today')\n")
    place = "8: pools.p.supervision.policy: "
    assert {
        written: found(written)[0].removeprefix(place)
        for written in (
            "no_such_package.policies:Mine",
            "policies_that_are.inner:Mine",
            "policies_that_fail:Mine",
            "policies_that_raise:Mine",
            "policies_that_are:Plane",
            "policies_that_are:NotOne",
            "policies_that_are:value",
        )
    } == {
        "no_such_package.policies:Mine": "there is no module `no_such_package`: it has to be installed beside "
        "busbar, or be on PYTHONPATH",
        "policies_that_are.inner:Mine": "there is no module `policies_that_are.inner`: it has to be installed beside "
        "busbar, or be on PYTHONPATH",
        "policies_that_fail:Mine": "importing `policies_that_fail` failed: ModuleNotFoundError: No module named "
        "'no_such_dependency'",
        "policies_that_raise:Mine": "importing `policies_that_raise` failed: RuntimeError: not today",
        "policies_that_are:Plane": "the module `policies_that_are` has no `Plane`, did you mean `Plain`?",
        "policies_that_are:NotOne": "`NotOne` is no subclass of busbar.actors.supervision.SupervisionPolicy",
        "policies_that_are:value": "`value` is no subclass of busbar.actors.supervision.SupervisionPolicy",
    }
    assert found("policies_with_an_error:Mine")[0].startswith(
        f"{place}importing `policies_with_an_error` failed: SyntaxError: "
    )


def test_a_policy_that_cannot_be_made_is_told_plainly(module: Callable[..., None]) -> None:
    module("policies_to_make")
    place = "8: pools.p.supervision."
    assert found("policies_to_make:Broken") == [f"{place}policy: the policy cannot be made: KeyError: 'missing'"]
    assert found("policies_to_make:Elsewhere") == [
        f"{place}policy: its `create` gives `object`, which is no SupervisionPolicy"
    ]
    assert "on_outcome" in found("policies_to_make:Abstract")[0]
    assert found("{policy: 'policies_to_make:Ranged', options: {share: 2}}") == [
        f"{place}options: share has to be at most 1"
    ]


# --- options


def test_options_are_what_the_policy_is_made_with(module: Callable[..., None]) -> None:
    module("policies_made")
    assert made_with("{policy: 'policies_made:Plain', options: {name: x, count: 2, share: 1, strict: true}}") == (
        *("x", 2, 1.0, True),
    )
    typed = made_with(
        "{policy: 'policies_made:Typed', options: {mode: b, size: 9, word: one, limit: null, anything: 7}}"
    )
    assert repr(typed) == "('b', 9, <Word.ONE: 'one'>, None, 7)"
    assert made_with("{policy: 'policies_made:Unchecked', options: {thing: 1}}") == (1,)
    assert made_with("{policy: 'policies_made:OfThePool', options: {failures: 9}}") == ("p", 9)
    assert made_with("{policy: 'policies_made:Named', options: {suffix: '?'}}") == ("p?",)
    assert made_with("{policy: 'policies_made:Open', options: {whatever: 1}}") == {"whatever": 1}


@pytest.mark.parametrize(
    ("kind", "options", "complaints"),
    [
        ("Plain", "{name: x, cuont: 2}", ["cuont: unknown option, did you mean `count`?"]),
        ("Plain", "{count: 2}", ["name: this policy needs this option"]),
        ("Plain", "{name: 5}", ["name: expected `str`, got `int`"]),
        ("Plain", "{name: x, count: 1.5, share: x}",
         ["count: expected `int`, got `float`", "share: expected `float`, got `str`"]),
        ("Plain", "{name: x, count: true}", ["count: expected `int`, got `bool`"]),
        ("Typed", "{mode: c}", ["mode: invalid enum value"]),
        ("Typed", "{size: 10}", ["size: expected `int` <= 9"]),
        ("Typed", "{limit: x}", ["limit: expected `int | null`, got `str`"]),
        ("OfThePool", "{pool: x}", ["pool: unknown option; known are failures"]),
        ("Named", "{secret: 1}", ["secret: unknown option; known are suffix"]),
    ],
)  # fmt: skip
def test_options_are_checked_against_the_signature(
    kind: str, options: str, complaints: list[str], module: Callable[..., None]
) -> None:
    module("policies_checked")
    place = "8: pools.p.supervision.options."
    assert found(f"{{policy: 'policies_checked:{kind}', options: {options}}}") == [
        place + each for each in complaints
    ]


def test_the_two_stage_breaker_has_no_options() -> None:
    assert found("{policy: two-stage, options: {rng: 1}}") == [
        "8: pools.p.supervision.options.rng: unknown option: this policy has none"
    ]


@pytest.mark.parametrize(
    ("policy", "options", "complaint"),
    [
        ("quarantine", "{failures: 0}", "options: failures has to be at least 1"),
        ("quarantine", "{failure: 2}", "options.failure: unknown option, did you mean `failures`?"),
        ("adaptive-concurrency", "{backoff: 2}", "options: backoff has to be above 0 and below 1"),
        ("adaptive-concurrency", "{min_slots: many}", "options.min_slots: expected `int`, got `str`"),
    ],
)
def test_the_built_in_ones_check_theirs(policy: str, options: str, complaint: str) -> None:
    lines = found(f"{{policy: {policy}, options: {options}}}")
    assert len(lines) == 1
    assert lines[0].startswith(f"8: pools.p.supervision.{complaint}")


# --- who tells it


@pytest.mark.parametrize("command", ["check", "serve"])
def test_the_command_line_tells_it_with_every_other_mistake(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    options = "\n      policy: quarantine\n      options:\n        failures: 2\n        retry_sec: 5"
    file.write_text(config_text(options) + "    wait: 5\n")
    assert main([command, "--config", str(file)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{file}:12: pools.p.supervision.options.retry_sec: unknown option, did you mean `retry_secs`?",
        f"{file}:13: pools.p.wait: unknown key",
    ]


def test_a_configuration_that_was_not_checked_is_refused_when_the_tree_is_planned() -> None:
    config = loads(config_text("{policy: quarantine, options: {failure: 2}}"), env={})
    with pytest.raises(PolicyRejected, match=r"^pools\.p\.supervision\.options\.failure: unknown option"):
        plan_of(config)


def test_the_policy_knows_its_pool_and_its_breaker_section(module: Callable[..., None]) -> None:
    module(
        "policies_of_pools",
        "from busbar.actors.supervision import RestartPolicy\n"
        "class Shown(RestartPolicy):\n"
        "    @classmethod\n"
        "    def create(cls, context):\n"
        "        cls.context = context\n"
        "        return cls()\n",
    )
    policy = find_policy(read("policies_of_pools:Shown").pools["p"])
    context = policy.func.__self__.context  # type: ignore[attr-defined]
    assert (context.pool, context.breaker) == ("p", BreakerSettings(mode="consecutive", consecutive_n=2))
