"""From annotations.parquet to a figure: what a model knows by relation, step by step.

    python docs/walk.py runs/demo [train]

Reads the run folder of `slick annotate` and writes walk/categories.csv and walk/categories.png into it. Needs no model
and no device; docs/annotations.md says what the columns are.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from slick_jax.analysis.palette import CATEGORY_COLOURS
from slick_jax.categories import CATEGORIES

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def main(run_dir: str, split: str = "train") -> None:
    """Table and figure of the rows of `split`; exits with a message where there are none."""
    # 1. A row is a question: its category, its hits, and how sure the label is.
    table = pd.read_parquet(Path(run_dir) / "annotations.parquet")
    rows = table[table["split"] == split]
    if rows.empty:
        sys.exit(f"{run_dir}: no rows of split {split!r}; there are {', '.join(table['split'].unique())}")

    # 2. Shares of the categories in every relation, the relation with most Unknown rows first.
    shares = 100 * pd.crosstab(rows["relation"], rows["category"], normalize="index")
    shares = shares.reindex(columns=list(CATEGORIES), fill_value=0.0).sort_values("Unknown", ascending=False)

    # 3. How far the share of Unknown could be off with other questions of the same kind: questions are drawn anew.
    draws = np.random.default_rng(0)
    unknown = {name: (one["category"] == "Unknown").to_numpy() for name, one in rows.groupby("relation")}
    resampled = {name: 100 * draws.choice(one, (2000, len(one))).mean(axis=1) for name, one in unknown.items()}
    low_high = pd.DataFrame({name: np.quantile(one, (0.025, 0.975)) for name, one in resampled.items()}).T
    shares["questions"] = rows["relation"].value_counts()
    shares["low"], shares["high"] = low_high[0], low_high[1]  # 95 % interval of Unknown, in percent

    # 4. And how far with other exemplars: the share of Unknown that an annotation afresh is expected to give.
    if "p_unknown" in rows and rows["p_unknown"].notna().all():
        shares["afresh"] = 100 * rows.groupby("relation")["p_unknown"].mean()

    # 5. The figure: a bar a relation, the interval of Unknown at its end.
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.3 * len(shares)), layout="constrained")
    left = np.zeros(len(shares))
    for category in CATEGORIES:
        axes.barh(shares.index, shares[category], left=left, color=CATEGORY_COLOURS[category], label=category)
        left += shares[category].to_numpy()
    ends = np.stack([shares["high"] - shares["Unknown"], shares["Unknown"] - shares["low"]])  # Unknown grows leftwards
    axes.errorbar(100 - shares["Unknown"], shares.index, xerr=ends, fmt="none", ecolor="black", capsize=2)
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel=f"% of the {len(rows):,} questions of {split}")
    figure.legend(loc="outside upper center", ncols=len(CATEGORIES), frameon=False)

    # 6. The figure's data beside it.
    folder = Path(run_dir) / "walk"
    folder.mkdir(exist_ok=True)
    shares.round(2).to_csv(folder / "categories.csv")
    figure.savefig(folder / "categories.png", dpi=150)
    print(f"{shares.round(1).to_string()}\n{folder}/categories.png")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
