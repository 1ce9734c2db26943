"""`slick rescore`: hits and categories by another match rule, from the answers a run has kept; no model is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax import run_folder
from slick_jax.categories import CATEGORIES
from slick_jax.config import AnnotateConfig, Config
from slick_jax.data.examples import Example
from slick_jax.errors import InputError
from slick_jax.hashing import digest
from slick_jax.knowledge import records, store
from slick_jax.knowledge.answers import judge
from slick_jax.knowledge.match import Golds, Matcher, matcher
from slick_jax.knowledge.saturation import saturation
from slick_jax.knowledge.verify import Verified

REQUIRED = ("config", "protocol")
# What only the model's probabilities tell: kept where the run measured it under the same rule, else null.
MEASURED = (
    *("p_correct_exact", "exact_by_set", "exact_rest", "exact_pairs", "p_unknown_given_sets"),
    *("p_unknown_given_sets_lower", *store.CERTAINTY),
)


def run(config: Config) -> None:
    """Judge the answers and print the categories before and after."""
    table, before = rescore(config)
    moved = pd.crosstab(before, table["category"]).reindex(index=CATEGORIES, columns=CATEGORIES, fill_value=0)
    print(moved.rename_axis(index=f"{config.rescore.source}:", columns=f"{config.annotate.match}:").to_string(), "\n")
    print(f"{int((before != table['category']).sum())} of {len(table)} categories differ")
    print(f"annotations: {epath.Path(config.run_dir) / 'annotations.parquet'}")


def rescore(config: Config) -> tuple[pd.DataFrame, pd.Series]:
    """Annotations of `config.rescore.source` by the rule `config.annotate.match`, written to `config.run_dir`.

    All other settings are those of the source. Columns that need the model's probabilities are kept where the source
    measured them under the same rule, and null otherwise.

    Returns:
      the annotations, in the source's order, and the categories that the source had.

    Raises InputError where the source is no finished run with all answers, or run_dir holds another run.
    """
    source, folder = epath.Path(config.rescore.source), epath.Path(config.run_dir)
    record = _record(source)
    described = record["config"]
    before = {name: _tuples(value) for name, value in described["annotate"].items()}
    settings = AnnotateConfig(**before | {"match": config.annotate.match})
    rule, manifest = matcher(settings.match), run_folder.read_json(source / "annotations" / "manifest.json") or {}
    protocol = _protocol(record, manifest, settings, rule)
    _check_target(source, folder, digest(protocol))
    found = run_folder.read_parquet(source / "annotations.parquet").to_pandas()
    kept = dict(_kept(source, record["protocol"]))
    missing = [name for name in found["id"] if name not in kept]
    if missing:
        raise InputError(
            f"{source / 'samples'}: no answers of {len(missing)} of the {len(found)} rows, such as {missing[0]!r}; run"
            " the command of `slick annotate` that made this run again"
        )
    prefix = _measured_prefix(settings.match, described["annotate"]["match"], manifest, rule)
    rows = [_row(row, kept[row["id"]], rule, settings, prefix) for row in found.to_dict("records")]
    table = pd.DataFrame(rows)
    prior = records.add_certainty(table, dataclasses.replace(settings, mode="labels")) if prefix != "" else None
    _write(folder, source, table, settings, described, protocol, prior)
    return table, found["category"]


def _record(source: epath.Path) -> dict[str, Any]:
    """config.json of the source, a finished run that kept all answers."""
    record = run_folder.read_json(source / "config.json")
    if record is None or any(name not in record for name in REQUIRED) or not (source / "annotations.parquet").exists():
        raise InputError(
            f"config.rescore.source: {source} is no finished run of `slick annotate`; give a run folder with"
            " annotations.parquet and config.json"
        )
    kept = record["config"]["annotate"].get("answers", "none")
    if kept != "all":
        weak = "greedy answers alone do not tell WeaklyKnown from Unknown"
        why = weak if kept == "greedy" else "there is no text to judge"
        raise InputError(
            f"config.rescore.source: {source} was annotated with annotate.answers={kept!r}, and {why}; run the same"
            " `slick annotate` with --config.annotate.answers=all (finished labels are kept)"
        )
    return record


def _kept(source: epath.Path, protocol: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, answers) of every kept row."""
    for path in sorted((source / "samples").glob("part-*.parquet")):
        for row in run_folder.read_parquet(path).to_pylist():
            if row["protocol"] != protocol:
                raise InputError(f"{path}: answers of another protocol than {source}'s; remove it and annotate again")
            yield row["id"], row


