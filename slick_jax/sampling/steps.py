"""The device programs of the sampler: read prompts, lay rows out for a stretch of steps, and decode that stretch.

Letters: S shards, G prompts of a shard, J draws of a prompt, D = G * J, N rows of a shard, k kept tokens, Q slots of a
prompt behind its prefix; the rest as in models/cache.py.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from slick_jax.mesh import constrain
from slick_jax.models.cache import Past, Segment, pick
from slick_jax.models.transformer import KV, Network
from slick_jax.sampling import logits as select
from slick_jax.sampling.top_k import top_k

SCORED_ROWS = 1024  # rows whose scores over the vocabulary are held at once


class Draws(NamedTuple):
    """What a draw's noise hangs on: key words uint32[S D] twice, and its temperature (0: greedy)."""

    first: UInt32[Array, "S D"]
    second: UInt32[Array, "S D"]
    temperature: Float[Array, "S D"]


class Layout(NamedTuple):
    """Rows of a stretch of steps, numbered by the host (sampling/rows.py).

    parents: row of the stretch before; prompts: of the row; row_of: the row of each draw. For each segment (prefixes,
    then prompts): sources [S C] (what the chunk's rows read), members [S C B] and places [S N].
    """

    parents: Int[Array, "S N"]
    prompts: Int[Array, "S N"]
    row_of: Int[Array, "S D"]
    sources: tuple[Int[Array, "S C"], ...]
    members: tuple[Int[Array, "S C B"], ...]
    places: tuple[Int[Array, "S N"], ...]


class State(NamedTuple):
    """What a step changes. step: answer position that is decided next; tokens: what was drawn, up to there.

    stage: how much of a stop each draw has written, a row of the table of stops; as many as there are rows: it ended.
    split: the draws of a row took different tokens; finite: no score was NaN or infinite.
    """

    step: Int[Array, ""]
    k: Float[Array, "L S N K T H"]
    v: Float[Array, "L S N K T H"]
    row_tokens: Int[Array, "S N"]
    active: Bool[Array, "S D"]
    stage: Int[Array, "S D"]
    tokens: Int[Array, "S D A"]
    split: Bool[Array, ""]
    finite: Bool[Array, ""]


class Prompts(NamedTuple):
    """Keys and values of the prompts behind their prefixes, and both lengths."""

    k: Float[Array, "L S G K Q H"]
    v: Float[Array, "L S G K Q H"]
    lengths: Int[Array, "S G"]
    starts: Int[Array, "S G"]


