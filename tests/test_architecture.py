"""The arrows of the house: what may import what, and what must never be. See `docs/adr/0002`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from busbar.config.providers import DEFAULT_AUTH
from busbar.config.support import SUPPORTED_PROTOCOLS
from busbar.protocols.registry import PROTOCOLS

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "busbar").rglob("*.py"))
DIALECTS = sorted(path.parent.name for path in (ROOT / "busbar/protocols").glob("*/errors.py"))

FORBIDDEN_IN_PROTOCOLS = {
    *("asyncio", "socket", "ssl", "select", "threading", "time", "random", "secrets", "os", "subprocess", "logging"),
    *("aiohttp", "pykka", "uvloop", "yaml"),
}
ACTORS_MAY_KNOW = {"busbar.protocols.failures", "busbar.protocols.usage"}


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path, *, at_run_time: bool = False) -> Iterator[str]:
    """Every module that `path` imports; with `at_run_time` without those under TYPE_CHECKING or in functions."""

    def walk(body: list[ast.stmt]) -> Iterator[str]:
        for node in body:
            match node:
                case ast.Import(names=names):
                    yield from (alias.name for alias in names)
                case ast.ImportFrom(module=str(module), level=0, names=names):
                    yield module
                    yield from (f"{module}.{alias.name}" for alias in names if f"{module}.{alias.name}" in MODULES)
                case ast.If(test=ast.Name(id="TYPE_CHECKING")) if at_run_time:
                    pass
                case ast.FunctionDef() | ast.AsyncFunctionDef() if at_run_time:
                    pass
                case _:
                    for _, value in ast.iter_fields(node):
                        if isinstance(value, list):
                            yield from walk([item for item in value if isinstance(item, ast.stmt)])

    yield from walk(ast.parse(path.read_text()).body)


MODULES = {module_name(path): path for path in SOURCES}


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "protocols"])
def test_protocols_are_pure(module: str) -> None:
    known = set(imports(MODULES[module]))
    assert not {name.split(".")[0] for name in known} & FORBIDDEN_IN_PROTOCOLS
    assert {name for name in known if name.startswith("busbar.") and room(name) != "protocols"} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "actors"])
def test_actors_know_only_each_other_and_the_words_for_failures_and_usage(module: str) -> None:
    known = {name for name in imports(MODULES[module]) if name.startswith("busbar.") and room(name) != "actors"}
    assert {name for name in known if not any(name.startswith(word) for word in ACTORS_MAY_KNOW)} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "actors" and ".runtime" not in m])
def test_actors_never_await(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]
    assert not {"asyncio", "aiohttp", "time", "socket"} & set(imports(MODULES[module]))


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "config"])
def test_the_configuration_knows_only_the_words_for_failures(module: str) -> None:
    known = {name for name in imports(MODULES[module]) if name.startswith("busbar.") and room(name) != "config"}
    assert {name for name in known if not name.startswith("busbar.protocols.failures")} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "http"])
def test_http_knows_no_dialect(module: str) -> None:
    """No dialect's folder, and no comparison with a dialect's name."""
    names = set(DIALECTS)
    assert not {name for name in imports(MODULES[module]) if name.split(".")[2:3] and name.split(".")[2] in names}
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            assert not [o for o in operands if isinstance(o, ast.Constant) and o.value in names], ast.unparse(node)


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "store"])
def test_the_store_knows_only_the_values_that_it_keeps(module: str) -> None:
    known = {name for name in imports(MODULES[module]) if name.startswith("busbar.") and room(name) != "store"}
    assert {name for name in known if not name.startswith(("busbar.actors.governance.", "busbar.worker"))} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "governance"])
def test_what_is_around_governance_knows_no_http(module: str) -> None:
    known = {name for name in imports(MODULES[module]) if name.startswith("busbar.")}
    assert {name for name in known if room(name) in ("http", "cli", "protocols")} == set()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_knows_no_other_dialect(dialect: str) -> None:
    others = {f"busbar.protocols.{other}" for other in DIALECTS if other != dialect}
    for module, path in MODULES.items():
        if module.startswith(f"busbar.protocols.{dialect}"):
            assert not {name for name in imports(path) for other in others if name.startswith(other)}, module


def test_nothing_is_imported_in_a_circle() -> None:
    arrows = {m: {n for n in imports(p, at_run_time=True) if n in MODULES and n != m} for m, p in MODULES.items()}
    # A package's own modules may be imported through its __init__, which imports them: not a circle of files.
    for module, known in arrows.items():
        known.difference_update(parent for parent in list(known) if module.startswith(f"{parent}."))
    while leaves := [module for module, known in arrows.items() if not known & arrows.keys()]:
        for leaf in leaves:
            del arrows[leaf]
    assert arrows == {}


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_about_one_thing(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= 400


@pytest.mark.parametrize("module", MODULES)
def test_there_is_no_bare_except(module: str) -> None:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{module}:{node.lineno}"


def test_the_configuration_lists_the_dialects_that_there_are() -> None:
    assert set(PROTOCOLS) == set(SUPPORTED_PROTOCOLS) == set(DEFAULT_AUTH) == set(DIALECTS)
