"""fit.parquet: which training examples the model gets right, epoch by epoch."""

from collections.abc import Sequence

import jax
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.knowledge.greedy import Asked

FIT_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "relation": pa.string(),
        "category": pa.string(),
        "epoch": pa.int32(),
        "fitted": pa.bool_(),  # the greedy answer is right after this epoch
    }
)


class FitTable:
    """fit.parquet: a row per training example and epoch in which the training examples were asked."""

    def __init__(self, path: epath.PathLike, rows: Sequence[Asked], asked: Sequence[int]):
        """Goes on from the file at `path`, if there is one, with the epochs in `asked`; what is there of others is
        forgotten. Raises InputError where one of them is not there: its answers cannot be had again."""
        self._path, self._rows = epath.Path(path), rows
        again = f"remove {self._path.parent} and train again"
        there = self._path.exists()
        found = run_folder.read_parquet(self._path, again) if there else FIT_SCHEMA.empty_table()
        with run_folder.explained(self._path, again):
            self._table = found.cast(FIT_SCHEMA).filter(pc.field("epoch").isin(list(asked)))
        lost = sorted(set(asked) - set(self._table["epoch"].unique().to_pylist()))
        if lost:
            raise InputError(f"{self._path}: epoch {lost[0]} is missing, which metrics.jsonl has; {again}")

    def add(self, epoch: int, fitted: np.ndarray) -> None:
        """Take in bool[N] of epoch `epoch` and write the whole file anew."""
        columns = {name: [getattr(row, name) for row in self._rows] for name in ("id", "relation", "category")}
        columns |= {"epoch": np.full(len(self._rows), epoch, np.int32), "fitted": fitted}
        self._table = pa.concat_tables([self._table, pa.table(columns, FIT_SCHEMA)])
        if jax.process_index() == 0:
            run_folder.write_parquet(self._path, self._table)
