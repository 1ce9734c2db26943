"""Parts of a run stay those of one protocol and the same rows, whatever file of the folder is gone."""

import dataclasses
from collections import Counter

import pytest

from slick_jax.data.examples import Example
from slick_jax.errors import InputError
from slick_jax.knowledge.store import Parts

ROWS = [Example(str(n), f"Who is {n}?", (f"name {n}",)) for n in range(4)]
EDITED = [dataclasses.replace(ROWS[0], question="Who was 0?"), *ROWS[1:]]
FURTHER = {"p_true": None}


def open_parts(folder, protocol=None, rows=ROWS, part_size=2, further=FURTHER):
    return Parts(folder / "annotations", protocol or {"seed": 0}, rows, part_size, further=further)


@pytest.fixture
def folder(tmp_path):
    """One of two parts is written; then the manifest is lost."""
    parts = open_parts(tmp_path)
    parts.write(0, [{"id": "0"}, {"id": "1"}], Counter(tokens_seen=3))
    (tmp_path / "annotations" / "manifest.json").unlink()
    return tmp_path


def test_without_its_manifest_the_same_run_goes_on(folder):
    parts = open_parts(folder)
    assert parts.finished(2) == [0] and parts.read(0)[1] == Counter(tokens_seen=3)
    open_parts(folder)  # the manifest is there again


@pytest.mark.parametrize(
    "changed",
    [{"rows": EDITED}, {"part_size": 3}, {"protocol": {"seed": 1}}, {"further": {"p_true": "form"}}],
)
def test_without_its_manifest_the_parts_of_other_rows_are_refused(folder, changed):
    (folder / "annotations.parquet").touch()
    with pytest.raises(InputError, match="no manifest.json.*part-00000.*remove that folder and annotations.parquet"):
        open_parts(folder, **changed)
    assert open_parts(folder).finished(2) == [0]  # and nothing has changed
