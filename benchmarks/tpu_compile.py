"""The annotate step compiled for TPUs where there is none: memory of a chip, and what the chips send each other.

    make tpu-compile        or, with the extra `tpu` installed: python benchmarks/tpu_compile.py [--write]

Nothing is run and no weight is made: libtpu compiles for a described topology. For every case the programs of
slick_jax/knowledge/forward.py are compiled as `slick annotate` calls them (16 samples behind 10 exemplar sets, parts of
8 relations, the largest calls) on the smallest group of chips that holds the model. --write puts the tables into
docs/performance.md. A few minutes on 2 CPU cores.
"""

import argparse
import collections
import dataclasses
import datetime
import importlib.metadata
import os
import re
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# No TPU is there to be asked; the kind of host only has to be some kind. Before jax is imported.
os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", TPU_WORKER_HOSTNAMES="localhost")
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # libtpu locks a TPU for its process; none is taken
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from slick_jax.collectives import Collective, collectives_of
from slick_jax.knowledge.batches import Lanes
from slick_jax.knowledge.engine import IN_FLIGHT
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.pools import FREE_SHARE, Pools, slots_for
from slick_jax.knowledge.shapes import LANE, Shapes, call_tokens, choose_shapes
from slick_jax.mesh import batch_sharding, batch_shards, make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- written by benchmarks/tpu_compile.py -->", "<!-- end -->"
GB = 1e9
HBM = {"v4": 32, "v5e": 16, "v5p": 95, "v6e": 32}  # GB of a chip (cloud.google.com/tpu/docs/system-architecture-tpu-vm)
_LLAMA_3 = {"vocab_size": 128256, "n_kv_heads": 8, "head_dim": 128, "rope_theta": 5e5, "max_position_embeddings": 8192}
MODELS = {
    "8b": ModelSpec(d_model=4096, n_layers=32, n_heads=32, d_mlp=14336, **_LLAMA_3),
    "70b": ModelSpec(d_model=8192, n_layers=80, n_heads=64, d_mlp=28672, **_LLAMA_3),
}
# Topology, model and (fsdp, tensor); None: the smallest group of chips that fits.
CASES = (
    ("v5e:2x4", "8b", None),
    ("v5e:2x4", "8b", (2, 1)),
    ("v5e:16x16", "70b", None),
    ("v5p:8x8x4", "70b", None),
)
SAMPLES, TOP_K = 16, 40
PREFIX, SLOTS = 96, 80  # tokens of a shared prefix; prefixes of a part: 10 exemplar sets of 8 relations
USUAL, QUESTION, PATH = 14, 32, 31  # tokens of most questions and of the longest one, and of an answer that is followed
PART = 256 * 10 * 16  # tokens of the first round of a part


@dataclasses.dataclass(frozen=True)
class Compiled:
    """One program: seconds of compilation, what the compiler says of its memory, FLOPs of a chip (a loop's body counted
    once), its collectives, and how it ranks."""

    name: str
    seconds: float
    memory: Any  # Compiled.memory_analysis()
    flops: float
    collectives: list[Collective]
    ranking: str


@dataclasses.dataclass(frozen=True)
class Step:
    """The programs of one mesh, compiled, and the bytes of a chip that weights, prefixes and the pools of questions
    under way take throughout."""

    mesh: Mesh
    shapes: Shapes
    programs: list[Compiled]
    weights: int
    bank: int
    pools: int
    states: int

    def needed(self, program: Compiled) -> int:
        """Bytes of a chip while a program runs, with what lies there but is not an argument of it."""
        own = program.memory.peak_memory_in_bytes - program.memory.argument_size_in_bytes
        return self.weights + self.bank + self.pools + self.states + own

    @property
    def most(self) -> int:
        """Bytes of a chip, at the most."""
        return max(map(self.needed, self.programs))


