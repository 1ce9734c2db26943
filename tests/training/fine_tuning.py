"""A tiny untrained checkpoint and rows to fine-tune it on, for tests of the training loop."""

import dataclasses
import functools
import json

import jax

from slick_jax.categories import CATEGORIES
from slick_jax.config import AnnotateConfig, Config, CorpusConfig, DataConfig, ModelConfig, TrainConfig, WorldConfig
from slick_jax.data.corpus_tokens import train_tokenizer
from slick_jax.data.examples import to_jsonl
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.data.world import make_world
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.models.weights import save_hf

RUN = "train/mixed/seed-0"  # the run of SETTINGS, below its run_dir
N = 44  # training rows: five batches of 8 and a short one
SETTINGS = TrainConfig(
    variant="mixed",
    epochs=4,
    batch_size=8,
    peak_lr=3e-3,
    warmup_steps=3,
    dropout=0.1,
    accumulate=1,
    max_target_tokens=9,
)


@functools.cache
def world():
    return make_world(
        WorldConfig(facts_per_relation=60, relations=2, ood_facts_per_relation=30, ood_relations=1),
        CorpusConfig(median_exposures=3),
    )


def make_folder(folder):
    """<folder>/model, rows.jsonl and dev.jsonl."""
    tokenizer = train_tokenizer(world(), 500)
    tokenizer.save(folder / "base")
    spec = ModelSpec(
        vocab_size=tokenizer.size, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_mlp=64,
        max_position_embeddings=96,
    )  # fmt: skip
    (eos,) = tokenizer.eos_ids
    network = Network(spec, scan_layers=False)
    params = network.init(jax.random.key(1))
    save_hf(
        folder / "model", network, params, tokenizer_folder=folder / "base",
        extra_config={"bos_token_id": eos, "eos_token_id": eos},
    )  # fmt: skip
    (folder / "rows.jsonl").write_text(to_jsonl(world().splits["train"]))
    (folder / "dev.jsonl").write_text(to_jsonl(world().splits["dev"]))
    return folder


def mixture_rows(n=N):
    """Mixture rows as `slick mix` writes them, categories in turn."""
    return [
        {
            "id": row.id, "relation": row.relation, "category": CATEGORIES[place % 4], "question": row.question,
            "answer": row.answers[0], "prompt": fine_tuning_prompt(row.question), "completion": row.answers[0],
        }
        for place, row in enumerate(world().splits["train"][:n])
    ]  # fmt: skip


def write_mixture(run_dir, rows=None, name="mixed"):
    path = run_dir / "mixtures" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in (mixture_rows() if rows is None else rows)))
    return path


def config_for(folder, run_dir, **settings):
    """A config of a run in `run_dir`, with its mixture written."""
    write_mixture(run_dir)
    return Config(
        run_dir=str(run_dir),
        data=DataConfig(path=str(folder / "rows.jsonl"), dev_path=str(folder / "dev.jsonl")),
        model=ModelConfig(path=str(folder / "model"), scan_layers=False),
        annotate=AnnotateConfig(batch_tokens=512),
        train=dataclasses.replace(SETTINGS, **settings),
    )


def tokenizer_of(folder):
    return Tokenizer.from_folder(folder / "model")
