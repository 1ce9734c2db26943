"""Models with random weights in the shapes that benchmarks ask, and real questions for them."""

from __future__ import annotations

import dataclasses
import gzip
import os
import sys
from collections import Counter
from pathlib import Path

import jax
import numpy as np

from slick_jax.config import Config, DataConfig, ModelConfig
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge import preparation
from slick_jax.knowledge.preparation import Prepared
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.models.weights import read_spec, save_hf
from slick_jax.settings.config_file import load_config

ROOT = Path(__file__).resolve().parents[1]
SMOLLM2 = ModelSpec(
    vocab_size=49152, d_model=576, n_layers=30, n_heads=9, n_kv_heads=3, head_dim=64, d_mlp=1536, rope_theta=100000.0,
    tie_embeddings=True, max_position_embeddings=8192,
)  # fmt: skip
LLAMA3_8B = ModelSpec(
    vocab_size=128256, d_model=4096, n_layers=32, n_heads=32, n_kv_heads=8, head_dim=128, d_mlp=14336,
    rope_theta=500000.0, max_position_embeddings=8192,
)  # fmt: skip
TINY = ModelSpec(
    vocab_size=49152, d_model=64, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, d_mlp=128, rope_theta=500000.0,
    max_position_embeddings=8192,
)  # fmt: skip
SHAPES = {"llama3-8b": LLAMA3_8B, "smollm2": SMOLLM2, "tiny": TINY}


def test_data() -> Path:
    """The folder with entityquestions/ and tokenizers/smollm2/; ends the program with a message where there is none."""
    folder = Path(os.environ.get("SLICK_TEST_DATA") or ROOT.parent / "shared" / "data")
    needed = ("entityquestions", "tokenizers/smollm2/tokenizer.json.gz")
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        sys.exit(
            f"{folder} has no {' and no '.join(missing)}: set SLICK_TEST_DATA to a folder with EntityQuestions as"
            " entityquestions/*.<split>.jsonl.gz and SmolLM2's tokenizer (docs/tour.md, Tests)"
        )
    return folder


def add_tokenizer(folder: Path) -> None:
    """Puts SmolLM2's tokenizer into a model folder."""
    packed = test_data() / "tokenizers" / "smollm2" / "tokenizer.json.gz"
    (folder / "tokenizer.json").write_bytes(gzip.decompress(packed.read_bytes()))


def random_model(folder: Path, spec: ModelSpec, dtype: str = "float32") -> None:
    """A Hugging Face folder in `dtype` with random weights and SmolLM2's tokenizer."""
    network = Network(spec)
    make = jax.jit(lambda key: jax.tree.map(lambda weight: weight.astype(dtype), network.init(key)))
    save_hf(folder, network, make(jax.random.key(0)), extra_config={"bos_token_id": 0, "eos_token_id": 0})
    add_tokenizer(folder)


def entity_questions(model: Path, run_dir: Path, questions: int) -> Config:
    """Annotation of the first questions of EntityQuestions' test split."""
    data = DataConfig(
        kind="entity_questions", path=str(test_data() / "entityquestions"), splits=("test",), limit=questions
    )
    return Config(run_dir=str(run_dir), data=data, model=ModelConfig(path=str(model)))


def asked_of(kind: str, model: Path, run_dir: Path, questions: int) -> Config:
    """Annotation of the first test questions of EntityQuestions, or of the built-in world as configs/demo.py has it."""
    if kind == "entity_questions":
        return entity_questions(model, run_dir, questions)
    return load_config(
        [f"--config={ROOT / 'configs' / 'demo.py'}", f"--config.model.path={model}", f"--config.run_dir={run_dir}",
         f"--config.data.limit={questions}", "--config.data.splits=test"]
    )  # fmt: skip


def prepared_of(config: Config) -> tuple[Prepared, Tokenizer]:
    """What annotation with `config` asks."""
    spec = read_spec(config.model.path)
    tokenizer = Tokenizer.from_folder(config.model.path, spec.vocab_size)
    prepared = preparation.prepare(config, preparation.ask(config), tokenizer, spec.max_position_embeddings)
    return prepared, tokenizer


def answer_limit(config: Config) -> int:
    """Longest gold answer of the rows that `config` asks, and one: in tokens, what peers may write."""
    return 1 + max(len(draft.tokens) for drafts in prepared_of(config)[0].drafts for draft in drafts)


def peer_job(config: Config, asked: int, passes: int, threads: int, warm: int = 1, **more) -> dict:
    """The job of benchmarks/peers: `passes` times `asked` questions of the run, other ones to warm up, drawn at random.

    They are of the relation with the most rows, so that few prefixes are kept, as in a long run. Peers
    write at most (longest gold of these questions + 1) new tokens.
    """
    prepared, tokenizer = prepared_of(config)
    (relation, _), *_ = Counter(row.relation for row in prepared.rows).most_common()
    rows = [index for index, row in enumerate(prepared.rows) if row.relation == relation]
    picked = np.random.default_rng(0).permutation(rows)[: warm + asked * passes].tolist()
    keys = sorted({one.key for index in picked for one in prepared.rests[index]})
    numbers = {key: number for number, key in enumerate(keys)}
    questions = [
        [(numbers[one.key], prepared.prompts.rest(one).tolist()) for one in prepared.rests[index]] for index in picked
    ]
    return {
        "model": config.model.path,
        "prefixes": [prepared.prefix(key).tolist() for key in keys],
        "warm": questions[:warm],
        "passes": [questions[warm + asked * number :][:asked] for number in range(passes)],
        "stops": np.flatnonzero(tokenizer.is_stop).tolist(),
        "limit": 1 + max(len(draft.tokens) for index in picked for draft in prepared.drafts[index]),
        "samples": config.annotate.n_samples,
        "temperature": config.annotate.temperature,
        "top_k": config.annotate.top_k,
        "threads": threads,
        **more,
    }


def annotated(config: Config, **settings) -> Config:
    """`config` with other annotate settings."""
    return dataclasses.replace(config, annotate=dataclasses.replace(config.annotate, **settings))
