"""answers.parquet: what the model answers to every held-out question at EARLY_STOP and at CONVERGENCE."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np
import pyarrow as pa
from etils import epath

from slick_jax.files import run_folder
from slick_jax.knowledge.endings import split_ending
from slick_jax.knowledge.greedy import GreedyEvaluator
from slick_jax.models.transformer import Params
from slick_jax.training.record import TRAIN, Record, early_stop

ANSWERS = "answers.parquet"
ANSWERS_SCHEMA = pa.schema(
    {
        "stop": pa.string(),  # EARLY_STOP or CONVERGENCE; both are there, also where they are the same epoch
        "epoch": pa.int32(),
        "split": pa.string(),
        "id": pa.string(),
        "relation": pa.string(),
        "category": pa.string(),  # by the run's rule; empty where it was not annotated
        "hit": pa.bool_(),  # by the run's rule
        "strict_hit": pa.bool_(),
        "abstained": pa.bool_(),
        "answer": pa.string(),  # what is written before the ending
        "ending": pa.string(),  # which of the endings that the mixture teaches the answer has; empty: none
    }
)


def finish(
    folder: epath.Path,
    record: Record,
    evaluator: GreedyEvaluator | None,
    epochs: int,
    load: Callable[[int], Params],
    endings: Sequence[str] = (),
) -> list[dict]:
    """Asks the model of each stopping point once more; returns lines with the groups that were not asked there.

    Writes ANSWERS into `folder`: the held-out questions in their order, per stop and split. `load` gives the parameters
    at the end of an epoch, from its checkpoint: whenever the run was killed, the file is the same. Without an
    `evaluator` nothing is asked, and no file written.
    """
    if evaluator is None:
        return []
    stops = {"EARLY_STOP": early_stop(record.lines), "CONVERGENCE": epochs}
    held_out = [name for name in evaluator.groups if name != TRAIN]
    tables, lines = {}, []
    for epoch in sorted({epoch for epoch in stops.values() if epoch is not None}):
        params = load(epoch)
        asked = next(line for line in record.lines if line["epoch"] == epoch)
        missing = [name for name in evaluator.groups if name not in asked]
        if missing:
            lines.append({"epoch": epoch} | record.ask(params, missing)[0])
        tables[epoch] = _table(evaluator, params, held_out, epoch, endings)
    found = [
        tables[epoch].add_column(0, "stop", pa.array([stop] * tables[epoch].num_rows, pa.string()))
        for stop, epoch in stops.items()
        if epoch is not None
    ]
    if jax.process_index() == 0:
        run_folder.write_parquet(folder / ANSWERS, pa.concat_tables(found).cast(ANSWERS_SCHEMA))
    return lines


def _table(
    evaluator: GreedyEvaluator, params: Params, names: list[str], epoch: int, endings: Sequence[str]
) -> pa.Table:
    """ANSWERS_SCHEMA without the stop."""
    written = evaluator.write(params, names)
    rows = [(name, row) for name in names for row in evaluator.groups[name]]
    split = [split_ending(text, endings) for name in names for text in written[name].texts]
    hits = np.concatenate([written[name].hits for name in names] or [np.zeros((0, 2), bool)])
    columns = {
        "epoch": np.full(len(rows), epoch, np.int32),
        "split": [name for name, _ in rows],
        **{field: [getattr(row, field) for _, row in rows] for field in ("id", "relation", "category")},
        "hit": hits[:, 1],
        "strict_hit": hits[:, 0],
        "abstained": [bool(one) for name in names for one in written[name].abstained],
        "answer": [text for text, _ in split],
        "ending": [ending for _, ending in split],
    }
    kept = pa.schema([field for field in ANSWERS_SCHEMA if field.name != "stop"])
    return pa.table(columns, kept)
