"""The ordinary sampler: free text behind prompts, greedy and sampled draws together, with caches that prompts share.

A prompt is read once. Its draws read the prompt's keys and values, and those of the prefix that prompts share, and own
only the keys of what they wrote themselves; draws that wrote the same tokens so far are one row. Noise hangs on
identity (sampling/logits.py), so a draw does not depend on what else is decoded, nor on devices.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Int

from slick_jax.compilation import jitted
from slick_jax.errors import not_finite
from slick_jax.mesh import batch_sharding, batch_shards, place, readable, replicated
from slick_jax.models.transformer import KV, Network
from slick_jax.sampling import logits as select
from slick_jax.sampling.rows import plan, row_counts
from slick_jax.sampling.steps import Steps

PROMPT_CHUNK = 8  # prompts that are read together behind one prefix
PROMPT_LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
FEWER = (256, 16, 1)  # a call of few prompts takes one in so many of the rows; each is a shape of its own
CACHE_SLOTS = (8, 32, 128, 512, 2048, 8192)  # sizes of a row's own cache; it is enlarged as the answer grows


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What draws continue: `tokens`, one or more, behind prefix number `prefix` of the bank.

    name: the two words of an id (hashing.id_words) and a slot, which the noise of its draws hangs on.
    """

    tokens: Sequence[int]
    name: tuple[int, int, int]
    prefix: int = 0


