"""The device side of verification: shared prefixes once, then for every drafted position the token each draw takes."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from slick_jax.errors import InputError
from slick_jax.knowledge.batches import Batch
from slick_jax.mesh import batch_sharding, place, readable, replicated
from slick_jax.models.transformer import KV, Network
from slick_jax.sampling import logits as select


class Judged(NamedTuple):
    """What the model says at the judged positions of a batch: S shards of M positions each.

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
    logits are returned; n_tokens: ids the tokenizer has, the rest of a padded vocabulary is masked.
    """

    network: Network
    n_samples: int
    sample_top_k: int
    top_k: int
    n_tokens: int

    def scores(
        self,
        params,
        bank: KV,
        prefix: Int[Array, " G"],
        tokens: Int[Array, "G B T"],
        where: Int[Array, "S M"],
    ) -> Float[Array, "S M V"]:
        """One forward pass behind the shared prefixes; logits of the judged positions only."""
        group_prefix = KV(bank.k[:, prefix], bank.v[:, prefix], bank.lengths[prefix])
        states = self.network.hidden(params, tokens, group_prefix).states
        states = states.reshape(where.shape[0], -1, states.shape[-1])  # a shard gathers from its own groups
        states = jnp.take_along_axis(states, where[..., None], axis=1)
        return select.clean(self.network.logits(params, states), self.n_tokens)

    def decide(
        self,
        logits: Float[Array, "S M V"],
        step: Int[Array, "S M"],
        names: UInt32[Array, "S M 3"],
        targets: Int[Array, "S M"],
        key: UInt32[Array, "2"],
        temperature: Float[Array, ""],
    ) -> Judged:
        """What every draw takes at the judged positions. A program of its own: it compiles once for all row lengths."""
        flat = logits.reshape(-1, logits.shape[-1])
        values, ids = (found.reshape(*step.shape, -1) for found in select.top_k(flat, self.top_k))
        total = jax.nn.logsumexp(flat, axis=-1)
        gold = (jnp.take_along_axis(flat, targets.reshape(-1, 1), axis=1)[:, 0] - total).reshape(step.shape)
        drawn = ids[..., :1]  # greedy: the first of the top k, ties to the lower id
        if self.n_samples:
            keys = tuple(word[..., None] for word in select.draw_keys(key, names, self.n_samples))  # [S M n 1]
            kept, kept_ids = (array[..., None, : self.sample_top_k] for array in (values, ids))
            samples = select.draw(kept, kept_ids, select.gumbel(keys, step[..., None, None], kept_ids), temperature)
            drawn = jnp.concatenate([drawn, samples], axis=-1)
        return Judged(drawn, values, ids, gold, jnp.all(jnp.isfinite(total)))


class Device:
    """Runs the programs on a mesh: prefixes are kept in a bank there, batches are sharded over their groups."""

    def __init__(self, program: Program, params, mesh, *, seed: int, temperature: float, prefix_length: int):
        self.program, self.params, self.mesh = program, params, mesh
        self.shards = mesh.shape["data"] * mesh.shape["fsdp"]
        self.key = select.run_key(seed)
        self.temperature = np.float32(temperature)
        self.prefix_length = prefix_length
        self._prefix = jax.jit(program.network.prefix, out_shardings=replicated(mesh))
        self._scores = jax.jit(program.scores)
        self._decide = jax.jit(program.decide, out_shardings=readable(mesh))
        self._shard = functools.partial(batch_sharding, mesh)
        self.bank: KV | None = None

    def load_prefixes(self, prefixes: list[np.ndarray], slots: int) -> None:
        """Compute keys and values of `prefixes` and keep them as the bank, padded to `slots` (few shapes)."""
        rows = -(-slots // self.shards) * self.shards
        tokens = np.zeros((rows, self.prefix_length), np.int32)
        lengths = np.zeros(rows, np.int32)
        for index, prefix in enumerate(prefixes):
            tokens[index, : len(prefix)] = prefix
            lengths[index] = len(prefix)
        placed = place(tokens, self._shard(2)), place(lengths, self._shard(1))
        self.bank = self._prefix(self.params, *placed)

    def judge(self, batch: Batch) -> Judged:
        """Dispatch one batch; the result is fetched later with `fetch`, so host and device overlap."""
        parts = (batch.prefix, batch.tokens, batch.where, batch.step, batch.names, batch.targets)
        prefix, tokens, where, *rest = (place(part, self._shard(part.ndim)) for part in parts)
        logits = self._scores(self.params, self.bank, prefix, tokens, where)
        return self._decide(logits, *rest, self.key, self.temperature)

    @staticmethod
    def fetch(judged: Judged) -> Judged:
        """The result as numpy arrays. Raises InputError on a NaN or infinite logit: its draws would mean nothing."""
        judged = jax.device_get(judged)
        if not judged.finite:
            raise InputError(
                "model: a logit is NaN or infinite, so no answer can be judged; check the checkpoint's weights, or set"
                " model.dtype=float32 if they overflow in bfloat16"
            )
        return judged
