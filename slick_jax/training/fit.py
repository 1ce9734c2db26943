"""fit.parquet: which training examples the model gets right, epoch by epoch."""

from collections.abc import Sequence

import jax
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from slick_jax import run_folder
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

    def __init__(self, path: epath.PathLike, rows: Sequence[Asked], upto: int):
        """Goes on from the file at `path`, if there is one, forgetting what is later than epoch `upto`."""
        self._path, self._rows = epath.Path(path), rows
        found = run_folder.read_parquet(self._path) if self._path.exists() else FIT_SCHEMA.empty_table()
        self._table = found.filter(pc.field("epoch") <= upto)

    def add(self, epoch: int, fitted: np.ndarray) -> None:
        """Take in bool[N] of epoch `epoch` and write the whole file anew."""
        columns = {name: [getattr(row, name) for row in self._rows] for name in ("id", "relation", "category")}
        columns |= {"epoch": np.full(len(self._rows), epoch, np.int32), "fitted": fitted}
        self._table = pa.concat_tables([self._table, pa.table(columns, FIT_SCHEMA)])
        if jax.process_index() == 0:
            run_folder.write_parquet(self._path, self._table)
