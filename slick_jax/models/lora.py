"""Low-rank adapters (LoRA, Hu et al. 2021) of the linear maps of attention and MLP, as entries of the weight table.

A targeted map computes y = x W + scale * dropout(x) A B. Targets, initial values and scales are those of peft.
"""

import dataclasses
import functools
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from slick_jax.errors import InputError
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight import Weight
from slick_jax.models.weight_table import weight_table

Tree = Mapping[str, Any]  # nested; the leaves are arrays or Weights


@dataclass(frozen=True)
class LoraSpec:
    """Adapters of a model. Hashable, so that it can be static in `jax.jit`.

    targets: last names of Hugging Face modules, all of that name being adapted; rslora: the scale is
    alpha / sqrt(rank), which keeps large ranks stable (Kalajdzievski 2023), in place of alpha / rank.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    dropout: float = 0.0
    rslora: bool = False

    @property
    def scale(self) -> float:
        """What the product A B is multiplied with."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


@dataclass(frozen=True)
class Adapter(Weight):
    """One factor of a map's adapter. A map that shares its Hugging Face module has factors of its own.

    slot: its number among the maps of the module, and how many they are; bound: of the uniform initial values.
    """

    lora: LoraSpec | None = None
    slot: tuple[int, int] = (0, 1)
    bound: float = 0.0

    @property
    def is_matrix(self) -> bool:
        """True: weight decay applies."""
        return True

    @property
    def salt(self) -> int:
        """A number that tells this adapter's random draws from all others'."""
        return zlib.crc32(f"{self.hf_name}#{self.slot[0]}".encode())

    def init(self, key: jax.Array) -> jax.Array:
        """Uniform float32 values within the bound: zeros for B, so that training starts from the base model."""
        if not self.bound:
            return jnp.zeros(self.stacked_shape, jnp.float32)
        key = jax.random.fold_in(key, self.salt)
        return jax.random.uniform(key, self.stacked_shape, jnp.float32, -self.bound, self.bound)


def resolve(spec: ModelSpec, lora: LoraSpec, where: str) -> LoraSpec:
    """`lora` with its targets in the order of the model; all there are where it names none.

    Raises InputError for names that the model does not have; `where` is the setting they come from.
    """
    known = tuple(dict.fromkeys(_target(kernel) for _, kernel in _kernels(spec)))
    unknown = [name for name in lora.targets if name not in known]
    if unknown:
        raise InputError(
            f"{where}: this model ({spec.family}) has no {', '.join(unknown)} to adapt; it has {', '.join(known)}"
        )
    return dataclasses.replace(lora, targets=tuple(name for name in known if not lora.targets or name in lora.targets))


def adapter_table(spec: ModelSpec, lora: LoraSpec) -> dict[str, Any]:
    """{'layers': {'attention': {'q': {'lora': {'a': Adapter, 'b': Adapter}}, ...}, 'mlp': ...}}.

    A [L inputs... R] starts as peft's kaiming_uniform(a=sqrt(5)), within 1 / sqrt(inputs), and B [L R outputs...] as 0.
    """
    shared: dict[str, list[tuple[str, str]]] = {}
    for place, kernel in _kernels(spec):
        shared.setdefault(kernel.hf_name, []).append(place)
    table: dict[str, Any] = {}
    for (block, name), kernel in _kernels(spec):
        if _target(kernel) not in lora.targets:
            continue
        module = f"base_model.model.{kernel.hf_name.removesuffix('.weight')}"
        ins, outs = slice(kernel.inputs), slice(kernel.inputs, None)
        places = shared[kernel.hf_name]
        common = {"layers": kernel.layers, "lora": lora, "slot": (places.index((block, name)), len(places))}
        a = Adapter(
            f"{module}.lora_A.weight", (*kernel.shape[ins], lora.rank), (*kernel.axes[ins], "rank"),
            inputs=kernel.inputs, bound=math.prod(kernel.shape[ins]) ** -0.5, **common,
        )  # fmt: skip
        b = Adapter(
            f"{module}.lora_B.weight", (lora.rank, *kernel.shape[outs]), ("rank", *kernel.axes[outs]),
            inputs=1, part=kernel.part, **common,
        )  # fmt: skip
        table.setdefault(block, {})[name] = {"lora": {"a": a, "b": b}}
    return {"layers": table}


def join(base: Tree | None, adapters: Tree) -> Tree:
    """Both trees as one, the leaves as they are; without a base the other alone."""
    if base is None:
        return adapters
    shared = base.keys() & adapters.keys()
    return {**base, **adapters, **{name: join(base[name], adapters[name]) for name in shared}}


def merge(lora: LoraSpec, base: Tree, adapters: Tree) -> dict[str, Any]:
    """Float32 parameters of the plain model that computes what `base`, of any dtype, and `adapters` compute."""
    merged = {}
    for name, part in base.items():
        if isinstance(part, Mapping):
            merged[name] = merge(lora, part, adapters.get(name, {}))
        elif name == "kernel" and "lora" in adapters:
            merged[name] = _add(part, adapters["lora"]["a"], adapters["lora"]["b"], lora.scale)
        else:
            merged[name] = part.astype(jnp.float32)
    return merged


@functools.partial(jax.jit, static_argnums=3)
def _add(kernel: jax.Array, a: jax.Array, b: jax.Array, scale: float) -> jax.Array:
    """W + scale * A B of every layer, in float32."""
    product = jax.vmap(lambda a, b: jnp.tensordot(a, b, 1, precision="highest"))(a, b)
    return kernel.astype(jnp.float32) + scale * product


def _kernels(spec: ModelSpec) -> Iterator[tuple[tuple[str, str], Weight]]:
    """(part of the layer, name there) and kernel of every map that can be adapted: experts and routers are not."""
    layers = weight_table(spec)["layers"]
    for block in ("attention", "mlp") if spec.moe is None else ("attention",):
        for name, weights in layers[block].items():
            if "kernel" in weights:
                yield (block, name), weights["kernel"]


def _target(kernel: Weight) -> str:
    return kernel.hf_name.removesuffix(".weight").rpartition(".")[2]
