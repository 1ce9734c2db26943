"""Users' own domains: a folder with a text per entity, or rows of entity, prompt and reference; dealt to the splits."""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slick_jax.data.examples import raise_problems, rows_of, same_text, text_problem
from slick_jax.errors import InputError, short
from slick_jax.longform.records import SPLITS, Entity
from slick_jax.longform.sentences import sentences
from slick_jax.settings.longform import OwnConfig
from slick_jax.settings.longform_rules import stems

FIELDS = ("entity", "prompt", "reference", "id", "split", "exposure")
NAME = "{name}"  # where a prompt template has the entity
SHARES = dict(zip(SPLITS, OwnConfig.shares, strict=True))


def read_domains(own: OwnConfig) -> dict[str, list[Entity]]:
    """The entities of every domain that `longform.own` names, as `read_entities` reads them."""
    templates = own.templates * (len(own.paths) if len(own.templates) == 1 else 1) or [""] * len(own.paths)
    shares = dict(zip(SPLITS, own.shares, strict=True))
    return {
        name: read_entities(path, name, template=template, shares=shares, seed=own.split_seed)
        for name, path, template in zip(stems(own), own.paths, templates, strict=True)
    }


def read_entities(
    path: str, domain: str, *, template: str = "", shares: Mapping[str, float] = SHARES, seed: int = 0
) -> list[Entity]:
    """The entities of a user's domain, in the order of the source.

    Args:
      path: a folder of UTF-8 files `<entity>.txt`, each a reference text ('_' in the name is a space); or a JSON lines
        (also .gz) or Parquet file with `entity`, `reference`, and optionally `prompt` (default: the template), `id`
        (default: the entity), `split` (in all rows or none) and `exposure`.
      template: prompt of an entity, with {name} in it, such as "Write a biography of {name}.".
      shares: of the splits that entities are dealt to where the source names none; seed: of that deal.

    Raises one InputError with all bad rows: unreadable, empty or without a sentence, and entities that come twice.
    """
    source = Path(path)
    if template and NAME not in template:
        raise InputError(f"prompt template {template!r}: does not name the entity; write {NAME} where its name goes")
    if source.is_dir():
        if not template:
            raise InputError(f"{path}: a folder of texts needs a prompt template, such as 'Tell me about {NAME}.'")
        rows = _folder_rows(source)
    else:
        rows = ((f"{path}:{index + 1}", row) for index, row in rows_of(source, FIELDS))
    found, problems = [], []
    places: dict[str, tuple[str, str | None]] = {}  # where an entity or id came first, and its split
    for place, row in rows:
        entity = row if isinstance(row, str) else _entity_of(row, domain, template)
        if isinstance(entity, str):
            problems.append(f"{place}: {entity}")
            continue
        problem = _taken(entity, row.get("split"), places, place)
        if problem:
            problems.append(f"{place}: {problem}")
        else:
            found.append(entity)
    dealt = [entity for entity in found if not entity.split]
    if dealt and len(dealt) < len(found):
        named = len(found) - len(dealt)
        problems.append(f"{path}: {named} rows name a split and {len(dealt)} do not; let all rows name one, or none")
    raise_problems(problems, f"{path}: {len(problems):,} rows cannot be used:" if len(problems) > 1 else "")
    if not found:
        raise InputError(f"{path}: holds no entity; expected <entity>.txt files, or rows of entity, prompt, reference")
    if not dealt:
        return _checked(found, path)
    splits = deal([entity.id for entity in found], shares, seed, path)
    return [dataclasses.replace(entity, split=splits[entity.id]) for entity in found]


