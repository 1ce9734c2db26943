"""The questions of the data's splits as greedy evaluation asks them, with the categories that annotation found."""

from __future__ import annotations

from collections.abc import Sequence

from slick_jax.config import Config
from slick_jax.data import annotations
from slick_jax.data.examples import limited, load_splits
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.errors import InputError
from slick_jax.knowledge.greedy import Asked

HELD_OUT = ("dev", "test", "ood_test")  # splits that training is followed on


Questions = tuple[dict[str, list[Asked]], str | None]  # by split, and the model that their categories are of


def questions(config: Config, names: Sequence[str] = ()) -> Questions:
    """The questions of these splits of `config.data`, in the prompt of fine-tuning.

    No names: of the held-out splits that are there and not empty. Categories come from annotations.parquet of the run
    folder, where it has them; the second value is the fingerprint of the model they were measured on (None: there are
    none, or nothing tells). Raises InputError where the annotations are damaged, of another protocol than the config's,
    or belong to other questions, and for a split that is not there.
    """
    splits = limited(load_splits(config.data), config.data)
    absent = [name for name in names if name not in splits]
    if absent:
        raise InputError(
            f"config.evaluate.splits: the data has no {', '.join(absent)}; choose from {', '.join(splits)}"
        )
    chosen = {name: splits[name] for name in names or HELD_OUT if name in splits}
    known, model = annotations.categories(config)
    rows = [row for name in chosen for row in chosen[name]]
    wrong = [row.id for row in rows if row.id in known and known[row.id][0] != row.question]
    if wrong:
        raise InputError(
            f"{annotations.path(config)}: {len(wrong)} of its ids stand for other questions in config.data (first"
            f" {wrong[0]!r}); annotate this data, or give the run folder that belongs to it"
        )
    return {
        name: [
            Asked(row.id, fine_tuning_prompt(row.question), row.answers, row.relation, known.get(row.id, ("", ""))[1])
            for row in rows
        ]
        for name, rows in chosen.items()
    }, model
