"""The annotate programs and the training step compiled for TPUs where there is none: memory of a chip, and what the
chips send each other.

    make tpu-compile        or, with the extra `tpu` installed: python benchmarks/tpu_compile.py [--write]

Nothing is run and no weight is made: libtpu compiles for a described topology, through slick_jax/planning. For every
annotate case the programs of slick_jax/knowledge/forward.py are compiled as `slick annotate` calls them (16 samples
behind 10 exemplar sets, parts of 8 relations, the largest calls) on the smallest group of chips that holds the model;
for every training case the step of `slick train`. --write puts the tables into docs/performance.md. About 12 minutes on
2 CPU cores.
"""

import argparse
import collections
import dataclasses
import datetime
import importlib.metadata
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from slick_jax.config import AnnotateConfig, Config, MeshConfig, ModelConfig, TrainConfig
from slick_jax.knowledge.shapes import LANE, call_tokens
from slick_jax.mesh import batch_shards, make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.annotating import Annotation, annotation, compile_programs
from slick_jax.planning.devices import read_topology
from slick_jax.planning.programs import Compiled
from slick_jax.planning.questions import Questions
from slick_jax.planning.target import tpu_devices
from slick_jax.planning.training import Training, compile_step, training

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- written by benchmarks/tpu_compile.py -->", "<!-- end -->"
GB = 1e9
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
# Topology and settings of a training step of the 8b, cut over fsdp: 128 rows of 32 tokens, 12 of them trained.
TRAINING = (
    ("v5e:2x4", TrainConfig(optimizer="adafactor", remat="full")),
    ("v5p:2x2x2", TrainConfig()),
)
ROW, TARGETS = 32, 12
MODEL = ModelConfig(dtype="bfloat16", precision="default")
PART = 256 * 10 * 16  # tokens of the first round of a part
# A part of 256 questions of 14 tokens, the longest of 32, behind 10 exemplar sets of 8 relations of 96 tokens.
QUESTIONS = Questions(768, 3, 10, 3 * PART, 768 * 10 * 4, 80 * 96, 96, 80, PART, 31, "as in docs/performance.md")


def case(topology: str, model: str, tokens: int, sizes: tuple[int, int] | None) -> Iterator[str]:
    """Lines of Markdown on one topology: the smallest group that fits, or the mesh that was asked for."""
    spec, devices, kind = MODELS[model], tpu_devices(topology), read_topology(topology)[0]
    hbm = kind.memory
    asked = f", fsdp {sizes[0]} x tensor {sizes[1]}" if sizes else ""
    yield f"### Llama-3-{model.upper()} on {topology}, {len(devices)} chips of {hbm / GB:.0f} GB{asked}"
    yield ""
    config = Config(model=MODEL, annotate=AnnotateConfig(batch_tokens=tokens))
    for fsdp, tensor in [sizes] if sizes else groups(spec, len(devices), hbm):
        mesh = make_mesh(MeshConfig(-1, fsdp, tensor), devices)
        name = f"fsdp {fsdp} x tensor {tensor}"
        large = tokens or call_tokens("tpu", PART, batch_shards(mesh))
        found = annotation(spec, config, mesh, QUESTIONS, large, hbm)
        try:
            programs = compile_programs(found)
        except jax.errors.JaxRuntimeError as error:
            yield f"- {name} does not fit: the compiler gives up ({_exhausted(error)})"
            continue
        most = max(map(found.needed, programs))
        if most <= hbm or sizes:
            fits = "fits" if most <= hbm else "does not fit"
            yield f"- {name} {fits}: {most / GB:.1f} of {hbm / GB:.0f} GB at the most; data {mesh.shape['data']}"
            yield from ("", of_annotation(found), "", *memory_table(programs, [found.needed(one) for one in programs]))
            yield from ("", *collectives_table(programs), "")
            return
        yield f"- {name} does not fit: {most / GB:.1f} of {hbm / GB:.0f} GB"
    yield "- no mesh fits"


