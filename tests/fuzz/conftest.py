"""Tells how many inputs each fuzz test gave, and how many of them were taken: one that takes none tries nothing."""

import pytest

from tests.fuzz.fuzzing import COUNTED

_TOLD = []


@pytest.fixture(autouse=True)
def _counted(request):
    COUNTED.clear()
    yield
    request.node.user_properties.append(("fuzz", dict(COUNTED)))


def pytest_runtest_logreport(report):
    found = dict(report.user_properties).get("fuzz") if report.when == "teardown" else None
    if found:
        _TOLD.append((report.nodeid.partition("::")[2], found.get("taken", 0), found.get("refused", 0)))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("fuzz: inputs by test")
    for name, taken, refused in sorted(_TOLD):
        terminalreporter.write_line(f"{taken + refused:8,} inputs, {taken:7,} taken, {refused:7,} refused  {name}")
    terminalreporter.write_line(f"{sum(taken + refused for _, taken, refused in _TOLD):8,} in all")
