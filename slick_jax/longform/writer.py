"""Long texts behind many prompts: one sampler, one shared prefix, and where a text ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int

from slick_jax.compilation import jitted
from slick_jax.data.examples import raise_problems
from slick_jax.data.prompts import PrefixTable
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.files.hashing import id_words
from slick_jax.mesh import batch_shards, replicated, sharding_for
from slick_jax.models.transformer import KV, Network
from slick_jax.sampling.sampler import PROMPT_CHUNK, Prompt, Sampler
from slick_jax.settings.longform import WriteConfig

SHORTER = 4  # each length that prompts are padded to is so many times the next shorter one: each is compiled
LENGTHS = 4
STEP = 16  # they are multiples of
PREFIX_STEP = 64  # shared prefixes are padded to multiples of this, so that those of other domains share programs


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How texts are decoded.

    Attributes:
      samples: drawn texts of a prompt, numbered from 1; greedy: whether the greedy text, number 0, is written too.
      top_k: most likely tokens that a sample may take; 0: all.
      max_tokens: most tokens of a text; one that is longer is cut there, and marked as truncated.
      stop: a text ends before this string, or at an end-of-text token; empty: at the token alone.
      rows: texts decoded together, over all devices; it decides memory and speed, not the texts.
    """

    samples: int = 1
    greedy: bool = False
    temperature: float = WriteConfig.temperature
    top_k: int = WriteConfig.top_k
    max_tokens: int = WriteConfig.max_tokens
    seed: int = WriteConfig.seed
    stop: str = WriteConfig.stop
    rows: int = WriteConfig.rows

    @property
    def numbers(self) -> tuple[int, ...]:
        """Draws of a prompt, 0 the greedy one."""
        return (*([0] if self.greedy else []), *range(1, self.samples + 1))

    def protocol(self) -> dict[str, Any]:
        """What the texts hang on; greedy ones not on how samples are drawn."""
        idle = {"rows"} if self.samples else {"rows", "temperature", "top_k", "seed"}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in idle}


@dataclasses.dataclass(frozen=True)
class Written:
    """A text without its stop and outer white space, the tokens it has, and whether it was cut at the token limit."""

    text: str
    n_tokens: int
    truncated: bool


