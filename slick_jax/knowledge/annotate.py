"""`slick annotate`: P_Correct and SliCK category of every example, part by part, resumable at any moment."""

from __future__ import annotations

import collections
import dataclasses
import functools
import importlib.metadata
from collections import Counter
from collections.abc import Callable

import jax
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax import __version__, run_folder
from slick_jax.config import Config
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge import p_true, preparation, records, store
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.p_true import Scoring
from slick_jax.knowledge.preparation import Prepared
from slick_jax.knowledge.saturation import saturation
from slick_jax.knowledge.verify import Verification
from slick_jax.knowledge.walk import Vocabulary
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.transformer import KV, Network
from slick_jax.progress import Progress

IN_FLIGHT = 3  # parts under way at once: while one waits for its last few branches, the device works on the others


def run(config: Config) -> None:
    """Annotate and print where the results are and what they say."""
    table, summary = annotate(config)
    counts = records.category_table(table)
    shares = counts.groupby(level=0, sort=False).sum()
    print(counts.to_string(), "\n")
    print((shares.div(shares.sum(axis=1), axis=0) * 100).round(1).add_suffix(" %").to_string(), "\n")
    cost = summary["cost"]
    print(
        f"{summary['questions']} questions x {summary['draws_per_question']} draws:"
        f" {cost['tokens_forwarded_per_question']:.0f} tokens forwarded a question,"
        f" {cost['alive_branches_per_question']:.2f} alive branches, padding {cost['padding_share']:.0%}"
    )
    print(f"annotations: {epath.Path(config.run_dir) / 'annotations.parquet'}")


def annotate(config: Config) -> tuple[pd.DataFrame, dict]:
    """Annotate the rows of `config.data` with the checkpoint of `config.model`.

    Writes annotations/part-*.parquet as they are done, then annotations.parquet, summary.json and saturation.csv. A run
    that was killed goes on behind its last finished part and ends with the same files.

    Returns:
      the annotations (a row per example, in input order) and the summary.

    Raises InputError for bad input, all of it before the model runs, except NaN logits.
    """
    settings, folder = config.annotate, epath.Path(config.run_dir)
    spec = weights.read_spec(config.model.path)
    weights.check_tensors(config.model.path, spec)
    network = Network(spec, config.model.dtype, config.model.precision, config.model.scan_layers)
    mesh = make_mesh(config.mesh)
    tokenizer = Tokenizer.from_folder(config.model.path, spec.vocab_size)
    asked = preparation.ask(config)
    prepared = preparation.prepare(config, asked, tokenizer, spec.max_position_embeddings)
    protocol = preparation.protocol_fields(
        config, prepared, weights.fingerprint(config.model.path), tokenizer.fingerprint(), mesh.size
    )
    parts = store.Parts(folder / "annotations", protocol, prepared.rows, settings.part_size)
    described = {"config": dataclasses.asdict(config), "protocol": parts.protocol, "versions": _versions()}
    run_folder.write_json(folder / "config.json", described)
    run_folder.write_json(folder / "exemplars.json", prepared.exemplars_json())
    todo = [number for number in range(len(prepared.parts)) if not parts.done(number)]
    if todo:
        with jax.set_mesh(mesh):
            device = _device(config, network, mesh, tokenizer, prepared)
            _annotate_parts(prepared, todo, parts, device, tokenizer)
    return _merge(config, prepared, parts)


def _versions() -> dict[str, str]:
    """What computed the labels."""
    packages = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "tokenizers")}
    return packages | {"slick_jax": __version__, "device": jax.devices()[0].device_kind}


def _device(config: Config, network: Network, mesh, tokenizer: Tokenizer, prepared: Prepared) -> Device:
    """Load the weights and set up the programs."""
    settings = config.annotate
    params = weights.load_hf(config.model.path, network, mesh, dtype=config.model.dtype)
    protocol = preparation.protocol_of(settings)
    top_k = max(settings.top_k, *(pair[1] for pair in protocol.pairs), 1)
    program = Program(network, protocol.n_samples, settings.top_k, top_k, tokenizer.n_ids)
    return Device(
        program, params, mesh,
        seed=settings.seed, temperature=settings.temperature, prefix_length=prepared.prefix_length,
    )  # fmt: skip