@dataclasses.dataclass(frozen=True)
class Steps:
    """Static part of the compiled programs.

    numbers: which draws of a prompt are decoded, 0 the greedy one; n_tokens: ids the tokenizer has; answer_tokens: A,
    the most tokens of an answer.
    """

    network: Network
    numbers: tuple[int, ...]
    top_k: int
    n_tokens: int
    answer_tokens: int
    shards: int

    def start(
        self, params, bank: KV, prefix: Int[Array, " C"], tokens: Int[Array, "C B Q"], lengths: Int[Array, "C B"],
        names: UInt32[Array, "S G 3"], key: UInt32[Array, "2"], temperature: Float[Array, ""],
        stops: Int[Array, "M V"],
    ) -> tuple[Prompts, Draws, State]:  # fmt: skip
        """Read the prompts, C chunks of B that continue one prefix each, and draw every answer's first token."""
        groups = KV(bank.k[:, prefix], bank.v[:, prefix], bank.lengths[prefix])
        hidden = self.network.hidden(params, tokens, groups, keep_kv=True)
        last = jnp.take_along_axis(hidden.states, jnp.maximum(lengths - 1, 0)[..., None, None], axis=2)
        values, ids, finite = self._best(params, last.reshape(self.shards, -1, last.shape[-1]))

        def held(kv: Array) -> Array:
            kv = kv.reshape(kv.shape[0], self.shards, -1, *kv.shape[3:]).swapaxes(3, 4)
            return constrain(kv, (None, "batch", None, "kv_heads", None, None))

        kv = hidden.keys_values
        starts = jnp.broadcast_to(groups.lengths[:, None], lengths.shape).reshape(self.shards, -1)
        prompts = Prompts(held(kv.k), held(kv.v), lengths.reshape(self.shards, -1), starts)
        draws = self._draws(key, names, temperature)
        owner = jnp.broadcast_to(jnp.arange(names.shape[1])[:, None], (names.shape[1], len(self.numbers)))
        row_of = jnp.broadcast_to(owner.reshape(-1), draws.first.shape)
        token = self._choose(values, ids, row_of, draws, jnp.int32(0))
        real = pick(prompts.lengths, row_of) > 0
        buffer = jnp.zeros((*token.shape, self.answer_tokens), jnp.int32).at[..., 0].set(token)
        empty = jnp.zeros((0, self.shards, 0, 0, 0, 0), kv.k.dtype)
        state = State(
            jnp.int32(1), empty, empty, jnp.zeros_like(prompts.lengths), real & (stops[0, token] < len(stops)),
            stops[0, token], buffer, jnp.asarray(False), finite,
        )  # fmt: skip
        return prompts, draws, state

    def lay_out(
        self, bank: KV, prompts: Prompts, layout: Layout, state: State, slots: int
    ) -> tuple[tuple[Segment, ...], State]:
        """The rows of a layout, each with the cache of its parent, enlarged to `slots`; shared keys by chunk."""
        own = ("batch", None, "kv_heads", None, None)

        def gathered(kv: Array, sources: Array) -> Array:
            kv = jax.vmap(pick, in_axes=(0, None))(kv, sources)
            return constrain(kv, (None, *own))

        def cache(old: Array, like: Array) -> Array:
            if not old.shape[0]:  # nothing is decoded yet
                shape = (like.shape[0], *layout.parents.shape, like.shape[3], slots, like.shape[5])
                return constrain(jnp.zeros(shape, like.dtype), (None, *own))
            found = jax.vmap(pick, in_axes=(0, None))(old, layout.parents)
            return constrain(jnp.pad(found, [(0, 0)] * 4 + [(0, slots - old.shape[4]), (0, 0)]), (None, *own))

        prefix, prompt = layout.sources
        shared = (constrain(one[:, prefix].swapaxes(3, 4), (None, *own)) for one in (bank.k, bank.v))
        first = Segment(*shared, bank.lengths[prefix], jnp.zeros_like(prefix), layout.members[0], layout.places[0])
        second = Segment(
            gathered(prompts.k, prompt), gathered(prompts.v, prompt), pick(prompts.lengths, prompt),
            pick(prompts.starts, prompt), layout.members[1], layout.places[1],
        )  # fmt: skip
        token = jax.lax.dynamic_index_in_dim(state.tokens, state.step - 1, axis=2, keepdims=False)
        row_tokens = self._row_tokens(token, state.active, layout)
        k, v = cache(state.k, prompts.k), cache(state.v, prompts.v)
        return (first, second), state._replace(k=k, v=v, row_tokens=row_tokens, split=jnp.asarray(False))

    def advance(
        self, params, prompts: Prompts, segments: tuple[Segment, ...], layout: Layout, draws: Draws,
        stops: Int[Array, "M V"], floor: Int[Array, ""], state: State,
    ) -> State:  # fmt: skip
        """Decode until a row's draws part, no more than `floor` rows of any shard are active, the caches are full or
        the answers have all their tokens."""
        base = pick(prompts.lengths, layout.prompts) + pick(prompts.starts, layout.prompts)
        last = min(state.k.shape[4] + 1, self.answer_tokens)

        def going(state: State) -> Array:
            alive = jnp.max(jnp.sum(self._alive(state.active, layout), axis=1))
            return (state.step < last) & ~state.split & state.finite & (alive > floor)

        def body(state: State) -> State:
            filled = state.step - 1
            past = Past(segments, state.k, state.v, filled, base + filled)
            states, (k, v) = self.network.decode(params, state.row_tokens, past)
            values, ids, finite = self._best(params, states)
            token = self._choose(values, ids, layout.row_of, draws, state.step)
            tokens = jax.lax.dynamic_update_slice_in_dim(
                state.tokens, jnp.where(state.active, token, 0)[..., None], state.step, axis=2
            )
            stage = jnp.where(state.active, stops[state.stage, token], state.stage)
            active = state.active & (stage < len(stops))
            row_tokens = self._row_tokens(token, active, layout)
            split = jnp.any(active & (token != pick(row_tokens, layout.row_of)))
            k, v = (
                jax.lax.dynamic_update_slice_in_dim(held, new[:, :, :, :, None], filled, axis=4)
                for held, new in ((state.k, k), (state.v, v))
            )
            return State(state.step + 1, k, v, row_tokens, active, stage, tokens, split, finite)

        return jax.lax.while_loop(going, body, state)

    def _best(self, params, states: Float[Array, "S N D"]) -> tuple[Array, Array, Array]:
        """The k largest scores of every row, their ids, and whether all scores were finite."""
        shards, rows, width = states.shape
        blocks = next(n for n in range(-(-rows // SCORED_ROWS), rows + 1) if rows % n == 0)

        def score(block: Array) -> tuple[Array, Array, Array]:
            scores = select.clean(self.network.logits(params, block), self.n_tokens)
            values, ids, finite = top_k(scores.reshape(-1, scores.shape[-1]), self.top_k)
            return values.reshape(*block.shape[:2], -1), ids.reshape(*block.shape[:2], -1), finite

        if blocks == 1:
            return score(states)
        cut = states.reshape(shards, blocks, rows // blocks, width).swapaxes(0, 1)
        values, ids, finite = jax.lax.map(score, cut)
        return *(one.swapaxes(0, 1).reshape(shards, rows, -1) for one in (values, ids)), jnp.all(finite)

    def _draws(self, key: Array, names: UInt32[Array, "S G 3"], temperature: Array) -> Draws:
        words = select.draw_keys(key, names, max(*self.numbers, 1))
        which = jnp.array([max(number - 1, 0) for number in self.numbers])
        heat = jnp.where(jnp.array(self.numbers) == 0, 0.0, temperature)
        shape = (*names.shape[:2], len(self.numbers))
        parts = (*(word[..., which] for word in words), jnp.broadcast_to(heat, shape))
        return Draws(*(part.reshape(names.shape[0], -1) for part in parts))

    @staticmethod
    def _choose(values, ids, row_of: Int[Array, "S D"], draws: Draws, step: Array) -> Int[Array, "S D"]:
        """The token of every draw."""
        values, ids = pick(values, row_of), pick(ids, row_of)
        noise = select.gumbel((draws.first[..., None], draws.second[..., None]), step, ids)
        greedy = draws.temperature == 0
        sampled = select.draw(values, ids, noise, jnp.where(greedy, 1.0, draws.temperature)[..., None])
        return jnp.where(greedy, ids[..., 0], sampled)

    @staticmethod
    def _row_tokens(token: Int[Array, "S D"], active: Bool[Array, "S D"], layout: Layout) -> Int[Array, "S N"]:
        """The token with which each row goes on: that of its active draws, the largest where they differ."""
        empty = jnp.zeros_like(layout.parents)
        token = jnp.where(active, token, 0)
        return jax.vmap(lambda row, where, one: row.at[where].max(one))(empty, layout.row_of, token)

    @staticmethod
    def _alive(active: Bool[Array, "S D"], layout: Layout) -> Bool[Array, "S N"]:
        """Rows that have an active draw."""
        none = jnp.zeros(layout.parents.shape, bool)
        return jax.vmap(lambda row, where, one: row.at[where].max(one))(none, layout.row_of, active)
