"""Links lead somewhere, names of files are names of files, and every page has its place in the site."""

import ast
import itertools
import posixpath
import re

import pytest
import yaml

from tests.conftest import ROOT
from tests.docs.pages import HEADING, LINK, OUTSIDE, PAGES, anchors, prose, text_of

PART = r"(?:[\w.-]+|\{[\w,.-]+\})"
NAMED = re.compile(rf"(?<![\w/.<*-])({PART}(?:/{PART})+\.(?:py|md|sh|sbatch|yaml))(?![\w/])")
WHERE = ("", "slick_jax/", "slick_jax/longform/", "tests/")  # what names of files may leave out


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page):
    broken = []
    for link in LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else page
        if not (ROOT / path).is_file():
            broken.append(f"{link}: no such file")
        elif anchor and (path not in PAGES or anchor not in anchors(path)):
            broken.append(f"{link}: no such heading")
    assert not broken, page


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("CHANGELOG.md", "benchmarks/RESULTS.md")])
def test_files_that_a_page_names_are_there(page):
    """`knowledge/match.py` and `tests/{a,b}.py`, below the repository or a room; logs may name what is gone."""
    missing = []
    for name in NAMED.findall(re.sub(r"https?://\S+", "", text_of(page))):
        parts = [part[1:-1].split(",") if part.startswith("{") else [part] for part in re.split(r"(\{[^}]*\})", name)]
        for path in map("".join, itertools.product(*parts)):
            if not any((ROOT / place / path).is_file() for place in (*WHERE, posixpath.dirname(page))):
                missing.append(path)
    assert not missing, page


def in_nav() -> list[str]:
    """The pages in the navigation of mkdocs.yml."""
    text = re.sub(r"!!python\S*", "", (ROOT / "mkdocs.yml").read_text())
    return [page for section in yaml.safe_load(text)["nav"] for pages in section.values() for page in pages]


def test_every_page_is_in_the_navigation_once():
    tree = ast.parse((ROOT / "docs" / "site.py").read_text())
    made = next(node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "PAGES")
    outside = ast.literal_eval(made.value)
    assert set(outside) == set(OUTSIDE)
    inside = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    assert sorted(in_nav()) == sorted([*outside.values(), *inside, "settings.md"])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_one_title_and_no_code_without_a_fence(page):
    levels = [line.split()[0] for line in re.findall(r"^#+ .*$", prose(page), re.MULTILINE)]
    assert levels.count("#") == 1 and levels[0] == "#"
    assert len(set(HEADING.findall(prose(page)))) == len(levels), "two headings with one anchor"
    assert not re.search(r"(?:\A|\n\n) {4}(?! *[-*\d])", prose(page)), "an indented block: say its language in a fence"
