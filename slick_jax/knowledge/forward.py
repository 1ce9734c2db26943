"""The device side of verification: shared prefixes once, then for every judged position the token each draw takes."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from slick_jax.compilation import compilers, jitted
from slick_jax.errors import not_finite
from slick_jax.knowledge.batches import Batch, Lanes
from slick_jax.knowledge.pools import Lease, Pools
from slick_jax.knowledge.shapes import Shapes
from slick_jax.mesh import batch_sharding, batch_shards, place, readable, replicated, sharding_for
from slick_jax.models.attention import Forest
from slick_jax.models.cache import Pool
from slick_jax.models.transformer import KV, Network
from slick_jax.sampling import logits as select


class Readout(NamedTuple):
    """What the model says at judged positions: S shards of M each.

    draws int32[S M 1+n]: the token of the greedy decode (0) and of every sample; values float32[S M k] and ids
    int32[S M k]: the k largest logits, falling; gold float32[S M]: log-probability of the target token (T = 1,
    whole vocabulary); finite bool: no logit was NaN or infinite.
    """

    draws: Int[Array, "S M n"]
    values: Float[Array, "S M k"]
    ids: Int[Array, "S M k"]
    gold: Float[Array, "S M"]
    finite: Array


@dataclasses.dataclass(frozen=True)
class Program:
    """Static part of the compiled programs.

    n_samples: draws besides the greedy one; sample_top_k: tokens a sample may take; top_k >= sample_top_k: tokens whose
    logits are returned; n_tokens: ids the tokenizer has, the rest of a padded vocabulary is masked; keeps: whether the
    forward pass gives keys and values, to be kept.
    """

    network: Network
    n_samples: int
    sample_top_k: int
    top_k: int
    n_tokens: int
    keeps: bool = False

    def states(
        self, params, bank: KV, lanes: Lanes, pool: Pool | None = None
    ) -> tuple[Float[Array, "G T D"], KV | None]:
        """One forward pass of lanes of token trees behind the shared prefixes and what they see of the pool; and their
        keys and values, where these are kept."""
        kept = () if lanes.slots is None else (lanes.first, lanes.last)
        forest = Forest(*(part[:, None] for part in (lanes.depth, lanes.end, *kept)))
        states, found, _ = self.network.hidden(
            params, lanes.tokens[:, None], bank, forest=forest, behind=lanes.prefix,
            keep_kv=self.keeps, pool=pool, slots=lanes.slots,
        )  # fmt: skip
        return states[:, 0], found

    @staticmethod
    def keep(pool: Pool, found: KV, start: Int[Array, ""]) -> Pool:
        """The pool with these keys and values from slot `start` on. A program of its own: where one both reads and
        writes the pool, the compiler copies it."""
        return pool.written(found.k, found.v, start)

    @staticmethod
    def judged(states: Float[Array, "G T D"], where: Int[Array, "S M"]) -> Float[Array, "S M D"]:
        """The states of the judged positions. A shard gathers from its own lanes."""
        return jnp.take_along_axis(states.reshape(len(where), -1, states.shape[-1]), where[..., None], axis=1)

    def decide(
        self,
        params,
        states: Float[Array, "S M D"],
        step: Int[Array, "S M"],
        names: UInt32[Array, "S M 3"],
        targets: Int[Array, "S M"],
        key: UInt32[Array, "2"],
        temperature: Float[Array, ""],
    ) -> Readout:
        """What every draw takes at the judged positions. A program of its own: it compiles once for all lane lengths,
        and the vocabulary is scored at judged positions only."""
        logits = select.clean(self.network.logits(params, states), self.n_tokens)
        flat = logits.reshape(-1, logits.shape[-1])
        values, ids = select.top_k_of_shards(logits, self.top_k)
        total = jax.nn.logsumexp(flat, axis=-1)
        gold = (jnp.take_along_axis(flat, targets.reshape(-1, 1), axis=1)[:, 0] - total).reshape(step.shape)
        drawn = ids[..., :1]  # greedy: the first of the top k, ties to the lower id
        if self.n_samples:
            keys = tuple(word[..., None] for word in select.draw_keys(key, names, self.n_samples))  # [S M n 1]
            kept, kept_ids = (array[..., None, : self.sample_top_k] for array in (values, ids))
            samples = select.draw(kept, kept_ids, select.gumbel(keys, step[..., None, None], kept_ids), temperature)
            drawn = jnp.concatenate([drawn, samples], axis=-1)
        return Readout(drawn, values, ids, gold, jnp.all(jnp.isfinite(total)))


class Device:
    """Runs the programs on a mesh: prefixes are kept in a bank there, batches are sharded over their lanes."""

    def __init__(
        self, program: Program, params, mesh, *, seed: int, temperature: float, prefix_length: int,
        pools: Pools | None = None,
    ):  # fmt: skip
        """`pools`: where questions under way are kept; None: they are forwarded anew in every round."""
        self.pools = pools
        self.program, self.params, self.mesh = program, params, mesh
        self.shards = batch_shards(mesh)
        self.key = select.run_key(seed)
        self.temperature = np.float32(temperature)
        self.prefix_length = prefix_length
        # The bank lies whole with every shard of lanes, and cut over kv heads with the devices of a shard.
        heads = sharding_for(mesh, (None, None, None, "kv_heads", None), (1, 1, 1, program.network.spec.n_kv_heads, 1))
        self.bank_sharding = KV(heads, heads, replicated(mesh))
        kind = type(program)
        self._prefix = jitted(type(program.network).prefix, program.network, out_shardings=self.bank_sharding)
        self._states = jitted(kind.states, program)
        self._keep = jitted(kind.keep, donate_argnames="pool", out_shardings=pools and pools.shardings)
        self._judged = jitted(kind.judged)
        self._decide = jitted(kind.decide, program, out_shardings=readable(mesh))
        self._shard = functools.partial(batch_sharding, mesh)
        self._ready: dict[tuple, Callable] = {}  # programs compiled ahead, by name and shape
        self.waited = 0.0  # seconds that `fetch` had to wait
        # Collectives of several programs under way starve each other of threads on XLA's CPU backend.
        self._one_by_one = jax.default_backend() == "cpu" and mesh.size > 1

    def bank(self, prefixes: list[np.ndarray], slots: int) -> KV:
        """Keys and values of `prefixes`, padded to `slots` (few shapes): the bank that batches stand behind."""
        rows = self._bank_rows(slots)
        tokens = np.zeros((rows, self.prefix_length), np.int32)
        lengths = np.zeros(rows, np.int32)
        for index, prefix in enumerate(prefixes):
            tokens[index, : len(prefix)] = prefix
            lengths[index] = len(prefix)
        run = self._ready.get(("prefix", rows), self._prefix)
        return run(self.params, *self._place(tokens, lengths))

    def _bank_rows(self, slots: int) -> int:
        """Prefixes are computed in equal numbers by all shards."""
        return -(-slots // self.shards) * self.shards

    def warm_up(self, shapes: Shapes, slots: int) -> None:
        """Compile the programs of all `shapes`, behind banks of `slots`, side by side; none is compiled after that."""

        def ints(*shape: int, dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype, sharding=self._shard(len(shape)))

        def compile_ahead(name: str, key: tuple, program: Any, *arguments: Any) -> Any:
            lowered = program.lower(*arguments)
            self._ready[name, key] = lowered.compile()
            return jax.tree.map(
                lambda out, sharding: jax.ShapeDtypeStruct(out.shape, out.dtype, sharding=sharding),
                lowered.out_info, self._ready[name, key].output_shardings,
            )  # fmt: skip

        def of_lanes(lanes: int, length: int, slots: int) -> None:
            lane = ints(lanes, length)
            kept = (ints(lanes, slots), lane, lane) if slots else ()
            given = Lanes(ints(lanes), lane, lane, lane, *kept)
            key = _key(given)
            pool = (self.pools.abstract,) if slots else ()
            states, found = compile_ahead("states", key, self._states, self.params, bank, given, *pool)
            if self.pools:
                compile_ahead("keep", key, self._keep, self.pools.abstract, found, np.int32(0))
            for positions in shapes.position_calls:
                where = ints(self.shards, positions)
                picked = compile_ahead("judged", (states.shape, where.shape), self._judged, states, where)
                if (lanes, length, slots) == shapes.calls[0]:
                    names = ints(self.shards, positions, 3, dtype=jnp.uint32)
                    rest = (where, names, where, self.key, self.temperature)
                    compile_ahead("decide", where.shape, self._decide, self.params, picked, *rest)

        rows = self._bank_rows(slots)
        bank = compile_ahead("prefix", rows, self._prefix, self.params, ints(rows, self.prefix_length), ints(rows))
        mesh = jax.sharding.get_mesh()

        def in_mesh(call: tuple[int, int, int]) -> None:
            with jax.set_mesh(mesh):  # a setting of the thread
                of_lanes(*call)

        with concurrent.futures.ThreadPoolExecutor(compilers()) as threads:
            list(threads.map(in_mesh, shapes.calls))
        if self.pools:
            self.pools.give_back(self.pools.take())

    def dispatch(self, bank: KV, batch: Batch, lease: Lease | None = None) -> list[Readout]:
        """Start one batch on the device: a readout per call of `batch.judged`, to be fetched later with `fetch`, so
        that host and device overlap. Its tokens are kept in the pool of `lease`, and those seen there that it stands
        behind."""
        states = self._run(bank, batch, lease)
        readouts = []
        for judged in batch.judged:
            where, *rest = self._place(judged.where, judged.step, judged.names, judged.targets)
            picked = self._ready.get(("judged", (states.shape, where.shape)), self._judged)(states, where)
            decide = self._ready.get(("decide", where.shape), self._decide)
            readout = decide(self.params, picked, *rest, self.key, self.temperature)
            if self._one_by_one:
                jax.block_until_ready(readout)
            for part in readout:
                part.copy_to_host_async()
            readouts.append(readout)
        return readouts

    def _run(self, bank: KV, batch: Batch, lease: Lease | None) -> Float[Array, "G T D"]:
        """The forward pass of a batch, whose keys and values go to the pool where there is room."""
        key, lanes = _key(batch.lanes), Lanes(*self._place(*(part for part in batch.lanes if part is not None)))
        pool = () if lanes.slots is None else (lease.arrays,)
        states, found = self._ready.get(("states", key), self._states)(self.params, bank, lanes, *pool)
        start = lease and lease.place(batch)
        if start is not None:
            keep = self._ready.get(("keep", key), self._keep)
            lease.arrays = keep(lease.arrays, found, np.int32(start))
            if self._one_by_one:
                jax.block_until_ready(lease.arrays)
        return states

    def _place(self, *arrays: np.ndarray) -> list[jax.Array]:
        return [place(array, self._shard(array.ndim)) for array in arrays]

    def fetch(self, readout: Readout) -> Readout:
        """The result as numpy arrays. Raises InputError on a NaN or infinite logit: its draws would mean nothing."""
        started = time.perf_counter()
        readout = jax.device_get(readout)
        self.waited += time.perf_counter() - started
        if not readout.finite:
            raise not_finite("a logit", "no answer can be judged")
        return readout


def _key(lanes: Lanes) -> tuple[int, ...]:
    """Name of the shapes of a call: (G, T, Q)."""
    return (*lanes.tokens.shape, 0 if lanes.slots is None else lanes.slots.shape[1])
