"""fit.parquet over epochs and restarts."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from slick_jax.errors import InputError
from slick_jax.knowledge.greedy import Asked
from slick_jax.training.fit import FitTable

RNG = np.random.default_rng(0)
CATEGORIES = ("HighlyKnown", "Unknown", "")
ROWS = [Asked(f"row.{i}", "prompt", ("answer",), f"relation {i % 3}", CATEGORIES[i % 3]) for i in range(57)]


def test_fit_table_grows_and_forgets_what_is_later_than_the_checkpoint(tmp_path):
    rows, path = ROWS, tmp_path / "fit.parquet"
    fitted = {epoch: RNG.random(len(rows)) < 0.5 for epoch in (1, 2, 4)}
    table = FitTable(path, rows, asked=[])
    for epoch, values in fitted.items():
        table.add(epoch, values)
    whole = path.read_bytes()
    FitTable(path, rows, asked=[1, 2]).add(4, fitted[4])  # epoch 4 again, after a restart from epoch 2
    assert path.read_bytes() == whole
    found = pq.read_table(path).to_pandas()
    assert found.columns.tolist() == ["id", "relation", "category", "epoch", "fitted"]
    assert str(found.epoch.dtype) == "int32"
    for epoch, values in fitted.items():
        mine = found[found.epoch == epoch]
        assert mine.id.tolist() == [row.id for row in rows]
        assert mine.fitted.tolist() == values.tolist()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:200])])
def test_answers_that_are_lost_are_told(tmp_path, damage):
    path = tmp_path / "fit.parquet"
    FitTable(path, ROWS, asked=[]).add(1, np.ones(len(ROWS), bool))
    with pytest.raises(InputError, match=r"fit.parquet: epoch 2 is missing.*remove .* and train again"):
        FitTable(path, ROWS, asked=[1, 2])
    damage(path)
    with pytest.raises(InputError, match=r"fit.parquet: .*; remove .* and train again"):
        FitTable(path, ROWS, asked=[1])
    FitTable(tmp_path / "new.parquet", ROWS, asked=[])
