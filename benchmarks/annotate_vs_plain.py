"""Verification against decoding every draw, on the demo model: tokens forwarded and questions per second, in one run.

python benchmarks/annotate_vs_plain.py [--run=runs/demo] [--plain=16] [--verified=512]

Peers, both in JAX on the same devices with the same noise, so that their hits can be compared draw by draw:
  generate  every generation forwards its own prompt and keeps its own key-value cache, as `generate` does with
            num_return_sequences;
  shared    the ten prompts of a question are forwarded once, their 17 draws decode behind them.
Compilation is left out of all three. Prints a table for benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from slick_jax.compilation import use_compilation_cache

use_compilation_cache()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from slick_jax.data.tokenizer import Tokenizer  # noqa: E402
from slick_jax.files.hashing import id_words  # noqa: E402
from slick_jax.knowledge import annotate, preparation  # noqa: E402
from slick_jax.knowledge.match import Golds, matcher  # noqa: E402
from slick_jax.models.transformer import KV, Network  # noqa: E402
from slick_jax.models.weights import load_hf, read_spec  # noqa: E402
from slick_jax.sampling import logits as select  # noqa: E402
from slick_jax.settings.config_file import load_config  # noqa: E402

DRAWS, TEMPERATURE, TOP_K, LIMIT = 17, 0.5, 40, 32
KEY = select.run_key(0)


@dataclasses.dataclass
class Model:
    """The demo model and the tables a decoder needs."""

    network: Network
    params: dict
    tokenizer: Tokenizer
    length: int  # prompts are padded to this


def choose(model: Model, logits, words, slots, step):
    """Token of each of the 17 draws of every slot: logits [J 17 V] -> int32 [J 17]."""
    logits = select.clean(logits, model.tokenizer.n_ids)
    values, ids = select.top_k(logits.reshape(-1, logits.shape[-1]), TOP_K)
    values, ids = values.reshape(*logits.shape[:2], -1), ids.reshape(*logits.shape[:2], -1)
    names = jnp.stack([jnp.full_like(slots, words[0]), jnp.full_like(slots, words[1]), slots], axis=-1)
    keys = tuple(word[..., None] for word in select.draw_keys(KEY, names, DRAWS - 1))
    noise = select.gumbel(keys, step, ids[:, 1:])
    samples = select.draw(values[:, 1:], ids[:, 1:], noise, jnp.float32(TEMPERATURE))
    return jnp.concatenate([ids[:, :1, 0], samples], axis=1)


def generate(model: Model):
    """Decoder with a prompt and a cache per generation: (prompts [J], id words) -> paths [J 17], tokens forwarded."""
    network = model.network

    @jax.jit
    def prefill(params, tokens, lengths, words, slots):
        hidden = network.hidden(params, tokens[:, None], keep_kv=True)
        last = jnp.take_along_axis(hidden.states[:, 0], (lengths - 1)[:, None, None], axis=1)[:, 0]
        room = ((0, 0), (0, 0), (0, LIMIT), (0, 0), (0, 0))
        cache = KV(*(jnp.pad(part[:, :, 0], room) for part in hidden.keys_values[:2]), lengths)
        logits = network.logits(params, last).reshape(-1, DRAWS, network.spec.vocab_size)
        return cache, choose(model, logits, words, slots, jnp.int32(0))

    @jax.jit
    def decode(params, cache, tokens, words, slots, step):
        hidden = network.hidden(params, tokens.reshape(-1, 1, 1), cache, keep_kv=True)
        rows = jnp.arange(tokens.size)
        k, v = (
            old.at[:, rows, cache.lengths].set(new[:, :, 0, 0])
            for old, new in zip(cache[:2], hidden.keys_values[:2], strict=True)
        )
        logits = network.logits(params, hidden.states[:, 0, 0]).reshape(*tokens.shape, -1)
        return KV(k, v, cache.lengths + 1), choose(model, logits, words, slots, step)

    def run(prompts, words):
        rows = [prompt for prompt in prompts for _ in range(DRAWS)]
        tokens, lengths = pad(rows, model.length)
        slots = jnp.arange(len(prompts), dtype=jnp.uint32)
        cache, chosen = prefill(model.params, tokens, lengths, words, slots)
        paths = [np.asarray(chosen)]
        while len(paths) < LIMIT and not stopped(model, paths):
            cache, chosen = decode(model.params, cache, chosen, words, slots, jnp.int32(len(paths)))
            paths.append(np.asarray(chosen))
        return paths, int(lengths.sum()) + (len(paths) - 1) * len(rows)

    return run


def shared(model: Model):
    """Decoder whose draws share their prompt's keys and values; the answer so far is forwarded again at each step."""
    network = model.network

    @jax.jit
    def prefill(params, tokens, lengths, words, slots):
        hidden = network.hidden(params, tokens[:, None], keep_kv=True)
        last = jnp.take_along_axis(hidden.states[:, 0], (lengths - 1)[:, None, None], axis=1)
        prefix = KV(*(part[:, :, 0] for part in hidden.keys_values[:2]), lengths)
        logits = jnp.broadcast_to(network.logits(params, last), (len(slots), DRAWS, network.spec.vocab_size))
        return prefix, choose(model, logits, words, slots, jnp.int32(0))

    @jax.jit
    def decode(params, prefix, answers, words, slots, step):
        states = network.hidden(params, answers, prefix).states
        last = jax.lax.dynamic_index_in_dim(states, step - 1, axis=2, keepdims=False)
        return choose(model, network.logits(params, last), words, slots, step)

    def run(prompts, words):
        tokens, lengths = pad(prompts, model.length)
        slots = jnp.arange(len(prompts), dtype=jnp.uint32)
        prefix, chosen = prefill(model.params, tokens, lengths, words, slots)
        paths, forwarded = [np.asarray(chosen)], int(lengths.sum())
        while len(paths) < LIMIT and not stopped(model, paths):
            width = -(-len(paths) // 4) * 4
            answers = np.zeros((len(prompts), DRAWS, width), np.int32)
            answers[..., : len(paths)] = np.stack(paths, axis=-1)
            chosen = decode(model.params, prefix, answers, words, slots, jnp.int32(len(paths)))
            forwarded += answers[..., : len(paths)].size
            paths.append(np.asarray(chosen))
        return paths, forwarded

    return run


def pad(rows, length):
    """Token rows as int32 [N length] and their lengths."""
    tokens = np.zeros((len(rows), length), np.int32)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = row
    return tokens, np.array([len(row) for row in rows], np.int32)


def stopped(model: Model, paths) -> bool:
    """Whether every draw has met a stop token."""
    return bool(model.tokenizer.is_stop[np.stack(paths, axis=-1)].any(-1).all())


def hits(model: Model, paths, golds: Golds) -> np.ndarray:
    """bool [J 17] under the squad rule."""
    found = np.zeros(paths[0].shape, bool)
    for place in np.ndindex(found.shape):
        path = [int(step[place]) for step in paths]
        end = next((i for i, token in enumerate(path) if model.tokenizer.is_stop[token]), None)
        if end is not None:
            data = b"".join(model.tokenizer.token_bytes[token] for token in path[: end + 1]).split(b"\n")[0]
            found[place] = golds.match(data.decode("utf-8", "replace"))[1]
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", default="runs/demo", help="the demo's run folder")
    arguments.add_argument("--plain", type=int, default=16, help="questions the plain decoders answer")
    arguments.add_argument("--verified", type=int, default=512, help="questions per split that are verified")
    chosen = arguments.parse_args()
    run = Path(chosen.run)
    config = load_config(
        ["--config=configs/demo.py", f"--config.model.path={run / 'model'}", f"--config.data.limit={chosen.verified}",
         "--config.data.splits=test"]
    )  # fmt: skip
    spec = read_spec(run / "model")
    network = Network(spec, scan_layers=False)
    tokenizer = Tokenizer.from_folder(run / "model", spec.vocab_size)

    with tempfile.TemporaryDirectory() as folder:
        annotate.annotate(dataclasses.replace(config, run_dir=f"{folder}/warm"))  # compiles
        started = time.perf_counter()
        table, summary = annotate.annotate(dataclasses.replace(config, run_dir=f"{folder}/timed"))
        seconds = time.perf_counter() - started
    lines = [("verification", len(table) / seconds, summary["cost"]["tokens_forwarded_per_question"], "")]

    prepared = preparation.prepare(config, preparation.ask(config), tokenizer, None)
    rng = np.random.default_rng(0)
    asked = sorted(rng.choice(len(prepared.rows), chosen.plain, replace=False).tolist())
    prompts = {
        index: [
            [*prepared.prefix(one.key).tolist(), *prepared.prompts.rest(one).tolist()] for one in prepared.rests[index]
        ]
        for index in asked
    }
    model = Model(
        network, load_hf(run / "model", network), tokenizer, max(len(p) for ps in prompts.values() for p in ps)
    )
    for name, decoder in (("shared", shared(model)), ("generate", generate(model))):
        answers = {
            i: decoder(prompts[i], np.array(id_words(prepared.rows[i].id), np.uint32)) for i in asked
        }  # compiles
        started = time.perf_counter()
        answers = {i: decoder(prompts[i], np.array(id_words(prepared.rows[i].id), np.uint32)) for i in asked}
        seconds = time.perf_counter() - started
        differ = 0
        for i, (paths, _) in answers.items():
            stored = np.concatenate(
                [np.array(table["greedy_hits"][i])[:, None], np.stack(table["sampled_hits"][i])], axis=1
            )
            differ += int((hits(model, paths, Golds(prepared.rows[i].answers, matcher("squad"))) != stored).sum())
        tokens = sum(forwarded for _, forwarded in answers.values()) / len(asked)
        lines.append((name, len(asked) / seconds, tokens, f"{differ} of {len(asked) * 170} hits differ"))

    print("| engine | questions/s | tokens forwarded a question | verification is faster by | against verification |")
    print("| --- | --- | --- | --- | --- |")
    for name, rate, tokens, note in lines:
        print(f"| {name} | {rate:.2f} | {tokens:,.0f} | {lines[0][1] / rate:.1f} | {note} |")


if __name__ == "__main__":
    main()
