"""Rows, annotations and answers with planted properties, and a tiny untrained model, for the tests of the doctor."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pyarrow as pa

from slick_jax.categories import CATEGORIES
from slick_jax.checkup.diagnosis import diagnose
from slick_jax.checkup.intake import Intake
from slick_jax.files import run_folder
from slick_jax.knowledge.estimate import category
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.models.weights import save_hf
from slick_jax.settings.config_file import load_config
from tests.data.small_tokenizers import byte_level_files

ROOT = Path(__file__).parents[2]
SETS, SAMPLES = 4, 3
# Small enough to compile in seconds; and of paths that are all as likely, not all are expanded.
QUICK = {
    "annotate.n_exemplar_sets": SETS, "annotate.n_reserve_sets": 2, "annotate.n_samples": SAMPLES,
    "annotate.n_exemplars": 2, "annotate.max_answer_tokens": 12, "annotate.part_size": 16,
    "annotate.answer_rows": 64, "annotate.batch_tokens": 128, "annotate.kept_gib": 0, "annotate.exact_tolerance": 0.5,
    "model.scan_layers": "False",
}  # fmt: skip


def flags(run_dir, path, model="unused", **settings) -> list[str]:
    given = {"run_dir": run_dir, "data.path": path, "model.path": model, **QUICK, **settings}
    return [f"--config={ROOT}/configs/doctor.py", *(f"--config.{name}={value}" for name, value in given.items())]


def config_of(run_dir, path, model="unused", **settings):
    return load_config(flags(run_dir, path, model, **settings))


def write_rows(path, rows) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def rows_of(n=20, relation=None, start=0) -> list[dict]:
    """Rows about different things, with a column of the user's own."""
    more = {"relation": relation} if relation else {}
    return [
        {"id": f"{relation or 'r'}{i}", "question": f"Who wrote book {i}?", "answer": f"author {i}", "page": i} | more
        for i in range(start, start + n)
    ]


def make_model(folder, positions=2048, template=None) -> Path:
    """An untrained model of bytes, whose answers are nonsense."""
    folder.mkdir(parents=True)
    for name, content in byte_level_files(as_json=True).items():
        (folder / name).write_bytes(content)
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    spec = ModelSpec(
        vocab_size=300, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_mlp=32,
        max_position_embeddings=positions,
    )  # fmt: skip
    network = Network(spec, scan_layers=False)
    extra = {"bos_token_id": 0, "eos_token_id": 1}
    save_hf(folder, network, network.init(jax.random.key(0)), tokenizer_folder=folder, extra_config=extra)
    return folder


def hits_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Greedy and sampled hits of a row of this category."""
    greedy, sampled = np.zeros(SETS, bool), np.zeros((SETS, SAMPLES), bool)
    greedy[: {"HighlyKnown": SETS, "MaybeKnown": 2}.get(name, 0)] = True
    sampled[0, 0] = name == "WeaklyKnown"
    assert category(greedy, sampled) == name
    return greedy, sampled


def planted(run_dir, rows, intake=None, template=None, **settings):
    """What `diagnose` finds out about rows (id, question, answers, relation, category and greedy, one text or one for
    each set), and the config."""
    table = []
    for row in rows:
        greedy, sampled = hits_of(row["category"])
        texts = [row["greedy"]] * SETS if isinstance(row["greedy"], str) else row["greedy"]
        sure = dict.fromkeys(("p_highly", "p_maybe", "p_weakly", "p_unknown"), 0.1)
        sure[list(sure)[CATEGORIES.index(row["category"])]] = row.get("certainty", 0.7)
        table.append(row | sure | {
            "greedy": texts, "greedy_hits": greedy, "sampled_hits": sampled, "p_correct_greedy": greedy.mean(),
            "p_correct_sampled": sampled.mean(), "abstained_greedy": row.get("abstained_greedy", 0.0), "split": "train",
            "greedy_truncated": [row.get("cut", False)] * SETS,
        })  # fmt: skip
    kept = ("id", "greedy", "greedy_truncated")
    samples = pa.Table.from_pylist([{name: row[name] for name in kept} for row in table])
    run_folder.write_parquet(run_dir / "samples" / "part-00000.parquet", samples)
    given = {row["id"]: {"question": row["question"], "answer": row["answers"][0], "page": 1} for row in rows}
    if intake is None:
        asked = SimpleNamespace(rows=rows, sets={}, assigned=[()] * len(rows))
        intake = Intake(asked, {row["id"]: row["relation"] for row in rows}, given, [], 0, [])
    path = write_rows(run_dir / "rows.jsonl", list(given.values()))
    config = config_of(run_dir, path, **settings)
    frame = pd.DataFrame(table).drop(columns=["greedy", "greedy_truncated"])
    return diagnose(config, intake, frame, SimpleNamespace(chat_template=template)), config


def planted_rows(counts: dict[str, int], relation="all", greedy="something else", **more) -> list[dict]:
    """So many rows of each category."""
    return [
        {
            "id": f"{relation}.{name}.{i}", "question": f"Who wrote {relation} {name} {i}?", "answers": [f"{name} {i}"],
            "relation": relation, "category": name, "greedy": greedy,
        } | more
        for name, count in counts.items()
        for i in range(count)
    ]  # fmt: skip
