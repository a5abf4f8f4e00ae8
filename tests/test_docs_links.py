"""Every page under docs/ is in its index, and every link in the project's Markdown leads to a file and a heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(
        part.startswith(".") or part in ("node_modules", "build", "dist") for part in page.relative_to(ROOT).parts
    )
)


def prose(page: Path) -> str:
    """The page without its code."""
    text = re.sub(r"^( *)(```+).*?^\1\2 *$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.sub(r"`[^`\n]*`", lambda code: "x" * len(code[0]), text)


def links(page: Path) -> list[str]:
    """Relative ones, pictures too; without their titles."""
    found = re.findall(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)", prose(page))
    return [link for link in found if not re.match(r"[a-z][a-z0-9+.-]*:|//", link)]


def anchors(page: Path) -> set[str]:
    """Of each heading, as GitHub makes them: small letters, no punctuation, spaces as hyphens, repeats numbered."""
    text = re.sub(r"^( *)(```+).*?^\1\2 *$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    seen: dict[str, int] = {}
    made = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^#{1,6} +(.*?) *#* *$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        made.add(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        leads = target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))
        if not leads:
            lost.append(link)
    assert lost == []


def test_every_page_is_in_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(index)}
    pages = {page for page in DOCS.glob("*.md") if page != index}
    assert {page.name for page in pages - linked} == set()


def test_every_decision_is_numbered_once() -> None:
    numbers = [page.name[:4] for page in (DOCS / "adr").glob("[0-9]*.md")]
    assert sorted(numbers) == sorted(set(numbers))


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    """`busbar/http/relay.py`, `busbar/protocols/<dialect>/stream_*.py`: as they stand from the root."""
    text = re.sub(r"^( *)(```+).*?^\1\2 *$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    named = re.findall(r"`((?:busbar|tests|bench|examples|deploy|soak)/[\w./<>*-]+)`", text)
    patterns = {re.sub(r"<\w+>", "*", path) for path in named}
    assert {pattern for pattern in patterns if not any(ROOT.glob(pattern.rstrip("/")))} == set()


def test_a_heading_gives_the_anchor_that_links_use(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# The `/stats` page\n\n## Who's in?\n\n```sh\n# no heading\n```\n\n## Who's in?\n")
    assert anchors(page) == {"the-stats-page", "whos-in", "whos-in-1"}
