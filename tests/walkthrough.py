"""Pages that show how the package is changed: their files and lines, added to a copy of it.

A file is a block tagged `py` that begins with its path in a comment. Lines are a block tagged `diff`: the path, then
lines that stay (a space before them), go (`-`) and come (`+`). Those that stay or go stand so in the file, once.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def changed_copy(page: Path, folder: Path) -> Path:
    """A tree in `folder` with the package in it, as it is after the page was followed. Put it first in PYTHONPATH."""
    without = shutil.ignore_patterns("__pycache__", "ui")
    shutil.copytree(ROOT / "busbar", folder / "busbar", ignore=without)
    shutil.copy(ROOT / "providers.yaml", folder / "busbar" / "providers.yaml")
    (folder / "busbar" / "ui").symlink_to(ROOT / "busbar" / "ui")
    for path, text in blocks(page, "py"):
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        assert not file.exists(), f"{path} is there already"
        file.write_text(text)
    for path, text in blocks(page, "diff"):
        before, after = sides(text)
        file = folder / path
        source = file.read_text()
        assert source.count(before) == 1, f"{page.name}: {path} does not have these lines, or not once:\n{before}"
        file.write_text(source.replace(before, after))
    return folder


def blocks(page: Path, tag: str) -> Iterator[tuple[str, str]]:
    """(path, text) of each block with this tag."""
    yield from re.findall(rf"^```{tag}\n# (\S+)\n(.*?)^```", page.read_text(), re.S | re.M)


def sides(diff: str) -> tuple[str, str]:
    """The text before, and after."""
    lines = [line or " " for line in diff.splitlines()]
    assert all(line[0] in " -+" for line in lines), diff
    return tuple("".join(f"{line[1:]}\n" for line in lines if line[0] != gone) for gone in "+-")  # type: ignore[return-value]


def files_that_list(words: set[str]) -> set[str]:
    """Paths of the package's files with a tuple, list, set or dict (its keys) that has all these texts in it."""
    files = {file.relative_to(ROOT).as_posix(): file.read_text() for file in (ROOT / "busbar").rglob("*.py")}
    return {path for path, text in files.items() if any(listed >= words for listed in _lists(ast.parse(text)))}


def _lists(tree: ast.Module) -> Iterator[set[str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Tuple(elts=entries) | ast.List(elts=entries) | ast.Set(elts=entries) | ast.Dict(keys=entries):
                texts = {entry.value for entry in entries if isinstance(entry, ast.Constant)}
                yield {text for text in texts if isinstance(text, str)}
            case _:
                pass


def run(tree: Path, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """What a Python says that finds the changed package, and the project's tests. Fails when it does."""
    paths = os.pathsep.join((str(tree), str(ROOT)))
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=tree,
        env={**os.environ, **(env or {}), "PYTHONPATH": paths},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
