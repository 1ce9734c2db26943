"""The devices that are planned for: what they can do, as their makers state it.

NVIDIA: H100 and H200 Tensor Core GPU datasheets, SXM, dense rates. Google: cloud.google.com/tpu/docs/v5e, v5p, v6e.
"""

from __future__ import annotations

import dataclasses
import math

from slick_jax.errors import InputError

# Of a GPU's memory: what launch/local.sh and launch/slurm.sbatch have JAX take, and what it takes by itself.
MEM_FRACTION, GPU_SHARE, OWN_SHARE = "XLA_CLIENT_MEM_FRACTION", 0.9, 0.75
# Passes of bfloat16 that a TPU makes of a float32 matmul, by jax.lax.Precision.
TPU_PASSES = {"default": 1, "high": 3, "highest": 6}


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of device.

    flops: FLOP/s of bfloat16 matmuls; float32: of float32 ones by precision; memory: bytes; bandwidth: bytes/s of that
    memory; link: bytes/s that a device receives along one axis of the mesh (TPUs: both neighbours along one axis of
    the torus); host: devices of a host, 0: all; island: those that reach each other by `link`, 0: all; network: bytes/s
    beyond.
    """

    name: str
    platform: str
    flops: float
    float32: dict[str, float]
    memory: float
    bandwidth: float
    link: float
    host: int = 0
    island: int = 0
    network: float = 0.0
    sides: int = 0  # axes of a TPU's torus

    def rate(self, dtype: str, precision: str) -> float:
        """Peak FLOP/s of matmuls in this arithmetic."""
        return self.flops if dtype == "bfloat16" else self.float32[precision]

    def usable(self, share: float) -> float:
        """Bytes that a run has; `share` of the memory, 0: what it has when it is started by launch/."""
        return self.memory * (share or (GPU_SHARE if self.platform == "gpu" else 1.0))

    def reach(self, span: int) -> float:
        """Bytes/s that a device receives from others that are up to `span` devices away."""
        return self.network if self.island and span > self.island else self.link


def _tpu(name: str, flops: float, memory: float, bandwidth: float, ici: float, sides: int) -> Kind:
    """`ici`: bytes/s of a chip over all its links, both directions."""
    float32 = {precision: flops / passes for precision, passes in TPU_PASSES.items()}
    return Kind(name, "tpu", flops, float32, memory, bandwidth, ici / sides / 2, host=4, sides=sides)


# TF32 is what `default` means on these, three passes of it `high`; `highest` is the CUDA cores'.
_HOPPER = {"default": 494.7e12, "high": 494.7e12 / 3, "highest": 66.9e12}
# NVLink: 900 GB/s both directions; between hosts a 400 Gb/s network adapter for each GPU.
_NVLINK = {"link": 450e9, "host": 8, "island": 8, "network": 50e9}

KINDS = {
    "h100": Kind("h100", "gpu", 989.4e12, _HOPPER, 80e9, 3.35e12, **_NVLINK),
    "h200": Kind("h200", "gpu", 989.4e12, _HOPPER, 141e9, 4.8e12, **_NVLINK),
    "v5e": _tpu("v5e", 197e12, 16e9, 819e9, 400e9, 2),
    "v5p": _tpu("v5p", 459e12, 95e9, 2765e9, 1200e9, 3),
    "v6e": _tpu("v6e", 918e12, 32e9, 1640e9, 800e9, 2),
}
# A core of a server of today: to compare with runs on the CPUs at hand, never in the table of devices.
CPU = Kind("cpu", "cpu", 0.1e12, dict.fromkeys(TPU_PASSES, 0.1e12), 4e9, 10e9, 10e9)


def kind_of(name: str) -> Kind:
    """The kind of this name, one of `settings.plan.DEVICES`."""
    return CPU if name == "cpu" else KINDS[name]


def read_topology(text: str) -> tuple[Kind, int]:
    """The kind and number of chips of a TPU slice such as 'v5p:8x8x4'. Raises InputError for what is none."""
    name, _, sizes = text.partition(":")
    tpus = {kind.name: kind for kind in KINDS.values() if kind.platform == "tpu"}
    sides = sizes.split("x")
    good = name in tpus and all(side.isdecimal() and int(side) for side in sides) and len(sides) == tpus[name].sides
    if not good:
        forms = ", ".join(f"{kind.name}:{'x'.join('248'[: kind.sides])}" for kind in tpus.values())
        raise InputError(f"config.plan.topology: {text!r} is no slice of TPUs; give one such as {forms}")
    return tpus[name], math.prod(map(int, sides))
