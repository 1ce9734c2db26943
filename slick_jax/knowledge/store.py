"""Annotations on disk: one Parquet part per slice of the examples, each bound to the protocol that made it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from etils import epath

from slick_jax.categories import CERTAINTY
from slick_jax.data.examples import Example
from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.files.hashing import digest

_BY_RULE = {
    "greedy_hits": pa.list_(pa.bool_()),  # per exemplar set
    "sampled_hits": pa.list_(pa.list_(pa.bool_())),  # per exemplar set and sample
    "p_correct_greedy": pa.float64(),
    "p_correct_sampled": pa.float64(),
    "p_correct_exact": pa.float64(),
    "category": pa.string(),
}

PART_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "split": pa.string(),
        "relation": pa.string(),
        "subject": pa.string(),
        "question": pa.string(),
        "answers": pa.list_(pa.string()),
        "exemplar_sets": pa.list_(pa.int32()),  # number of the exemplar set behind each slot
        "exemplar_rows": pa.list_(pa.list_(pa.int32())),  # with exemplars per question: pool rows of each slot's set
        **_BY_RULE,
        **{f"strict_{name}": kind for name, kind in _BY_RULE.items()},
        "exact_by_set": pa.list_(pa.float64()),
        "exact_rest": pa.float64(),
        "exact_pairs": pa.list_(pa.float64()),  # P_Correct at each further (temperature, top k) of the config
        "p_unknown_given_sets": pa.float64(),
        "p_unknown_given_sets_lower": pa.float64(),
        "abstained_greedy": pa.float64(),  # share of greedy draws that abstain
        "abstained_sampled": pa.float64(),
        "truncated": pa.int32(),  # draws that reached the token limit on a path that could still match
        "gold_logprob": pa.float64(),  # of the first answer and its end of line, nats, mean over the exemplar sets
        "p_true": pa.float64(),  # probability of (A) True against (B) False for the first answer
        "mean_miss": pa.float64(),  # mean over sets whose greedy draw missed of (1 - p)^n_samples
        "protocol": pa.string(),
    }
)

OUTPUT_SCHEMA = pa.schema([*PART_SCHEMA, *((name, pa.float64()) for name in CERTAINTY.values())]).remove(
    PART_SCHEMA.get_field_index("mean_miss")
)


def rows_digest(rows: Sequence[Example]) -> str:
    """SHA-256 of what was asked: ids, questions, answers, relations and subjects, in order."""
    return digest([[row.id, row.question, row.answers, row.relation, row.subject, row.split] for row in rows])


def manifest_of(
    protocol: Mapping[str, Any], rows: Sequence[Example], part_size: int, further: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a folder of parts says of itself, as JSON gives it back; `further` as for `Parts`."""
    made = {"protocol": protocol, "hash": digest(protocol), "rows": rows_digest(rows), "part_size": part_size}
    return json.loads(json.dumps(made | ({"further": further} if further else {})))


def check(folder: epath.PathLike, manifest: Mapping[str, Any], what: str = "annotations") -> None:
    """Raises InputError when the folder holds parts of another manifest, or held them before they were removed: what
    they were merged to is beside it."""
    folder = epath.Path(folder)
    found, merged = run_folder.read_object(folder / "manifest.json"), folder.with_suffix(".parquet")
    if found is None or found == manifest or not (merged.exists() or any(folder.glob("part-*.parquet"))):
        return
    old, new = found.get("protocol"), manifest["protocol"]
    old = old if isinstance(old, dict) else {}
    changed = sorted(key for key in {*old, *new} if key not in old or key not in new or old[key] != new[key])
    changed += [key for key in ("rows", "part_size") if found.get(key) != manifest[key]]
    if not changed and "further" in manifest:
        names = ", ".join(f"annotate.{name}" for name in manifest["further"])
        raise InputError(
            f"{folder}: was begun with another {names}, which is measured together with the labels; set it back, or"
            " annotate with another run_dir"
        )
    told = ", ".join(changed) or "manifest.json"
    raise InputError(f"{folder}: holds {what} of another protocol (different: {told}); {_remedy(folder)}")


