"""Fine-tuning and greedy evaluation against PyTorch transformers: tokens and questions per second, in one run on CPU.

python benchmarks/train_vs_transformers.py [--model=runs/demo/model] [--mixture=<model>/../mixtures/unknown_50.jsonl]

Needs torch and transformers. Both sides hold the same float32 weights, get the same rows on the same cores and take
turns; compilation and a warm-up pass are left out, and every speed is the median of three passes.

  training    batches of 32 fine-tuning rows, padded alike, with the loss on the completion alone: AdamW, gradients
              clipped to norm 1. The peer is LlamaForCausalLM with torch's fused AdamW; it needs no attention mask,
              as padding lies on the right. Tokens are counted without padding.
  evaluation  greedy answers of at most 8 tokens to fine-tuning prompts without exemplars. Ours is the GreedyEvaluator
              of `slick train`; the peer is `generate`, 32 left-padded prompts at a time, which stops at end-of-text or
              a newline. Our batches are its default of 320 rows, or as many rows as there are questions.

Models: the given one, and random weights in the shape of SmolLM2-135M with its tokenizer, which is read from
$SLICK_TEST_DATA or ../shared/data and skipped where neither is there. Whether both sides compute the same is said in
the last column: losses at the end of the warm-up pass, and answers that only one side counts as right. Random weights
leave the gold answer at its first token: verification ends there, `generate` writes all 8 tokens, and that row says
what wrong answers cost. Prints a table for benchmarks/RESULTS.md; the large model takes most of its minutes.

Run it on an idle machine. Where other programs hold a core, torch on all cores can be many times slower than on one, as
its threads wait for each other at every operation; the peer is therefore timed both ways and its better median counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gzip
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from slick_jax.compilation import use_compilation_cache

use_compilation_cache()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import torch  # noqa: E402
from transformers import LlamaForCausalLM  # noqa: E402
from transformers.utils import logging  # noqa: E402

from slick_jax.config import AnnotateConfig, MeshConfig, TrainConfig  # noqa: E402
from slick_jax.data.prompt_styles import Qa  # noqa: E402
from slick_jax.data.target_tokens import target_tokens  # noqa: E402
from slick_jax.data.tokenizer import Tokenizer  # noqa: E402
from slick_jax.knowledge.greedy import Asked, GreedyEvaluator  # noqa: E402
from slick_jax.knowledge.match import Golds, matcher  # noqa: E402
from slick_jax.mesh import make_mesh  # noqa: E402
from slick_jax.models.spec import ModelSpec  # noqa: E402
from slick_jax.models.transformer import Network  # noqa: E402
from slick_jax.models.weights import load_hf, read_spec, save_hf  # noqa: E402
from slick_jax.training.fine_tuning_data import Batch, Batches, render  # noqa: E402
from slick_jax.training.mixture_file import MixtureRow, read_mixture  # noqa: E402
from slick_jax.training.optimizer import make_optimizer  # noqa: E402
from slick_jax.training.step import TrainState, train_step  # noqa: E402

PASSES, BATCH, NEW_TOKENS = 3, 32, 8
SETTINGS = TrainConfig(batch_size=BATCH, dropout=0.0)
UNROLLED = 8  # layers up to which they are not scanned, as in configs/demo.py
SMOLLM2 = ModelSpec(
    vocab_size=49152, d_model=576, n_layers=30, n_heads=9, n_kv_heads=3, head_dim=64, d_mlp=1536, rope_theta=100000.0,
    tie_embeddings=True, max_position_embeddings=8192,
)  # fmt: skip


@dataclasses.dataclass
class Subject:
    """A model folder and the rows it is trained on and asked; `steps` updates make a pass."""

    name: str
    folder: Path
    rows: list[MixtureRow]
    steps: int

    def __post_init__(self):
        spec = read_spec(self.folder)
        self.network = Network(spec, scan_layers=spec.n_layers > UNROLLED)
        self.tokenizer = Tokenizer.from_folder(self.folder, spec.vocab_size)

    def cut(self, count: int | None) -> None:
        """Keep the first `count` rows whose answers end within NEW_TOKENS tokens."""
        pairs = target_tokens(Qa(self.tokenizer), [r.prompt for r in self.rows], [r.completion for r in self.rows])
        fits = [row for row, (_, target) in zip(self.rows, pairs, strict=True) if len(target) < NEW_TOKENS]
        self.rows = fits[:count]


@dataclasses.dataclass
class Line:
    """A line of the table: amounts per second of both sides, and how far their results agree."""

    model: str
    what: str
    ours: float
    theirs: float
    threads: int  # of the peer
    agreement: str


def race(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, int, object, object]:
    """Median seconds of both sides over PASSES in turns, the peer's threads, and what the first passes gave.

    The peer runs with one thread and with one per core; the faster median counts.
    """
    counts = sorted({1, len(os.sched_getaffinity(0))})
    results = ours(), theirs()  # warms up
    seconds: dict[int, list[float]] = {count: [] for count in (0, *counts)}
    for _ in range(PASSES):
        for count, taken in seconds.items():
            torch.set_num_threads(count or counts[-1])
            started = time.perf_counter()
            (theirs if count else ours)()
            taken.append(time.perf_counter() - started)
    medians = {count: statistics.median(taken) for count, taken in seconds.items()}
    best = min(counts, key=medians.get)
    return medians[0], medians[best], best, *results


def train(subject: Subject, mesh) -> Line:
    """Tokens per second of training steps."""
    network, settings = subject.network, SETTINGS
    positions = network.spec.max_position_embeddings
    where = str(subject.folder)
    rows = render(Qa(subject.tokenizer), subject.rows, max_target=32, max_positions=positions, where=where)
    dealt = Batches(rows, batch_size=BATCH, epochs=1, seed=0)
    batches = [next(dealt) for _ in range(min(subject.steps, dealt.per_epoch))]
    ours, theirs = our_training(subject, batches, mesh), their_training(subject, batches, settings)
    our_seconds, their_seconds, threads, our_loss, their_loss = race(ours, theirs)
    tokens = sum(batch.n_tokens for batch in batches)
    shapes = sorted({batch.rows.tokens.shape for batch in batches})
    print(f"{subject.name}: {len(batches)} steps a pass, {tokens} tokens, batches of {shapes}", file=sys.stderr)
    agreement = f"loss {our_loss:.4f} and {their_loss:.4f}"
    return Line(subject.name, "training, tokens/s", tokens / our_seconds, tokens / their_seconds, threads, agreement)


def our_training(subject: Subject, batches: Sequence[Batch], mesh) -> Callable[[], float]:
    """A pass of `train_step` over the batches; gives the loss before its last step."""
    network = subject.network
    optimizer = make_optimizer(SETTINGS, 1000, network.decay_mask())
    params = load_hf(subject.folder, network, mesh)
    state = TrainState(jnp.zeros((), jnp.int32), params, jax.jit(optimizer.init)(params))
    step = jax.jit(functools.partial(train_step, network, optimizer), donate_argnums=0)

    def run() -> float:
        nonlocal state
        for batch in batches:
            state, measured = step(state, batch.rows)
        jax.block_until_ready(state)
        return float(measured.loss)

    return run


def their_training(subject: Subject, batches: Sequence[Batch], settings: TrainConfig) -> Callable[[], float]:
    """The same pass with transformers and torch."""
    model = LlamaForCausalLM.from_pretrained(subject.folder, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.peak_lr, betas=(0.9, settings.b2), eps=settings.eps,
        weight_decay=settings.weight_decay, fused=True,
    )  # fmt: skip
    given = []
    for batch in batches:
        labels = np.full(batch.rows.tokens.shape, -100, np.int64)
        trained = np.nonzero(batch.rows.weights)
        labels[trained[0], batch.rows.positions[trained]] = batch.rows.targets[trained]
        given.append((torch.from_numpy(batch.rows.tokens).long(), torch.from_numpy(labels)))

    def run() -> float:
        for tokens, labels in given:
            # Labels that are shifted already: the same inputs as ours, without a last token that predicts nothing.
            loss = model(input_ids=tokens, labels=labels, shift_labels=labels, use_cache=False).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
        return float(loss.detach())

    return run


def evaluate(subject: Subject, mesh) -> Line:
    """Questions per second of greedy evaluation."""
    asked = [Asked(row.id, row.prompt, (row.answer,), row.relation) for row in subject.rows]
    annotate = AnnotateConfig()
    folder = subject.folder
    params = load_hf(folder, subject.network, mesh)
    groups = {"asked": asked}
    evaluator = GreedyEvaluator(subject.network, mesh, subject.tokenizer, groups, annotate, NEW_TOKENS, str(folder))
    our_seconds, their_seconds, threads, ours, theirs = race(
        lambda: evaluator(params, ["asked"])["asked"].hits[:, 1], their_evaluation(subject)
    )
    agreement = f"{int((ours != theirs).sum())} of {len(asked)} hits differ, {int(ours.sum())} right"
    rates = len(asked) / our_seconds, len(asked) / their_seconds
    return Line(subject.name, "evaluation, questions/s", *rates, threads, agreement)


def their_evaluation(subject: Subject) -> Callable[[], np.ndarray]:
    """`generate` over all rows; gives bool[N], hits under the squad rule."""
    tokenizer = subject.tokenizer
    model = LlamaForCausalLM.from_pretrained(subject.folder, dtype=torch.float32).eval()
    prompts = tokenizer.encode_batch([row.prompt for row in subject.rows])
    golds = [Golds((row.answer,), matcher("squad")) for row in subject.rows]
    stops = np.flatnonzero(tokenizer.is_stop).tolist()

    def hit(answer: list[int], gold: Golds) -> bool:
        end = next((place for place, token in enumerate(answer) if tokenizer.is_stop[token]), None)
        if end is None:
            return False
        data = b"".join(tokenizer.token_bytes[token] for token in answer[: end + 1]).split(b"\n")[0]
        return gold.match(data.decode("utf-8", "replace"))[1]

    @torch.inference_mode()
    def run() -> np.ndarray:
        found: list[bool] = []
        for start in range(0, len(prompts), BATCH):
            part = prompts[start : start + BATCH]
            width = max(map(len, part))
            tokens, mask = torch.full((len(part), width), stops[0]), torch.zeros((len(part), width), dtype=torch.long)
            for place, prompt in enumerate(part):
                tokens[place, width - len(prompt) :], mask[place, width - len(prompt) :] = torch.tensor(prompt), 1
            answers = model.generate(
                tokens, attention_mask=mask, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=stops,
                pad_token_id=stops[0],
            )[:, width:].tolist()  # fmt: skip
            found += map(hit, answers, golds[start : start + BATCH])
        return np.array(found)

    return run


def smollm2(folder: Path, rows: list[MixtureRow]) -> Subject | None:
    """Random weights in SmolLM2-135M's shape written to `folder`, or None where its tokenizer is absent."""
    data = Path(os.environ.get("SLICK_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    tokenizer = data / "tokenizers" / "smollm2" / "tokenizer.json.gz"
    if not tokenizer.is_file():
        print(f"SmolLM2's shape is skipped: no {tokenizer}; set SLICK_TEST_DATA to the folder that holds tokenizers/",
              file=sys.stderr)  # fmt: skip
        return None
    network = Network(SMOLLM2)
    save_hf(folder, network, network.init(jax.random.key(0)), extra_config={"bos_token_id": 0, "eos_token_id": 0})
    (folder / "tokenizer.json").write_bytes(gzip.decompress(tokenizer.read_bytes()))
    return Subject("SmolLM2-135M's shape", folder, rows, steps=1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="runs/demo/model", help="the demo's model folder")
    arguments.add_argument("--mixture", default="", help="fine-tuning rows (default: unknown_50 of the model's run)")
    chosen = arguments.parse_args()
    model = Path(chosen.model)
    rows = read_mixture(chosen.mixture or model.parent / "mixtures" / "unknown_50.jsonl")
    cores = len(os.sched_getaffinity(0))
    mesh = make_mesh(MeshConfig())
    logging.disable_progress_bar()
    print(f"{cores} cores, jax {jax.__version__}, torch {torch.__version__}\n")
    print("| model | what | ours | transformers | its threads | ratio | agreement |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder, jax.set_mesh(mesh):
        demo = Subject("demo", model, rows, steps=12)
        demo.cut(None)
        large = smollm2(Path(folder) / "smollm2", rows)
        if large is not None:
            large.cut(BATCH)
        for subject in filter(None, (demo, large)):
            for line in (measure(subject, mesh) for measure in (evaluate, train)):
                rates = f"{line.ours:,.1f} | {line.theirs:,.1f} | {line.threads} | {line.ours / line.theirs:.2f}"
                print(f"| {line.model} | {line.what} | {rates} | {line.agreement} |", flush=True)


if __name__ == "__main__":
    main()