def compile_step(spec: ModelSpec, mesh: Mesh, tokens: int, hbm: float) -> Step:
    """Compiles all programs of `Device` on `mesh`. Raises JaxRuntimeError where one does not fit a chip of `hbm`
    bytes."""
    network = Network(spec, "bfloat16")
    params = network.abstract(mesh, jnp.bfloat16)
    program = Program(network, SAMPLES, TOP_K, TOP_K, spec.vocab_size)
    shards = batch_shards(mesh)
    tokens = tokens or call_tokens("tpu", PART, shards)
    shapes = choose_shapes([LANE], LANE, tokens, shards, questions=[*[USUAL] * 8, QUESTION], path=PATH)
    kept = slots_for(network, mesh, max(hbm - on_a_chip(params), 0) / FREE_SHARE, IN_FLIGHT, PART, shapes)
    pools = Pools(network, mesh, kept) if kept else None
    program = dataclasses.replace(program, keeps=kept > 0)
    device = Device(program, params, mesh, seed=0, temperature=0.5, prefix_length=PREFIX, pools=pools)
    lanes, length, positions = shapes.lanes(LANE)[0], LANE, shapes.positions
    slots = -(-SLOTS // shards) * shards

    def batch(dtype, *sizes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, dtype, sharding=batch_sharding(mesh, len(sizes)))

    def small(array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(array), np.asarray(array).dtype)

    prompts = batch(jnp.int32, slots, PREFIX), batch(jnp.int32, slots)
    lane = batch(jnp.int32, lanes, length)
    judged = [batch(dtype, shards, positions, *more) for dtype, more in ((jnp.int32, ()), (jnp.uint32, (3,)))]
    found = []

    def compiled(name: str, function, *arguments) -> jax.stages.Compiled:
        start = time.perf_counter()
        done = function.lower(*arguments).compile()
        seconds, text = time.perf_counter() - start, done.as_text()
        flops = (done.cost_analysis() or {}).get("flops", 0.0)
        found.append(Compiled(name, seconds, done.memory_analysis(), flops, collectives_of(text, mesh), ranking(text)))
        return done

    with jax.set_mesh(mesh):
        bank = jax.tree.map(
            lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding),
            jax.eval_shape(network.prefix, params, *prompts), device.bank_sharding,
        )  # fmt: skip
        compiled("prefix", device._prefix, params, *prompts)
        fresh = Lanes(batch(jnp.int32, lanes), lane, lane, lane)
        states = compiled("states", device._states, params, bank, fresh)
        if pools:
            calls = [(shapes.lanes(length)[0], length, seen) for length, seen in shapes.behind]
            count, length_behind, seen = max(calls, key=lambda call: call[0] * (PREFIX + call[2]))
            later = batch(jnp.int32, count, length_behind)
            behind = Lanes(batch(jnp.int32, count), later, later, later, batch(jnp.int32, count, seen), later, later)
            compiled("states of later rounds", device._states, params, bank, behind, pools.abstract)
            forwarded = jax.tree.map(
                lambda out, sharding: jax.ShapeDtypeStruct(out.shape, out.dtype, sharding=sharding),
                jax.eval_shape(device._states, params, bank, fresh)[1], states.output_shardings[1],
            )  # fmt: skip
            keep = compiled("keep", device._keep, pools.abstract, forwarded, small(np.int32(0)))
            if keep.memory_analysis().alias_size_in_bytes < on_a_chip(pools.abstract):
                raise SystemExit("the pool is copied when it is written")
        sharding = states.output_shardings[0]
        given = jax.ShapeDtypeStruct((lanes, length, spec.d_model), jnp.bfloat16, sharding=sharding)
        where = compiled("judged", device._judged, given, judged[0])
        taken = jax.ShapeDtypeStruct((shards, positions, spec.d_model), jnp.bfloat16, sharding=where.output_shardings)
        compiled(
            "decide", device._decide, params, taken, *judged, judged[0], small(device.key), small(device.temperature)
        )
    held = IN_FLIGHT * on_a_chip(pools.abstract) if pools else 0
    return Step(mesh, shapes, found, on_a_chip(params), on_a_chip(bank), held, on_a_chip(given))


