"""`slick evaluate`: greedy exact match of a Hugging Face folder or a training checkpoint, asked without exemplars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax import run_folder
from slick_jax.config import Config
from slick_jax.data.examples import load_splits
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.knowledge.estimate import CATEGORIES
from slick_jax.knowledge.greedy import Answered, Asked, GreedyEvaluator
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.transformer import Network
from slick_jax.training.checkpoints import find_step, load_params
from slick_jax.training.fit import MatchRates


def run(config: Config) -> dict[str, dict]:
    """Ask `config.evaluate.splits` of the checkpoint and print exact match by split, category and relation.

    With a run_dir, evaluations/<checkpoint>.json and .parquet (a row per question) are written there, and categories
    are taken from its annotations. Returns the metrics per split. Raises InputError for bad input.
    """
    checkpoint = config.evaluate.checkpoint or config.model.path
    folder, step = find_step(checkpoint)
    network = Network(weights.read_spec(folder), config.model.dtype, config.model.precision, config.model.scan_layers)
    tokenizer = Tokenizer.from_folder(folder, network.spec.vocab_size)
    groups = questions(config, config.evaluate.splits)
    absent = [name for name in config.evaluate.splits if name not in groups]
    if absent:
        raise InputError(
            f"config.evaluate.splits: the data has no {', '.join(absent)}; choose from {', '.join(groups) or 'none'}"
        )
    mesh = make_mesh(config.mesh)
    limit = config.train.max_target_tokens
    with jax.set_mesh(mesh):
        evaluator = GreedyEvaluator(network, mesh, tokenizer, groups, config.annotate, limit, str(folder))
        if step is None and (folder / "config.json").is_file() and not _is_training(folder):
            params = weights.load_hf(folder, network, mesh)
        else:
            params = load_params(folder, network, mesh, step)
        answers = evaluator(params, list(groups))
        rates = MatchRates(groups)
        found = {name: rates(name, answers[name]) for name in groups}
    print(table(found))
    if config.run_dir and jax.process_index() == 0:
        _write(epath.Path(config.run_dir) / "evaluations", checkpoint, groups, answers, found)
    return found


def questions(config: Config, names: Sequence[str]) -> dict[str, list[Asked]]:
    """The questions of those splits of `config.data` that are there and not empty, in the prompt of fine-tuning.

    Categories come from annotations.parquet of the run folder, where it has them. Raises InputError where these belong
    to other questions.
    """
    splits = load_splits(config.data)
    chosen = {name: splits[name][: config.data.limit] for name in names if splits.get(name)}
    path = epath.Path(config.run_dir or ".") / "annotations.parquet"
    known: dict[str, tuple[str, str]] = {}
    if config.run_dir and path.exists():
        columns = ["id", "question", f"{config.mix.rule}category"]
        found = run_folder.read_parquet(path).select(columns).to_pydict()
        known = {one: (q, c) for one, q, c in zip(*(found[name] for name in columns), strict=True)}
    rows = [row for name in chosen for row in chosen[name]]
    wrong = [row.id for row in rows if known.get(row.id, (row.question,))[0] != row.question]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} of its ids stand for other questions in config.data (first {wrong[0]!r}); annotate"
            " this data, or give the run folder that belongs to it"
        )
    return {
        name: [
            Asked(row.id, fine_tuning_prompt(row.question), row.answers, row.relation, known.get(row.id, ("", ""))[1])
            for row in rows
        ]
        for name, rows in chosen.items()
    }


def table(found: dict[str, dict]) -> str:
    """Exact match in %, a line per split, with its categories and relations."""
    columns = {}
    for name, rates in found.items():
        columns[name] = {"questions": rates["n"], "all": 100 * rates["em"]}
        for kind in ("by_category", "by_relation"):
            columns[name] |= {key: 100 * rate["em"] for key, rate in rates[kind].items()}
    relations = sorted({relation for rates in found.values() for relation in rates["by_relation"]})
    frame = pd.DataFrame(columns)
    order = [row for row in ("questions", "all", *CATEGORIES, *relations) if row in frame.index]
    return frame.loc[order].round(1).to_string(na_rep="")


def _is_training(folder: Path) -> bool:
    """Whether the folder holds numbered checkpoints and no weights of its own."""
    return not any(folder.glob("*.safetensors*")) and any(path.name.isdecimal() for path in folder.iterdir())


def _write(
    folder: epath.Path, checkpoint: str, groups: dict[str, list[Asked]], answers: dict[str, Answered], found: dict
) -> None:
    rows = [(split, row, index) for split, asked in groups.items() for index, row in enumerate(asked)]
    columns = {
        "id": [row.id for _, row, _ in rows],
        "split": [split for split, _, _ in rows],
        "relation": [row.relation for _, row, _ in rows],
        "category": [row.category for _, row, _ in rows],
        "hit": [bool(answers[split].hits[index, 1]) for split, _, index in rows],
        "strict_hit": [bool(answers[split].hits[index, 0]) for split, _, index in rows],
        "abstained": [bool(answers[split].abstained[index]) for split, _, index in rows],
    }
    name = "_".join(part for part in Path(checkpoint).parts[-4:] if part.strip("./\\"))
    run_folder.write_parquet(folder / f"{name}.parquet", pa.table(columns))
    run_folder.write_json(folder / f"{name}.json", {"checkpoint": checkpoint, "splits": found})
    print(f"evaluate: {folder / name}.json")
