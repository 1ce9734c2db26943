"""`slick evaluate`: greedy exact match of a model folder, adapters or a training checkpoint, without exemplars."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax import tuned
from slick_jax.categories import CATEGORIES
from slick_jax.config import Config
from slick_jax.errors import InputError
from slick_jax.files import run_folder, stores
from slick_jax.files.hashing import digest
from slick_jax.knowledge.endings import accepting
from slick_jax.knowledge.greedy import Answered, Asked, GreedyEvaluator
from slick_jax.knowledge.match_rates import MatchRates
from slick_jax.knowledge.questions import questions
from slick_jax.mesh import make_mesh
from slick_jax.processes.lockstep import in_lockstep
from slick_jax.processes.peers import Peers
from slick_jax.training.checkpoints import find_step

HOW = ("prompt_style", "chat_options", "match")  # settings of annotate that decide how is asked, and judged


def run(config: Config) -> dict[str, dict]:
    """Ask `config.evaluate.splits` of the checkpoint and print exact match by split, category and relation.

    With a run_dir, evaluations/<checkpoint>_<digest>.json and .parquet (a row per question) are written there, and
    categories are taken from its annotations. The digest is of the checkpoint, the questions, and how they are asked:
    another evaluation has files of its own. Several processes ask on one mesh over the devices of all.

    Returns the metrics per split. Raises InputError for bad input; Stopped when another process has ended.
    """
    checkpoint = config.evaluate.checkpoint or config.model.path
    # Processes meet in a folder of this evaluation's own: others may be under way beside it.
    place = _folder(config) / f"{_name(config, checkpoint)}.processes"
    with in_lockstep(config, "evaluate", place, "from its start", saves=False) as peers:
        return _run(config, checkpoint, peers)


def _run(config: Config, checkpoint: str, peers: Peers) -> dict[str, dict]:
    settings, arithmetic = config.annotate, config.model
    groups, _ = questions(config, config.evaluate.splits)  # categories may be of the model it was tuned from
    if not groups:
        raise InputError("config.evaluate.splits: the data has no dev, test or ood_test; name the splits to ask")
    pinned, taught = _agree(config, checkpoint, groups, peers)
    model, network, tokenizer = tuned.open_model(pinned, arithmetic)
    groups = {name: accepting(rows, taught) for name, rows in groups.items()}
    mesh = make_mesh(config.mesh)
    limit = config.train.max_target_tokens
    with jax.set_mesh(mesh):
        evaluator = GreedyEvaluator(network, mesh, tokenizer, groups, settings, limit, str(model.folder))
        answers = evaluator(model.load(network, mesh), list(groups))
        rates = MatchRates(groups)
        found = {name: rates(name, answers[name]) for name in groups}
    print(table(found))
    if config.run_dir and peers.leads:
        how = {"dtype": arithmetic.dtype, "precision": arithmetic.precision, "max_target_tokens": limit}
        words = {name: [(row.id, row.prompt, row.answers) for row in rows] for name, rows in groups.items()}
        place = _folder(config) / _name(config, pinned, how, words)
        _write(place, _asked(config, pinned) | how, groups, answers, found)
    return found


def _agree(
    config: Config, checkpoint: str, groups: dict[str, list[Asked]], peers: Peers
) -> tuple[str, list[str]]:
    """The checkpoint with its step, which may be the newest of a run that goes on, and the endings that it was taught.

    Raises InputError in a process that would ask otherwise than process 0.
    """
    asked = {name: [dataclasses.astuple(row) for row in rows] for name, rows in groups.items()}
    ours = digest([asked, _asked(config, checkpoint), config.model.dtype, config.model.precision])

    def find() -> dict:
        return {"checkpoint": tuned.pin(checkpoint), "taught": _taught(checkpoint), "asked": ours}

    told = peers.share("asked", find)
    if told["asked"] != ours:
        raise InputError(
            f"process {peers.index} would ask something else than process 0; give all processes the same settings, data"
            " and checkpoint"
        )
    return checkpoint if config.model.source else told["checkpoint"], told["taught"]


def _taught(checkpoint: str) -> list[str]:
    """The endings that the finished run of a training checkpoint has taught, which answers may have."""
    folder, _ = find_step(checkpoint)
    result = run_folder.read_object(folder.parent / "result.json") if folder.name == "checkpoints" else None
    return (result or {}).get("taught_endings", [])


def table(found: dict[str, dict]) -> str:
    """Exact match in %, a line per split, with its categories and relations."""
    lines: dict[tuple[str, str], dict[str, float]] = {("", "questions"): {}, ("", "exact match"): {}}
    for split, rates in found.items():
        lines["", "questions"][split] = rates["n"]
        lines["", "exact match"][split] = 100 * rates["em"]
        for kind, order in (("category", CATEGORIES), ("relation", sorted(rates["by_relation"]))):
            for name in order:
                rate = rates[f"by_{kind}"].get(name)
                lines.setdefault((kind, name), {})
                if rate is not None:
                    lines[kind, name][split] = 100 * rate["em"]
    lines = {name: line for name, line in lines.items() if line}
    frame = pd.DataFrame(lines).T.reindex(sorted(lines, key=lambda line: ("", "category", "relation").index(line[0])))
    frame.index = [name for _, name in frame.index]
    return frame.reindex(columns=list(found)).round(1).to_string(na_rep="")


def _asked(config: Config, checkpoint: str) -> dict:
    """What is asked, and how. A model of the hub is told by its commit: every machine has its own cache."""
    return {"checkpoint": config.model.source or checkpoint} | {name: getattr(config.annotate, name) for name in HOW}


def _folder(config: Config) -> epath.Path:
    return epath.Path(config.run_dir) / "evaluations"


def _name(config: Config, checkpoint: str, *asked: dict) -> str:
    """A name: the end of the checkpoint's path, and a digest of all of it, of how it was asked and of what else was."""
    shown = config.model.source or checkpoint
    whole = config.model.source or stores.absolute(checkpoint)
    parts = [part for part in Path(shown).parts[-4:] if part.strip("./\\")]
    return "_".join([*parts, digest([whole, _asked(config, checkpoint), *asked])[:8]])


def _write(
    place: epath.Path, asked: dict, groups: dict[str, list[Asked]], answers: dict[str, Answered], found: dict
) -> None:
    rows = [(split, row, index) for split, group in groups.items() for index, row in enumerate(group)]
    columns = {
        "id": [row.id for _, row, _ in rows],
        "split": [split for split, _, _ in rows],
        "relation": [row.relation for _, row, _ in rows],
        "category": [row.category for _, row, _ in rows],
        "hit": [bool(answers[split].hits[index, 1]) for split, _, index in rows],
        "strict_hit": [bool(answers[split].hits[index, 0]) for split, _, index in rows],
        "abstained": [bool(answers[split].abstained[index]) for split, _, index in rows],
    }
    run_folder.write_parquet(f"{place}.parquet", pa.table(columns))
    run_folder.write_json(f"{place}.json", asked | {"splits": found})
    print(f"evaluate: {place}.json")
