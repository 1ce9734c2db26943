"""`slick rescore`: hits and categories by another match rule, from the answers a run has kept; no model is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax.categories import CATEGORIES, CERTAINTY
from slick_jax.config import AnnotateConfig, Config
from slick_jax.data.examples import Example
from slick_jax.errors import InputError
from slick_jax.files import csv_text, run_folder, stores
from slick_jax.files.hashing import digest
from slick_jax.knowledge import records, store
from slick_jax.knowledge.answers import judge
from slick_jax.knowledge.match import Golds, Matcher, abstention_golds, matcher
from slick_jax.knowledge.saturation import saturation
from slick_jax.knowledge.verify import Verified
from slick_jax.settings.config_file import settings_of

# What only the model's probabilities tell: kept where the run measured it under the same rule, else null.
MEASURED = (
    *("p_correct_exact", "exact_by_set", "exact_rest", "exact_pairs", "p_unknown_given_sets"),
    *("p_unknown_given_sets_lower", *CERTAINTY.values()),
)


def run(config: Config) -> None:
    """Judge the answers and print the categories before and after."""
    table, before = rescore(config)
    moved = pd.crosstab(before, table["category"]).reindex(index=CATEGORIES, columns=CATEGORIES, fill_value=0)
    print(moved.rename_axis(index=f"{config.rescore.source}:", columns=f"{config.annotate.match}:").to_string(), "\n")
    print(f"{int((before != table['category']).sum())} of {len(table)} categories differ")
    print(f"annotations: {epath.Path(config.run_dir) / 'annotations.parquet'}")


def checked(config: Config) -> tuple[dict, AnnotateConfig, dict, dict]:
    """config.json of the source, its settings of annotation, its manifest, and the protocol of what is to be written.
    Raises as `rescore` does, before any answer is read."""
    source = epath.Path(config.rescore.source)
    record, before = _record(source)
    _check_settings(config.annotate, before)
    settings = dataclasses.replace(before, match=config.annotate.match)
    manifest = run_folder.read_object(source / "annotations" / "manifest.json") or {}
    protocol = _protocol(record, manifest, settings, matcher(settings.match))
    _check_target(source, epath.Path(config.run_dir), digest(protocol))
    return record, before, manifest, protocol


def rescore(config: Config) -> tuple[pd.DataFrame, pd.Series]:
    """Annotations of `config.rescore.source` by the rule `config.annotate.match`, written to `config.run_dir`.

    All other settings are those of the source, and refused where the config asks for others. Columns that need the
    model's probabilities are kept where the source measured them under the same rule, and null otherwise.

    Returns:
      the annotations, in the source's order, and the categories that the source had.

    Raises InputError where the source is no finished run with all answers, where the config changes another setting of
    annotation than the rule, and where run_dir holds another run.
    """
    source, folder = epath.Path(config.rescore.source), epath.Path(config.run_dir)
    record, before, manifest, protocol = checked(config)
    described, settings = record["config"], dataclasses.replace(before, match=config.annotate.match)
    rule = matcher(settings.match)
    remedy = "annotate again, or give another run as rescore.source"
    with run_folder.explained(source, remedy):
        found = run_folder.read_parquet(source / "annotations.parquet").to_pandas()
        kept = dict(_kept(source, record["protocol"]))
        missing = [name for name in found["id"] if name not in kept]
    if missing:
        raise InputError(
            f"{source / 'samples'}: no answers of {len(missing)} of the {len(found)} rows, such as {missing[0]!r}; run"
            " the command of `slick annotate` that made this run again"
        )
    prefix, abstentions = _measured_prefix(before.match, manifest, rule), abstention_golds(settings.abstain_phrases)
    with run_folder.explained(source, remedy):
        rows = [_row(row, kept[row["id"]], rule, abstentions, settings, prefix) for row in found.to_dict("records")]
        before_it = found["category"]
        table = pd.DataFrame(rows)
        prior = records.add_certainty(table, dataclasses.replace(settings, mode="labels")) if prefix != "" else None
        table["protocol"] = digest(protocol)
        merged = pa.Table.from_pandas(table, store.OUTPUT_SCHEMA, preserve_index=False).replace_schema_metadata(None)
    _write(folder, source, table, merged, settings, described, protocol, prior)
    return table, before_it


def _record(source: epath.Path) -> tuple[dict[str, Any], AnnotateConfig]:
    """config.json of the source, a finished run that kept all answers, and its settings of annotation."""
    record = run_folder.read_json(source / "config.json")
    told = isinstance(record, dict) and isinstance(record.get("config"), dict) and "protocol" in record
    if not told or not (source / "annotations.parquet").exists():
        raise InputError(
            f"config.rescore.source: {source} is no finished run of `slick annotate`; give a run folder with"
            " annotations.parquet and config.json"
        )
    settings = settings_of(AnnotateConfig, record["config"].get("annotate"), "annotate", str(source / "config.json"))
    kept = settings.answers
    if kept != "all":
        weak = "greedy answers alone do not tell WeaklyKnown from Unknown"
        why = weak if kept == "greedy" else "there is no text to judge"
        raise InputError(
            f"config.rescore.source: {source} was annotated with annotate.answers={kept!r}, and {why}; run the same"
            " `slick annotate` with --config.annotate.answers=all (finished labels are kept)"
        )
    return record, settings


def _check_settings(asked: AnnotateConfig, before: AnnotateConfig) -> None:
    """Nothing but the rule can be changed: a setting that is neither the source's nor at its default is refused."""
    changed = [
        f"config.annotate.{item.name}: {getattr(asked, item.name)!r}, and {getattr(before, item.name)!r} in the source"
        for item in dataclasses.fields(asked)
        if item.name != "match" and getattr(asked, item.name) not in (item.default, getattr(before, item.name))
    ]
    if changed:
        heading = "`slick rescore` changes annotate.match alone; leave these as they were, or annotate again:"
        raise InputError.of(changed, heading)


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
    if folder.exists() and stores.absolute(source) == stores.absolute(folder):
        raise InputError("config.run_dir: the same folder as rescore.source, which stays as it is; give another one")
    there = run_folder.read_object(folder / "config.json")
    if there is not None and there.get("protocol") != protocol:
        raise InputError(f"config.run_dir: {folder} holds another run; give another folder, or remove that one")