def _remedy(folder: epath.Path) -> str:
    merged = folder.with_suffix(".parquet")
    return "set another run_dir, or remove that folder" + (
        f" and {merged.name}, and what was made from it" if merged.exists() else ""
    )


class Parts:
    """The part files of one run: which are done, written once, never mixed with another protocol's."""

    def __init__(
        self,
        folder: epath.PathLike,
        protocol: dict[str, Any],
        rows: Sequence[Example],
        part_size: int,
        leads: bool = True,
        schema: pa.Schema = PART_SCHEMA,
        what: str = "annotations",
        further: Mapping[str, Any] | None = None,
        looks: bool = False,
    ):
        """Open or start the folder; of several processes the first one `leads`, and the others come after it. One that
        only `looks` checks what is there as the first one does, and writes nothing.

        further: what decides columns that no label hangs on, by setting; it is no part of the protocol hash, and must
        be the same for all parts. Raises InputError when the folder is of another protocol or other rows (`check`).
        """
        self.folder, self._schema = epath.Path(folder), schema
        manifest = manifest_of(protocol, rows, part_size, further)
        self.protocol, self._made = manifest["hash"], digest(manifest)
        found = None if leads else run_folder.read_object(self.folder / "manifest.json")
        if not leads and found != manifest:
            raise InputError(
                f"{self.folder}: this process would ask otherwise than process 0"
                f" ({run_folder.differences(found or {}, manifest)}); give all the same settings, data and model"
            )
        check(self.folder, manifest, what)
        if leads:
            self._check_parts(what)
        if leads and not looks:
            run_folder.write_json(self.folder / "manifest.json", manifest)

    def _check_parts(self, what: str) -> None:
        """Where the manifest is gone, its digest in the parts says whether they are of the same one."""
        for path in [] if (self.folder / "manifest.json").exists() else sorted(self.folder.glob("part-*.parquet")):
            metadata = run_folder.read_parquet_schema(path).metadata or {}
            if metadata.get(b"manifest", b"") != self._made.encode():
                raise InputError(
                    f"{self.folder}: has no manifest.json, and {path.name} holds {what} of another protocol or of other"
                    f" rows; {_remedy(self.folder)}"
                )

    def path(self, number: int) -> epath.Path:
        """File of part `number`."""
        return self.folder / f"part-{number:05d}.parquet"

    def done(self, number: int) -> bool:
        """Whether part `number` has been written."""
        return self.path(number).exists()

    def finished(self, among: int) -> list[int]:
        """Numbers below `among` of the parts that have been written, by whichever process."""
        names = {path.name for path in self.folder.glob("part-*.parquet")}
        return [number for number in range(among) if self.path(number).name in names]

    def write(self, number: int, records: list[dict], counts: Counter) -> None:
        """Write a part; its counters travel in the file's metadata."""
        counted = json.dumps(counts, sort_keys=True)
        metadata = {"protocol": self.protocol, "manifest": self._made, "counts": counted}
        table = pa.Table.from_pylist(records, self._schema.with_metadata(metadata))
        run_folder.write_parquet(self.path(number), table)

    def read(self, number: int) -> tuple[pa.Table, Counter]:
        """A part's rows and counters. Raises InputError when it is damaged or belongs to another protocol."""
        table = run_folder.read_parquet(self.path(number))
        metadata = table.schema.metadata or {}
        if metadata.get(b"protocol", b"") != self.protocol.encode():
            raise InputError(f"{self.path(number)}: a part of another protocol; remove it and run again")
        with run_folder.explained(self.path(number)):
            counts = Counter(json.loads(metadata[b"counts"]))
        return table.replace_schema_metadata(None), counts
