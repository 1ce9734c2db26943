"""`slick annotate` as a subject of the benchmarks: python benchmarks/slick_annotate.py settings.json out.json

Settings: kind ('entity_questions' or 'demo'), model (folder), dtype, annotate (settings that differ from their
defaults), questions, few (a smaller number of them) and passes. Runs over `few` and over all questions are timed
`passes` times each, as they ship, reading weights and writing files included, after one of each that compiles. The
difference of the two sizes is the speed beyond start-up, which is what a long run has.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from slick_jax.compilation import use_compilation_cache

use_compilation_cache()
import jax  # noqa: E402
from floor import verification_flops  # noqa: E402
from shapes import annotated, asked_of, prepared_of  # noqa: E402

from slick_jax.config import Config  # noqa: E402
from slick_jax.knowledge.annotate import annotate  # noqa: E402
from slick_jax.models.flops import matmul_rate  # noqa: E402
from slick_jax.models.weights import read_spec  # noqa: E402


def measure(settings: dict) -> dict:
    """Questions per second and utilisation of annotation with `settings`."""
    with tempfile.TemporaryDirectory() as folder:
        config = asked_of(settings["kind"], Path(settings["model"]), Path(folder) / "warm", settings["questions"])
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, dtype=settings["dtype"]))
        config = annotated(config, **settings["annotate"])
        few = dataclasses.replace(config, data=dataclasses.replace(config.data, limit=settings["few"]))
        precision = "highest" if settings["dtype"] == "float32" else "default"
        rates = [matmul_rate(settings["dtype"], precision)]
        first, asked, _ = timed(config, f"{folder}/first")
        timed(few, f"{folder}/first-few")
        runs = [timed(config, f"{folder}/{number}") for number in range(settings["passes"])]
        small = [timed(few, f"{folder}/few-{number}") for number in range(settings["passes"])]
        rates.append(matmul_rate(settings["dtype"], precision))
    flops = verification_flops(read_spec(config.model.path), prepared_of(config)[0])
    least = sum(flops[part] for part in ("linear", "attention", "head")) / asked
    seconds, _, cost = sorted(runs, key=lambda run: run[0])[(len(runs) - 1) // 2]
    few_seconds, few_asked = statistics.median(run[0] for run in small), small[0][1]
    beyond = (asked - few_asked) / (seconds - few_seconds) if asked > few_asked and seconds > few_seconds else 0.0
    return {
        "questions": asked,
        "seconds_per_question": [run[0] / asked for run in runs],
        "questions_per_second": asked / seconds,
        "questions_per_second_beyond_start": beyond,
        "start_seconds": seconds - asked / beyond if beyond else 0.0,
        "first_run_seconds": first,
        "matmul_flops_per_second": max(rates),
        "floor_flops_per_question": least,
        "floor": flops,
        "share_of_matmul_rate": least * asked / seconds / max(rates),
        "share_of_matmul_rate_beyond_start": least * beyond / max(rates),
        "cost": cost,
        "versions": {"jax": jax.__version__},
        "note": "",
    }


def timed(config: Config, run_dir: str) -> tuple[float, int, dict]:
    """Seconds of a whole annotation, its questions and what summary.json says of its cost."""
    started = time.perf_counter()
    table, summary = annotate(dataclasses.replace(config, run_dir=run_dir))
    return time.perf_counter() - started, len(table), summary["cost"]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