def _measured_prefix(before: str, manifest: dict, rule: Matcher) -> str | None:
    """Prefix of the source's columns that were measured under the new rule; None where none were."""
    if rule.name == before and manifest.get("protocol", {}).get("match_source", "") == rule.source:
        return ""
    return "strict_" if rule.name == "strict" else None


def _row(
    row: Mapping[str, Any], kept: Mapping[str, Any], rule: Matcher, abstentions: Golds | None, settings: AnnotateConfig,
    prefix: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The annotation row by the new rule (columns of `store.PART_SCHEMA`, without the protocol)."""
    answers = tuple(row["answers"])
    judged = judge(kept, Golds(answers, rule), abstentions)
    sets = len(judged.hits)
    verified = Verified(
        judged.hits, judged.abstained, judged.truncated, True, np.zeros((0, sets, 2)), np.zeros((0, sets)),
        np.array([row["gold_logprob"]]),
    )  # fmt: skip
    example = Example(row["id"], row["question"], answers, row["relation"], row["subject"], row["split"])
    made = records.record(example, row[records.exemplar_column(settings)], verified, settings)
    made |= {name: row[name] for name in ("p_true", "strict_p_correct_exact")}
    made["mean_miss"] = None
    if prefix == "":
        made |= {name: row[name] for name in MEASURED}
    elif prefix is not None:
        made["p_correct_exact"] = row[f"{prefix}p_correct_exact"]
    return made


def _write(
    folder: epath.Path, source: epath.Path, table: pd.DataFrame, merged: pa.Table, settings: AnnotateConfig,
    described: dict, protocol: dict, prior: tuple[float, float] | None,
) -> None:  # fmt: skip
    """The files of a run folder that later commands read."""
    made = digest(protocol)
    before = run_folder.read_object(source / "summary.json") or {}
    summary = {name: before[name] for name in ("questions", "draws_per_question", "truncated_draws") if name in before}
    summary |= records.categories(table) | {"protocol": made, "rescored": protocol["rescored"], "match": settings.match}
    if prior is not None:
        summary["greedy_hit_prior"] = {"a": prior[0], "b": prior[1]}
    config = {**described, "run_dir": str(folder), "annotate": {**described["annotate"], "match": settings.match}}
    config["rescore"] = {"source": str(source)}
    shares = saturation(table["greedy_hits"].tolist(), table["sampled_hits"].tolist())
    run_folder.write_json(folder / "config.json", {"config": config, "protocol": made})
    run_folder.write_json(folder / "exemplars.json", run_folder.read_object(source / "exemplars.json") or {})
    run_folder.write_json(folder / "annotations" / "manifest.json", {"hash": made, "protocol": protocol})
    run_folder.write_text(folder / "saturation.csv", csv_text.of(shares))
    run_folder.write_json(folder / "summary.json", summary)
    run_folder.write_parquet(folder / "annotations.parquet", merged)
