"""`slick annotate`: P_Correct and SliCK category of every example, part by part, resumable at any moment.

Several processes share the parts out; they meet only to begin, and when process 0 merges what all have written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import jax
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax import __version__
from slick_jax.config import Config
from slick_jax.data.annotations import read_table
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.files import csv_text, run_folder
from slick_jax.files.claim import held
from slick_jax.knowledge import preparation, records, store
from slick_jax.knowledge.answers import Answers
from slick_jax.knowledge.engine import Engine
from slick_jax.knowledge.preparation import AskedRows, Prepared
from slick_jax.knowledge.saturation import saturation
from slick_jax.knowledge.speed import Stopwatch, speed
from slick_jax.mesh import Team, make_team
from slick_jax.models import weights
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.processes.peers import FOLDER, Peers
from slick_jax.progress import Progress


def run(config: Config) -> pd.DataFrame | None:
    """Annotate and print where the results are and what they say; returns the annotations (process 0)."""
    found = annotate(config)
    if found is None:
        return None
    table, summary = found
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
    if "speed" in summary:
        rate = summary["speed"]
        print(
            f"{rate['questions_per_second']:.1f} questions/s at {rate['model_flop_utilisation']:.0%} of the rate of a"
            f" large matmul ({rate['questions_per_second_with_start']:.1f} with start-up)"
        )
    if "answers" in summary:
        kept = summary["answers"]
        print(f"answers: {kept['draws']} texts in samples/, {kept['hits_differ']} differ from the verified hits")
    print(f"annotations: {epath.Path(config.run_dir) / 'annotations.parquet'}")
    return read_table(config.run_dir).to_pandas()


def annotate(config: Config, asked: AskedRows | None = None) -> tuple[pd.DataFrame, dict] | None:
    """Annotate the rows of `config.data`, or `asked`, with the checkpoint of `config.model`.

    Writes annotations/part-*.parquet as they are done, then annotations.parquet, summary.json and saturation.csv. A run
    that was killed goes on behind its last finished part and ends with the same files.

    Returns:
      the annotations (a row per example, in input order) and the summary; None in processes other than the first.

    Raises InputError for bad input, all of it before the model runs, except NaN logits; Busy when another run is at
    work in the folder; Stopped when another process of this one ended with its parts unwritten.
    """
    team = team_of(config)
    place, silence = epath.Path(config.run_dir) / FOLDER, config.distributed.silence
    with contextlib.ExitStack() as stack:
        resumes = "from the finished parts"
        peers = stack.enter_context(Peers(place, team.members, silence, command="annotate", resumes=resumes))
        return _annotate(config, asked, team, peers, stack)


def team_of(config: Config) -> Team:
    """This process's devices and team. Raises InputError where it cannot be made, or cannot keep answers."""
    team = make_team(config.mesh)
    if config.annotate.answers != "none" and len(team.members) > 1:
        raise InputError(
            f"annotate.answers={config.annotate.answers!r} needs a model that fits the devices of one process;"
            " set it to 'none', or lower mesh.fsdp and mesh.tensor"
        )
    return team


def _annotate(
    config: Config, asked: AskedRows | None, team: Team, peers: Peers, stack: contextlib.ExitStack
) -> tuple[pd.DataFrame, dict] | None:
    """stack: holds the folder until it is left."""
    watch = Stopwatch()
    network, tokenizer, prepared, protocol = prepare(config, asked, team)
    if peers.leads:
        stack.enter_context(held(epath.Path(config.run_dir) / "annotations"))
    # Agree with the other processes: all of one protocol, process 0 says which parts are missing.
    todo = None if peers.leads else peers.published("plan")
    parts, kept = open_parts(config, prepared, protocol, tokenizer, peers.leads)
    progress = _Progress(prepared, [parts] if kept is None else [parts, kept.parts], peers.count > 1)
    if peers.leads:
        todo = [number for number in range(len(prepared.parts)) if number not in progress.written]
        peers.publish("plan", todo)
    ours, waited = todo[team.number :: team.count], 0.0
    new = [number for number in ours if not parts.done(number)]  # of the others only the answers are missing
    watch.lap("prepare")
    # Work on our share of them.
    if ours:
        with jax.set_mesh(team.mesh):
            engine = Engine(config, network, team.mesh, tokenizer, prepared, verifies=bool(new))
            peers.meet()  # all have compiled
            watch.lap("load")
            for number in _work(engine, prepared, new, ours, parts, kept, team.writes, watch):
                progress.show(number)
                peers.check()
            waited = engine.device.waited
    # Wait for those of the others, and merge: process 0 alone.
    if not peers.leads:
        peers.await_completion()
        return None

    def missing() -> dict[int, int]:
        if peers.count > 1:
            progress.show()
        return {n: team.first_of(place % team.count) for place, n in enumerate(todo) if n not in progress.written}

    peers.await_parts(missing)
    table, summary = _merge(config, network.spec, prepared, parts, kept)
    if new:
        watch.lap("merge")
        verified = sum(len(prepared.parts[number]) for number in new)
        summary["speed"] = speed(
            watch.seconds, waited, verified, summary["cost"]["flops_per_question"], team.mesh.size, config.model.dtype,
            config.model.precision,
        )  # fmt: skip
    else:  # what was measured when the labels were made
        summary |= _measured(config, parts.protocol)
    run_folder.write_json(epath.Path(config.run_dir) / "summary.json", summary)
    peers.say("complete")
    return table, summary