class Writer:
    """Writes texts behind fixed prompts. The tokens with which all of them begin, such as few-shot examples, are read
    once; all prompts are tokenised first, so that no text hangs on which of them are written together."""

    def __init__(
        self,
        network: Network,
        mesh: Any,
        tokenizer: Tokenizer,
        prompts: Sequence[tuple[str, str]],
        sampling: Sampling,
        *,
        slot: int = 0,
        encode: Callable[[list[str]], list[list[int]]] | None = None,
    ):
        """Args:
        prompts: (id, text) each; the noise of its draws hangs on the id, `slot`, the number of the draw and the seed.
        encode: texts to token ids, where the prompt style is not plain text (`Chat.encode`).

        Raises InputError for prompts that the model cannot hold together with a text.
        """
        self._mesh, self._tokenizer, self._stop = mesh, tokenizer, sampling.stop.encode()
        table = PrefixTable()
        whole = (encode or tokenizer.encode_batch)([text for _, text in prompts])
        rests = [table.add(None, tokens) for tokens in whole]
        self._prefix = table.prefix(None) if rests else np.zeros(0, np.int32)
        own = [table.rest(rest).tolist() for rest in rests]
        self._prompts = [
            Prompt(tokens, (*id_words(name), slot)) for (name, _), tokens in zip(prompts, own, strict=True)
        ]
        limit = network.spec.max_position_embeddings
        raise_problems(
            [
                f"{name}: its prompt has {len(tokens)} tokens, and with a text of {sampling.max_tokens} more than the"
                f" model's {limit} positions; lower max_tokens, or give fewer or shorter examples"
                for (name, _), tokens in zip(prompts, whole, strict=True)
                if limit is not None and len(tokens) + sampling.max_tokens > limit
            ]
        )
        size = -(-len(self._prefix) // PREFIX_STEP) * PREFIX_STEP
        self._padded = np.zeros(size if limit is None else min(size, limit), np.int32)
        self._padded[: len(self._prefix)] = self._prefix
        self._hard, stops = stop_table(tokenizer, self._stop)
        together = PROMPT_CHUNK * batch_shards(mesh)
        draws, most = len(sampling.numbers), max(map(len, own), default=1)
        self.call = max(1, min(sampling.rows // (draws * together), -(-len(own) // together))) * together
        self._sampler = Sampler(
            network,
            mesh,
            stops=stops,
            numbers=sampling.numbers,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k or tokenizer.n_ids,
            seed=sampling.seed,
            n_tokens=tokenizer.n_ids,
            rows=self.call * draws,
            lengths=padded_lengths(most),
        )
        heads = sharding_for(mesh, (None, None, None, "kv_heads", None), (1, 1, 1, network.spec.n_kv_heads, 1))
        self._read = jitted(Network.prefix, network, out_shardings=KV(heads, heads, replicated(mesh)))

    def __call__(self, params: Any, which: Sequence[int]) -> list[list[Written]]:
        """The texts [prompt][draw] of these prompts, by number. `call` of them at a time fill the device best.

        Raises InputError when a score is NaN or infinite.
        """
        with jax.set_mesh(self._mesh):
            bank = None
            if len(self._prefix):
                bank = self._read(params, self._padded[None], np.array([len(self._prefix)], np.int32))
            found = self._sampler(params, [self._prompts[index] for index in which], bank)
        return [[self._written(tokens) for tokens in draws] for draws in found]

    def _written(self, tokens: Sequence[int]) -> Written:
        ended = bool(self._hard[tokens[-1]])
        tokens = tokens[:-1] if ended else tokens
        pieces = [self._tokenizer.token_bytes[token] for token in tokens]
        data = b"".join(pieces)
        end = data.find(self._stop) if self._stop else -1
        kept = data if end < 0 else data[:end]
        cut = not ended and end < 0
        sizes = np.cumsum([len(piece) for piece in pieces])
        count = len(tokens) if end < 0 else int(np.searchsorted(sizes, len(kept)) + 1) if kept else 0
        text = kept.decode("utf-8", "replace")
        return Written((text.rstrip("\ufffd") if cut else text).strip(), count, cut)


def padded_lengths(most: int) -> tuple[int, ...]:
    """The few lengths, rising, that token sequences up to `most` tokens are padded to."""
    return tuple(sorted({-(-most // (SHORTER**n * STEP)) * STEP for n in range(LENGTHS)}))


def stop_table(tokenizer: Tokenizer, stop: bytes) -> tuple[Bool[np.ndarray, " V"], Int[np.ndarray, "M V"]]:
    """Of every token id, whether it ends any text and is no part of it; and the sampler's table of stops.

    A stage of the table is how many bytes of `stop` the text ends with: tokenizers write a blank line now as one token
    and now as two.
    """
    hard = tokenizer.is_stop & ~np.array([b"\n" in text for text in tokenizer.token_bytes])
    hard[[token for token in tokenizer.eos_ids if token < len(hard)]] = True
    stages = max(len(stop), 1)
    table = np.zeros((stages, len(hard)), np.int32)
    for token, text in enumerate(tokenizer.token_bytes) if stop else ():
        for stage in range(stages):
            table[stage, token] = _stage_after(stop[:stage] + text, stop)
    table[:, hard] = stages
    return hard, table


def _stage_after(text: bytes, stop: bytes) -> int:
    """Bytes at the end of `text` that begin `stop`; all of them where it holds the whole."""
    if stop in text:
        return len(stop)
    return next(size for size in range(len(stop) - 1, -1, -1) if text.endswith(stop[:size]))
