"""The reference process of P_Correct: every draw decoded token by token, every answer judged on its own.

Nothing here is shared with the engine but the plain forward pass and the noise function: no cache, no draft, no shared
prefix, selection in numpy. A context that several draws of a slot have in common is forwarded once.
"""

import functools
import hashlib
import re
import string
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from slick_jax.sampling.logits import gumbel

BATCH_ROWS = (32, 8, 1)  # contexts per forward pass: the most that are mostly filled
NEAR = 8  # tokens behind the kept ones that the margin looks at
ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)


@dataclass
class Draw:
    """One decoded answer: its tokens, stop included; the smallest margin of its decisions and how many they were."""

    path: list[int] = field(default_factory=list)
    margin: float = np.inf
    decisions: int = 0


@dataclass(frozen=True)
class Judgement:
    """What one answer is: hits under both rules, an abstention, or cut off at the token limit (then nothing else)."""

    strict: bool
    squad: bool
    truncated: bool
    abstained: bool


def decode_draws(
    network,
    params,
    prompts,
    identifier,
    seed,
    n_samples,
    temperature,
    top_k,
    max_answer_tokens,
    stops,
    n_tokens,
    pad_to=64,
    compiled=True,
):
    """Decode the greedy draw (0) and `n_samples` samples behind every prompt (token ids, one per exemplar slot).

    stops: bool per token id; n_tokens: ids that exist; pad_to: contexts are padded to a multiple of it; compiled:
    whether the forward pass runs under jit. Returns `Draw`s, [slot][draw]. A margin is how far the decision was from
    another token, in logits or scores.
    """
    draws = [[Draw() for _ in range(1 + n_samples)] for _ in prompts]
    open_draws = [(slot, number) for slot in range(len(prompts)) for number in range(1 + n_samples)]
    keys = _keys(seed, identifier, len(prompts), n_samples)
    for step in range(max_answer_tokens):
        contexts = dict.fromkeys((slot, tuple(draws[slot][number].path)) for slot, number in open_draws)
        rows = [[*prompts[slot], *path] for slot, path in contexts]
        logits = _logits(_forward(network, compiled), params, rows, n_tokens, pad_to)
        ranked = dict(zip(contexts, map(_rank, logits), strict=True))
        chosen = [ranked[slot, tuple(draws[slot][number].path)] for slot, number in open_draws]
        width = min(top_k + NEAR, n_tokens)
        noise = _noise(keys, open_draws, step, [ids[:width] for ids, _ in chosen])
        for (slot, number), (ids, values), its_noise in zip(open_draws, chosen, noise, strict=True):
            if number == 0:
                token, margin = int(ids[0]), float(values[0] - values[1])
            else:
                token, margin = _sample(ids[:width], values[:width], its_noise, temperature, top_k)
            draw = draws[slot][number]
            draw.path.append(token)
            draw.margin = min(draw.margin, margin)
            draw.decisions += 1
        open_draws = [(slot, number) for slot, number in open_draws if not stops[draws[slot][number].path[-1]]]
        if not open_draws:
            break
    return draws


def judge_text(path, token_bytes, stops, golds, max_answer_tokens, abstentions=()):
    """The `Judgement` of a decoded path: the text before the first newline against every gold."""
    if not any(stops[token] for token in path[:max_answer_tokens]):
        return Judgement(False, False, True, False)
    text = b"".join(token_bytes[token] for token in path).split(b"\n")[0].decode("utf-8", "replace")
    return Judgement(
        strict=any(text.strip() == gold.strip() for gold in golds),
        squad=any(official_match(text, gold) for gold in golds),
        truncated=False,
        abstained=any(official_match(text, phrase) for phrase in abstentions),
    )


def plain_p_true(network, params, true, false, token_bytes, n_tokens):
    """P(True) from two whole token rows, one written `(A)` and one `(B)`, by a plain forward pass over each.

    A verdict's probability is that of its row's tokens from the first that the rows do not share up to the one that
    spells the letter; P(True) is its share for (A).
    """
    shared = next(place for place in range(len(true)) if true[place] != false[place])
    logprobs = []
    for row, letter in ((true, b"A"), (false, b"B")):
        end = shared + 1
        while letter not in b"".join(token_bytes[token] for token in row[shared:end]):
            end += 1
        contexts = [row[:place] for place in range(shared, end)]
        logits = _logits(_forward(network, True), params, contexts, n_tokens, 64).astype(np.float64)
        total = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
        logprobs.append(float((logits[np.arange(len(contexts)), row[shared:end]] - total).sum()))
    return 1 / (1 + np.exp(logprobs[1] - logprobs[0]))


