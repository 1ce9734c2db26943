"""The arms on disk: rows of prompt and completion that training reads, and a manifest of what they are made of."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pandas as pd
from etils import epath

from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.files.hashing import digest
from slick_jax.longform.arms import Built
from slick_jax.longform.prompts import fine_tuning_prompt
from slick_jax.settings.longform import FilterConfig

MANIFEST = "manifest.json"


def file_name(arm: str) -> str:
    """The arm's name as that of a file or folder: 'GEN+SELF' is 'gen_self'."""
    return arm.lower().replace("+", "_")


def write(
    folder: epath.PathLike,
    built: Built,
    entities: pd.DataFrame,
    filter: FilterConfig,
    *,
    made_by: dict[str, Any],
    prompt: Callable[[str], str] = fine_tuning_prompt,
) -> dict[str, Any]:
    """Write <folder>/<arm>.jsonl for every arm and manifest.json, last; returns the manifest.

    Args:
      folder: of one domain.
      entities: of that domain (columns of `records.ENTITIES`).
      made_by: what else the texts hang on, for the manifest: claim method, verifier, checkpoint, protocol hash.
      prompt: what stands before the text, of the entity's own prompt.

    Raises InputError where the folder holds other arms: runs may have been trained on them.
    """
    folder = epath.Path(folder)
    files = {arm: _lines(texts, entities, prompt) for arm, texts in built.texts.items()}
    manifest = {
        "domain": ", ".join(sorted(set(entities["domain"]))),
        "filter": dataclasses.asdict(filter),
        "made_by": made_by,
        "entities": built.entities,
        "entities_sha256": {
            split: digest(sorted(of["id"])) for split, of in entities.groupby("split")
        },
        "prompts": len(next(iter(built.texts.values()))["entity"].unique()),
        "prompts_left_out": len(built.left_out),
        "left_out_for_want_of": dict(Counter(arm for arms in built.left_out.values() for arm in arms)),
        "left_out": built.left_out,
        "sentences_cut_by_token_limit": built.cut,
        "arms": {arm: _record(built.texts[arm], files[arm], built.kept[arm]) for arm in built.texts},
    }  # fmt: skip
    manifest = json.loads(json.dumps(manifest))  # as it is read back
    earlier = run_folder.read_object(folder / MANIFEST)
    if earlier is not None and earlier != manifest:
        changed = [name for name in {**earlier, **manifest} if earlier.get(name) != manifest.get(name)]
        raise InputError(
            f"{folder}: holds other arms (different: {', '.join(changed)}); set another run_dir, or remove that folder"
            " and the training runs made from it"
        )
    for arm, text in files.items():
        run_folder.write_text(folder / f"{file_name(arm)}.jsonl", text)
    run_folder.write_json(folder / MANIFEST, manifest)
    return manifest


def read(folder: epath.PathLike, made_by: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of arms that are whole; None where they are absent, made by other settings, or lack a file.

    Raises InputError for a file that is not what the manifest says.
    """
    folder = epath.Path(folder)
    manifest = run_folder.read_object(folder / MANIFEST)
    if manifest is None or manifest["made_by"] != json.loads(json.dumps(made_by)):
        return None
    paths = {arm: folder / f"{file_name(arm)}.jsonl" for arm in manifest["arms"]}
    if not all(path.exists() for path in paths.values()):
        return None
    for arm, path in paths.items():
        if hashlib.sha256(path.read_bytes()).hexdigest() != manifest["arms"][arm]["sha256"]:
            raise InputError(f"{path}: was changed since it was made; remove it, and it is made again")
    return manifest


def training_table(manifests: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """A row per domain and arm, of the manifests by domain: domain, arm, texts, tokens, claims, the means per text,
    what the filter kept, and what lengths left of it."""
    rows = [
        {"domain": domain, "arm": arm, **record}
        for domain, manifest in manifests.items()
        for arm, record in manifest["arms"].items()
    ]
    return pd.DataFrame(rows).drop(columns="sha256", errors="ignore")


def _lines(texts: pd.DataFrame, entities: pd.DataFrame, prompt: Callable[[str], str]) -> str:
    """A mixture file, in the order of the texts' ids."""
    of = entities.set_index("id")
    rows = [
        {
            "id": row.text_id, "prompt": prompt(of.at[row.entity, "prompt"]), "completion": row.completion,
            "relation": of.at[row.entity, "domain"], "entity": row.entity,
        }
        for row in texts.sort_values("text_id").itertuples()
    ]  # fmt: skip
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _record(texts: pd.DataFrame, file: str, kept: dict[str, float | None]) -> dict[str, Any]:
    """How much an arm is trained on, after prompts and lengths were made equal, and what was kept before."""
    record = {"texts": len(texts)}
    for name in ("tokens", "claims", "sentences"):
        total = int(texts[f"n_{name}"].sum())
        record |= {name: total, f"{name}_per_text": total / len(texts)}
    share = 100 * record["claims"] / max(kept["claims_of_texts"], 1)
    return record | kept | {"percent_claims_trained_on": share, "sha256": hashlib.sha256(file.encode()).hexdigest()}