def _annotate_parts(
    prepared: Prepared, todo: list[int], parts: store.Parts, device: Device, tokenizer: Tokenizer
) -> None:
    """Verify and write every part of `todo`, a few of them at a time."""
    settings = prepared.settings
    done = len(prepared.rows) - sum(len(prepared.parts[number]) for number in todo)
    progress = Progress("annotate", len(prepared.rows), "questions", done)
    start = _starter(prepared, device, tokenizer)
    waiting, on_their_way = iter(todo), collections.deque()
    while True:
        while len(on_their_way) < IN_FLIGHT and (number := next(waiting, None)) is not None:
            on_their_way.append((number, *start(prepared.parts[number])))
        if not on_their_way:
            break
        number, verification, scoring = on_their_way.popleft()
        if verification.advance():
            on_their_way.append((number, verification, scoring))
            continue
        part = prepared.parts[number]
        found, counts = verification.result()
        scores, more = scoring.result() if scoring else ([None] * len(part), Counter())
        rows = [
            records.record(prepared.rows[index], prepared.assigned[index], verified, settings)
            | {"p_true": score, "protocol": parts.protocol}
            for index, verified, score in zip(part, found, scores, strict=True)
        ]
        counts.update(more)
        parts.write(number, rows, counts)
        done += len(part)
        progress.show(done)


def _starter(
    prepared: Prepared, device: Device, tokenizer: Tokenizer
) -> Callable[[list[int]], tuple[Verification, Scoring | None]]:
    """Starts the verification of a part, and P(True) where it is asked.

    Parts that follow each other share a bank of prefixes where it is the same.
    """
    protocol, shapes = preparation.protocol_of(prepared.settings), prepared.shapes(device.shards)
    vocabulary = Vocabulary(tokenizer.token_bytes, tokenizer.is_stop.tolist())

    @functools.lru_cache(maxsize=1)
    def bank_of(keys: tuple) -> KV:
        return device.bank([prepared.prefix(key) for key in keys], prepared.bank_slots)

    def start(part: list[int]) -> tuple[Verification, Scoring | None]:
        keys = prepared.part_prefixes(part)
        slots = {key: slot for slot, key in enumerate(keys)}
        bank = bank_of(tuple(keys))
        questions = [prepared.question(index, slots) for index in part]
        verification = Verification(questions, protocol, device, bank, vocabulary, tokenizer.longest_match, shapes)
        if not prepared.proposals:
            return verification, None
        proposals = [prepared.proposal(index) for index in part]
        return verification, Scoring(proposals, slots[p_true.PREFIX], device, bank, shapes)

    return start


def _merge(config: Config, prepared: Prepared, parts: store.Parts) -> tuple[pd.DataFrame, dict]:
    """annotations.parquet in input order with the label certainty, and summary.json, from the finished parts."""
    folder = epath.Path(config.run_dir)
    tables, counts = [], Counter()
    for number in range(len(prepared.parts)):
        table, part_counts = parts.read(number)
        tables.append(table)
        most = max(counts["rounds_most"], part_counts["rounds"])
        counts += part_counts
        counts["rounds_most"] = most
    order = [index for part in prepared.parts for index in part]
    table = pa.concat_tables(tables).to_pandas()
    table.index = order
    table = table.sort_index()
    prior = records.add_certainty(table, config.annotate)
    summary = records.summary(table, counts, config.annotate, prepared.prefix_tokens)
    summary |= {"protocol": parts.protocol, "greedy_hit_prior": {"a": prior[0], "b": prior[1]}}
    merged = pa.Table.from_pandas(table, store.OUTPUT_SCHEMA, preserve_index=False).replace_schema_metadata(None)
    run_folder.write_parquet(folder / "annotations.parquet", merged)
    run_folder.write_json(folder / "summary.json", summary)
    if config.annotate.mode == "full":
        shares = saturation(table["greedy_hits"].tolist(), table["sampled_hits"].tolist())
        run_folder.write_text(folder / "saturation.csv", shares.to_csv(index=False, lineterminator="\n"))
    return table, summary
