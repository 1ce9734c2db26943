"""`slick validate`: what a config would run, shown before anything is paid for, and everything wrong with it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from slick_jax.config import Config
from slick_jax.data.examples import POOL_SPLITS, Example, chosen_splits, load_splits
from slick_jax.data.prepare import table_text
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.knowledge import exemplars, match, preparation
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.spec import ModelSpec

T = TypeVar("T")


def run(config: Config) -> None:
    """Print the resolved settings, the rows, exemplar pools, model, devices and amount of work of `slick annotate`.

    Nothing is written and no weights are read. Raises one InputError with all problems of data, model and devices.
    """
    found: list[str] = []
    print("\n".join(["config", *_settings("", dataclasses.asdict(config))]))
    splits = _attempt(found, load_splits, config.data)
    rows = _attempt(found, _rows, config, splits) if splits else None
    if splits:
        print(f"\nrows\n{table_text(splits)}")
    if rows:
        print(_work(config, rows, chosen_splits(config.data, splits)))
        _attempt(found, _print_pools, config, rows, splits)
    _attempt(found, match.matcher, config.annotate.match)
    mesh = _attempt(found, make_mesh, config.mesh)
    if mesh:
        print(f"\ndevices\n  {mesh.devices.size} {mesh.devices.flat[0].platform}: {_pairs(mesh.shape)}")
    if config.model.path:
        _check_model(found, config, rows)
    else:
        print("\nmodel\n  none: model.path is empty (demo and pretrain make their own)")
    if found:
        raise InputError.of(found, f"{len(found)} problem{'s' * (len(found) > 1)}")
    print("\nno problems found")


def _attempt(found: list[str], check: Callable[..., T], *arguments: Any) -> T | None:
    """The result of `check`; what it complains about goes to `found`."""
    try:
        return check(*arguments)
    except InputError as error:
        found.append(str(error))
        return None


def _check_model(found: list[str], config: Config, rows: list[Example] | None) -> None:
    """Print the checkpoint and its tokenizer, and check that prompts and answers fit."""
    before = len(found)
    spec = _attempt(found, weights.read_spec, config.model.path)
    if spec:
        _attempt(found, _print_model, config.model.path, spec)
    tokenizer = _attempt(found, Tokenizer.from_folder, config.model.path, spec and spec.vocab_size)
    if tokenizer:
        print(f"  tokenizer {tokenizer.n_ids:,} ids, end of text {', '.join(map(str, tokenizer.eos_ids)) or 'none'}")
    if rows and len(found) == before:
        prepared = _attempt(found, preparation.prepare, config, tokenizer, spec.max_position_embeddings)
        if prepared:
            print(f"  {len(prepared.parts):,} parts, {prepared.prefix_tokens:,} tokens in shared prefixes")


def _print_model(folder: str, spec: ModelSpec) -> None:
    weights.check_tensors(folder, spec)
    fields = {name: value for name, value in dataclasses.asdict(spec).items() if value is not None}
    print(f"\nmodel\n  {folder}\n  {_pairs(fields)}")


def _rows(config: Config, splits: dict[str, list[Example]]) -> list[Example]:
    rows = [row for name in chosen_splits(config.data, splits) for row in splits[name]]
    if not rows:
        raise InputError("config.data: no rows to annotate; check data.path, data.splits and data.limit")
    return rows


def _work(config: Config, rows: list[Example], names: list[str]) -> str:
    settings = config.annotate
    sampled = 0 if settings.mode == "exact" else settings.n_samples
    draws = settings.n_exemplar_sets * (1 + sampled)
    least = "up to " if settings.mode == "labels" else ""
    return (
        f"\nannotate\n  {len(rows):,} questions of {', '.join(names)}: {settings.n_exemplar_sets} exemplar sets x"
        f" (1 greedy + {sampled} sampled) = {least}{draws:,} answers a question, {least}{draws * len(rows):,} in all"
    )


def _print_pools(config: Config, rows: list[Example], splits: dict[str, list[Example]]) -> None:
    settings = config.annotate
    pools = exemplars.pools(rows, [row for name in POOL_SPLITS for row in splits.get(name, ())], settings.exemplar_seed)
    asked = Counter(row.relation for row in rows)
    lines = [f"  {relation}: {asked[relation]:,} questions, {len(pool):,} rows" for relation, pool in pools.items()]
    print("\n".join(["\nexemplar pools", *lines]))
    exemplars.draw_sets(
        pools,
        n_sets=settings.n_exemplar_sets,
        n_reserve=settings.n_reserve_sets,
        size=settings.n_exemplars,
        seed=settings.exemplar_seed,
    )


def _settings(prefix: str, tree: dict) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _settings(f"{prefix}{name}.", value)
        else:
            yield f"  {prefix}{name} = {value!r}"


def _pairs(fields: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