def training_case(topology: str, settings: TrainConfig) -> Iterator[str]:
    """Lines of Markdown on a training step of the 8b with all chips along fsdp."""
    devices, kind = tpu_devices(topology), read_topology(topology)[0]
    mesh = make_mesh(MeshConfig(1, len(devices), 1), devices)
    network = Network(MODELS["8b"], MODEL.dtype, MODEL.precision, MODEL.scan_layers, remat=settings.remat)
    found = training(network, settings, mesh, ROW, TARGETS)
    yield (
        f"### Fine-tuning Llama-3-8B on {topology}, fsdp {len(devices)}, {settings.optimizer}, remat {settings.remat},"
        f" {settings.batch_size} rows of {ROW} tokens"
    )
    yield ""
    try:
        step = compile_step(found)
    except jax.errors.JaxRuntimeError as error:
        yield f"- does not fit: the compiler gives up ({_exhausted(error)})"
        return
    needed = found.held + step.own
    fits = "fits" if needed <= kind.memory else "does not fit"
    yield (
        f"- {fits}: {needed / GB:.1f} of {kind.memory / GB:.0f} GB; by shapes {sum(found.memory.values()) / GB:.1f}:"
        f" {parts_of(found)}"
    )
    if step.unread:
        yield f"- its collectives could not be counted: {step.unread}"
    yield from ("", *memory_table([step], [needed]), "", *collectives_table([step]), "")


def parts_of(found: Training) -> str:
    """The estimate from shapes."""
    return ", ".join(f"{name} {size / GB:.2f}" for name, size in found.memory.items())


def _exhausted(error: Exception) -> str:
    if "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    return str(error).splitlines()[0][:200]


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
    weights = sum(leaf.size * 2 for leaf in jax.tree.leaves(Network(spec).abstract(dtype=jnp.bfloat16)))
    for group in (2**power for power in range(chips.bit_length())):
        if weights / group < hbm and chips % group == 0:
            for tensor in (2**power for power in reversed(range(group.bit_length()))):
                if spec.n_kv_heads % tensor == 0:
                    yield group // tensor, tensor


def of_annotation(found: Annotation) -> str:
    """What lies on every chip, and what a call is."""
    shapes, memory = found.shapes, found.memory
    return (
        f"On every chip: weights {memory['parameters'] / GB:.2f} GB, prefixes {memory['caches of prefixes'] / GB:.2f}"
        f" GB, kept questions {memory['caches of questions'] / GB:.2f} GB. A call: {shapes.shards} shards, each"
        f" {shapes.lanes(LANE)[0] // shapes.shards} lanes of {LANE} tokens and {shapes.positions} judged positions."
    )


def memory_table(programs: Sequence[Compiled], needed: Sequence[int]) -> Iterator[str]:
    """What was compiled, as Markdown."""
    yield (
        "| program | compiled in s | arguments GB | outputs GB | temporaries GB | peak GB | with all that lies there GB"
        " | TFLOP | ranks by |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    for one, most in zip(programs, needed, strict=True):
        memory = one.memory
        sizes = (
            memory.argument_size_in_bytes, memory.output_size_in_bytes, memory.temp_size_in_bytes,
            memory.peak_memory_in_bytes, most,
        )  # fmt: skip
        cells = " | ".join(f"{size / GB:.2f}" for size in sizes)
        yield f"| {one.name} | {one.seconds:.1f} | {cells} | {one.flops / 1e12:.3g} | {ranking(one.text) or '-'} |"


def collectives_table(programs: Sequence[Compiled]) -> Iterator[str]:
    """What the chips send each other, as Markdown."""
    yield "| program | collective | along | what a chip gets | MB | times | overlapped | GB a call |"
    yield "| --- | --- | --- | --- | ---: | ---: | --- | ---: |"
    for program in programs:
        for one, count in collections.Counter(
            dataclasses.replace(one, operation="") for one in program.collectives
        ).items():
            times, shape = one.times * count, one.shape if len(one.shape) < 90 else f"{one.shape[:80]} ...)"
            yield (
                f"| {program.name} | {one.kind} | {' x '.join(one.axes)} | `{shape}` | {one.bytes / 1e6:,.3g} |"
                f" {times} | {'yes' if one.overlapped else 'no'} | {times * one.bytes / GB:.3g} |"
            )


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
    cases = [(asked.topology, asked.model, sizes)] if asked.topology else CASES
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "libtpu"))
    report = [f"{datetime.date.today()}, {versions}; seconds of compilation on {os.cpu_count()} CPU cores.", ""]
    for lines in (
        *(case(topology, model, asked.tokens, mesh) for topology, model, mesh in cases),
        *(training_case(*one) for one in (() if asked.topology else TRAINING)),
    ):
        made = list(lines)
        print("\n".join(made), flush=True)
        report += made
    if asked.write:
        text = PAGE.read_text()
        before, _, rest = text.partition(BEGIN)
        PAGE.write_text(before + "\n".join([BEGIN, "", *report, END]) + rest.partition(END)[2])


if __name__ == "__main__":
    main()
