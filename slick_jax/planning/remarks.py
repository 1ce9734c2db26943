"""What the figures of a plan leave out or take for granted, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jax.sharding import Mesh

from slick_jax.config import Config
from slick_jax.planning.devices import GPU_SHARE, MEM_FRACTION, OWN_SHARE
from slick_jax.planning.target import Target
from slick_jax.settings.longform import LongformConfig

ALONE = ("study", "shift", "texts", "beliefs", "fine-tuning", "answers")  # stages of commands of one process


def remarks_on(
    config: Config, target: Target, mesh: Mesh | str, stages: Sequence[str], *, fresh: bool
) -> Iterator[str]:
    """A sentence for each. mesh: what was compiled for, or why nothing was; stages: those that are planned; fresh:
    whether no model is named."""
    if isinstance(mesh, str):
        yield f"nothing was compiled ({mesh}): all figures are arithmetic on shapes"
    elif target.kind.platform == "gpu":
        yield (
            "GPU figures are arithmetic on shapes; the programs were compiled for host devices in their place, whose"
            " collectives show what is sent, with float32 for bfloat16 and all-reduce for reduce-scatter"
        )
    if target.kind.platform == "gpu" and not config.plan.memory_share:
        yield (
            f"a run may take {GPU_SHARE:.0%} of a GPU's memory, which launch/local.sh and slurm.sbatch set; started"
            f" otherwise set {MEM_FRACTION}={GPU_SHARE}, or plan with plan.memory_share={OWN_SHARE}, which JAX takes by"
            " itself"
        )
    if fresh:
        yield (
            "no model is named (plan.model, model.path): that of model.shape is planned; making it (`slick pretrain`)"
            " is not counted"
        )
    alone = [name for name in stages if name in ALONE]
    if alone and target.processes > 1:
        yield (
            f"{', '.join(alone)}: planned on all {target.count} devices, but a process of `slick study` or `slick"
            f" longform` works on its own {target.per_process} alone; start `slick study` {target.processes} times,"
            " each takes runs of its own"
        )
    if "annotate" in stages and config.annotate.answers != "none":
        if target.team.size > target.per_process:
            yield (
                f"annotate.answers={config.annotate.answers!r} needs a model that fits a process, and a team spans"
                f" {target.team.size // target.per_process}: the run will refuse it"
            )
        yield f"annotate.answers={config.annotate.answers!r}: writing the answers out is not counted (docs/answers.md)"
    if "texts" in stages:
        yield from _second_models(config.longform)
    if config.model.dtype == "float32":
        rate = target.kind.rate("float32", config.model.precision) / target.kind.flops
        yield (
            f"model.dtype=float32 at precision {config.model.precision!r} runs at {rate:.0%} of the bfloat16 rate of"
            f" {target.kind.name}"
        )
    yield "hours leave out compiling, reading weights and saving checkpoints"


def _second_models(longform: LongformConfig) -> Iterator[str]:
    """Work of checkpoints that are not the planned model."""
    if longform.claim_method == "model":
        yield "longform.claims.method='model': the checkpoint that words claims, sentence by sentence, is not counted"
    if longform.verifier == "model":
        yield (
            "longform.claims.verifier='model': the checkpoint that reads every distinct claim behind"
            f" {longform.claims.passages} passages of the reference is not counted"
        )
