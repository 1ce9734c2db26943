"""The stages of `slick longform`, in counts of tokens: texts, beliefs, training and answers.

Texts are taken to be as long as they may be, so hours are an upper bound; decoding is bound by reading the weights.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from slick_jax.config import Config
from slick_jax.longform.records import SPLITS
from slick_jax.longform.rooms import OWN
from slick_jax.longform.sources import read_domains
from slick_jax.mesh import batch_shards, sharding_for
from slick_jax.models.flops import forward_flops
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.programs import on_a_device
from slick_jax.planning.rows import TrainingRows
from slick_jax.planning.stages import SHAPES, Stage, train_stage
from slick_jax.planning.target import Target
from slick_jax.settings.longform_rules import stems

PROMPT = 64  # tokens of an entity's prompt
CLAIM = 20  # tokens of a claim; texts have as many claims as fit
CACHES = 1.25  # a row's cache is enlarged fourfold: for a moment the old one, a quarter of it, lies beside the new


@dataclasses.dataclass(frozen=True)
class Texts:
    """Entities by split, the names of their domains, and where the figures are from."""

    sizes: dict[str, int]
    domains: Sequence[str]
    told: str

    def of(self, splits: Iterable[str]) -> int:
        """Entities of these splits."""
        return sum(self.sizes[name] for name in splits)


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
    write, runs, domains = longform.write, longform.runs(texts.domains), len(texts.domains)
    told = f"{texts.told}; texts of longform.write.max_tokens={write.max_tokens} assumed"
    resamples = longform.resamples if "consistency" in longform.scorers else 0
    drawn = {"gold": 1, "generated": longform.samples, "resampled": resamples}
    made = {source: number * texts.of(OWN[source]) for source, number in drawn.items()}
    samples = [made[source] // domains for source in ("generated", "resampled")] * domains
    writing = _writing(spec, config, target, samples, write.max_tokens, "texts", told)
    # The claims of references and samples are read by the scorers; those of resampled texts are only looked up.
    passes = bool({"probe", "logprob"} & {*longform.scorers}) + ("p_true" in longform.scorers)
    tokens = (made["gold"] + made["generated"]) * write.max_tokens
    row = PROMPT + write.max_tokens
    flops = passes * sum(forward_flops(spec, tokens * 1.5, tokens * 1.5 * row / 2, tokens / CLAIM).values())
    calls = tokens / (write.rows * row)
    params, fsdp = writing.memory["parameters"], target.mesh.shape["fsdp"]
    beliefs = dataclasses.replace(
        writing, name="beliefs", flops=flops, calls=calls, moved=calls * params * fsdp,
        received=collections.Counter({("fsdp",): calls * params * (fsdp - 1)}),
        told=f"a claim of {CLAIM} tokens, read {passes} times, assumed",
    )  # fmt: skip
    per_run = max(texts.sizes["train"] // domains, 1)
    length = min(row, PROMPT + config.train.max_target_tokens)
    steps = -(-per_run // config.train.batch_size)
    rows = TrainingRows(per_run, steps, length, length, length - PROMPT, 0, 0, 0, "")
    about = f"{per_run} texts a run, {len(runs)} runs"
    trained = train_stage(spec, config, target, rows, mesh).times("fine-tuning", len(runs), about)
    models = domains + sum(len(longform.about(run, texts.domains)) for run in runs)  # each about a domain; BASE in all
    answered = [texts.sizes["test"] // domains] * models
    told = f"{models} models and domains; {told}"
    return [writing, beliefs, trained, _writing(spec, config, target, answered, write.max_tokens, "answers", told)]


def _writing(
    spec: ModelSpec, config: Config, target: Target, batches: Sequence[int], length: int, name: str, told: str
) -> Stage:
    """Texts written token by token, `longform.write.rows` of a batch at a time; batches: texts of each."""
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
    texts = sum(batches)
    steps = sum(-(-size // config.longform.write.rows) for size in batches) * length
    tokens = texts * (PROMPT + length)
    flops = sum(forward_flops(spec, tokens, tokens * (PROMPT + length) / 2, texts * length).values())
    received = collections.Counter({("fsdp",): steps * params * (mesh.shape["fsdp"] - 1)})
    moved = steps * (params * mesh.shape["fsdp"] + cache / 2)
    return Stage(name, memory, sum(memory.values()), SHAPES, flops, moved, received, steps, told)
