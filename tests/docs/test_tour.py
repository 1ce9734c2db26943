"""The tour names every file of the project, and no other."""

import subprocess

import pytest

from tests.conftest import ROOT
from tests.docs.pages import blocks


def test_the_tree_of_the_tour_is_the_tree_on_disk():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout: the files are listed by `git ls-files`")
    tree = blocks("docs/tour.md")[-1].text
    found, folders = set(), []
    for line in filter(str.strip, tree.splitlines()):
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = folders[:depth]
        if name.endswith("/"):
            folders.append(name)
        else:
            found.add("".join([*folders, name]))
    assert found == set(listed.stdout.split())
