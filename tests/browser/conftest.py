"""The distribution's Chromium, and pages opened in it from disk that tell what they asked for and complained of."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.browser import written

WIDTHS = {"desktop": 1280, "phone": 390}


@dataclass
class Opened:
    """A page of the browser, what it said on its console, and its requests."""

    page: object
    said: list = field(default_factory=list)
    asked: list = field(default_factory=list)


@pytest.fixture(scope="session")
def browser():
    """A missing browser is a failure, not a skip."""
    from playwright.sync_api import sync_playwright

    path = subprocess.run([Path(__file__).with_name("chromium.sh")], capture_output=True, text=True, check=False)
    assert path.returncode == 0, path.stderr
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path.stdout.strip())
        yield started
        started.close()


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """Paths of the pages by name."""
    return written.Reports(tmp_path_factory.mktemp("reports"))


@pytest.fixture
def opened(browser, reports):
    """Opens a page: of (name, width, 'light' or 'dark')."""
    contexts = []

    def open_one(name, width="desktop", colours="light"):
        size = {"width": WIDTHS[width], "height": 900}
        context = browser.new_context(viewport=size, color_scheme=colours, accept_downloads=True)
        contexts.append(context)
        one = Opened(context.new_page())
        one.page.on("console", lambda message: one.said.append(message.text))
        one.page.on("pageerror", lambda error: one.said.append(str(error)))
        one.page.on("dialog", lambda dialog: one.said.append(f"dialog {dialog.message}"))
        one.page.on("request", lambda request: one.asked.append(request))
        one.page.goto(reports[name].as_uri())
        if one.page.locator("#examples-table").count():
            one.page.wait_for_selector("#examples-place:not(:empty)")
        return one

    yield open_one
    for context in contexts:
        context.close()
