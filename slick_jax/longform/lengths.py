"""Length control: every arm is trained on as much text, because a model that learns to say less looks more factual."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from slick_jax.errors import InputError
from slick_jax.files.hashing import id_words

MEASURES = {"tokens": "tokens", "claims": "n_claims", "none": ""}


def match(
    kept: Mapping[str, pd.DataFrame], *, measure: str = "tokens", tolerance: float = 0.05, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """The arms cut down to the size of the smallest, by dropping whole pieces at random.

    Pieces are tried in a random order and dropped where the arm then still is as large as the smallest one; no text
    loses its last piece, and none is cut inside.

    Args:
      kept: the pieces of each arm: columns entity, text_id, sentence, claim_id, words, n_claims and tokens.
      measure: tokens or claims; none leaves the arms as they are.
      tolerance: by what part of the smallest arm others may be larger.

    Raises InputError where arms stay larger than that.
    """
    if measure == "none":
        return dict(kept)
    column = MEASURES[measure]
    target = min(int(rows[column].sum()) for rows in kept.values())
    matched = {arm: _cut_down(rows, column, target, f"{seed}/{arm}") for arm, rows in kept.items()}
    check({arm: int(rows[column].sum()) for arm, rows in matched.items()}, measure, tolerance)
    return matched


def check(sizes: Mapping[str, int], measure: str, tolerance: float) -> None:
    """Raises InputError unless all sizes are within `tolerance` of the smallest."""
    least = min(sizes, key=sizes.get)
    beyond = {arm: size for arm, size in sizes.items() if size > (1 + tolerance) * sizes[least]}
    if beyond:
        found = ", ".join(f"{arm} {size:,}" for arm, size in beyond.items())
        raise InputError(
            f"length control: {least} has {sizes[least]:,} {measure}, and arms stay more than {100 * tolerance:g} %"
            f" above it with one sentence of every text: {found}; write more samples or longer ones, filter less (a"
            f" lower threshold, a larger share), leave {least} out, or allow a larger tolerance"
        )


def check_targets(sizes: pd.Series, most: int, what: str) -> None:
    """Raises InputError for texts, by id, of more tokens than `most` with their end-of-text token."""
    long = sizes[sizes >= most].sort_values(ascending=False)
    if len(long):
        raise InputError(
            f"{what}: {len(long):,} texts have train.max_target_tokens={most} tokens or more, such as {long.index[0]}"
            f" ({long.iloc[0]:,}); set it to {long.iloc[0] + 1} or more, or leave these texts out"
        )


def _cut_down(rows: pd.DataFrame, column: str, target: int, seed: str) -> pd.DataFrame:
    names = rows["text_id"] + "#" + rows["sentence"].astype(str) + "#" + rows["claim_id"]
    order = sorted(range(len(rows)), key=lambda place: id_words(f"{seed}/{names.iloc[place]}"))
    sizes, texts = rows[column].to_numpy(), rows["text_id"].to_numpy()
    left = rows["text_id"].value_counts().to_dict()
    excess, stay = int(sizes.sum()) - target, [True] * len(rows)
    for place in order:
        if 0 < sizes[place] <= excess and left[texts[place]] > 1:
            stay[place] = False
            excess -= int(sizes[place])
            left[texts[place]] -= 1
    return rows[stay]
