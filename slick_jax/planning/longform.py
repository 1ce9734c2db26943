"""The stages of `slick longform`, in counts of tokens: texts, beliefs, training and answers.

Texts are taken to be as long as they may be, so hours are an upper bound; decoding is bound by reading the weights.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from slick_jax.config import Config
from slick_jax.config_rules_longform import stems
from slick_jax.longform.records import SPLITS
from slick_jax.longform.sources import read_domains
from slick_jax.mesh import batch_shards, sharding_for
from slick_jax.models.flops import forward_flops
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.programs import on_a_device
from slick_jax.planning.rows import TrainingRows
from slick_jax.planning.stages import SHAPES, Stage, train_stage
from slick_jax.planning.target import Target

PROMPT = 64  # tokens of an entity's prompt
CLAIM = 20  # tokens of a claim; texts have as many claims as fit
PASSES = 3  # of a claim: probe and log-probability, P(True), and the verifier
CACHES = 1.25  # a row's cache is enlarged fourfold: for a moment the old one, a quarter of it, lies beside the new


@dataclasses.dataclass(frozen=True)
class Texts:
    """Entities by split, the names of their domains, and where the figures are from."""

    sizes: dict[str, int]
    domains: Sequence[str]
    told: str

    @property
    def count(self) -> int:
        """Entities of all splits."""
        return sum(self.sizes.values())


def texts_of(config: Config) -> Texts:
    """The entities of `config.longform`: built-in ones, counted in the user's files, or `plan.rows` dealt to splits."""
    longform, own = config.longform, config.longform.own
    if longform.built_in:
        names = longform.domains.names
        sizes = {split: getattr(longform.domains, split) * len(names) for split in SPLITS}
        return Texts(sizes, names, "built-in domains")
    if not all(Path(path).exists() for path in own.paths):
        sizes = {split: round(config.plan.rows * share) for split, share in zip(SPLITS, own.shares, strict=True)}
        return Texts(sizes, stems(own), f"no data: {config.plan.rows:,} entities (plan.rows) assumed")
    found = read_domains(own)
    sizes = collections.Counter(entity.split for entities in found.values() for entity in entities)
    return Texts({split: sizes[split] for split in SPLITS}, tuple(found), "entities counted")


def longform_stages(spec: ModelSpec, config: Config, target: Target, mesh: object) -> list[Stage]:
    """Writing, beliefs, fine-tuning of every arm, and answers."""
    longform, texts = config.longform, texts_of(config)
    write, runs, domains = longform.write, len(longform.runs(texts.domains)), len(texts.domains)
    resamples = longform.resamples if "consistency" in longform.scorers else 0
    told = f"{texts.told}; texts of longform.write.max_tokens={write.max_tokens} assumed"
    samples = texts.count * (longform.samples + resamples)
    writing = _writing(spec, config, target, samples, write.max_tokens, "texts", told)
    tokens = texts.count * (2 + resamples) * write.max_tokens
    row = PROMPT + write.max_tokens
    flops = PASSES * sum(forward_flops(spec, tokens * 1.5, tokens * 1.5 * row / 2, tokens / CLAIM).values())
    calls = tokens / (write.rows * row)
    params, fsdp = writing.memory["parameters"], target.mesh.shape["fsdp"]
    beliefs = dataclasses.replace(
        writing, name="beliefs", flops=flops, calls=calls, moved=calls * params * fsdp,
        received=collections.Counter({("fsdp",): calls * params * (fsdp - 1)}),
        told=f"a claim of {CLAIM} tokens, read {PASSES} times, assumed",
    )  # fmt: skip
    per_run = max(texts.sizes["train"] // domains, 1)
    length = min(row, PROMPT + config.train.max_target_tokens)
    rows = TrainingRows(per_run, 1, length, length, length - PROMPT, 0, 0, f"{per_run} texts a run, {runs} runs")
    trained = train_stage(spec, config, target, rows, mesh).times("fine-tuning", runs, rows.told)
    answered = (runs + domains) * texts.sizes["test"] // domains
    return [writing, beliefs, trained, _writing(spec, config, target, answered, write.max_tokens, "answers", told)]


def _writing(
    spec: ModelSpec, config: Config, target: Target, texts: int, length: int, name: str, told: str
) -> Stage:
    """Texts written token by token, `longform.write.rows` at a time."""
    model, mesh = config.model, target.mesh
    network = Network(spec, model.dtype, model.precision, model.scan_layers)
    dtype = jnp.dtype(model.dtype)
    params = on_a_device(network.abstract(mesh, jnp.float32 if name == "answers" else dtype))  # of checkpoints: float32
    rows = max(config.longform.write.rows // batch_shards(mesh), 1)
    shape = (spec.n_layers, batch_shards(mesh), rows, spec.n_kv_heads, PROMPT + length, spec.head_dim)
    place = sharding_for(mesh, (None, "batch", None, "kv_heads", None, None), shape)
    cache = 2 * on_a_device(jax.ShapeDtypeStruct(shape, dtype, sharding=place))
    memory = {
        "parameters": params,
        "caches of texts": cache * CACHES,
        "working space": min(rows, 1024) * spec.vocab_size * 4 * 2 / mesh.shape["tensor"],
    }
    steps = -(-texts // config.longform.write.rows) * length
    tokens = texts * (PROMPT + length)
    flops = sum(forward_flops(spec, tokens, tokens * (PROMPT + length) / 2, texts * length).values())
    received = collections.Counter({("fsdp",): steps * params * (mesh.shape["fsdp"] - 1)})
    moved = steps * (params * mesh.shape["fsdp"] + cache / 2)
    return Stage(name, memory, sum(memory.values()), SHAPES, flops, moved, received, steps, told)