def on_a_chip(tree) -> int:
    """Bytes that arrays of these shapes and shardings take on one chip."""
    return sum(
        np.prod(leaf.sharding.shard_shape(leaf.shape), dtype=int) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def ranking(text: str) -> str:
    """How a compiled program ranks: its calls of the TPU's top k, and what it sorts."""
    calls = re.findall(r"= (\(.*?\)) custom-call\(.*custom_call_target=\"TopK\"", text)
    sorts = re.findall(r"= (\(.*?\)|\S+) sort\(", text)
    kinds = [("TopK", calls), ("sort", sorts)]
    return ", ".join(
        f"{name} {re.search(r'[a-z]+[0-9]+.[0-9,]*.', shape).group()}" for name, found in kinds for shape in found
    )


def groups(spec: ModelSpec, chips: int, hbm: float) -> Iterator[tuple[int, int]]:
    """(fsdp, tensor) of the groups of chips whose share of the weights is below their memory: small groups first, in
    each as much `tensor` as the kv heads allow."""
    weights = sum(leaf.size * 2 for leaf in jax.tree.leaves(Network(spec).abstract()))
    for group in (2**power for power in range(chips.bit_length())):
        if weights / group < hbm and chips % group == 0:
            for tensor in (2**power for power in reversed(range(group.bit_length()))):
                if spec.n_kv_heads % tensor == 0:
                    yield group // tensor, tensor


def case(topology: str, model: str, tokens: int, sizes: tuple[int, int] | None) -> Iterator[str]:
    """Lines of Markdown on one topology: the smallest group that fits, or the mesh that was asked for."""
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    spec, hbm = MODELS[model], HBM[topology.partition(":")[0]]
    asked = f", fsdp {sizes[0]} x tensor {sizes[1]}" if sizes else ""
    yield f"### Llama-3-{model.upper()} on {topology}, {len(devices)} chips of {hbm} GB{asked}"
    yield ""
    for fsdp, tensor in [sizes] if sizes else groups(spec, len(devices), hbm * GB):
        mesh = make_mesh(types.SimpleNamespace(data=-1, fsdp=fsdp, tensor=tensor), devices)
        name = f"fsdp {fsdp} x tensor {tensor}"
        try:
            step = compile_step(spec, mesh, tokens, hbm * GB)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            yield f"- {name} does not fit: the compiler gives up ({str(error).splitlines()[0][:200]})"
            continue
        if step.most <= hbm * GB or sizes:
            fits = "fits" if step.most <= hbm * GB else "does not fit"
            yield f"- {name} {fits}: {step.most / GB:.1f} of {hbm} GB at the most; data {mesh.shape['data']}"
            yield ""
            yield from tables(step)
            return
        yield f"- {name} does not fit: {step.most / GB:.1f} of {hbm} GB"
    yield "- no mesh fits"


def tables(step: Step) -> Iterator[str]:
    """What was compiled, as Markdown."""
    shapes, shards = step.shapes, step.shapes.shards
    yield (
        f"On every chip: weights {step.weights / GB:.2f} GB, prefixes {step.bank / GB:.2f} GB, kept questions"
        f" {step.pools / GB:.2f} GB. A call: {shards} shards,"
        f" each {shapes.lanes(LANE)[0] // shards} lanes of {LANE} tokens and {shapes.positions} judged positions."
    )
    yield from (
        "",
        "| program | compiled in s | arguments GB | outputs GB | temporaries GB | peak GB | with all that lies there GB"
        " | TFLOP | ranks by |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    )
    for one in step.programs:
        memory = one.memory
        sizes = (
            memory.argument_size_in_bytes, memory.output_size_in_bytes, memory.temp_size_in_bytes,
            memory.peak_memory_in_bytes, step.needed(one),
        )  # fmt: skip
        cells = " | ".join(f"{size / GB:.2f}" for size in sizes)
        yield f"| {one.name} | {one.seconds:.1f} | {cells} | {one.flops / 1e12:.3g} | {one.ranking or '-'} |"
    yield from (
        "",
        "| program | collective | along | what a chip gets | MB | times | overlapped | GB a call |",
        "| --- | --- | --- | --- | ---: | ---: | --- | ---: |",
    )
    for program in step.programs:
        for one, count in collections.Counter(
            dataclasses.replace(one, operation="") for one in program.collectives
        ).items():
            times = one.times * count
            yield (
                f"| {program.name} | {one.kind} | {' x '.join(one.axes)} | `{one.shape}` | {one.bytes / 1e6:,.3g} |"
                f" {times} | {'yes' if one.overlapped else 'no'} | {times * one.bytes / GB:.3g} |"
            )
    yield ""


def main() -> None:
    """Prints the tables of every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", help="one case of your own, with --model: v5e:4x4, v5p:4x4x8, v6e:8x8 ...")
    parser.add_argument("--model", choices=MODELS, default="8b")
    parser.add_argument("--fsdp", type=int, help="with --tensor: this mesh, in place of the smallest group that fits")
    parser.add_argument("--tensor", type=int)
    parser.add_argument("--tokens", type=int, default=0, help="of a large call, per shard; 0: as slick annotate does")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    asked = parser.parse_args()
    if (asked.fsdp is None) != (asked.tensor is None) or (asked.fsdp and not asked.topology):
        parser.error("--fsdp and --tensor go together, with --topology")
    sizes = asked.fsdp and (asked.fsdp, asked.tensor)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "libtpu"))
    report = [f"{datetime.date.today()}, {versions}; seconds of compilation on {os.cpu_count()} CPU cores.", ""]
    for topology, model, mesh in [(asked.topology, asked.model, sizes)] if asked.topology else CASES:
        lines = list(case(topology, model, asked.tokens, mesh))
        print("\n".join(lines), flush=True)
        report += lines
    if asked.write:
        text = PAGE.read_text()
        before, _, rest = text.partition(BEGIN)
        PAGE.write_text(before + "\n".join([BEGIN, "", *report, END]) + rest.partition(END)[2])


if __name__ == "__main__":
    main()
