"""The paper's protocol on real questions: `slick annotate` against transformers and serving engines, in one run.

    python benchmarks/annotate_vs_transformers.py [--subjects=smollm2,demo] [--demo=runs/demo/model] [--out=runs/bench]

Subjects: SmolLM2-135M's shape with random weights, its tokenizer and EntityQuestions' test split ($SLICK_TEST_DATA or
../shared/data), and the trained model of `make demo` with its test split: random weights never match a gold answer, a
trained model does. Every question gets 1 greedy and 16 sampled answers (T 0.5, top 40) behind 10 exemplar sets.

Every engine computes in float32 on all cores of this process, in a process of its own, one after the other; one that
fails or takes longer than --timeout seconds costs its own row alone, and its log stays in --out. Peers stop at a
newline or end-of-text and write at most (longest gold of the questions asked + 1) tokens. A speed is the median of
three passes after one that is not counted; a pass asks other questions behind the same exemplars, so caches hold what
they hold in a long run. Annotation is timed with everything, from reading weights to writing files; the clock of peers
leaves out loading and the exemplar prefixes. "Same greedy answers" compares with the expert's.

Engines (benchmarks/peers, extras `parity` and `bench`):
  annotate     `slick annotate`, exact P_Correct included; labels: the same with annotate.mode=labels, what peers do
  answers      labels with annotate.answers=all, an eighth of the questions, answers as long as peers may write them
  generate     transformers as people write it; expert: prefixes cached, all 170 draws of a question in one batch
  batching     transformers' continuous batching, which shares cache blocks
  openvino     OpenVINO GenAI, continuous batching with prefix caching
  llama_cpp    llama.cpp, prefixes kept as sequences, all draws of a question in one batch
The tables are written to <out>/annotate.md as they grow, for benchmarks/RESULTS.md. About 12 minutes on 2 cores; other
programs on the same cores spoil it, torch's rows most.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import results  # noqa: E402
from scripts import run_script  # noqa: E402
from shapes import SMOLLM2, answer_limit, asked_of, peer_job, random_model, test_data  # noqa: E402

HERE = Path(__file__).resolve().parent
PASSES = 3
ENVIRONMENT = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))), "JAX_PLATFORMS": "cpu"}
PEERS = {
    "openvino": "openvino_engine",
    "llama_cpp": "llama_cpp_engine",
    "expert": "transformers_expert",
    "batching": "transformers_batching",
    "generate": "transformers_generate",
}
SLOW = ("batching", "generate")
ENGINES = ["annotate", "labels", "answers", *PEERS]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model and its questions: how many are annotated, and how many a pass asks of a peer and of a slow one."""

    name: str
    kind: str
    model: Path
    annotated: int
    asked: int
    slow: int


def ours(subject: Subject, out: Path, timeout: float, name: str, questions: int, **annotate) -> dict:
    """Annotation of the subject's first `questions`."""
    settings = {
        "kind": subject.kind, "model": str(subject.model), "dtype": "float32", "annotate": annotate,
        "questions": questions, "few": max(1, questions // 8), "passes": PASSES,
    }  # fmt: skip
    return run_script(HERE / "slick_annotate.py", settings, f"{subject.name}-{name}", out, timeout, **ENVIRONMENT)


def peer(subject: Subject, job: dict, name: str, out: Path, timeout: float) -> dict:
    """One peer on the subject's job; slow ones are asked the first questions of a pass, and warm up on one prompt."""
    if name in SLOW:
        passes = [questions[: subject.slow] for questions in job["passes"]]
        job = job | {"warm": [job["warm"][0][:1]], "passes": passes}
    return run_script(HERE / "peers" / f"{PEERS[name]}.py", job, f"{subject.name}-{name}", out, timeout, **ENVIRONMENT)


def measure(subject: Subject, engines: list[str], out: Path, timeout: float, write) -> None:
    """All engines on one subject; `write` is called with everything found so far after each."""
    found = {}
    config = asked_of(subject.kind, subject.model, out / "none", subject.annotated)
    job = peer_job(config, subject.asked, PASSES, len(os.sched_getaffinity(0)))
    for name in engines:
        if name == "annotate":
            found[name] = ours(subject, out, timeout, name, subject.annotated)
        elif name == "labels":
            found[name] = ours(subject, out, timeout, name, subject.annotated, mode="labels")
        elif name == "answers":
            questions = max(subject.annotated // 8, 8)
            limit = answer_limit(asked_of(subject.kind, subject.model, out / "none", questions))
            more = {"mode": "labels", "answers": "all", "max_answer_tokens": limit}
            found[name] = ours(subject, out, timeout, name, questions, **more)
        else:
            found[name] = peer(subject, job, name, out, timeout)
        write(subject, found)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--subjects", default="smollm2,demo", help="smollm2, demo or both")
    arguments.add_argument("--engines", default=",".join(ENGINES), help="which engines, in this order")
    arguments.add_argument("--questions", type=int, default=128, help="EntityQuestions that are annotated")
    arguments.add_argument("--asked", type=int, default=4, help="EntityQuestions that a pass asks of a peer")
    arguments.add_argument("--demo", type=Path, default=Path("runs/demo/model"), help="the demo's model folder")
    arguments.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of tables, results and logs")
    arguments.add_argument("--timeout", type=float, default=400, help="seconds an engine may take")
    chosen = arguments.parse_args()
    engines, names = chosen.engines.split(","), chosen.subjects.split(",")
    unknown = sorted({*engines} - {*ENGINES} | {*names} - {"smollm2", "demo"})
    if unknown:
        arguments.error(f"unknown: {', '.join(unknown)}; subjects are smollm2 and demo, engines {', '.join(ENGINES)}")
    if "demo" in names and not chosen.demo.exists():
        arguments.error(f"{chosen.demo} is not there: run `make demo`, or give --demo or --subjects=smollm2")
    chosen.out.mkdir(parents=True, exist_ok=True)
    subjects = []
    if "smollm2" in names:
        test_data()
        folder = chosen.out / "smollm2"
        if not (folder / "tokenizer.json").exists():
            random_model(folder, SMOLLM2)
        subjects.append(Subject("smollm2", "entity_questions", folder, chosen.questions, chosen.asked, slow=1))
    if "demo" in names:
        subjects.append(Subject("demo", "demo", chosen.demo, 512, asked=8, slow=1))

    pages: dict[str, str] = {}
    started = time.perf_counter()

    def write(subject: Subject, found: dict) -> None:
        pages[subject.name] = results.page(subject.name, found)
        (chosen.out / "annotate.md").write_text("\n".join(pages.values()))
        name = list(found)[-1]
        said = found[name].get("error") or f"{found[name]['questions_per_second']:.3f} questions/s"
        print(f"{time.perf_counter() - started:5.0f} s  {subject.name}, {name}: {said}", file=sys.stderr, flush=True)

    for subject in subjects:
        measure(subject, engines, chosen.out, chosen.timeout, write)
    print("\n".join(pages.values()))


if __name__ == "__main__":
    main()
