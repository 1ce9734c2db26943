"""result.json: what one fine-tuning run comes to, at EARLY_STOP and at CONVERGENCE (paper section 4 and appendix E)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from slick_jax.categories import CATEGORIES, GROUPS, UNKNOWN
from slick_jax.config import TrainConfig
from slick_jax.data.mixtures import REPLAY
from slick_jax.epochs import FIT_PERCENTS, KEYS_OF_STOPS, fit_epoch
from slick_jax.training.mixture_file import MixtureRow, dealt
from slick_jax.training.record import TRAIN, early_stop


def summarise(
    variant: str, settings: TrainConfig, mixture: Sequence[MixtureRow], lines: Sequence[Mapping[str, Any]]
) -> dict:
    """The content of result.json.

    n: examples that are asked; rows_per_epoch: rows trained on in an epoch, where some are replayed or come often;
    early_stop_epoch: best dev exact match, the first of equal ones (None: dev was never asked); convergence_epoch: the
    last one; early_stop and convergence: {split: {em, n, abstained, by_category}} at these epochs; fit_epochs: {'50'
    and '90': {category, and Known as a whole: the first asked epoch with that percent of its training examples right,
    or None}}.
    """
    best, last = early_stop(lines), settings.epochs
    asked = [row for row in mixture if row.role != REPLAY]
    rows = len(dealt(mixture)[0])
    categories = [row.category for row in asked]
    unknown = sum(category == UNKNOWN for category in categories)
    known = sum(category in GROUPS["Known"] for category in categories)
    groups = GROUPS | {category: (category,) for category in CATEGORIES}
    there = {name: chosen for name, chosen in groups.items() if not set(chosen).isdisjoint(categories)}
    return {
        "variant": variant,
        "seed": settings.seed,
        "n": len(asked),
        **({"rows_per_epoch": rows} if rows != len(asked) else {}),
        "n_known": known,
        "n_unknown": unknown,
        "percent_unknown": 100.0 * unknown / (known + unknown) if known + unknown else None,
        "epochs": settings.epochs,
        "early_stop_epoch": best,
        "convergence_epoch": last,
        "early_stop": _headline(lines, best),
        "convergence": _headline(lines, last),
        "fit_epochs": {
            str(percent): {name: fit_epoch(_right(lines, chosen), percent) for name, chosen in there.items()}
            for percent in FIT_PERCENTS
        },
    }


def ending_rates(answers: pa.Table, endings: Sequence[str]) -> dict:
    """{stop: {split: {ending: {share, em, n}}}} of answers.parquet: how often each ending was written ('' is none), and
    how many of the answers before it are right."""
    found: dict = {}
    table = answers.select(["stop", "split", "ending", "hit"]).to_pandas()
    for (stop, split), rows in table.groupby(["stop", "split"], sort=False):
        of = found.setdefault(stop, {}).setdefault(split, {})
        for ending in ("", *(one.strip() for one in endings)):
            hits = rows.loc[rows["ending"] == ending, "hit"]
            em = float(hits.mean()) if len(hits) else None
            of[ending] = {"share": len(hits) / len(rows), "em": em, "n": len(hits)}
    return found


def _headline(lines: Sequence[Mapping[str, Any]], epoch: int | None) -> dict:
    """{split: {em, n, abstained, by_category}} of the splits asked at `epoch`."""
    found = {}
    for line in lines:
        if line["epoch"] == epoch:
            found |= {name: _short(value) for name, value in line.items() if isinstance(value, Mapping)}
    return found


def _short(rates: Mapping[str, Any]) -> dict:
    return {name: rates[name] for name in ("em", "n", "abstained", "by_category")}


def _right(lines: Sequence[Mapping[str, Any]], chosen: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """(epoch, training examples of these categories that are right, their number) of every line that asked them."""
    for line in lines:
        rates = [rate for name, rate in line.get(TRAIN, {}).get("by_category", {}).items() if name in chosen]
        yield line["epoch"], sum(round(rate["em"] * rate["n"]) for rate in rates), sum(rate["n"] for rate in rates)


def text(result: Mapping[str, Any]) -> str:
    """The headline of a run in a few lines."""
    n, unknown = result["n"], result["n_unknown"]
    lines = [f"{result['variant']}, seed {result['seed']}: {n} examples, {unknown} of them Unknown"]
    for percent, epochs in result["fit_epochs"].items():
        if epochs:
            fitted = (f"{name} {epoch or 'never'}" for name, epoch in epochs.items())
            lines.append(f"  {percent} % fitted at epoch: {', '.join(fitted)}")
    for name, epoch in KEYS_OF_STOPS.items():
        if not result[epoch]:
            continue  # nothing was asked there, as without a dev split
        rates = (f"{split} {100 * rate['em']:.1f} %" for split, rate in result[epoch].items())
        lines.append(f"  {name} (epoch {result[f'{epoch}_epoch']}): {', '.join(rates)}")
        for split, found in result.get("endings", {}).get(name, {}).items():
            told = (
                f"{ending or 'neither'} {100 * rate['share']:.1f} %"
                + (f", of which {100 * rate['em']:.1f} % right" if rate["n"] else "")
                for ending, rate in found.items()
            )
            lines.append(f"    {split}: {'; '.join(told)}")
    return "\n".join(lines)
