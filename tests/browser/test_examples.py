"""The table of examples in a browser: search, choice, sort, pages, and what models and data write stays text."""

import csv
import io
import time

import pytest

from tests.browser import written

pytestmark = pytest.mark.browser


def heads(page):
    return page.locator("#examples-table th").all_inner_texts()


def column(page, name):
    """The texts of a column of the rows drawn."""
    names = [text.rstrip(" ▲▼") for text in heads(page)]
    return page.locator(f"#examples-table tbody td:nth-child({names.index(name) + 1})").all_inner_texts()


def place(page):
    return page.locator("#examples-place").inner_text()


def test_all_examples_are_there_in_pages(opened):
    page = opened("study").page
    assert place(page) == "rows 1 to 50 of 680"
    assert page.locator("#examples-back").is_disabled()
    page.locator("#examples-on").click()
    assert place(page) == "rows 51 to 100 of 680" and len(column(page, "id")) == 50
    page.locator("#examples-back").click()
    assert place(page) == "rows 1 to 50 of 680"
    for name in ("question", "gold", "answers before (greedy)", "greedy right (%)", "certainty (%)",
                 "after unknown_50, EARLY_STOP", "after unknown_50, CONVERGENCE"):  # fmt: skip
        assert name in heads(page)


def test_search_and_choice_narrow_the_rows(opened):
    page = opened("study").page
    page.locator("#examples-search").fill("p19.TEST q7?")
    assert set(column(page, "id")) == {"P19.test.7"}
    page.locator("#examples-search").fill("nothing of the kind")
    assert place(page) == "no such row" and column(page, "id") == []
    page.locator("#examples-search").fill("")
    page.locator("select[data-column=category]").select_option("Unknown")
    page.locator("select[data-column=split]").select_option("test")
    assert place(page) == "rows 1 to 50 of 100"
    assert set(column(page, "category")) == {"Unknown"} and set(column(page, "split")) == {"test"}


def test_heads_sort_numbers_as_numbers_and_categories_in_their_order(opened):
    page = opened("study").page
    head = page.locator("#examples-table th", has_text="certainty")
    head.locator("button").click()
    rising = [float(text) for text in column(page, "certainty (%)")]
    assert rising == sorted(rising) and head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    falling = [float(text) for text in column(page, "certainty (%)")]
    assert falling == sorted(falling, reverse=True) and falling[0] > rising[-1]
    page.locator("#examples-table th button", has_text="category").click()
    assert head.get_attribute("aria-sort") is None
    assert set(column(page, "category")) == {"HighlyKnown"}
    page.locator("#examples-table th button", has_text="category").click()
    assert set(column(page, "category")) == {"Unknown"}


def test_what_is_not_there_comes_last_both_ways(opened):
    page = opened("study").page
    for _ in range(2):
        page.locator("#examples-table th button", has_text="EARLY_STOP").click()
        assert "–" not in column(page, "after unknown_50, EARLY_STOP")  # as of the train rows


def test_hostile_texts_stay_texts(opened):
    one = opened("study")
    title, found = one.page.title(), set()
    for _ in range(14):
        found |= set(one.page.locator("#examples-table bdi").all_text_contents())
        one.page.locator("#examples-on").click(force=True)
        if one.page.locator("#examples-on").is_disabled():
            break
    assert {text for text in written.HOSTILE if text} <= found
    assert one.page.locator("main script, main img[src='x'], main a[href^=http]").count() == 0
    assert one.page.title() == title != "taken" and one.said == []
    one.page.locator("#examples-search").fill("</td><script>")
    assert place(one.page) == "no such row"
    one.page.locator("#examples-search").fill(written.FORMULA)
    assert place(one.page) != "no such row"


def test_direction_marks_end_with_their_text(opened):
    page = opened("study").page
    page.locator("#examples-search").fill("esrever")
    lines = page.locator("#examples-table tbody div", has_text="esrever").filter(has=page.locator(".times")).all()
    assert lines
    for line in lines:
        text, times = line.locator("bdi").bounding_box(), line.locator(".times").bounding_box()
        assert times["x"] >= text["x"] + text["width"] - 1  # behind the answer, not turned in front of it


def test_a_formula_is_dead_in_the_csv(reports):
    text = (reports["study"].parent.parent / "tables/examples.csv").read_text()
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 681
    cells = [cell for row in rows for cell in row]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells) and written.SCRIPT in text.replace('""', '"')
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@")]


def test_a_hundred_thousand_rows_stay_usable(opened):
    page = opened("many").page
    assert place(page) == "rows 1 to 50 of 100,000"
    assert "Of 100,500 questions 100,000 are here" in " ".join(page.locator("main").inner_text().split())
    for act in (
        lambda: page.locator("#examples-search").fill("number 4321"),  # makes the index of words
        lambda: page.locator("#examples-search").fill("number 9876"),
        lambda: page.locator("#examples-search").fill(""),
        lambda: page.locator("#examples-table th button", has_text="question").click(),
        lambda: page.locator("#examples-table th button", has_text="certainty").click(),
    ):
        start = time.monotonic()
        act()
        assert place(page)
        assert time.monotonic() - start < 5
    page.locator("#examples-search").fill("number 4321?")
    found = column(page, "question")
    assert found and all("4321?" in text for text in found)
