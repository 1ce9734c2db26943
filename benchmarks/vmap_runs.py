"""Several fine-tuning runs of a small model at once: by vmap over a run axis, or by processes side by side, on CPU.

python benchmarks/vmap_runs.py [--run_dir=runs/demo] [--epochs=6]

Needs a run folder with a model, annotations and mixtures (`make demo`). Everything is compared with one run after the
other on all cores, in one run of this script and in turns; figures are medians of three.

  steps      the updates of an epoch of `slick train` (batches of 32 rows, AdamW, float32) for 2 and 4 runs with
             mixtures of their own: a compiled step a run, or one step for all of them with `jax.vmap`
  share      which part of a whole run the updates are, the rest being questions and checkpoints, which no vmap makes
             faster: what is asked next depends on what each run answered
  processes  whole runs of `slick train`: two in turn on all cores, or at once in two processes with half of the cores
             each (for every process a start of its own is in it, and compiled programs come from the cache)

Prints a table for benchmarks/RESULTS.md. Takes about 10 minutes on 2 cores; run it on an idle machine.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from slick_jax.compilation import use_compilation_cache

use_compilation_cache()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from slick_jax.config import MeshConfig  # noqa: E402
from slick_jax.data.prompt_styles import Qa  # noqa: E402
from slick_jax.data.tokenizer import Tokenizer  # noqa: E402
from slick_jax.mesh import make_mesh  # noqa: E402
from slick_jax.models.transformer import Network  # noqa: E402
from slick_jax.models.weights import load_hf, read_spec  # noqa: E402
from slick_jax.settings.config_file import load_config  # noqa: E402
from slick_jax.training.fine_tuning_data import Batches, render  # noqa: E402
from slick_jax.training.mixture_file import read_mixture  # noqa: E402
from slick_jax.training.optimizer import make_optimizer  # noqa: E402
from slick_jax.training.step import Rows, TrainState, train_step  # noqa: E402

PASSES = 3
VARIANTS = ("unknown_0", "unknown_50", "unknown_100", "known_only_50")
ROOT = Path(__file__).resolve().parent.parent


def medians(*works: Callable[[], object]) -> list[float]:
    """Median seconds of each over PASSES in turns, behind a warm-up."""
    for work in works:
        work()
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(PASSES):
        for work, taken in zip(works, seconds, strict=True):
            started = time.perf_counter()
            work()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in seconds]


class Steps:
    """An epoch of updates for `runs` models, each on rows of its own."""

    def __init__(self, run_dir: Path, runs: int):
        config = load_config([f"--config={ROOT / 'configs' / 'demo.py'}"])
        spec, folder = read_spec(run_dir / "model"), str(run_dir / "model")
        network = Network(spec, scan_layers=False)
        style, mesh = Qa(Tokenizer.from_folder(folder, spec.vocab_size)), make_mesh(MeshConfig(1, 1, 1))
        optimizer = make_optimizer(config.train, 1000, network.decay_mask())
        size = config.train.batch_size
        per_run = []
        for name in VARIANTS[:runs]:
            mixture = read_mixture(run_dir / "mixtures" / f"{name}.jsonl")[:200]  # of equal size
            rows = render(style, mixture, max_target=32, max_positions=None, where=folder)
            dealt = Batches(rows, batch_size=size, epochs=1, seed=0)
            per_run.append([next(dealt).rows for _ in range(dealt.per_epoch)])
        self.batches = _alike(per_run)
        self.n = runs * len(self.batches[0])
        params = load_hf(folder, network, mesh)
        self._start = TrainState(jnp.zeros((), jnp.int32), params, jax.jit(optimizer.init)(params))
        step = functools.partial(train_step, network, optimizer)
        self._one = jax.jit(step, donate_argnums=0)
        self._all = jax.jit(jax.vmap(step), donate_argnums=0)
        self._states = [jax.tree.map(jnp.copy, self._start) for _ in per_run]
        self._stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * runs), self._start)

    def in_turn(self) -> None:
        """One run after the other."""
        for number, batches in enumerate(self.batches):
            for rows in batches:
                self._states[number], _ = self._one(self._states[number], rows)
            jax.block_until_ready(self._states[number])

    def at_once(self) -> None:
        """All runs in one step."""
        for rows in zip(*self.batches, strict=True):
            stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *rows)
            self._stacked, _ = self._all(self._stacked, stacked)
        jax.block_until_ready(self._stacked)


def _alike(per_run: Sequence[Sequence[Rows]]) -> list[list[Rows]]:
    """The batches padded to one shape, as runs that share a program need them."""
    shape = [max(batch.tokens.shape[1] for batches in per_run for batch in batches)]
    shape.append(max(batch.targets.shape[1] for batches in per_run for batch in batches))
    count = max(batch.tokens.shape[0] for batches in per_run for batch in batches)

    def pad(batch: Rows) -> Rows:
        widths = Rows(shape[0], shape[1], shape[1], shape[1])
        return jax.tree.map(
            lambda part, width: jnp.pad(part, ((0, count - part.shape[0]), (0, width - part.shape[1]))), batch, widths
        )

    return [[pad(batch) for batch in batches] for batches in per_run]


def train(run_dir: Path, out: Path, variants: Sequence[str], epochs: int, side_by_side: bool) -> float:
    """Seconds of whole `slick train` runs, in turn on all cores or at once on an equal share of them each."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // len(variants))
    running, started = [], time.perf_counter()
    for number, variant in enumerate(variants):
        own = cores[number * share :][:share] if side_by_side else cores
        folder = Path(tempfile.mkdtemp(dir=out))
        for name in ("annotations", "annotations.parquet", "config.json", "mixtures"):
            (folder / name).symlink_to((run_dir / name).resolve())
        settings = {
            "run_dir": folder, "model.path": run_dir / "model", "train.variant": variant, "train.epochs": epochs,
        }  # fmt: skip
        command = [sys.executable, "-m", "slick_jax.main", "train", f"--config={ROOT / 'configs' / 'demo.py'}"]
        command += [f"--config.{name}={value}" for name, value in settings.items()]
        os.sched_setaffinity(0, own)  # inherited
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.sched_setaffinity(0, cores)
        running.append(process)
        if not side_by_side:
            process.wait()
    failed = [process.args for process in running if process.wait()]
    if failed:
        sys.exit(f"failed: {' '.join(map(str, failed[0]))}")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run_dir", type=Path, default=Path("runs/demo"))
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args()
    lines = []
    for runs in (2, 4):
        steps = Steps(given.run_dir, runs)
        in_turn, at_once = medians(steps.in_turn, steps.at_once)
        per_step = 1000 * in_turn / steps.n
        lines.append((f"steps of {runs} runs, ms a step and run", per_step, 1000 * at_once / steps.n, "vmap"))
    with tempfile.TemporaryDirectory() as folder:
        work = functools.partial(train, given.run_dir.resolve(), Path(folder), VARIANTS[:2], given.epochs)
        in_turn, at_once = medians(functools.partial(work, False), functools.partial(work, True))
        lines.append((f"two whole runs of {given.epochs} epochs, s", in_turn, at_once, "two processes"))
        longer = functools.partial(train, given.run_dir.resolve(), Path(folder), VARIANTS[:1], side_by_side=False)
        short, long = medians(functools.partial(longer, given.epochs), functools.partial(longer, 2 * given.epochs))
    epoch = 1000 * (long - short) / given.epochs
    print("| what | one after the other | at once | how | ratio |\n| --- | --- | --- | --- | --- |")
    for what, one, other, how in lines:
        print(f"| {what} | {one:.2f} | {other:.2f} | {how} | {one / other:.2f} |")
    updates = 13 * per_step  # of 400 rows
    print(f"\nAn epoch of a run takes {epoch:.0f} ms, its 13 updates {updates:.0f} ms of them ({updates / epoch:.0%}).")


if __name__ == "__main__":
    main()
