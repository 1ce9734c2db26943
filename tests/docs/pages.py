"""The pages that tests of this room read, and what is in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conftest import ROOT

OUTSIDE = ("README.md", "launch/README.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/RESULTS.md")
PAGES = sorted([*OUTSIDE, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: `where` is page and line."""

    where: str
    language: str
    text: str

    def __str__(self) -> str:
        return self.where


def text_of(page: str) -> str:
    """The page as it is written."""
    return (ROOT / page).read_text("utf-8")


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", text_of(page))


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = text_of(page)
    return [Block(f"{page}:{text[: one.start()].count(chr(10)) + 1}", one[1], one[2]) for one in FENCE.finditer(text)]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as code hosts and mkdocs.yml make them."""
    found: set[str] = set()
    for heading in HEADING.findall(prose(page)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower().replace("&lt;", "").replace("&gt;", "")
        slug = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
        found.add(next(name for name in (slug, *(f"{slug}-{n}" for n in range(1, 99))) if name not in found))
    return found
