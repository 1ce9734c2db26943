"""The paper's protocol in the shape of Llama-3-8B on one accelerator, against transformers on the same one.

    python benchmarks/annotate_on_gpu.py [--shape=llama3-8b] [--questions=4096] [--asked=8] [--out=runs/bench-gpu]
    python benchmarks/annotate_on_gpu.py --shape=tiny --dtype=float32 --questions=48 --asked=2    # 1 minute, anywhere

Random bfloat16 weights are made on the device and written as a Hugging Face folder (16 GB in --out, removed at the
end), which both sides read. Prompts are EntityQuestions' test split ($SLICK_TEST_DATA or ../shared/data) in SmolLM2's
tokens, whose ids are below every vocabulary here. `slick annotate` is timed as it ships over all questions and over an
eighth of them: their difference is the speed beyond start-up. transformers is written as an expert would
(benchmarks/peers/transformers_expert.py): exemplar prefixes cached beforehand, all 170 draws of --asked questions in
one batch, at most (longest gold + 1) new tokens. Utilisation is the arithmetic of one forward pass over prompts and
gold answers, against a large matmul in the same dtype and process.

Under 8 minutes on an H200; nothing is resumed. Needs a GPU with 40 GB for annotation, about 5 GB more for each question
of --asked, 20 GB of disk and of host memory. Packages besides jax with its plugin, flax, torch and transformers: numpy,
pandas, pyarrow, scipy, safetensors, tokenizers, etils, huggingface_hub, jaxtyping, ml_collections; clu, grain and
tensorflow-datasets are not imported. Prints a table for benchmarks/RESULTS.md and writes it to <out>/annotate.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

# Weights are made and annotation runs in processes of their own: this one must not hold the device.
PLATFORMS = os.environ.get("JAX_PLATFORMS", "")
os.environ["JAX_PLATFORMS"] = "cpu"

import results  # noqa: E402
from scripts import run_script  # noqa: E402
from shapes import asked_of, peer_job, test_data  # noqa: E402

HERE = Path(__file__).resolve().parent
PASSES = 3
QUESTIONS = 98_029  # of EntityQuestions, all splits of the paper


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shape", default="llama3-8b", choices=("llama3-8b", "smollm2", "tiny"))
    arguments.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    arguments.add_argument("--questions", type=int, default=4096, help="questions that are annotated")
    arguments.add_argument("--asked", type=int, default=8, help="questions that transformers answers in one batch")
    arguments.add_argument("--batch_tokens", type=int, default=0, help="annotate.batch_tokens; 0: by kind of device")
    arguments.add_argument("--passes", type=int, default=1, help="timed runs of annotation; the median counts")
    arguments.add_argument(
        "--out", type=Path, default=Path("runs/bench-gpu"), help="folder of tables, results and logs"
    )
    arguments.add_argument("--timeout", type=float, default=300, help="seconds one side may take")
    chosen = arguments.parse_args()
    test_data()
    chosen.out.mkdir(parents=True, exist_ok=True)
    model, started, found = chosen.out / "model", time.perf_counter(), {}
    shutil.rmtree(model, ignore_errors=True)

    def step(name: str, script: Path, job: dict) -> dict:
        result = run_script(script, job, name, chosen.out, chosen.timeout, JAX_PLATFORMS=PLATFORMS)
        print(
            f"{time.perf_counter() - started:5.0f} s  {name}: {result.get('error', 'done')}",
            file=sys.stderr,
            flush=True,
        )
        return result

    try:
        made = step(
            "weights", HERE / "random_weights.py", {"shape": chosen.shape, "dtype": chosen.dtype, "out": str(model)}
        )
        if "error" in made:
            sys.exit(f"no weights: {made['error']}; see {chosen.out / 'weights.log'}")
        found["annotate"] = step("annotate", HERE / "slick_annotate.py", {
            "kind": "entity_questions", "model": str(model), "dtype": chosen.dtype,
            "annotate": {"batch_tokens": chosen.batch_tokens}, "questions": chosen.questions,
            "few": max(1, chosen.questions // 8), "passes": chosen.passes,
        })  # fmt: skip
        config = asked_of("entity_questions", model, chosen.out / "none", chosen.questions)
        more = {"dtype": chosen.dtype, "device": made["torch_device"], "together": chosen.asked}
        job = peer_job(config, chosen.asked, PASSES, len(os.sched_getaffinity(0)), warm=chosen.asked, **more)
        found["expert"] = step("expert", HERE / "peers" / "transformers_expert.py", job)
    finally:
        shutil.rmtree(model, ignore_errors=True)
    title = f"{chosen.shape}, {chosen.dtype}, {made['device']}"
    text = "\n".join([results.page(title, found), *whole_data(found["annotate"])])
    (chosen.out / "annotate.md").write_text(text)
    print(text)


def whole_data(ours: dict) -> list[str]:
    """What all of EntityQuestions would take."""
    if "error" in ours or not ours["questions_per_second_beyond_start"]:
        return []
    rate, start = ours["questions_per_second_beyond_start"], ours["start_seconds"]
    return [
        f"At this speed EntityQuestions' {QUESTIONS:,} questions take {(start + QUESTIONS / rate) / 60:.1f} minutes.",
        "",
    ]


if __name__ == "__main__":
    main()
