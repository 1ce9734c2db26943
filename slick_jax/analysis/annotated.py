"""What the report takes from annotations.parquet: categories, and the measures behind them as far as they are there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from slick_jax.categories import CERTAINTY
from slick_jax.errors import InputError
from slick_jax.files import run_folder

SCORES = ("p_correct_greedy", "p_correct_sampled", "p_correct_exact")  # of a match rule
TOLD = ("p_true", "question", "answers", "abstained_greedy")


def read(path: epath.Path, rule: str) -> pd.DataFrame | None:
    """A row per annotated question; None where there is no such file.

    Args:
      rule: '' for the run's match rule, 'strict_' for the strict one.

    Returns:
      id, split, relation, category and, where the file has them: the `SCORES`, `TOLD` (answers: the golds), for the
      run's own rule the probabilities of `CERTAINTY` that another annotation gives that label, greedy_hits (of every
      exemplar set, whether the greedy answer was right), n_sets and hit_sets (how many sets there are, and behind how
      many any answer, greedy or sampled, was right; both are missing where a question was not sampled, as by
      annotate.mode='labels').

    Raises InputError on a damaged file and where the rule's category is missing.
    """
    if not path.exists():
        return None
    table = run_folder.read_parquet(path)
    with run_folder.explained(path, "run `slick annotate` again"):
        return _table(table, path, rule)


def _table(table: pa.Table, path: epath.Path, rule: str) -> pd.DataFrame:
    column = f"{rule}category"
    if column not in table.column_names:
        raise InputError(f"{path}: no column {column!r}; config.mix.rule is {rule!r}, allowed are '' and 'strict_'")
    found = table.select(["id", "split", "relation", column]).to_pandas().rename(columns={column: "category"})
    for name in (*SCORES, "greedy_hits", *TOLD, *(() if rule else CERTAINTY.values())):
        source = f"{rule}{name}" if name in (*SCORES, "greedy_hits") else name
        if source in table.column_names:
            found[name] = table[source].to_pandas()
    hit = _hit_by_set(table, rule)
    if hit is not None:
        found["n_sets"], found["hit_sets"] = hit.shape[1], hit.sum(axis=1)
    return found


def _hit_by_set(table: pa.Table, rule: str) -> np.ndarray | None:
    """Whether any answer behind an exemplar set was right, bool [N J]; None where that is not told of every set."""
    names = [f"{rule}greedy_hits", f"{rule}sampled_hits"]
    if not table.num_rows or not set(names) <= set(table.column_names):
        return None
    greedy, sampled = (table[name].combine_chunks() for name in names)
    if greedy.null_count or sampled.null_count:
        return None
    sets, draws = pc.list_value_length(greedy), pc.list_value_length(pc.list_flatten(sampled))
    if len(pc.unique(sets)) != 1 or len(pc.unique(draws)) != 1 or not pc.list_value_length(sampled).equals(sets):
        return None
    shape = table.num_rows, sets[0].as_py()
    first = pc.list_flatten(greedy).to_numpy(zero_copy_only=False).reshape(shape)
    rest = pc.list_flatten(pc.list_flatten(sampled)).to_numpy(zero_copy_only=False).reshape(*shape, -1)
    return first | rest.any(axis=2)
