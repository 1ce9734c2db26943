"""Which of two words a model would rather write behind a prompt: one batched forward pass, few shapes, no decoding."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from slick_jax.data.examples import raise_problems
from slick_jax.data.prompts import PrefixTable
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.knowledge.shapes import TOKENS
from slick_jax.longform.writer import padded_lengths
from slick_jax.mesh import batch_sharding, batch_shards, replicated, sharding_for
from slick_jax.models.transformer import KV, Network


class Contrast:
    """The contrast of two endings of fixed prompts, by their first differing tokens. What all prompts begin with is
    read once; all are tokenised first, so that no score hangs on which of them are scored together."""

    def __init__(
        self,
        network: Network,
        mesh: Any,
        tokenizer: Tokenizer,
        prompts: Sequence[tuple[str, str]],
        endings: tuple[str, str],
        *,
        batch_tokens: int = 0,
        encode: Callable[[list[str]], list[list[int]]] | None = None,
    ):
        """Args:
        prompts: (name in errors, text) each; endings: what follows a prompt, such as " True" and " False".
        batch_tokens: of a forward pass, per slice of the mesh; 0: what the kind of device is fast at.

        Raises InputError where the tokenizer writes both endings alike, and for prompts longer than the model holds.
        """
        self._mesh = mesh
        whole = (encode or tokenizer.encode_batch)([text + ending for _, text in prompts for ending in endings])
        table, rests, pairs, problems = PrefixTable(), [], [], []
        limit = network.spec.max_position_embeddings
        for (name, _), one, other in zip(prompts, whole[::2], whole[1::2], strict=True):
            fork = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
            if not fork:
                raise InputError(
                    f"{tokenizer.where}: the tokenizer writes {endings[0]!r} and {endings[1]!r} alike, so that the"
                    " model cannot choose between them; use another checkpoint for this"
                )
            if limit is not None and fork > limit:
                problems.append(f"{name}: its prompt has {fork} tokens, more than the model's {limit} positions")
            rests.append(table.add(None, one[:fork]))
            pairs.append((one[fork], other[fork]))
        raise_problems(problems, "prompts are too long; give fewer passages, or shorter references")
        self._prefix = table.prefix(None) if rests else np.zeros(0, np.int32)
        self._rests = [table.rest(rest) for rest in rests]
        self._pairs = np.array(pairs, np.int32).reshape(-1, 2)
        self._lengths = padded_lengths(max(map(len, self._rests), default=1))
        self._shards = batch_shards(mesh)
        self._tokens = batch_tokens or TOKENS.get(jax.default_backend(), TOKENS["gpu"])
        self._read, self._score = _programs(network, mesh)

    def __call__(self, params: Any, which: Sequence[int]) -> Float[np.ndarray, " N"]:
        """Probability of the first ending against the second, of these prompts by number.

        Raises InputError when a score is NaN or infinite.
        """
        found = np.zeros(len(which))
        order = sorted(range(len(which)), key=lambda place: len(self._rests[which[place]]))
        with jax.set_mesh(self._mesh):
            bank = None
            if len(self._prefix):
                bank = self._read(params, self._prefix[None], np.array([len(self._prefix)], np.int32))
            while order:
                length = next(n for n in self._lengths if n >= len(self._rests[which[order[0]]]))
                rows = max(1, self._tokens // length) * self._shards
                fits = [place for place in order[:rows] if len(self._rests[which[place]]) <= length]
                order = order[len(fits) :]
                found[fits] = self._differences(params, bank, [which[place] for place in fits], rows, length)
        if not np.isfinite(found).all():
            raise InputError(
                "model: a logit is NaN or infinite, so nothing can be judged; check the checkpoint's weights, or set"
                " model.dtype=float32 if they overflow in bfloat16"
            )
        return np.exp(-np.logaddexp(0.0, -found))

    def _differences(self, params: Any, bank: KV | None, prompts: Sequence[int], rows: int, length: int) -> np.ndarray:
        tokens, last = np.zeros((rows, length), np.int32), np.zeros(rows, np.int32)
        pairs = np.zeros((rows, 2), np.int32)
        for row, prompt in enumerate(prompts):
            rest = self._rests[prompt]
            tokens[row, : len(rest)], last[row], pairs[row] = rest, len(rest) - 1, self._pairs[prompt]
        placed = (jax.device_put(one, batch_sharding(self._mesh, one.ndim)) for one in (tokens, last, pairs))
        return np.asarray(jax.device_get(self._score(params, bank, *placed)), np.float64)[: len(prompts)]


@functools.cache
def _programs(network: Network, mesh: Any) -> tuple[Callable[..., KV], Callable[..., jax.Array]]:
    """What reads a prefix, and what scores prompts behind it; compiled once for all contrasts of equal shapes."""
    heads = sharding_for(mesh, (None, None, None, "kv_heads", None), (1, 1, 1, network.spec.n_kv_heads, 1))

    def score(
        params: Any, bank: KV | None, tokens: Int[Array, "G T"], last: Int[Array, " G"], pairs: Int[Array, "G 2"]
    ) -> Float[Array, " G"]:
        behind = None if bank is None else jnp.zeros_like(last)
        states = network.hidden(params, tokens[:, None], bank, behind=behind).states[:, 0]
        scores = network.logits(params, jnp.take_along_axis(states, last[:, None, None], axis=1)[:, 0])
        first, second = jnp.take_along_axis(scores, pairs, axis=1).T
        return first - second

    return jax.jit(network.prefix, out_shardings=KV(heads, heads, replicated(mesh))), jax.jit(score)
