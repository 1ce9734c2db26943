"""What the Python of a page stands on, besides what the page itself makes: files, and names that it takes as given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from slick_jax.categories import CATEGORIES, CERTAINTY
from slick_jax.config import defaults
from slick_jax.data.examples import Example, to_jsonl
from slick_jax.files import run_folder
from slick_jax.knowledge import answers, estimate, store
from slick_jax.main import main
from tests.data.annotated_run import categories, examples
from tests.data.test_entity_questions import small_source, write_zip
from tests.training.fine_tuning import make_folder, world

CONFIGS = Path(__file__).parents[2] / "configs"
J, N = 10, 16  # the paper's sets and samples


def annotated(folder: Path, rows: list[Example]) -> pd.DataFrame:
    """annotations.parquet with the categories of `annotated_run`, and hits that make them; every column is there."""
    known = {"HighlyKnown": (J, N), "MaybeKnown": (J // 2, N // 2), "WeaklyKnown": (0, 2), "Unknown": (0, 0)}
    table = []
    for row, category in zip(rows, categories(), strict=True):
        greedy, sampled = known[category]
        hits = {"greedy_hits": [j < greedy for j in range(J)], "sampled_hits": [[i < sampled for i in range(N)]] * J}
        assert estimate.category(np.array(hits["greedy_hits"]), np.array(hits["sampled_hits"])) == category
        found = hits | {"p_correct_greedy": greedy / J, "p_correct_sampled": sampled / N, "category": category}
        certain = dict.fromkeys(CERTAINTY.values(), 0.0) | {CERTAINTY[category]: 1.0}
        strict = {f"strict_{name}": value for name, value in found.items()}
        plain = dataclasses.asdict(row) | {"answers": list(row.answers), "protocol": "p" * 64}
        table.append(dict.fromkeys(store.OUTPUT_SCHEMA.names) | plain | found | strict | certain)
    run_folder.write_parquet(folder / "annotations.parquet", pa.Table.from_pylist(table, store.OUTPUT_SCHEMA))
    return pd.DataFrame(table)


def demo_run(folder: Path) -> dict:
    annotated(folder / "runs/demo", examples())
    return {}


def kept_answers(folder: Path) -> dict:
    rows = examples()
    annotated(folder / "runs/first", rows)
    for number, part in enumerate((rows[:5], rows[5:])):
        written = [{"id": row.id, "greedy": ["?"] * J, "sampled": [["?"] * N] * J} for row in part]
        table = pa.Table.from_pylist([dict.fromkeys(answers.SCHEMA.names) | one for one in written], answers.SCHEMA)
        run_folder.write_parquet(folder / f"runs/first/samples/part-{number:05d}.parquet", table)
    return {}


def own_rows(folder: Path) -> dict:
    """Rows without ids, as readers bring them, and what `slick annotate` calls them."""
    lines = [json.dumps({"question": row.question, "answer": row.answers[0]}) + "\n" for row in examples()]
    (folder / "runs/demo/world").mkdir(parents=True)
    (folder / "runs/demo/world/test.jsonl").write_text("".join(lines))
    rows = [dataclasses.replace(row, id=f"my_rows.{place}") for place, row in enumerate(examples())]
    annotated(folder / "runs/annotate_jsonl", rows)
    return {}


def own_run(folder: Path) -> dict:
    annotated(folder / "runs/mine", examples())
    return {}


def own_model(folder: Path) -> dict:
    make_folder(folder)
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 512}))
    (folder / "model").rename(folder / "my_model")
    return {}


def entity_questions(folder: Path) -> dict:
    write_zip(folder / "dataset.zip", small_source())
    return {}


SMALL_DEMO = """
from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir, c.data.kind, c.model.scan_layers = "runs/demo", "world", False
    w = c.data.world
    w.relations, w.facts_per_relation, w.ood_relations, w.ood_facts_per_relation = 2, 60, 1, 30
    c.data.corpus.median_exposures = 3.0
    a = c.annotate
    a.n_exemplars, a.n_exemplar_sets, a.n_samples, a.max_answer_tokens, a.mode = 1, 2, 2, 8, "labels"
    c.mix.size, c.mix.percents, c.mix.natural, c.mix.idk = "12", (0, 50), False, False
    c.train.epochs, c.train.batch_size, c.train.eval_test_epochs = 1, 10, "last"
    return c
"""


def demo(folder: Path) -> dict:
    """A run folder as `make demo` leaves it, of an untrained model: its categories are planted."""
    own_model(folder)
    (folder / "runs/demo/world").mkdir(parents=True)
    (folder / "my_model").rename(folder / "runs/demo/model")
    for split in ("test", "dev"):
        (folder / f"runs/demo/world/{split}.jsonl").write_text(to_jsonl(world().splits[split]))
    (folder / "configs").mkdir()
    (folder / "configs/demo.py").write_text(SMALL_DEMO)
    assert main(["annotate", "--config=configs/demo.py", "--config.model.path=runs/demo/model"]) == 0
    table = run_folder.read_parquet(folder / "runs/demo/annotations.parquet")
    planted = pa.array([CATEGORIES[place % 4] for place in range(len(table))])
    table = table.set_column(table.column_names.index("category"), "category", planted)
    run_folder.write_parquet(folder / "runs/demo/annotations.parquet", table)
    return {}


def settings(folder: Path) -> dict:
    return {"c": defaults()}


def nothing(folder: Path) -> dict:
    return {}


def doctor_rows(folder: Path) -> dict:
    """The config is the page's, with fewer draws of an untrained model."""
    own_model(folder)
    (folder / "configs").mkdir()
    fewer = "    a = c.annotate\n    a.n_exemplar_sets, a.n_samples, a.exact_tolerance = 3, 4, 0.5\n"
    text = (CONFIGS / "doctor.py").read_text()
    (folder / "configs/doctor.py").write_text(text.replace("    return c\n", f"{fewer}    return c\n"))
    (folder / "my_rows.jsonl").write_text(to_jsonl(world().splits["train"][:12]))
    return {}


GROUNDS: dict[str, Callable[[Path], dict]] = {
    "docs/annotations.md": demo_run,
    "docs/answers.md": kept_answers,
    "docs/api.md": demo,
    "docs/data.md": entity_questions,
    "docs/doctor.md": doctor_rows,
    "docs/longform_texts.md": nothing,
    "docs/own_model.md": own_model,
    "docs/own_rules.md": own_run,
    "docs/quickstart.md": own_rows,
    "docs/study.md": settings,
}
