"""The stages of a plan: what each needs of a device, what it computes, moves and receives, and how long that takes."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

from slick_jax.config import Config
from slick_jax.knowledge.shapes import call_tokens
from slick_jax.mesh import batch_shards
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.annotating import Annotation, annotation, compile_programs
from slick_jax.planning.devices import Kind
from slick_jax.planning.programs import Compiled, link_seconds, on_a_device
from slick_jax.planning.questions import Questions
from slick_jax.planning.rows import Runs, TrainingRows
from slick_jax.planning.target import Target, team_mesh
from slick_jax.planning.training import Training, compile_step, traffic, training
from slick_jax.training import adapters

SHAPES = "arithmetic on shapes"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage on the devices of the target.

    memory: bytes of a device by what they hold; peak: of all of it at once; source: how the peak was found; flops: of
    the whole stage, all devices; moved: bytes a device reads and writes; received: bytes it gets from others, by axes
    of the mesh; calls: device programs of the largest kind, or steps; told: what was counted or assumed; programs:
    compiled ones; spare: bytes of the peak that a run takes only where they are free; refused: whether the compiler
    finds no room for the programs; mesh: of a team, where teams work apart (else that of the target); load: how much
    longer the busiest team works than if all did alike; calls, moved and received are those of its devices.
    """

    name: str
    memory: Mapping[str, float]
    peak: float
    source: str
    flops: float
    moved: float
    received: collections.Counter
    calls: float
    told: str
    programs: Sequence[Compiled] = ()
    spare: float = 0.0
    refused: bool = False
    mesh: AbstractMesh | None = None
    load: float = 1.0

    def seconds(self, kind: Kind, target: Target, config: Config) -> dict[str, float]:
        """The least time of the whole stage on as many devices of `kind`, by what bounds it."""
        rate = kind.rate(config.model.dtype, config.model.precision) * config.plan.utilisation
        return {
            "arithmetic": self.flops * self.load / (rate * target.count),
            "memory": self.moved / kind.bandwidth,
            "links": link_seconds(self.received, kind, self.mesh or target.mesh),
        }

    def times(self, name: str, times: float, told: str) -> Stage:
        """The same, so many times over."""
        received = collections.Counter({axes: size * times for axes, size in self.received.items()})
        return dataclasses.replace(
            self, name=name, flops=self.flops * times, moved=self.moved * times, received=received,
            calls=self.calls * times, told=told,
        )  # fmt: skip


def annotate_stage(
    spec: ModelSpec, config: Config, target: Target, questions: Questions, mesh: Mesh | str | None
) -> Stage:
    """`slick annotate`: its teams, which share the parts out, each on a mesh of its own. `mesh`: of all devices, to
    compile for; a text or None where nothing is compiled, and why.

    Host devices that stand for GPUs tell which collectives there are, not their size or the memory: the host's compiler
    holds bfloat16 as float32. Those figures stay the ones from shapes.
    """
    team, busiest = target.team, questions.dealt(target.teams)
    shards = batch_shards(team)
    tokens = config.annotate.batch_tokens or call_tokens(target.kind.platform, questions.part_tokens, shards)
    found = annotation(spec, config, team, questions, tokens, target.usable)
    memory = dict(found.memory)
    memory["working space"] = _working(found, tokens, memory["caches of prefixes"])
    calls = busiest.tokens / (tokens * shards)
    moved = calls * (on_a_device(found.params) * team.shape["fsdp"] + 2 * memory["states of a call"])
    received = collections.Counter({axes: size * calls for axes, size in _call_traffic(found, tokens).items()})
    flops = questions.flops(spec)
    stage = Stage(
        "annotate", memory, sum(memory.values()), SHAPES, flops, moved, received, calls,
        questions.told + _dealt(target, questions, busiest),
        spare=memory["caches of questions"] if config.annotate.kept_gib is None else 0,
        mesh=team, load=busiest.flops(spec) * target.teams / flops,
    )  # fmt: skip
    if mesh is None or isinstance(mesh, str):
        return stage
    real = annotation(spec, config, team_mesh(target, mesh), questions, tokens, target.usable)
    try:
        programs = compile_programs(real)
    except jax.errors.JaxRuntimeError as error:
        return _too_large(stage, target, error)
    if target.kind.platform == "gpu":
        return dataclasses.replace(stage, programs=programs)
    judged = busiest.judged / (found.shapes.positions * shards)
    banks = max(busiest.prefixes / (questions.bank_slots * questions.prefix_length), 1)
    if not any(one.unread for one in programs):
        received = collections.Counter()
        for name, times in (("states", calls), ("decide", judged), ("prefix", banks)):
            one = next(one for one in programs if one.name == name)
            received.update({axes: size * times for axes, size in one.received().items()})
    peak = max(map(real.needed, programs))
    memory["working space"] = peak - sum(real.memory.values())
    return dataclasses.replace(
        stage, memory=memory, peak=peak, source=f"compiled for {target.compiled_for(team.size)}", received=received,
        programs=programs,
    )  # fmt: skip


def _dealt(target: Target, questions: Questions, busiest: Questions) -> str:
    """In words, how the parts are shared out."""
    if target.teams == 1:
        return ""
    mesh = " x ".join(f"{name} {size}" for name, size in target.team.shape.items())
    return f"; {questions.parts:,} parts for {target.teams} teams of mesh {mesh}, {busiest.parts:,} at most for one"


