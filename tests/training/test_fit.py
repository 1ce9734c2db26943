"""fit.parquet over epochs and restarts."""

import numpy as np
import pyarrow.parquet as pq

from slick_jax.knowledge.greedy import Asked
from slick_jax.training.fit import FitTable

RNG = np.random.default_rng(0)
CATEGORIES = ("HighlyKnown", "Unknown", "")
ROWS = [Asked(f"row.{i}", "prompt", ("answer",), f"relation {i % 3}", CATEGORIES[i % 3]) for i in range(57)]


def test_fit_table_grows_and_forgets_what_is_later_than_the_checkpoint(tmp_path):
    rows, path = ROWS, tmp_path / "fit.parquet"
    fitted = {epoch: RNG.random(len(rows)) < 0.5 for epoch in (1, 2, 4)}
    table = FitTable(path, rows, upto=0)
    for epoch, values in fitted.items():
        table.add(epoch, values)
    whole = path.read_bytes()
    FitTable(path, rows, upto=2).add(4, fitted[4])  # epoch 4 again, after a restart from epoch 2
    assert path.read_bytes() == whole
    found = pq.read_table(path).to_pandas()
    assert found.columns.tolist() == ["id", "relation", "category", "epoch", "fitted"]
    assert str(found.epoch.dtype) == "int32"
    for epoch, values in fitted.items():
        mine = found[found.epoch == epoch]
        assert mine.id.tolist() == [row.id for row in rows]
        assert mine.fitted.tolist() == values.tolist()
