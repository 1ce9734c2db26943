"""Kernels of linear maps held in 8 bits: whole numbers from -127 to 127, and a float32 scale for every output.

Rounding is symmetric, per output channel: the largest weight of an output becomes 127 or -127. Activations stay in the
compute dtype, so a matmul takes the time it did and its weights a quarter of float32's memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from slick_jax.mesh import constrain
from slick_jax.models.weight import Weight

STEPS = 127


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8Kernel:
    """A kernel that stands for values * scale, in the place of the float array in the parameters."""

    values: Int8[Array, "*lead *inputs_outputs"]
    scale: Float[Array, "*lead *outputs"]


Kernel = jax.Array | Int8Kernel


def is_quantised(weight: Weight) -> bool:
    """True for the kernels of attention, MLPs and experts; embeddings, heads, norms, biases and routers stay floats."""
    return weight.inputs > 0 and "experts" not in weight.axes


def scale_of(weight: Weight) -> Weight:
    """The description of the scale of a kernel: shape and logical axes of its outputs."""
    return dataclasses.replace(weight, shape=weight.shape[weight.inputs :], axes=weight.axes[weight.inputs :], inputs=0)


def quantise(kernel: Float[Array, "*lead *inputs_outputs"], inputs: Sequence[int]) -> Int8Kernel:
    """The nearest values; `inputs` are the axes that a matmul sums over. An output whose weights are all 0 stays so."""
    kernel = kernel.astype(jnp.float32)
    largest = jnp.max(jnp.abs(kernel), axis=tuple(inputs), keepdims=True)
    scale = jnp.where(largest > 0, largest / STEPS, 1.0)
    return Int8Kernel(jnp.rint(kernel / scale).astype(jnp.int8), jnp.squeeze(scale, tuple(inputs)))


def product(
    x: jax.Array,
    kernel: Kernel,
    multiply: Callable[..., jax.Array],
    axes: Sequence[str],
    spread: Callable[[jax.Array], jax.Array] = lambda scale: scale,
) -> jax.Array:
    """multiply(x, kernel) in the dtype of `x`, for kernels of either kind.

    Of 8 bits, the whole numbers are multiplied, which every dtype holds exactly, and the scale falls on the sums, still
    in float32.

    Args:
      axes: logical axes of the kernel. What is cut along the model width is gathered first and then widened.
      spread: brings the scale to the shape of the sums where it is not simply that of their last axes.
    """

    def widened(array: jax.Array) -> jax.Array:
        if array.dtype.itemsize < x.dtype.itemsize:
            array = constrain(array, [None if axis == "embed" else axis for axis in axes])
        return array.astype(x.dtype)

    if not isinstance(kernel, Int8Kernel):
        return multiply(x, widened(kernel))
    sums = multiply(x, widened(kernel.values), preferred_element_type=jnp.float32)
    return (sums * spread(kernel.scale)).astype(x.dtype)