def deal(ids: Sequence[str], shares: Mapping[str, float], seed: int, where: str) -> dict[str, str]:
    """A split for every entity: in the order of a hash of seed and id, cut by the shares; none is left empty.

    The order of `ids` does not matter. Raises InputError for bad shares, and fewer ids than splits.
    """
    bad = set(shares) != set(SPLITS) or any(not share > 0 for share in shares.values())
    if bad or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(
            f"shares of the splits are {dict(shares)}; give one above 0 for each of {', '.join(SPLITS)}, 1 in all"
        )
    if len(ids) < len(SPLITS):
        raise InputError(f"{where}: has {len(ids)} entities; at least {len(SPLITS)} are needed, one for each split")
    order = sorted(ids, key=lambda one: hashlib.sha256(f"{seed}\0{one}".encode()).digest())
    sizes = {name: max(1, int(len(ids) * shares[name] + 1e-9)) for name in SPLITS}
    while sum(sizes.values()) != len(ids):  # one at a time, to the split that lacks most
        lack = {name: len(ids) * shares[name] - sizes[name] for name in SPLITS}
        if sum(sizes.values()) < len(ids):
            sizes[max(SPLITS, key=lack.get)] += 1
        else:
            sizes[min((name for name in SPLITS if sizes[name] > 1), key=lack.get)] -= 1
    names = [name for name in SPLITS for _ in range(sizes[name])]
    return dict(zip(order, names, strict=True))


def _folder_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    for file in sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue
        if not file.is_file() or file.suffix != ".txt":
            yield str(file), "is no .txt file; a folder of reference texts holds one <entity>.txt per entity alone"
            continue
        try:
            yield str(file), {"entity": file.stem.replace("_", " "), "reference": file.read_text(encoding="utf-8-sig")}
        except (OSError, UnicodeDecodeError) as error:
            yield str(file), f"cannot be read as UTF-8 text ({error}); save it as UTF-8"


def _entity_of(row: Mapping[str, Any], domain: str, template: str) -> Entity | str:
    """The row as an Entity, its split empty where it names none; or what is wrong with it."""
    name, prompt, reference, identifier, split, exposure = map(_joined, map(row.get, FIELDS))
    if prompt is None and template and isinstance(name, str):
        prompt = template.replace(NAME, name.strip())
    for field, value in (("entity", name), ("prompt", prompt), ("reference", reference)):
        if value is None:
            hint = "; or set a prompt template" if field == "prompt" else ""
            return f"{field} is missing; every row needs entity, prompt and reference{hint}"
        if not isinstance(value, str) or not value.strip():
            return f"{field} must be a text that is not empty, found {short(value)}; fill it in, or drop the row"
        if problem := text_problem(field, value):
            return problem
    if not any(character.isalnum() for sentence in sentences(reference) for character in sentence):
        return f"reference {reference[:60]!r} holds no sentence; give the text that claims are checked against"
    if identifier is not None and (isinstance(identifier, bool) or not isinstance(identifier, str | int)):
        return f"id must be a text or a whole number, found {short(identifier)}"
    if isinstance(identifier, str) and identifier.strip() and (problem := text_problem("id", identifier)):
        return problem
    if split is not None and split not in SPLITS:
        return f"split must be one of {', '.join(SPLITS)}, found {short(split)}; leave it out to have entities dealt"
    if exposure is not None and (type(exposure) is not int or not 0 <= exposure < 2**31):
        return f"exposure must be a whole number, 0 or more, found {short(exposure)}"
    identifier = name.strip() if identifier is None or not str(identifier).strip() else str(identifier).strip()
    return Entity(
        id=f"{domain}/{identifier}", domain=domain, name=" ".join(name.split()), split=split or "",
        prompt=prompt.strip(), reference=reference.strip(), exposure=exposure,
    )  # fmt: skip


def _joined(value: Any) -> Any:
    """Text with letters and accents joined (NFC), as file names may hold them apart and texts do not."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _taken(entity: Entity, split: str | None, places: dict[str, tuple[str, str | None]], place: str) -> str | None:
    """What is wrong where this entity, by id or by name, came before; else its place is noted."""
    keys = {f"id {entity.id}": "id", f"name {same_text(entity.name)}": "entity"}
    for key, field in keys.items():
        if key in places:
            first, other = places[key]
            named = f"{field} {entity.name if field == 'entity' else entity.id!r}"
            if split != other:
                return (
                    f"{named} is in split {split} here and in {other} at {first}; an entity must be in one split alone"
                )
            return f"{named} is already at {first}; give one row per entity"
    places.update(dict.fromkeys(keys, (place, split)))
    return None


def _checked(found: list[Entity], path: str) -> list[Entity]:
    absent = [name for name in SPLITS if all(entity.split != name for entity in found)]
    if absent:
        raise InputError(f"{path}: no entity is in split {', '.join(absent)}; every split needs one")
    return found
