"""The settings of `slick plan` (docs/plan.md), a section of slick_jax.config, and what they must satisfy."""

from collections.abc import Iterator
from dataclasses import dataclass

from slick_jax.settings.checks import above_zero, at_least, choice

DEVICES = ("h100", "h200", "v5e", "v5p", "v6e", "cpu")
STAGES = ("annotate", "train", "study", "longform")


@dataclass(frozen=True)
class PlanConfig:
    """What `slick plan` plans for, and what it assumes where data or tokenizer are not there."""

    device: str = ""  # 'h100', 'h200', 'v5e', 'v5p', 'v6e' or 'cpu'; '': that of the topology, else h100
    devices: int = 0  # how many; 0: those of the topology, else what mesh.* multiply to, else 8
    per_process: int = 0  # of them; annotate has a mesh in every process; 0: a host's, 8 GPUs, 4 TPU chips
    topology: str = ""  # TPU slice such as 'v5p:8x8x4': compiled for it, without one (extra tpu); '': none
    model: str = ""  # folder with a config.json (no weights are needed) or hub id; '': model.path, else model.shape
    stages: tuple[str, ...] = ()  # 'annotate', 'train', 'study', 'longform'; empty: those the config is about
    utilisation: float = 0.4  # share of the peak FLOP/s that is reached; Llama 3 was trained at 0.38 to 0.43
    compile: bool = True  # compile the programs, too; False: from shapes alone, in seconds
    memory_share: float = 0.0  # of a device's memory; 0: what launch/ has JAX take, 0.9 of a GPU; all of a TPU
    rows: int = 10_000  # questions (texts of longform), where the data is not there
    mixture_rows: int = 0  # |D|, where nothing is mixed; 0: mix.size where that is a number, else a third of the rows
    question_tokens: int = 13  # of a question and its answer behind what its relation shares, without a tokenizer
    row_tokens: int = 30  # of a training row with its padding, without a tokenizer


def problems(plan: PlanConfig) -> Iterator[str]:
    """A line `plan.<setting>: <value and what is allowed>` for every rule that is broken."""
    if plan.device:
        yield from choice("plan.device", plan.device, DEVICES)
    for stage in plan.stages:
        yield from choice("plan.stages", stage, STAGES)
    yield from at_least("plan.devices", plan.devices, 0)
    yield from at_least("plan.per_process", plan.per_process, 0)
    yield from above_zero("plan.utilisation", plan.utilisation)
    for name in ("utilisation", "memory_share"):
        if not 0 <= getattr(plan, name) <= 1:
            yield f"plan.{name}: {getattr(plan, name)} is no share; give 0 to 1"
    for name in ("rows", "question_tokens", "row_tokens"):
        yield from at_least(f"plan.{name}", getattr(plan, name), 1)
    yield from at_least("plan.mixture_rows", plan.mixture_rows, 0)