def prepare(
    config: Config, asked: AskedRows | None, team: Team
) -> tuple[Network, Tokenizer, Prepared, dict]:
    """The model without its weights, all that is asked of it, and the protocol that the two make up; all checked."""
    spec = weights.read_spec(config.model.path)
    weights.check_tensors(config.model.path, spec)
    network = Network(spec, config.model.dtype, config.model.precision, config.model.scan_layers)
    tokenizer = Tokenizer.from_folder(config.model.path, spec.vocab_size)
    prepared = preparation.prepare(config, asked or preparation.ask(config), tokenizer, spec.max_position_embeddings)
    protocol = preparation.protocol_fields(
        config, prepared, weights.fingerprint(config.model.path), tokenizer.fingerprint(), team.mesh.shape
    )
    return network, tokenizer, prepared, protocol


def open_parts(
    config: Config, prepared: Prepared, protocol: dict, tokenizer: Tokenizer, leads: bool, looks: bool = False
) -> tuple[store.Parts, Answers | None]:
    """The parts in the run folder, and its answers where they are kept; the process that `leads` describes the run
    there, unless it only `looks`. Raises InputError where the folder holds another run."""
    settings, folder = config.annotate, epath.Path(config.run_dir)
    further = preparation.further_columns(settings)
    parts = store.Parts(
        folder / "annotations", protocol, prepared.rows, settings.part_size, leads, further=further, looks=looks
    )
    kept = Answers(config, prepared, parts, tokenizer, leads, looks) if settings.answers != "none" else None
    if leads and not looks:
        described = {"config": dataclasses.asdict(config), "protocol": parts.protocol, "versions": _versions()}
        described |= {"questions": len(prepared.rows)}
        run_folder.write_json(folder / "config.json", described)
        run_folder.write_json(folder / "exemplars.json", prepared.exemplars_json())
    return parts, kept


def finished(prepared: Prepared, folders: Sequence[store.Parts]) -> set[int]:
    """Numbers of the parts that are in all of these folders."""
    return set.intersection(*(set(parts.finished(len(prepared.parts))) for parts in folders))


class _Progress:
    """Questions of all parts whose files are in the folders, whichever process wrote them."""

    def __init__(self, prepared: Prepared, folders: list[store.Parts], shared: bool):
        self._prepared, self._folders, self._shared = prepared, folders, shared
        self._sizes = [len(part) for part in prepared.parts]
        self.written = finished(prepared, folders)
        self._listed, self._line = time.monotonic(), Progress("annotate", sum(self._sizes), "questions", self._done())

    def show(self, number: int | None = None) -> None:
        """Part `number` has been written here; others are looked for in the folder, once a second at most."""
        self.written |= set() if number is None else {number}
        if self._shared and (number is None or time.monotonic() - self._listed > 1):
            self.written |= finished(self._prepared, self._folders)
            self._listed = time.monotonic()
        self._line.show(self._done())

    def _done(self) -> int:
        return sum(self._sizes[number] for number in self.written)


def _versions() -> dict[str, str]:
    """What computed the labels."""
    packages = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "tokenizers")}
    return packages | {"slick_jax": __version__, "device": jax.devices()[0].device_kind}


def _work(
    engine: Engine, prepared: Prepared, new: list[int], ours: list[int], parts: store.Parts, kept: Answers | None,
    writes: bool, watch: Stopwatch,
) -> Iterator[int]:  # fmt: skip
    """Verify the `new` parts and keep the answers of all of `ours`; the number of each is given once it has been
    written, or left to the one that `writes`."""
    for number, found, scores, counts in engine.verify(new):
        if writes:
            rows = [
                records.record(prepared.rows[index], prepared.assigned[index], verified, prepared.settings)
                | {"p_true": score, "protocol": parts.protocol}
                for index, verified, score in zip(prepared.parts[number], found, scores, strict=True)
            ]
            parts.write(number, rows, counts)
        watch.lap("verify")
        if kept is not None:
            kept.write(number, engine)
            watch.lap("answers")
        yield number
    for number in (number for number in ours if number not in new):
        kept.write(number, engine)
        watch.lap("answers")
        yield number


def _measured(config: Config, protocol: str) -> dict:
    """The `speed` section of the summary that is there, where it is of the same labels."""
    found = {}
    with contextlib.suppress(InputError):  # a damaged one is replaced
        found = run_folder.read_object(epath.Path(config.run_dir) / "summary.json") or {}
    return {"speed": found["speed"]} if found.get("protocol") == protocol and "speed" in found else {}


def _merge(
    config: Config, spec: ModelSpec, prepared: Prepared, parts: store.Parts, kept: Answers | None
) -> tuple[pd.DataFrame, dict]:
    """annotations.parquet in input order with the label certainty, and the summary, from the finished parts."""
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
    summary = records.summary(table, counts, config.annotate, spec, prepared.prefix_lengths)
    if kept is not None:
        summary["answers"] = kept.summary(table)
        if config.annotate.answers == "all":
            summary["truncated_draws"] = summary["answers"]["truncated"]
    summary |= {"protocol": parts.protocol, "greedy_hit_prior": {"a": prior[0], "b": prior[1]}}
    merged = pa.Table.from_pandas(table, store.OUTPUT_SCHEMA, preserve_index=False).replace_schema_metadata(None)
    run_folder.write_parquet(folder / "annotations.parquet", merged)
    if config.annotate.mode == "full":
        shares = saturation(table["greedy_hits"].tolist(), table["sampled_hits"].tolist())
        run_folder.write_text(folder / "saturation.csv", csv_text.of(shares))
    return table, summary