def _protocol(record: dict, manifest: dict, settings: AnnotateConfig, rule: Matcher) -> dict[str, Any]:
    """What the new labels depend on: the source's protocol, and the rule."""
    before = manifest.get("protocol", {}) if manifest.get("hash") == record["protocol"] else {}
    return {**before, "match": settings.match, "match_source": rule.source, "rescored": record["protocol"]}


def _check_target(source: epath.Path, folder: epath.Path, protocol: str) -> None:
    if folder.exists() and source.resolve() == folder.resolve():
        raise InputError("config.run_dir: the same folder as rescore.source, which stays as it is; give another one")
    there = run_folder.read_json(folder / "config.json")
    if there is not None and there.get("protocol") != protocol:
        raise InputError(f"config.run_dir: {folder} holds another run; give another folder, or remove that one")


def _measured_prefix(match: str, before: str, manifest: dict, rule: Matcher) -> str | None:
    """Prefix of the source's columns that were measured under the new rule; None where none were."""
    if match == before and manifest.get("protocol", {}).get("match_source", "") == rule.source:
        return ""
    return "strict_" if match == "strict" else None


def _row(
    row: Mapping[str, Any], kept: Mapping[str, Any], rule: Matcher, settings: AnnotateConfig, prefix: str | None
) -> dict[str, Any]:
    """The annotation row by the new rule (columns of `store.PART_SCHEMA`, without the protocol)."""
    answers = tuple(row["answers"])
    phrases = settings.abstain_phrases
    judged = judge(kept, Golds(answers, rule), Golds(phrases, matcher("squad")) if phrases else None)
    sets = len(judged.hits)
    verified = Verified(
        judged.hits, judged.abstained, judged.truncated, True, np.zeros((0, sets, 2)), np.zeros((0, sets)),
        np.array([row["gold_logprob"]]),
    )  # fmt: skip
    example = Example(row["id"], row["question"], answers, row["relation"], row["subject"], row["split"])
    made = records.record(example, list(row["exemplar_sets"]), verified, settings)
    made |= {name: row[name] for name in ("exemplar_sets", "exemplar_rows", "p_true", "strict_p_correct_exact")}
    made["mean_miss"] = None
    if prefix == "":
        made |= {name: row[name] for name in MEASURED}
    elif prefix is not None:
        made["p_correct_exact"] = row[f"{prefix}p_correct_exact"]
    return made


def _write(
    folder: epath.Path, source: epath.Path, table: pd.DataFrame, settings: AnnotateConfig, described: dict,
    protocol: dict, prior: tuple[float, float] | None,
) -> None:  # fmt: skip
    """The files of a run folder that later commands read."""
    made = digest(protocol)
    table["protocol"] = made
    merged = pa.Table.from_pandas(table, store.OUTPUT_SCHEMA, preserve_index=False).replace_schema_metadata(None)
    before = run_folder.read_json(source / "summary.json") or {}
    summary = {name: before[name] for name in ("questions", "draws_per_question", "truncated_draws") if name in before}
    summary |= records.categories(table) | {"protocol": made, "rescored": protocol["rescored"], "match": settings.match}
    if prior is not None:
        summary["greedy_hit_prior"] = {"a": prior[0], "b": prior[1]}
    config = {**described, "run_dir": str(folder), "annotate": {**described["annotate"], "match": settings.match}}
    config["rescore"] = {"source": str(source)}
    shares = saturation(table["greedy_hits"].tolist(), table["sampled_hits"].tolist())
    run_folder.write_json(folder / "config.json", {"config": config, "protocol": made})
    run_folder.write_json(folder / "exemplars.json", run_folder.read_json(source / "exemplars.json") or {})
    run_folder.write_json(folder / "annotations" / "manifest.json", {"hash": made, "protocol": protocol})
    run_folder.write_text(folder / "saturation.csv", shares.to_csv(index=False, lineterminator="\n"))
    run_folder.write_json(folder / "summary.json", summary)
    run_folder.write_parquet(folder / "annotations.parquet", merged)


def _tuples(value: Any) -> Any:
    """A JSON value with tuples in place of lists, as settings have them."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
