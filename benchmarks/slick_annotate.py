"""`slick annotate` as a subject of the benchmarks: python benchmarks/slick_annotate.py settings.json out.json

Settings: model (folder), questions, kind ('entity_questions' or 'demo'), annotate (settings that differ from their
defaults), passes. One run compiles, then `passes` runs are timed, each as it ships: reading weights, writing files.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from slick_jax.compilation import use_compilation_cache

use_compilation_cache()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
from floor import matmul_rate, verification_flops  # noqa: E402
from shapes import annotated, asked_of, prepared_of  # noqa: E402

from slick_jax.knowledge.annotate import annotate  # noqa: E402
from slick_jax.models.weights import read_spec  # noqa: E402


def measure(settings: dict) -> dict:
    """Questions per second and utilisation of annotation with `settings`."""
    with tempfile.TemporaryDirectory() as folder:
        config = asked_of(settings["kind"], Path(settings["model"]), Path(folder) / "warm", settings["questions"])
        config = annotated(config, **settings["annotate"])
        rates = [matmul_rate(config.model.dtype)]
        started = time.perf_counter()
        annotate(config)
        first, seconds, costs = time.perf_counter() - started, [], []
        for number in range(settings["passes"]):
            started = time.perf_counter()
            table, summary = annotate(dataclasses.replace(config, run_dir=f"{folder}/{number}"))
            seconds.append(time.perf_counter() - started)
            costs.append(summary["cost"])
        rates.append(matmul_rate(config.model.dtype))
    flops = verification_flops(read_spec(config.model.path), prepared_of(config)[0])
    middle = statistics.median_low(seconds)
    least = sum(flops[part] for part in ("linear", "attention", "head"))
    return {
        "questions": len(table),
        "seconds_per_question": [each / len(table) for each in seconds],
        "questions_per_second": len(table) / middle,
        "first_run_seconds": first,
        "matmul_flops_per_second": max(rates),
        "floor_flops_per_question": least / len(table),
        "floor": flops,
        "share_of_matmul_rate": least / middle / max(rates),
        "cost": costs[seconds.index(middle)],
        "versions": {"jax": jax.__version__},
        "note": "",
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
