"""What the model believes: scorers give claims raw scores, and a calibration on split dev makes belief of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from slick_jax.longform import calibration, probe
from slick_jax.longform.calibration import Calibration
from slick_jax.longform.contexts import CONTEXT, distinct, fill
from slick_jax.longform.hidden import keep_states, streams
from slick_jax.longform.probe import Probe, check_split
from slick_jax.longform.reading import Reader, Row
from slick_jax.longform.records import BELIEFS, Claim, Entity, Text


class Scorer(Protocol):
    """Gives every claim one raw score for each of its names: higher is more believed."""

    names: tuple[str, ...]

    def score(self, claims: Sequence[Claim], entities: Mapping[str, Entity]) -> Float[np.ndarray, "names n"]: ...


@dataclass(frozen=True)
class OwnReading:
    """The scorers that a plain reading of a claim behind its context tells, both in one pass: `logprob`, the mean
    log-probability of its tokens, and, with a `fitted` probe, `probe`, its log-odds."""

    reader: Reader
    context: str = CONTEXT
    fitted: Probe | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return ("logprob",) if self.fitted is None else ("logprob", "probe")

    def score(self, claims: Sequence[Claim], entities: Mapping[str, Entity]) -> Float[np.ndarray, "names n"]:
        rows, which = claim_rows(self.reader, claims, entities, self.context)
        found = np.empty((len(self.names), len(rows)))
        for numbers, result in self.reader.read(streams, rows, progress=" and ".join(self.names)):
            found[0, numbers] = result["logprob"]
            if self.fitted is not None:
                found[1, numbers] = self.fitted.score(result["states"][:, self.fitted.layer])
        return found[:, which]


def claim_rows(
    reader: Reader, claims: Sequence[Claim], entities: Mapping[str, Entity], context: str
) -> tuple[list[Row], np.ndarray]:
    """The distinct (context, claim) texts as rows of tokens, and the row of each claim [n]."""
    texts, which = distinct([(fill(context, claim, entities), claim.claim.strip()) for claim in claims])
    names = [claims[at].id for at in np.unique(which, return_index=True)[1]]
    return reader.rows([one for one, _ in texts], [text for _, text in texts], names), which


def train_probe(
    reader: Reader,
    train: tuple[Sequence[Claim], Sequence[bool]],
    dev: tuple[Sequence[Claim], Sequence[bool]],
    entities: Mapping[str, Entity],
    texts: Mapping[str, Text],
    folder: Path,
    protocol: dict[str, Any],
    *,
    context: str = CONTEXT,
    strengths: Sequence[float] = probe.STRENGTHS,
    most: int = 20_000,
    seed: int = 0,
) -> Probe:
    """A probe of claims of the model's own texts: (claims, supported) of splits probe and dev.

    Args:
      texts: by id, of all these claims.
      folder, protocol: of the states on disk, see `hidden.keep_states`; 4 * (L+1) * D bytes for each claim.
      most: claims of either split that are looked at, drawn with `seed` where there are more.

    Raises InputError where an entity is of another split, a text not the model's own, or labels are all the same.
    """
    check_split(train[0], "probe", entities, texts)
    check_split(dev[0], "dev", entities, texts)
    probe.need_both({"probe": np.asarray(train[1], bool), "dev": np.asarray(dev[1], bool)})
    picked = [_some(len(claims), most, seed) for claims, _ in (train, dev)]
    claims = [one[0][i] for one, some in zip((train, dev), picked, strict=True) for i in some]
    labels = np.array([bool(one[1][i]) for one, some in zip((train, dev), picked, strict=True) for i in some])
    rows, which = claim_rows(reader, claims, entities, context)
    states = keep_states(reader, rows, folder, protocol)
    n = len(picked[0])
    # claims that were told again are fitted as often as they were told
    return probe.fit(_Repeated(states, which), labels, np.arange(n), np.arange(n, len(claims)), strengths)


@dataclass(frozen=True)
class _Repeated:
    """States [L+1 N D] of claims among which equal ones share a row of the file; read layer by layer."""

    states: np.ndarray
    which: np.ndarray

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, layer: int) -> Float[np.ndarray, "N D"]:
        return self.states[layer][self.which]


def _some(n: int, most: int, seed: int) -> np.ndarray:
    return np.arange(n) if n <= most else np.sort(np.random.default_rng([seed, n]).choice(n, most, replace=False))


def raw_scores(
    scorers: Sequence[Scorer], claims: Sequence[Claim], entities: Mapping[str, Entity]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Name of the score -> that of every claim."""
    return {
        name: row
        for scorer in scorers
        for name, row in zip(scorer.names, scorer.score(claims, entities), strict=True)
    }


def calibrate(
    raw: Mapping[str, np.ndarray], claims: Sequence[Claim], labels: Sequence[bool], entities: Mapping[str, Entity],
    texts: Mapping[str, Text], method: str = "platt",
) -> dict[str, Calibration]:  # fmt: skip
    """The calibration of every score, from claims of the model's own texts of split dev, as the probe's layer."""
    check_split(claims, "dev", entities, texts)
    return {name: calibration.fit(score, labels, method, name) for name, score in raw.items()}


def beliefs(
    claims: Sequence[Claim], raw: Mapping[str, np.ndarray], calibrations: Mapping[str, Calibration]
) -> pa.Table:
    """The table BELIEFS: a row for each score and claim."""
    columns = {name: [] for name in BELIEFS.names}
    for name, score in raw.items():
        columns["claim_id"] += [claim.id for claim in claims]
        columns["scorer"] += [name] * len(claims)
        columns["raw"] += score.tolist()
        columns["belief"] += calibrations[name].belief(score).tolist()
    return pa.table(columns, schema=BELIEFS)