def train_stage(
    spec: ModelSpec, config: Config, target: Target, rows: TrainingRows, mesh: Mesh | str | None
) -> Stage:
    """One run of `slick train`, with its questions after epochs. `mesh` as of `annotate_stage`."""
    found = _training(spec, config, target.mesh, rows)
    steps = config.train.epochs * rows.steps
    received = collections.Counter({axes: size * steps for axes, size in traffic(found).items()})
    stage = Stage(
        "train", found.memory, sum(found.memory.values()), SHAPES, _train_flops(found, rows), steps * found.moved,
        received, steps, rows.told,
    )  # fmt: skip
    if mesh is None or isinstance(mesh, str):
        return stage
    try:
        program = compile_step(_training(spec, config, mesh, rows))
    except jax.errors.JaxRuntimeError as error:
        return _too_large(stage, target, error)
    if not program.unread:
        received = collections.Counter({axes: size * steps for axes, size in program.received().items()})
    if target.kind.platform == "gpu":
        return dataclasses.replace(stage, programs=[program])
    peak = found.held + program.own
    memory = {name: found.memory[name] for name in found.memory if name in _HELD}
    memory["gradients, activations and working space"] = peak - sum(memory.values())
    return dataclasses.replace(
        stage, memory=memory, peak=peak, source=f"compiled for {target.compiled_for(target.count)}", received=received,
        programs=[program],
    )  # fmt: skip


def study_stage(spec: ModelSpec, config: Config, target: Target, runs: Runs, train: Stage) -> Stage:
    """All runs of `slick study`, each of them as `train` but with its own rows."""
    rows, seeds = runs.study, len(config.study.seeds)
    if (rows.longest, rows.targets) != (runs.train.longest, runs.train.targets):  # that of a mixture of its own
        train = train_stage(spec, config, target, rows, None)
    source = "the rest as of `train`" if rows.told == runs.train.told else rows.told
    told = f"{runs.variants} mixtures x {seeds} seeds, {rows.count:,} rows in an epoch of all mixtures; {source}"
    flops = seeds * _train_flops(_training(spec, config, target.mesh, rows), rows)
    many = train.times("study", seeds * config.train.epochs * rows.steps / train.calls, told)
    return dataclasses.replace(many, flops=flops, programs=())


def _training(spec: ModelSpec, config: Config, mesh: Mesh | AbstractMesh, rows: TrainingRows) -> Training:
    settings, model = config.train, config.model
    lora = adapters.lora_spec(settings.lora, spec)
    network = Network(spec, model.dtype, model.precision, model.scan_layers, lora=lora, remat=settings.remat)
    return training(network, settings, mesh, rows.longest, rows.targets)


def _train_flops(found: Training, rows: TrainingRows) -> float:
    """FLOPs of all epochs, and of the questions asked."""
    count = found.settings.epochs * rows.count
    asked = found.asking(rows.asked * rows.asked_tokens, rows.asked_tokens, rows.asked * rows.judged)
    return found.flops(count * rows.length, rows.length, count * rows.targets) + asked


_HELD = ("parameters", "frozen parameters", "optimizer state")


def _too_large(stage: Stage, target: Target, error: Exception) -> Stage:
    """The stage whose programs do not fit the devices of a topology."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    why = f"the compiler gives up for {target.topology} ({str(error).splitlines()[0][:160]}); figures from shapes"
    return dataclasses.replace(stage, source=why, refused=True)


def _working(found: Annotation, tokens: int, bank: float) -> float:
    """Bytes of a device that the largest call takes besides what lies there: the widest product of a layer, its
    attention scores, the scores of the vocabulary, or the next prefixes beside those in use; and gathered weights."""
    spec, tensor = found.network.spec, found.mesh.shape["tensor"]
    widest = max(3 * spec.d_mlp // tensor, 4 * spec.d_model) * jnp.dtype(found.network.dtype).itemsize
    seen = max(found.device.prefix_length + slots + length for length, slots in found.shapes.sizes)
    attention = 2 * seen * max(spec.n_heads // tensor, 1) * 4
    scores = 2 * found.shapes.positions * spec.vocab_size * 4 // tensor
    return max(tokens * widest, tokens * attention, scores, 2 * bank) + _gathered(found)


def _gathered(found: Annotation) -> int:
    """Bytes of the largest layer weight and of the embedding, whole, where fsdp cuts them."""
    fsdp = found.mesh.shape["fsdp"]
    if fsdp == 1:
        return 0
    layers = found.params["layers"]
    sizes = [on_a_device(leaf) // leaf.shape[0] for leaf in jax.tree.leaves(layers)]
    return fsdp * (2 * max(sizes) + on_a_device(found.params["embedding"]))


def _call_traffic(found: Annotation, tokens: int) -> collections.Counter:
    """Bytes that a device receives in a large call, from shapes: weights gathered, activations summed."""
    fsdp, tensor = found.mesh.shape["fsdp"], found.mesh.shape["tensor"]
    spec, item = found.network.spec, jnp.dtype(found.network.dtype).itemsize
    sums = 2 * 2 * spec.n_layers * tokens * spec.d_model * item * (tensor - 1) / tensor
    return collections.Counter({("fsdp",): on_a_device(found.params) * (fsdp - 1), ("tensor",): sums})
