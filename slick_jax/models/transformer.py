"""One decoder for all families: embeddings, scanned layers, final norm, scores over the vocabulary."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PyTree

from slick_jax.mesh import constrain, sharding_for
from slick_jax.models.attention import Attention, Prefix, Rotary, rotary_angles
from slick_jax.models.layers import Embedding, RMSNorm, SwiGLU, dropout
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight_table import Table, Weight, weight_table

Params = dict[str, Any]  # nested dict of arrays, laid out as weight_table


class KV(NamedTuple):
    """Keys and values of every layer.

    As a shared prefix: [L G P K H] and the real length of each group's prefix. As `hidden` returns them: [L G B T K H],
    without lengths.
    """

    k: Float[Array, "L G *rows K H"]
    v: Float[Array, "L G *rows K H"]
    lengths: Int[Array, " G"] | None


class Hidden(NamedTuple):
    """What a forward pass gives: states after the final norm; the rest only where asked for."""

    states: Float[Array, "G B T D"]
    keys_values: KV | None
    collected: PyTree | None


class Layer(nnx.Module):
    """A pre-norm decoder layer; dropout falls on the two residual branches (spec/slick.md section 4)."""

    def __init__(self, spec: ModelSpec, weights: Table, precision: str):
        self.attention_norm = RMSNorm(weights["attention_norm"], spec.norm_eps)
        self.attention = Attention(weights["attention"], precision)
        self.mlp_norm = RMSNorm(weights["mlp_norm"], spec.norm_eps)
        self.mlp = SwiGLU(weights["mlp"], spec.activation, precision)

    def __call__(
        self, x: Float[Array, "G B T D"], rotary: Rotary, prefix: Prefix | None, rate: float, rng: jax.Array | None
    ) -> tuple[Float[Array, "G B T D"], tuple[jax.Array, jax.Array]]:
        """The residual stream after this layer, and the keys and values [G B T K H] of these tokens."""
        rngs = (None, None) if rng is None else jax.random.split(rng)
        branch, kv = self.attention(self.attention_norm(x), rotary, prefix)
        x = x + (dropout(branch, rate, rngs[0]) if rate else branch)
        branch = self.mlp(self.mlp_norm(x))
        return x + (dropout(branch, rate, rngs[1]) if rate else branch), kv


class Decoder(nnx.Module):
    """The module tree. `layers` is one layer: its weights come stacked and are taken one by one."""

    def __init__(self, spec: ModelSpec, precision: str):
        table = weight_table(spec)
        self.embedding = Embedding(table["embedding"], precision)
        self.layers = Layer(spec, table["layers"], precision)
        self.final_norm = RMSNorm(table["final_norm"], spec.norm_eps)
        self.head = Embedding(table["head"], precision) if "head" in table else None


@functools.cache
def _graph(spec: ModelSpec, precision: str) -> dict[str, Any]:
    """The static half of the module tree, per part; the arrays stay with the caller."""
    decoder = Decoder(spec, precision)
    parts = {name: getattr(decoder, name) for name in ("embedding", "layers", "final_norm", "head")}
    return {name: nnx.split(part)[0] for name, part in parts.items() if part is not None}


@dataclass(frozen=True)
class Network:
    """A decoder without its weights: static and hashable, so that jitted programs can close over it."""

    spec: ModelSpec
    dtype: str = "float32"  # of the computation; parameters stay float32
    precision: str = "highest"  # of float32 matmuls on accelerators that have faster, coarser ones
    scan_layers: bool = True

    def init(self, key: jax.Array, mesh: Mesh | None = None) -> Params:
        """Fresh float32 parameters, created where they will live; the values do not depend on the mesh."""

        def make(key: jax.Array) -> Params:
            return self._map(lambda weight: weight.init(key))

        return jax.jit(make, out_shardings=None if mesh is None else self.shardings(mesh))(key)

    def abstract(self, mesh: Mesh | None = None, dtype: Any = jnp.float32) -> Params:
        """Shapes and dtypes of the parameters, with their shardings where a mesh is given."""

        def describe(weight: Weight) -> jax.ShapeDtypeStruct:
            sharding = None if mesh is None else sharding_for(mesh, weight.stacked_axes, weight.stacked_shape)
            return jax.ShapeDtypeStruct(weight.stacked_shape, dtype, sharding=sharding)

        return self._map(describe)

    def shardings(self, mesh: Mesh) -> Params:
        """A NamedSharding for every parameter."""
        return self._map(lambda weight: sharding_for(mesh, weight.stacked_axes, weight.stacked_shape))

    def decay_mask(self) -> Params:
        """True for the matrices, which weight decay is for; False for norms and biases (stacking hides their rank)."""
        return self._map(lambda weight: weight.is_matrix)

    def hidden(
        self,
        params: Params,
        tokens: Int[Array, "G B T"],
        prefix: KV | None = None,
        *,
        dropout: float = 0.0,
        rng: jax.Array | None = None,
        collect: Callable[[jax.Array], Any] | None = None,
        keep_kv: bool = False,
    ) -> Hidden:
        """States of the tokens, whose groups each continue one prefix.

        Positions go on from `prefix.lengths`; prefix slots at or past the length are not seen. Rows may be padded on
        the right: attention is causal, so padding cannot reach what stands before it. `collect` reduces the residual
        stream [G B T D] after the embeddings and after every layer; its results are stacked, [L+1 ...].
        """
        if dropout and rng is None:
            raise ValueError("dropout needs rng")
        tokens = constrain(tokens, self._rows(tokens))
        start = jnp.zeros(tokens.shape[0], jnp.int32) if prefix is None else prefix.lengths
        rotary = rotary_angles(self.spec, start[:, None] + jnp.arange(tokens.shape[2]))
        x = self._part("embedding", params)(tokens, self.dtype)
        first = None if collect is None else collect(x)

        def step(x: jax.Array, layer: tuple):
            weights, past, rng = layer
            x = constrain(x, self._rows(x))
            seen = None if past is None else Prefix(*past, prefix.lengths)
            x, kv = nnx.merge(_graph(self.spec, self.precision)["layers"], weights)(x, rotary, seen, dropout, rng)
            return x, (kv if keep_kv else None, None if collect is None else collect(x))

        rngs = jax.random.split(rng, self.spec.n_layers) if dropout else None
        layers = (params["layers"], None if prefix is None else (prefix.k, prefix.v), rngs)
        unroll = 1 if self.scan_layers else self.spec.n_layers
        x, (kv, collected) = jax.lax.scan(step, x, layers, unroll=unroll)
        if collect is not None:
            collected = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, collected)
        states = self._part("final_norm", params)(x)
        return Hidden(states, KV(*kv, None) if keep_kv else None, collected)

    def prefix(self, params: Params, tokens: Int[Array, "G P"], lengths: Int[Array, " G"]) -> KV:
        """Keys and values of prefixes (padded on the right to P, with their real lengths), for `hidden`."""
        kv = self.hidden(params, tokens[:, None], keep_kv=True).keys_values
        return KV(kv.k[:, :, 0], kv.v[:, :, 0], lengths)

    def logits(self, params: Params, states: Float[Array, "*lead D"]) -> Float[Array, "*lead V"]:
        """Float32 scores over the vocabulary of states after the final norm."""
        return self._part("embedding" if self.spec.tie_embeddings else "head", params).scores(states)

    def _part(self, name: str, params: Params) -> Any:
        return nnx.merge(_graph(self.spec, self.precision)[name], params[name])

    def _map(self, function: Callable[[Weight], Any]) -> Params:
        return jax.tree.map(function, weight_table(self.spec), is_leaf=lambda node: isinstance(node, Weight))

    @staticmethod
    def _rows(array: jax.Array) -> tuple[str | None, ...]:
        """The batch axis is G; training has one group and many rows, so there it is B."""
        lead = ("batch", None) if array.shape[0] > 1 else (None, "batch")
        return (*lead, *[None] * (array.ndim - 2))
