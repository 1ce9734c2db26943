"""Every command of the pages is one: it parses, its config loads, its settings are there, its files, too."""

import pytest

from tests.docs.commands import check, statements
from tests.docs.pages import PAGES, blocks

SHELL = ("sh", "bash")


@pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page) if b.language in SHELL], ids=str)
def test_a_command_is_one(place, block):
    for words in statements(block.text):
        try:
            check(words)
        except Exception as error:
            error.add_note(f"{block.where}: {' '.join(words)}")
            raise
