"""`slick annotate`: P_Correct and SliCK category of every example, part by part, resumable at any moment."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections import Counter

import jax
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax import __version__, run_folder
from slick_jax.config import Config
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge import preparation, records, store
from slick_jax.knowledge.answers import Answers
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.preparation import Prepared
from slick_jax.knowledge.saturation import saturation
from slick_jax.knowledge.verify import verify
from slick_jax.knowledge.walk import Vocabulary
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.transformer import Network
from slick_jax.progress import Progress


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
    if "answers" in summary:
        kept = summary["answers"]
        print(f"answers: {kept['draws']} texts in samples/, {kept['hits_differ']} differ from the verified hits")
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
    kept = Answers(config, prepared, parts, tokenizer) if settings.answers != "none" else None
    todo = [n for n in range(len(prepared.parts)) if not parts.done(n) or (kept and not kept.done(n))]
    if todo:
        with jax.set_mesh(mesh):
            device = _device(config, network, mesh, tokenizer, prepared)
            _annotate_parts(prepared, todo, parts, device, tokenizer, kept)
    return _merge(config, prepared, parts, kept)


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
    prepared: Prepared,
    todo: list[int],
    parts: store.Parts,
    device: Device,
    tokenizer: Tokenizer,
    kept: Answers | None,
) -> None:
    """Verify and write every part of `todo`."""
    settings = prepared.settings
    vocabulary = Vocabulary(tokenizer.token_bytes, tokenizer.is_stop.tolist())
    done = len(prepared.rows) - sum(len(prepared.parts[number]) for number in todo)
    progress = Progress("annotate", len(prepared.rows), "questions", done)
    protocol, shapes = preparation.protocol_of(settings), prepared.shapes(device.shards)
    loaded: list = []
    for number in todo:
        part = prepared.parts[number]
        keys = prepared.part_prefixes(part)
        if keys != loaded:
            device.load_prefixes([prepared.prefix(key) for key in keys], prepared.bank_slots)
            loaded = keys
        bank = {key: slot for slot, key in enumerate(keys)}
        if not parts.done(number):
            questions = [prepared.question(index, bank) for index in part]
            found, counts = verify(questions, protocol, device, vocabulary, tokenizer.longest_match, shapes)
            rows = [
                records.record(prepared.rows[index], prepared.assigned[index], verified, settings)
                | {"protocol": parts.protocol}
                for index, verified in zip(part, found, strict=True)
            ]
            parts.write(number, rows, counts)
        if kept and not kept.done(number):
            kept.write(number, device, bank)
        done += len(part)
        progress.show(done)


def _merge(config: Config, prepared: Prepared, parts: store.Parts, kept: Answers | None) -> tuple[pd.DataFrame, dict]:
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
    if kept:
        summary["answers"] = kept.summary(table)
        if config.annotate.answers == "all":
            summary["truncated_draws"] = summary["answers"]["truncated"]
    summary |= {"protocol": parts.protocol, "greedy_hit_prior": {"a": prior[0], "b": prior[1]}}
    merged = pa.Table.from_pandas(table, store.OUTPUT_SCHEMA, preserve_index=False).replace_schema_metadata(None)
    run_folder.write_parquet(folder / "annotations.parquet", merged)
    run_folder.write_json(folder / "summary.json", summary)
    if config.annotate.mode == "full":
        shares = saturation(table["greedy_hits"].tolist(), table["sampled_hits"].tolist())
        run_folder.write_text(folder / "saturation.csv", shares.to_csv(index=False, lineterminator="\n"))
    return table, summary
