"""One weight: its shape here, and where its numbers lie in a Hugging Face tensor."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Table = Mapping[str, Any]  # nested; the leaves are Weight
Span = tuple[int, int]  # start and stop along an axis


@dataclass(frozen=True)
class Part:
    """Which part of a fused Hugging Face tensor a weight is.

    Joined: rows from `start` of the `total` along the outputs. Per head: number `start` of the `total` that take turns
    within each head.
    """

    start: int
    total: int
    per_head: bool = False


@dataclass(frozen=True)
class Weight:
    """One weight of one layer (and expert), or of the whole model where `layers` is 0.

    Ours is [inputs..., outputs...] (q: [D N H]); Hugging Face keeps the same numbers as [outputs, inputs], flattened.
    """

    hf_name: str  # with '{layer}' and '{expert}' where there is one tensor for each
    shape: tuple[int, ...]
    axes: tuple[str, ...]  # logical names, see slick_jax.mesh.RULES
    std: float | None = None  # of the normal initialiser; None: the constant `fill`
    fill: float = 0.0
    inputs: int = 0  # leading axes that a matmul sums over; 0: kept as it is (embeddings) or flattened (norms, biases)
    layers: int = 0
    experts: int = 0
    transposed: bool = False  # Hugging Face keeps [inputs, outputs] too
    part: Part | None = None

    @property
    def lead(self) -> tuple[int, ...]:
        """Sizes of the stacked axes: layers, then experts, where there are any."""
        return tuple(size for size in (self.layers, self.experts) if size)

    @property
    def stacked_shape(self) -> tuple[int, ...]:
        """Shape of the parameter: [L ...] for a weight of the layers, [L E ...] for one of their experts."""
        return (*self.lead, *self.shape)

    @property
    def stacked_axes(self) -> tuple[str, ...]:
        """Logical axes of the parameter."""
        return (*("layers",) * bool(self.layers), *("experts",) * bool(self.experts), *self.axes)

    @property
    def is_matrix(self) -> bool:
        """True for what weight decay is for: matmul weights and embeddings, not norms and biases."""
        return self.std is not None

    @property
    def hf_groups(self) -> tuple[tuple[int, ...], ...]:
        """Which of our axes each axis of the Hugging Face tensor flattens, in order."""
        axes = tuple(range(len(self.shape)))
        if not self.inputs:
            return tuple((axis,) for axis in axes) if self.is_matrix else (axes,)
        groups = (axes[self.inputs :], axes[: self.inputs])
        return groups[::-1] if self.transposed else groups

    @property
    def hf_shape(self) -> tuple[int, ...]:
        """Shape of the Hugging Face tensor, all the parts that it joins included."""
        sizes = [math.prod(self.shape[axis] for axis in group) for group in self.hf_groups]
        if self.part is not None:
            whole = sizes[self._output] * self.part.total if self.part.per_head else self.part.total
            sizes[self._output] = whole
        return tuple(sizes)

    @property
    def _output(self) -> int:
        """The Hugging Face axis that a fused tensor is joined along."""
        return 1 if self.inputs and self.transposed else 0

    def hf_names(self) -> list[str]:
        """Names of the Hugging Face tensors: one per layer and expert, experts of a layer together."""
        return [self.hf_name_at(index) for index in np.ndindex(self.lead)]

    def hf_name_at(self, index: Sequence[int]) -> str:
        """Name of the tensor at `index` of the stacked axes."""
        layer, expert = (*index, 0, 0)[:2]
        return self.hf_name.format(layer=layer, expert=expert)

    def hf_slices(self, spans: Sequence[Span]) -> tuple[slice, ...]:
        """The rows and columns of the Hugging Face tensor that hold `spans` of our axes.

        Only the first of the axes that a Hugging Face axis flattens may be cut; ValueError for the others.
        """
        slices = []
        for number, group in enumerate(self.hf_groups):
            inner = math.prod(self.shape[axis] for axis in group[1:])
            if any(tuple(spans[axis]) != (0, self.shape[axis]) for axis in group[1:]):
                raise ValueError(f"{self.hf_name}: a sharding rule cuts an inner axis of {self.shape}")
            start, stop = spans[group[0]][0] * inner, spans[group[0]][1] * inner
            if self.part is not None and number == self._output:
                if self.part.per_head:
                    start, stop = start * self.part.total, stop * self.part.total
                else:
                    start, stop = start + self.part.start, stop + self.part.start
            slices.append(slice(start, stop))
        return tuple(slices)

    def hf_view(self, tensor: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """A view of our piece of `shape`, in our axis order, of what `hf_slices` cut out of the Hugging Face tensor."""
        factors: list[int] = []
        pick: list[int | slice] = []
        for number, group in enumerate(self.hf_groups):
            for place, axis in enumerate(group):
                if place == 1 and number == self._output and self.part is not None and self.part.per_head:
                    factors.append(self.part.total)
                    pick.append(self.part.start)
                factors.append(shape[axis])
                pick.append(slice(None))
        order = [axis for group in self.hf_groups for axis in group]
        return tensor.reshape(factors)[tuple(pick)].transpose(np.argsort(order))

    def from_hf(self, tensor: np.ndarray) -> np.ndarray:
        """The whole weight of one layer from its Hugging Face tensor."""
        spans = [(0, size) for size in self.shape]
        return self.hf_view(tensor[self.hf_slices(spans)], self.shape)

    def write_hf(self, tensor: np.ndarray, array: np.ndarray) -> None:
        """Puts one layer's weight into its place in the Hugging Face tensor."""
        self.hf_view(tensor[self.hf_slices([(0, size) for size in self.shape])], self.shape)[...] = array

    def init(self, key: jax.Array) -> jax.Array:
        """Float32 starting values; the key is folded with the name, so they do not depend on the other weights."""
        if self.std is None:
            return jnp.full(self.stacked_shape, self.fill, jnp.float32)
        name = self.hf_name if self.part is None else f"{self.hf_name}#{self.part.start}"
        key = jax.random.fold_in(key, zlib.crc32(name.encode()))
        return self.std * jax.random.normal(key, self.stacked_shape, jnp.float32)

    def param(self) -> nnx.Param:
        """A placeholder Param of one layer, for the module tree."""
        shape = self.stacked_shape[1:] if self.layers else self.shape
        return nnx.Param(jax.ShapeDtypeStruct(shape, jnp.float32))
