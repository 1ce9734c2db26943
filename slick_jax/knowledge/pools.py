"""Pools on the device for the keys and values of questions under way, so that later rounds forward new tokens only."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from slick_jax.compilation import jitted
from slick_jax.knowledge.batches import Batch
from slick_jax.knowledge.shapes import Shapes
from slick_jax.knowledge.trees import Asker, Kept
from slick_jax.knowledge.walk import Path
from slick_jax.mesh import AXES, batch_shards, replicated, sharding_for
from slick_jax.models.cache import Pool
from slick_jax.models.transformer import Network, Params

CPU_BYTES = 4 << 30  # of all pools together where devices do not say how much memory they have, which they share
ROUNDS = 2  # slots that all rounds may fill, over the tokens of the first one; lanes are not quite full
FREE_SHARE = 2  # one part in so many of the memory that the weights leave is taken


class Lease:
    """A pool in use: the slots of every shard are filled in turn; what no longer fits is not kept."""

    def __init__(self, arrays: Pool):
        self.arrays = arrays
        self.filled = 0
        self._homes: dict[int, tuple[int, dict[Path, int]]] = {}  # by id of the walk: shard, and slots of paths' ends

    def place(self, batch: Batch) -> int | None:
        """The slot from which on the tokens of a call go, to be found there again; None where they do not fit."""
        shards, slots = self.arrays.k.shape[1:3]
        start, size = self.filled, batch.lanes.tokens.size // shards
        if start + size > slots:
            return None
        self.filled += size
        for tree, shard, place in batch.homes:
            home_shard, home = self._homes.setdefault(id(tree.asker), (shard, {}))
            if shard != home_shard:  # a large question asks in several trees; those beside the first are not kept
                continue
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

    def __init__(self, network: Network, mesh: Mesh, slots: int):
        """`slots`: of a shard."""
        spec = network.spec
        shape = (spec.n_layers, batch_shards(mesh), slots, spec.n_kv_heads, spec.head_dim)
        sharding = sharding_for(mesh, (None, "batch", None, "kv_heads", None), shape)
        self.abstract = Pool(*[jax.ShapeDtypeStruct(shape, jnp.dtype(network.dtype), sharding=sharding)] * 2)
        self.shardings = Pool(sharding, sharding)
        self._make = jitted(_empty, shape, network.dtype, out_shardings=self.shardings)
        self._free: list[Pool] = []

    def take(self) -> Lease:
        """An empty pool."""
        return Lease(self._free.pop() if self._free else self._make())

    def give_back(self, lease: Lease) -> None:
        """For others, once nothing more will be asked of it; what runs already may still read it."""
        self._free.append(lease.arrays)


def _empty(shape: tuple[int, ...], dtype: str) -> Pool:
    return Pool(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def slots_for(network: Network, mesh: Mesh, size: float, pools: int, tokens: int, shapes: Shapes) -> int:
    """Slots a shard of each of `pools`, which have `size` bytes of every device together.

    As many as parts need whose first round has `tokens` tokens in all, as far as memory reaches; 0 where a call of
    `shapes` would not fit.
    """
    spec = network.spec
    cut = mesh.shape["tensor"] if spec.n_kv_heads % mesh.shape["tensor"] == 0 else 1
    slot = 2 * spec.n_layers * spec.n_kv_heads // cut * spec.head_dim * jnp.dtype(network.dtype).itemsize
    call = max(lanes * length for lanes, length, _ in shapes.calls) // shapes.shards
    wanted = (-(-ROUNDS * tokens // (shapes.shards * call)) + 1) * call
    fit = int(size) // pools // slot
    return min(fit, wanted) if fit >= call else 0


def free_bytes(mesh: Mesh, params: Params) -> int:
    """Bytes of a device of `mesh` for pools, where the settings say none: half of what the weights leave.

    The least of all devices, so that the processes of a mesh agree.
    """

    def least(values: Sequence[int]) -> int:  # MiB fit int32
        every = NamedSharding(mesh, PartitionSpec(AXES))
        given = jax.make_array_from_callback((mesh.size,), every, lambda _: np.array([min(values)], np.int32))
        return int(jax.jit(jnp.min, out_shardings=replicated(mesh))(given))

    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in mesh.local_devices]
    if None in limits:
        return CPU_BYTES // jax.local_device_count()
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(params))
    return max((least([limit >> 20 for limit in limits]) << 20) - held, 0) // FREE_SHARE
