"""A run folder as `slick annotate` leaves it, with planted categories and made-up rows; no model is run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd

from slick_jax.categories import CATEGORIES
from slick_jax.config import Config
from slick_jax.data.examples import Example, to_jsonl

PROTOCOL = "p" * 64
COUNTS = {"born": (6, 4, 3, 9), "made": (5, 5, 5, 4), "none": (2, 0, 1, 0)}  # rows of each category, by relation


def examples(split: str = "train") -> list[Example]:
    """Rows of the relations of COUNTS, in their order."""
    return [
        Example(f"{name}.{split}.{i}", f"What is {name} {split} {i}?", (f"{name} {i}",), name, split=split)
        for name, numbers in COUNTS.items()
        for i in range(sum(numbers))
    ]


def categories() -> list[str]:
    """The planted categories of `examples`."""
    return [c for numbers in COUNTS.values() for c, n in zip(CATEGORIES, numbers, strict=True) for _ in range(n)]


def make_run(folder: Path, rows: list[Example] | None = None, dev: list[Example] | None = None, **mix) -> Config:
    """Write data and run folder; the config that `slick annotate` was run with, and `mix` settings."""
    rows = examples() if rows is None else rows
    dev = examples("dev") if dev is None else dev
    run = folder / "run"
    (run / "annotations").mkdir(parents=True)
    (folder / "rows.jsonl").write_text(to_jsonl(rows))
    (folder / "dev.jsonl").write_text(to_jsonl(dev))
    data = {"kind": "rows", "path": str(folder / "rows.jsonl"), "dev_path": str(folder / "dev.jsonl")}
    plain = Config(run_dir=str(run))
    config = dataclasses.replace(
        plain, data=dataclasses.replace(plain.data, **data), mix=dataclasses.replace(plain.mix, **mix)
    )
    table = pd.DataFrame([dataclasses.asdict(row) | {"answers": list(row.answers)} for row in rows])
    table["category"], table["protocol"] = categories(), PROTOCOL
    table["strict_category"] = "Unknown"
    table.loc[table.index[::2], "strict_category"] = "HighlyKnown"
    table.to_parquet(run / "annotations.parquet")
    exemplars = {"born": {"0": [{"id": e.id, "question": e.question, "answer": e.answers[0]} for e in dev[:4]]}}
    (run / "exemplars.json").write_text(json.dumps(exemplars))
    record = {"config": dataclasses.asdict(config), "protocol": PROTOCOL}
    (run / "config.json").write_text(json.dumps(record))
    (run / "annotations" / "manifest.json").write_text(json.dumps({"hash": PROTOCOL, "protocol": {"model": "weights"}}))
    return config
