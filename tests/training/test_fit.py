"""Exact match per category and relation against numpy, and fit.parquet over epochs and restarts."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from slick_jax.knowledge.greedy import Answered, Asked
from slick_jax.training.fit import FitTable, MatchRates

RNG = np.random.default_rng(0)


def asked(n, categories=("HighlyKnown", "Unknown", "")):
    return [
        Asked(
            f"row.{i}", "prompt", ("answer",), f"relation {RNG.integers(3)}", categories[RNG.integers(len(categories))]
        )
        for i in range(n)
    ]


GROUPS = {"train": asked(57), "dev": asked(20, ("",)), "test": asked(101)}


@pytest.fixture(scope="module")
def rates():
    return MatchRates(GROUPS)


@pytest.mark.parametrize("name", GROUPS)
def test_rates_are_numpy_means(rates, name):
    rows = GROUPS[name]
    hits = RNG.random((len(rows), 2)) < 0.4
    abstained = RNG.random(len(rows)) < 0.1
    found = rates(name, Answered(hits, abstained))
    right = hits[:, 1]
    assert (found["em"], found["n"], found["abstained"]) == pytest.approx((right.mean(), len(rows), abstained.mean()))
    for kind in ("category", "relation"):
        values = np.array([getattr(row, kind) for row in rows])
        assert set(found[f"by_{kind}"]) == set(values) - {""}
        for value, rate in found[f"by_{kind}"].items():
            assert rate["em"] == pytest.approx(right[values == value].mean(), abs=1e-12)
            assert rate["n"] == (values == value).sum()


def test_fit_table_grows_and_forgets_what_is_later_than_the_checkpoint(tmp_path):
    rows, path = GROUPS["train"], tmp_path / "fit.parquet"
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