def normalize_answer(text):
    """The official SQuAD script: lower case, no punctuation, no articles, white space squeezed."""
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", text).split())


def official_match(text, gold):
    """A gold that normalises to nothing is asked for as it stands."""
    if normalize_answer(gold) == "":
        return text.strip() == gold.strip()
    return normalize_answer(text) == normalize_answer(gold)


@functools.cache
def _forward(network, compiled):
    """The plain forward pass: logits behind the last token of every row of [N T]."""

    def forward(params, tokens, last):
        states = network.hidden(params, tokens[None]).states[0]
        return network.logits(params, states[jnp.arange(len(last)), last])

    return jax.jit(forward, compiler_options={"xla_backend_optimization_level": 3}) if compiled else forward


def _logits(forward, params, rows, n_tokens, pad_to):
    """Float32 logits [N, n_tokens] behind each of N token rows."""
    found = []
    length = -(-max(map(len, rows)) // pad_to) * pad_to
    while rows:
        padded = next(size for size in BATCH_ROWS if len(rows) >= 0.7 * size)
        batch, rows = rows[:padded], rows[padded:]
        tokens, last = np.zeros((padded, length), np.int32), np.zeros(padded, np.int32)
        for index, row in enumerate(batch):
            tokens[index, : len(row)], last[index] = row, len(row) - 1
        found.append(np.asarray(forward(params, tokens, last), np.float32)[: len(batch), :n_tokens])
    logits = np.concatenate(found) + np.float32(0.0)  # -0.0 + 0.0 is 0.0
    if np.isnan(logits).any():
        raise ValueError("a logit is NaN")
    return logits


def _rank(logits):
    """Token ids by falling logit, ties by id, and their logits."""
    ids = np.lexsort((np.arange(len(logits)), -logits))
    return ids, logits[ids]


def _keys(seed, identifier, n_slots, n_samples):
    """Key words uint32[slot, draw, 2], one `fold_in` after the other; draw 0 has none."""
    digest = hashlib.sha256(identifier.encode()).digest()
    key = jax.random.key(seed, impl="threefry2x32")
    for start in (0, 4):
        key = jax.random.fold_in(key, int.from_bytes(digest[start : start + 4], "big"))
    return np.asarray(_fold_slots_and_draws(key, n_slots, n_samples))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _fold_slots_and_draws(key, n_slots, n_samples):
    """`fold_in(fold_in(key, slot), draw)` as key data [slot, draw, 2]."""
    slots = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n_slots))
    keys = jax.vmap(lambda slot: jax.vmap(jax.random.fold_in, (None, 0))(slot, jnp.arange(1 + n_samples)))(slots)
    return jax.random.key_data(keys)


_gumbel = jax.jit(gumbel)


def _noise(keys, open_draws, step, ids):
    """Noise of each open draw for its candidate ids, float32 [draw, candidate]; one shape for all steps."""
    total = keys.shape[0] * keys.shape[1]
    words, tokens = np.zeros((total, 2), np.uint32), np.zeros((total, len(ids[0])), np.uint32)
    for index, (slot, number) in enumerate(open_draws):
        words[index], tokens[index] = keys[slot, number], ids[index]
    found = _gumbel((words[:, :1], words[:, 1:]), np.full((1, 1), step, np.uint32), tokens)
    return np.asarray(found)[: len(open_draws)]


def _sample(ids, values, noise, temperature, top_k):
    """The kept id with the largest logit / T + noise (ties to the lower id), and the margin of that decision.

    Another token would come out if it scored as much as the best, or if one crossed the border of the kept ones.
    """
    scores = values / np.float32(temperature) + noise
    kept = scores[:top_k]
    best = min(np.flatnonzero(kept == kept.max()), key=lambda index: ids[index])
    exact = values.astype(np.float64) / temperature + noise.astype(np.float64)
    margins = [exact[best] - np.delete(exact[:top_k], best).max(initial=-np.inf)]
    if len(ids) > top_k:
        margins.append(float(values[best]) - float(values[top_k]))
        outside = np.flatnonzero(exact[top_k:] >= exact[best]) + top_k
        margins.extend(float(values[top_k - 1]) - float(values[index]) for index in outside)
    return int(ids[best]), float(min(margins))
