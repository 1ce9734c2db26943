"""One decoder for all families: embeddings, scanned layers, final norm, scores over the vocabulary."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PyTree

from slick_jax.mesh import constrain, sharding_for
from slick_jax.models.attention import Attention, Forest, Prefix
from slick_jax.models.cache import Past, Pool
from slick_jax.models.layers import Embedding, Norm, PlainMLP, SwiGLU, dropout
from slick_jax.models.lora import LoraSpec, adapter_table, join
from slick_jax.models.moe import MixtureOfExperts
from slick_jax.models.rope import Rotary, rope_kinds, rotary_angles
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight import Table, Weight
from slick_jax.models.weight_table import weight_table

Params = dict[str, Any]  # nested dict of arrays, laid out as weight_table


# Of each layer, what the forward pass keeps for the backward one: everything; nothing but the layer's input; that and
# the products with weights (not the scores of attention, which grow with the square of the length).
REMAT = {
    "none": jax.checkpoint_policies.everything_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


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
    """A decoder layer, with the norms its table has; dropout falls on the two residual branches (paper appendix E)."""

    def __init__(self, spec: ModelSpec, weights: Table, precision: str):
        def norm(name: str) -> Norm | None:
            return Norm(weights[name], spec.norm, spec.norm_eps) if name in weights else None

        self.attention_norm, self.attention_out_norm = norm("attention_norm"), norm("attention_out_norm")
        self.attention = Attention(spec, weights["attention"], precision)
        self.mlp_norm, self.mlp_out_norm = norm("mlp_norm"), norm("mlp_out_norm")
        if spec.moe is not None:
            self.mlp = MixtureOfExperts(spec.moe, weights["mlp"], spec.activation, precision)
        else:
            self.mlp = (SwiGLU if spec.gated_mlp else PlainMLP)(weights["mlp"], spec.activation, precision)
        self.residual_scale = spec.residual_scale
        self.parallel = spec.parallel_residual

    def __call__(
        self,
        x: Float[Array, "G B T D"],
        rotary: Rotary | None,
        window: Int[Array, ""] | None,
        prefix: Prefix | Past | None,
        rate: float,
        rng: jax.Array | None,
        forest: Forest | None = None,
    ) -> tuple[Float[Array, "G B T D"], tuple[jax.Array, jax.Array]]:
        """The residual stream after this layer, and the keys and values [G B T K H] of these tokens."""
        rngs = (None, None) if rng is None else jax.random.split(rng)

        def added(branch: jax.Array, norm: Norm | None, rng: jax.Array | None) -> jax.Array:
            branch = branch if norm is None else norm(branch)
            branch = branch if self.residual_scale == 1 else branch * self.residual_scale
            return dropout(branch, rate, rng) if rate else branch

        branch, kv = self.attention(self._normed(self.attention_norm, x), rotary, prefix, window, rng, forest)
        attended = x + added(branch, self.attention_out_norm, rngs[0])
        branch = self.mlp(self._normed(self.mlp_norm, x if self.parallel else attended), rng)
        return attended + added(branch, self.mlp_out_norm, rngs[1]), kv

    @staticmethod
    def _normed(norm: Norm | None, x: jax.Array) -> jax.Array:
        return x if norm is None else norm(x)


class Decoder(nnx.Module):
    """The module tree. `layers` is one layer: its weights come stacked and are taken one by one."""

    def __init__(self, spec: ModelSpec, lora: LoraSpec | None, precision: str):
        table = weight_table(spec)
        table = table if lora is None else join(table, adapter_table(spec, lora))
        self.embedding = Embedding(table["embedding"], precision)
        self.positions = Embedding(table["positions"], precision) if "positions" in table else None
        self.layers = Layer(spec, table["layers"], precision)
        self.final_norm = Norm(table["final_norm"], spec.norm, spec.norm_eps)
        self.head = Embedding(table["head"], precision) if "head" in table else None


@functools.cache
def _graph(spec: ModelSpec, lora: LoraSpec | None, precision: str) -> dict[str, Any]:
    """The static half of the module tree, per part; the arrays stay with the caller."""
    decoder = Decoder(spec, lora, precision)
    parts = {name: getattr(decoder, name) for name in ("embedding", "positions", "layers", "final_norm", "head")}
    return {name: nnx.split(part)[0] for name, part in parts.items() if part is not None}


@dataclass(frozen=True)
class Network:
    """A decoder without its weights: static and hashable, so that jitted programs can close over it.

    With `lora`, the base model is frozen: init, abstract, shardings and decay_mask are of the adapters alone, which
    training changes, and a forward pass takes base and adapters joined (lora.join).
    """

    spec: ModelSpec
    dtype: str = "float32"  # of the computation; parameters stay float32
    precision: str = "highest"  # of float32 matmuls on accelerators that have faster, coarser ones
    scan_layers: bool = True
    lora: LoraSpec | None = None
    remat: str = "none"  # what the backward pass computes again, see REMAT

    def init(self, key: jax.Array, mesh: Mesh | None = None) -> Params:
        """Fresh float32 parameters, created where they will live; the values do not depend on the mesh."""
        return _initialiser(self, mesh)(key)

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

    def constrained(self, tree: Params) -> Params:
        """A tree like the parameters, such as their gradients, pinned to where the parameters lie on the mesh of
        `jax.set_mesh`; without one it is returned as it is."""
        return self._map(lambda weight, leaf: constrain(leaf, weight.stacked_axes), tree)

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
        forest: Forest | None = None,
        behind: Int[Array, " G"] | None = None,
        pool: Pool | None = None,
        slots: Int[Array, "G Q"] | None = None,
    ) -> Hidden:
        """States of the tokens, whose groups each continue one prefix.

        Positions go on from `prefix.lengths`; prefix slots at or past the length are not seen. Rows may be padded on
        the right: attention is causal, so padding cannot reach what stands before it. With a `forest` a row holds
        trees of tokens instead of one text. With `behind`, `prefix` is a bank of any number of prefixes, and each group
        continues the one it names; they are taken layer by layer, so that no copy of all of them is made. With a `pool`
        a group also has the tokens in these of its `slots`, behind those of the prefix; `forest` says who sees which,
        counting from the first of them. `collect`
        reduces the residual stream [G B T D] after the embeddings and after every layer; its results are stacked,
        [L+1 ...].
        """
        if dropout and rng is None:
            raise ValueError("dropout needs rng")
        tokens = constrain(tokens, self._rows(tokens))
        if behind is not None:
            prefix = prefix._replace(lengths=prefix.lengths[behind])
        start = jnp.zeros(tokens.shape[0], jnp.int32) if prefix is None else prefix.lengths
        depth = jnp.arange(tokens.shape[2])[None, None] if forest is None else forest.depth
        positions = start[:, None, None] + depth
        rotary, kinds = rotary_angles(self.spec, positions), self._rope_of_layers()
        if pool is not None:
            shared = prefix.k.shape[2]
            forest = forest._replace(first=forest.first + shared, last=forest.last + shared)
        x = self._embedded(params, tokens, positions)
        first = None if collect is None else collect(x)

        def with_kept(past: jax.Array, kept: jax.Array) -> jax.Array:
            return jnp.concatenate([past, kept.reshape(*slots.shape, *past.shape[2:])], axis=1)

        def step(x: jax.Array, layer: tuple):
            weights, past, rng, kind, window, number = layer
            x = constrain(x, self._rows(x))
            if behind is not None:
                past = tuple(part[behind] for part in past)
            if pool is not None:
                past = tuple(map(with_kept, past, pool.picked(number, slots)))
            seen = None if past is None else Prefix(*past, prefix.lengths)
            angles = rotary if kind is None else jax.tree.map(lambda part: part[kind], rotary)
            module = nnx.merge(_graph(self.spec, self.lora, self.precision)["layers"], weights)
            x, kv = module(x, angles, window, seen, dropout, rng, forest)
            return x, (kv if keep_kv else None, None if collect is None else collect(x))

        if self.remat != "none":
            step = jax.checkpoint(step, policy=REMAT[self.remat], prevent_cse=False)
        drops = dropout or (rng is not None and self.lora is not None and self.lora.dropout)
        rngs = jax.random.split(rng, self.spec.n_layers) if drops else None
        past = None if prefix is None else (prefix.k, prefix.v)
        layers = (params["layers"], past, rngs, kinds, self._windows(), np.arange(self.spec.n_layers))
        # Unrolled, the compiler would find both computations of a layer equal, and keep the first for the second.
        unroll = 1 if self.scan_layers or self.remat != "none" else self.spec.n_layers
        x, (kv, collected) = jax.lax.scan(step, x, layers, unroll=unroll)
        if collect is not None:
            collected = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, collected)
        states = self._part("final_norm", params)(x)
        return Hidden(states, KV(*kv, None) if keep_kv else None, collected)

    def prefix(self, params: Params, tokens: Int[Array, "G P"], lengths: Int[Array, " G"]) -> KV:
        """Keys and values of prefixes (padded on the right to P, with their real lengths), for `hidden`."""
        kv = self.hidden(params, tokens[:, None], keep_kv=True).keys_values
        return KV(kv.k[:, :, 0], kv.v[:, :, 0], lengths)

    def decode(
        self, params: Params, tokens: Int[Array, "S N"], past: Past
    ) -> tuple[Float[Array, "S N D"], tuple[jax.Array, jax.Array]]:
        """States of one token behind the past of each row (models/cache.py), and its keys and values [L S N K H]."""
        positions = past.positions.reshape(-1, 1, 1)
        rotary, kinds = rotary_angles(self.spec, positions), self._rope_of_layers()
        x = self._embedded(params, tokens.reshape(-1, 1, 1), positions)

        def step(x: jax.Array, layer: tuple):
            weights, arrays, kind, window = layer
            x = constrain(x, self._rows(x))
            angles = rotary if kind is None else jax.tree.map(lambda part: part[kind], rotary)
            module = nnx.merge(_graph(self.spec, self.lora, self.precision)["layers"], weights)
            return module(x, angles, window, past.of_layer(arrays), 0.0, None)

        layers = (params["layers"], past.arrays(), kinds, self._windows())
        x, kv = jax.lax.scan(step, x, layers, unroll=1 if self.scan_layers else self.spec.n_layers)
        states = self._part("final_norm", params)(x)
        k, v = (part.reshape(part.shape[0], *tokens.shape, *part.shape[4:]) for part in kv)
        return states.reshape(*tokens.shape, -1), (k, v)

    def logits(self, params: Params, states: Float[Array, "*lead D"]) -> Float[Array, "*lead V"]:
        """Float32 scores over the vocabulary of states after the final norm."""
        scores = self._part("embedding" if self.spec.tie_embeddings else "head", params).scores(states)
        if self.spec.logit_divisor != 1:
            scores = scores / self.spec.logit_divisor
        cap = self.spec.logit_softcap
        return scores if cap is None else cap * jnp.tanh(scores / cap)

    def _embedded(
        self, params: Params, tokens: Int[Array, "G B T"], positions: Int[Array, "G _ T"]
    ) -> Float[Array, "G B T D"]:
        x = self._part("embedding", params)(tokens, self.dtype)
        if self.spec.embedding_scale != 1:
            x = x * self.spec.embedding_scale  # the scale is rounded to the dtype of x, as Gemma does
        if self.spec.positions == "learned":
            x = x + self._part("positions", params)(positions, self.dtype)
        return x

    def _rope_of_layers(self) -> Int[np.ndarray, " L"] | None:
        """Which of the ropes each layer turns by; None where they are all the same."""
        kinds = rope_kinds(self.spec)
        return np.array([kinds.index(rope) for rope in self.spec.ropes], np.int32) if len(kinds) > 1 else None

    def _windows(self) -> Int[np.ndarray, " L"] | None:
        """Tokens that a query of each layer sees; None where no layer's window is shorter than the longest text."""
        longest = self.spec.max_position_embeddings
        windows = [longest if window is None else window for window in self.spec.windows or ()]
        return np.array(windows, np.int32) if any(window < longest for window in windows) else None

    def _part(self, name: str, params: Params) -> Any:
        return nnx.merge(_graph(self.spec, self.lora, self.precision)[name], params[name])

    def _map(self, function: Callable[..., Any], *trees: Params) -> Params:
        table = weight_table(self.spec) if self.lora is None else adapter_table(self.spec, self.lora)
        return jax.tree.map(function, table, *trees, is_leaf=lambda node: isinstance(node, Weight))

    @staticmethod
    def _rows(array: jax.Array) -> tuple[str | None, ...]:
        """The batch axis is G; training has one group and many rows, so there it is B."""
        lead = ("batch", None) if array.shape[0] > 1 else (None, "batch")
        return (*lead, *[None] * (array.ndim - 2))


@functools.lru_cache(maxsize=8)
def _initialiser(network: Network, mesh: Mesh | None) -> Callable[[jax.Array], Params]:
    """Compiled: fresh parameters of a key."""

    def make(key: jax.Array) -> Params:
        return network._map(lambda weight: weight.init(key))

    return jax.jit(make, out_shardings=None if mesh is None else network.shardings(mesh))
