"""`slick mix`: the annotations of a run become mixtures on disk, each as JSON lines and Parquet, with a manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax.categories import CATEGORIES, UNKNOWN
from slick_jax.config import Config
from slick_jax.data import annotations
from slick_jax.data.examples import Example, load_splits, same_text
from slick_jax.data.mixtures import REPLAY, Annotated, Row, Unrelated
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.data.recipes import make_mixtures, parse, variant_order, wanted
from slick_jax.data.unrelated import read_unrelated
from slick_jax.errors import InputError
from slick_jax.files import run_folder

SCHEMA = {name: pa.string() for name in ("id", "relation", "category", "question", "answer", "prompt", "completion")}
# Of rows that some recipes make; a file has those that one of its rows needs, with these values where it does not.
FURTHER = {"ending": ("", pa.string()), "role": ("", pa.string()), "times": (1, pa.int32())}


def run(config: Config) -> dict[str, Any]:
    """Write <run_dir>/mixtures/<variant>.jsonl and .parquet and manifest.json, and print how large they are; returns
    the manifest.

    Raises InputError, before anything is written, for annotations that are missing, damaged, or of another protocol or
    other data; for variants that lack examples; and where the folder holds mixtures that would change.
    """
    folder = epath.Path(config.run_dir) / "mixtures"
    found = annotations.read(config)
    splits = load_splits(config.data)
    annotations.check_data(found, splits, config.mix.split)
    held = held_out(found, splits, config.mix.split)
    kept, excluded = without_held_out(found.rows, held)
    unrelated, n_held = (), 0
    if any(parse(name)[0] == "replay" for name in wanted(config.mix)):
        questions = {question for _, texts in held.values() for question in texts}
        unrelated, n_held = read_unrelated(config.mix.replay_path, config.mix.seed, questions)
    sizes, variants = make_mixtures(kept, config.mix, unrelated)
    manifest = {
        "seed": config.mix.seed,
        "size": config.mix.size,
        "n": sum(sizes.values()),
        "relations": sizes,
        "split": config.mix.split,
        "rule": config.mix.rule,
        "annotated": len(found.rows),
        "excluded": excluded,
        "protocol": found.protocol,
        "model": found.model,
        "variants": {name: record(rows) for name, rows in variants.items()},
    }
    manifest = with_earlier(manifest, folder)
    write(folder, manifest, variants)
    print(table(manifest).to_string())
    print(f"\n|D| = {manifest['n']} ({config.mix.size}) over {len(sizes)} relations", end="")
    left_out = sorted({row.relation for row in found.rows} - sizes.keys())
    print(f"; relations that can give none: {', '.join(left_out)}" if left_out else "")
    if excluded:
        print("held out: " + ", ".join(f"{n} that are in {why}" for why, n in excluded.items()))
    if n_held:
        print(f"replay: {n_held} rows of {config.mix.replay_path} hold a question that is held out, and are left out")
    print(f"mixtures: {folder}/{{{','.join(variants)}}}.jsonl, .parquet and manifest.json")
    return manifest


def write(folder: epath.Path, manifest: dict[str, Any], variants: dict[str, Sequence[Row]]) -> None:
    """The files of mixtures: <variant>.jsonl and .parquet, and manifest.json."""
    for name, rows in variants.items():
        lines = [training_row(row) for row in rows]
        needed = {key: kind for key, (plain, kind) in FURTHER.items() if any(line[key] != plain for line in lines)}
        schema = SCHEMA | needed
        lines = [{key: line[key] for key in schema} for line in lines]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        run_folder.write_text(folder / f"{name}.jsonl", text)
        run_folder.write_parquet(folder / f"{name}.parquet", pa.Table.from_pylist(lines, pa.schema(schema)))
    # not write_json: the order of the variants is that of tables and figures
    run_folder.write_text(folder / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def held_out(
    found: annotations.Annotations, splits: dict[str, list[Example]], own: str
) -> dict[str, tuple[set[str], set[str]]]:
    """What must not be trained on: why -> (ids, questions, whatever their case and spacing).

    The exemplars of the run, and every example of a split other than `own`.
    """
    held = {"an exemplar set": _keys(found.exemplars)}
    held |= {name: _keys((e.id, e.question) for e in rows) for name, rows in splits.items() if name != own}
    return held


def without_held_out(
    rows: Iterable[Annotated], held: dict[str, tuple[set[str], set[str]]]
) -> tuple[list[Annotated], dict[str, int]]:
    """The rows that are in none of `held` by id or by question, and why how many others are not kept."""
    kept, excluded = [], Counter()
    for row in rows:
        question = same_text(row.question)
        why = next((name for name, (ids, questions) in held.items() if row.id in ids or question in questions), None)
        if why is None:
            kept.append(row)
        else:
            excluded[why] += 1
    return kept, {name: excluded[name] for name in held if excluded[name]}


def _keys(examples: Iterable[tuple[str, str]]) -> tuple[set[str], set[str]]:
    pairs = list(examples)
    return {name for name, _ in pairs}, {same_text(question) for _, question in pairs}


def training_row(row: Row) -> dict[str, Any]:
    """A line of a mixture file; `prompt` and `completion` are what TRL and other trainers take."""
    if isinstance(row, Unrelated):
        texts = {"prompt": row.prompt, "completion": row.completion}
        plain = {key: value for key, (value, _) in FURTHER.items()}
        return dict.fromkeys(SCHEMA, "") | plain | {"id": row.id, "role": REPLAY} | texts
    return dataclasses.asdict(row) | {
        "prompt": fine_tuning_prompt(row.question), "completion": row.answer + row.ending
    }  # fmt: skip


def record(rows: Sequence[Row]) -> dict[str, Any]:
    """What the manifest says of a variant: its examples, and apart from them the rows to replay.

    The hash covers ids and what is taught, in the order of the file.
    """
    examples = [row for row in rows if isinstance(row, Annotated)]
    counts = Counter((row.relation, row.category) for row in examples)
    unknown = sum(n for (_, category), n in counts.items() if category == UNKNOWN)
    lines = [training_row(row) for row in rows]
    replayed = {"n_replay": len(rows) - len(examples)} if len(examples) < len(rows) else {}
    return {
        "n": len(examples),
        "n_known": len(examples) - unknown,
        "n_unknown": unknown,
        "percent_unknown": 100 * unknown / len(examples),
        **replayed,
        "categories": {c: sum(n for (_, category), n in counts.items() if category == c) for c in CATEGORIES},
        "relations": {
            relation: {category: counts[relation, category] for category in CATEGORIES}
            for relation in sorted({relation for relation, _ in counts})
        },
        "sha256": content_digest(content(line) for line in lines),
    }


def content(line: Mapping[str, Any]) -> tuple:
    """What is taught by a row: its id and completion, and how, where that is not once and anywhere in an epoch."""
    further = {key: line[key] for key, (plain, _) in FURTHER.items() if line[key] != plain}
    return (line["id"], line["completion"], *([further] if further else []))


def content_digest(rows: Iterable[tuple]) -> str:
    """SHA-256 of `content` of the rows, in the order of the file: what makes a mixture the one of its manifest."""
    return hashlib.sha256("".join(json.dumps([*row]) + "\n" for row in rows).encode()).hexdigest()


def with_earlier(manifest: dict[str, Any], folder: epath.Path) -> dict[str, Any]:
    """`manifest` with the variants that an earlier one in `folder` has besides.

    Raises InputError where the earlier mixtures are of other settings or rows: runs may have been trained on them.
    """
    earlier = run_folder.read_object(folder / "manifest.json")
    if earlier is None:
        return manifest
    changed = [name for name in manifest if name != "variants" and earlier.get(name) != manifest[name]]
    old, new = earlier.get("variants", {}), manifest["variants"]
    changed += [name for name in new if name in old and old[name] != new[name]]
    if changed:
        raise InputError(
            f"{folder}: holds other mixtures (different: {', '.join(changed)}); set another run_dir, or remove that"
            " folder and the training runs made from it"
        )
    both = old | new
    return manifest | {"variants": {name: both[name] for name in sorted(both, key=variant_order)}}


def table(manifest: dict[str, Any]) -> pd.DataFrame:
    """A line per variant: examples, Known and Unknown among them, and the Known categories."""
    counts = {"examples": "n", "Known": "n_known", "Unknown": "n_unknown", "% Unknown": "percent_unknown"}
    made = pd.DataFrame(manifest["variants"]).T
    out = pd.DataFrame({name: made[key] for name, key in counts.items()})
    out["% Unknown"] = out["% Unknown"].astype(float).round(1)
    return out.assign(**{c: [of[c] for of in made["categories"]] for c in CATEGORIES if c != UNKNOWN})