class Sampler:
    """Decodes prompts; its programs compile once for each of a few shapes, and are kept for further calls."""

    def __init__(
        self,
        network: Network,
        mesh,
        *,
        stops: Sequence[bool] | Int[np.ndarray, "M V"],
        numbers: Sequence[int],
        max_tokens: int,
        temperature: float = 1.0,
        top_k: int = 40,
        seed: int = 0,
        n_tokens: int | None = None,
        rows: int = 4096,
        lengths: Sequence[int] = PROMPT_LENGTHS,
    ):
        """Args:
        stops: of every token id, whether it ends a text; or, where texts end at what may take several tokens, the
          stage that follows on each of the stages 0 to M - 1 and a token, M where the text has ended.
        numbers: the draws of every prompt: 0 is greedy, each other number a sample with noise of its own.
        max_tokens: most tokens of a text, its stop included.
        n_tokens: ids the tokenizer has; the rest of a padded vocabulary is never drawn.
        rows: draws decoded together, over all devices (a little more where they do not divide; fewer where a call has
          no more than a sixteenth of them).
        lengths: that prompts are padded to, rising.
        """
        if not numbers or max_tokens < 1:
            raise ValueError("numbers must name a draw, and max_tokens be 1 or more")
        self.mesh, self.shards = mesh, batch_shards(mesh)
        top_k = top_k if any(numbers) else 1
        self.numbers, self.max_tokens, self.lengths = tuple(numbers), max_tokens, tuple(lengths)
        vocabulary = network.spec.vocab_size
        self._steps = Steps(network, self.numbers, top_k, n_tokens or vocabulary, max_tokens, self.shards)
        most = max(1, rows // (len(self.numbers) * self.shards * PROMPT_CHUNK))
        self._chunks = tuple(-(-most // part) for part in FEWER)  # of a shard
        self._slots = (*(n for n in CACHE_SLOTS if n < max_tokens - 1), max(max_tokens - 1, 1))
        self._start = jitted(Steps.start, self._steps)
        self._lay_out = jitted(Steps.lay_out, self._steps, static_argnames="slots")
        self._advance = jitted(Steps.advance, self._steps, donate_argnames="state")
        self._shard = functools.partial(batch_sharding, mesh)
        self._key, self._temperature = select.run_key(seed), np.float32(temperature)
        stops = np.atleast_2d(np.asarray(stops, np.int32))
        self._ends = np.full((len(stops), vocabulary), len(stops), np.int32)
        self._ends[:, : stops.shape[1]] = stops
        self._stops = place(self._ends, replicated(mesh))
        # What the host reads, of a state that is cut over the devices of several processes.
        self._readable = jax.jit(lambda *parts: parts, out_shardings=readable(mesh)) if mesh.is_multi_process else None

    def __call__(self, params, prompts: Sequence[Prompt], bank: KV | None = None) -> list[list[list[int]]]:
        """The token ids of every draw, [prompt][draw], stop included; one without a stop was cut at `max_tokens`.

        Args:
          bank: keys and values of the shared prefixes (`Network.prefix`, on the mesh); None: prompts have none.

        Raises InputError when a score is NaN or infinite.
        """
        bank = self._no_prefix() if bank is None else bank
        found: list[list[list[int]]] = [[] for _ in prompts]
        for length, per_shard, chunks in self._calls(prompts):
            for index, texts in self._decode(params, bank, prompts, length, per_shard, chunks):
                found[index] = texts
        return found

    def _no_prefix(self) -> KV:
        spec = self._steps.network.spec
        empty = np.zeros((spec.n_layers, 1, 1, spec.n_kv_heads, spec.head_dim), self._steps.network.dtype)
        return jax.tree.map(lambda part: place(part, replicated(self.mesh)), KV(empty, empty, np.zeros(1, np.int32)))

    def _calls(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, int, list[list[int]]]]:
        """(padded length, chunks a shard, chunks of prompt numbers) of every call; a chunk's prompts share their
        prefix."""
        chunks: list[list[int]] = []
        for index in sorted(range(len(prompts)), key=lambda i: (prompts[i].prefix, len(prompts[i].tokens), i)):
            if not chunks or len(chunks[-1]) == PROMPT_CHUNK or prompts[chunks[-1][0]].prefix != prompts[index].prefix:
                chunks.append([])
            chunks[-1].append(index)
        longest = {chunk[-1]: self._padded(prompts[chunk[-1]]) for chunk in chunks}
        chunks.sort(key=lambda chunk: longest[chunk[-1]])  # calls of one length, as far as there are enough prompts
        holding = (n for n in self._chunks if n * self.shards >= len(chunks))
        per_shard = next(holding, self._chunks[-1])
        for start in range(0, len(chunks), per_shard * self.shards):
            call = chunks[start : start + per_shard * self.shards]
            yield longest[call[-1][-1]], per_shard, call

    def _padded(self, prompt: Prompt) -> int:
        return next((length for length in self.lengths if length >= len(prompt.tokens)), len(prompt.tokens))

    def _decode(
        self, params, bank: KV, prompts: Sequence[Prompt], length: int, per_shard: int, chunks: list[list[int]]
    ) -> Iterator[tuple[int, list[list[int]]]]:
        """(number, its texts) of every prompt of one call."""
        shards, draws = self.shards, len(self.numbers)
        rows = row_counts(per_shard * PROMPT_CHUNK * draws)
        tokens = np.zeros((shards, per_shard, PROMPT_CHUNK, length), np.int32)
        lengths, numbers = np.zeros(tokens.shape[:3], np.int32), np.full(tokens.shape[:3], -1)
        prefix, names = np.zeros(tokens.shape[:2], np.int32), np.zeros((*tokens.shape[:3], 3), np.uint32)
        for turn, chunk in enumerate(chunks):
            shard, inner = turn % shards, turn // shards
            prefix[shard, inner] = prompts[chunk[0]].prefix
            for row, index in enumerate(chunk):
                prompt, at = prompts[index], (shard, inner, row)
                tokens[at][: len(prompt.tokens)] = prompt.tokens
                lengths[at], numbers[at], names[at] = len(prompt.tokens), index, prompt.name
        flat = (prefix.reshape(-1), tokens.reshape(-1, PROMPT_CHUNK, length), lengths.reshape(-1, PROMPT_CHUNK))
        placed = (place(one, self._shard(one.ndim)) for one in (*flat, names.reshape(shards, -1, 3)))
        read, drawn, state = self._start(params, bank, *placed, self._key, self._temperature, self._stops)
        row_of = np.broadcast_to(np.repeat(np.arange(per_shard * PROMPT_CHUNK), draws), (shards, drawn[0].shape[1]))
        prefix = np.repeat(prefix, PROMPT_CHUNK, axis=1)
        while True:
            told = (state.step, state.active, state.tokens, state.finite)
            step, active, texts, finite = jax.device_get(self._readable(*told) if self._readable else told)
            if not finite:
                raise not_finite("a logit", "no text can be decoded")
            if step >= self.max_tokens or not active.any():
                break
            layout, floor = plan(row_of, texts[..., step - 1], active, prefix, draws, rows, per_shard)
            row_of = layout.row_of
            layout = jax.tree.map(lambda one: place(one, self._shard(one.ndim)), layout)
            slots = next(size for size in self._slots if size >= step)
            segments, state = self._lay_out(bank, read, layout, state, slots=slots)
            state = self._advance(params, read, segments, layout, drawn, self._stops, np.int32(floor), state)
        whole = self._text_lengths(texts).reshape(shards, -1, draws)
        texts = texts.reshape(*whole.shape, -1)
        for shard, inner in zip(*np.nonzero(numbers.reshape(shards, -1) >= 0), strict=True):
            cut = [text[:end].tolist() for text, end in zip(texts[shard, inner], whole[shard, inner], strict=True)]
            yield int(numbers.reshape(shards, -1)[shard, inner]), cut

    def _text_lengths(self, texts: Int[np.ndarray, "S D A"]) -> Int[np.ndarray, "S D"]:
        """Tokens of every text up to its stop, and with it."""
        stage, lengths = np.zeros(texts.shape[:2], np.int32), np.full(texts.shape[:2], self.max_tokens)
        for step in range(texts.shape[2]):
            going = stage < len(self._ends)
            stage[going] = self._ends[stage[going], texts[..., step][going]]
            lengths[going & (stage == len(self._ends))] = step + 1
        return lengths
