"""Pools on the device for the keys and values of questions under way, so that later rounds forward new tokens only."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from slick_jax.knowledge.batches import Batch
from slick_jax.knowledge.shapes import Shapes
from slick_jax.knowledge.trees import Asker, Kept
from slick_jax.knowledge.walk import Path
from slick_jax.mesh import sharding_for
from slick_jax.models.cache import Pool
from slick_jax.models.transformer import Network

CPU_BYTES = 4 << 30  # of all pools together where devices do not say how much memory they have, which they share
ROUNDS = 2  # slots that all rounds may fill, over those of the first one
FREE_SHARE = 3  # one part in so many of the memory that the weights leave is taken otherwise


class Held:
    """A pool in use: `slots` of every shard are filled in turn; behind them is room for one call that does not fit."""

    def __init__(self, arrays: Pool, slots: int):
        self.arrays, self.slots = arrays, slots
        self.filled = 0
        self._homes: dict[int, tuple[int, dict[Path, int]]] = {}  # by id of the walk: shard, and slots of paths' ends

    def place(self, batch: Batch) -> int:
        """The slot from which on the tokens of a call go; they can be found again where it is one of `slots`."""
        shards, start = self.arrays.k.shape[1], self.filled
        size = batch.lanes.tokens.size // shards
        if start + size > self.slots:
            return self.slots
        self.filled += size
        for tree, shard, place in batch.homes:
            _, home = self._homes.setdefault(id(tree.asker), (shard, {}))
            if tree.kept is None:
                home[()] = start + place
            behind = start + place + len(tree.tokens) - len(tree.paths)
            home.update((path, behind + number) for number, path in enumerate(tree.paths))
        return start

    def find(self, walk: Asker, path: Path) -> Kept | None:
        """What is kept of the walk's question and of `path` before its last token; None where the question is not."""
        shard, home = self._homes.get(id(walk), (0, {}))
        length = next((n for n in range(len(path) - 1, -1, -1) if path[:n] in home), None)
        if length is None:
            return None
        question = range(home[()], home[()] + len(walk.tokens))
        return Kept(path[:length], shard, (*question, *(home[path[:n]] for n in range(1, length + 1))))


class Pools:
    """Pools of one size, handed on from one verification to the next."""

    def __init__(self, network: Network, mesh: jax.sharding.Mesh, slots: int, shapes: Shapes):
        """`slots` to fill, a shard; the arrays have room for a largest call of `shapes` besides."""
        spec = network.spec
        self._slots = slots
        shape = (spec.n_layers, shapes.shards, slots + shapes.most_tokens, spec.n_kv_heads, spec.head_dim)
        sharding = sharding_for(mesh, (None, "batch", None, "kv_heads", None), shape)
        self.abstract = Pool(*[jax.ShapeDtypeStruct(shape, jnp.dtype(network.dtype), sharding=sharding)] * 2)
        self.shardings = Pool(sharding, sharding)
        self._make = jax.jit(
            lambda: jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), self.abstract),
            out_shardings=self.shardings,
        )
        self._free: list[Pool] = []

    def take(self) -> Held:
        """An empty pool."""
        return Held(self._free.pop() if self._free else self._make(), self._slots)

    def give_back(self, held: Held) -> None:
        """For others, once nothing more will be asked of it; what runs already may still read it."""
        self._free.append(held.arrays)


def slots_for(
    network: Network, mesh: jax.sharding.Mesh, gib: float | None, pools: int, tokens: int, shapes: Shapes
) -> int:
    """Slots a shard of each of `pools`: for the questions of `tokens` tokens in all, as far as memory reaches; 0 where
    that is not worth a pool.

    gib: memory of a device for all of them, in GiB; None: a third of what the weights leave.
    """
    spec = network.spec
    cut = mesh.shape["tensor"] if spec.n_kv_heads % mesh.shape["tensor"] == 0 else 1
    slot = 2 * spec.n_layers * spec.n_kv_heads // cut * spec.head_dim * jnp.dtype(network.dtype).itemsize
    call = shapes.most_tokens
    fit = int(_bytes(network, mesh) if gib is None else gib * 2**30) // pools // slot - call
    wanted = ROUNDS * (-(-tokens // (shapes.shards * call)) + 1) * call
    return min(fit, wanted) if fit >= call else 0


def _bytes(network: Network, mesh: jax.sharding.Mesh) -> int:
    """Memory of a device for pools, the same in every process of a mesh of equal devices."""
    limit = (mesh.local_devices[0].memory_stats() or {}).get("bytes_limit")
    if limit is None:
        return CPU_BYTES // jax.local_device_count()
    weights = sum(leaf.size for leaf in jax.tree.leaves(network.abstract())) * jnp.dtype(network.dtype).itemsize
    cut = mesh.shape["fsdp"] * mesh.shape["tensor"]
    return max((limit >> 30 << 30) - weights // cut, 0) // FREE_SHARE
