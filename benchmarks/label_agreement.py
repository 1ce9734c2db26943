"""How many labels differ from float32 when a model is held or computed in fewer bits, on the demo model.

python benchmarks/label_agreement.py [--run=runs/demo] [--limit=<rows of each split>]

Annotates the rows of the demo world once per mode and compares row by row with float32. The last line, float32 with
another seed of the samples, is there to compare with: what chance alone does to the labels. Questions per second are
of whole runs, start-up included. Prints a Markdown table for docs/performance.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from slick_jax.compilation import use_compilation_cache

use_compilation_cache()

from slick_jax.knowledge import annotate  # noqa: E402
from slick_jax.settings.config_file import load_config  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "float32"
MODES = {  # what is printed, and the settings
    REFERENCE: {},
    "float32, bfloat16 weights": {"model.weights": "bfloat16"},
    "float32, int8 weights": {"model.weights": "int8"},
    "bfloat16": {"model.dtype": "bfloat16"},
    "bfloat16, int8 weights": {"model.dtype": "bfloat16", "model.weights": "int8"},
    "float32, another seed": {"annotate.seed": "1"},
}


def annotated(run: str, limit: int | None, settings: dict[str, str]) -> tuple[pd.DataFrame, float]:
    """The annotations of the run's rows by its model, and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"run_dir": folder, "model.path": f"{run}/model", "data.limit": str(limit), **settings}
        overrides = [f"--config.{name}={value}" for name, value in settings.items()]
        config = load_config([f"--config={ROOT / 'configs' / 'demo.py'}", *overrides], "annotate")
        start = time.perf_counter()
        return annotate.annotate(config)[0], time.perf_counter() - start


def hits(table: pd.DataFrame) -> np.ndarray:
    """Hits [questions, sets, 1 + samples], the greedy answer first."""
    sampled = np.stack([np.stack(row) for row in table["sampled_hits"]])
    return np.concatenate([np.stack(table["greedy_hits"])[..., None], sampled], axis=2)


def line(name: str, table: pd.DataFrame, seconds: float, reference: pd.DataFrame) -> str:
    """A row of the printed table."""
    labels = (table["category"].to_numpy() != reference["category"].to_numpy()).mean()
    draws = (hits(table) != hits(reference)).mean()
    apart = (table["p_correct_exact"] - reference["p_correct_exact"]).abs().mean()
    cells = [name, f"{len(table):,}", f"{labels:.2%}", f"{draws:.3%}", f"{apart:.4f}", f"{len(table) / seconds:.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/demo")
    parser.add_argument("--limit", type=int, default=None, help="rows of each split; default: all")
    options = parser.parse_args()
    annotated(options.run, 8, {})  # warm-up
    lines, reference = [], None
    for name, settings in MODES.items():
        table, seconds = annotated(options.run, options.limit, settings)
        reference = table if reference is None else reference
        lines.append(line(name, table, seconds, reference))
    print("\n| computed in | rows | labels differ | hits differ | p_correct_exact, mean difference | questions/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
