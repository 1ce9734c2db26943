"""Length control: arms end within the tolerance, in whole pieces, with all their prompts."""

import numpy as np
import pandas as pd
import pytest

from slick_jax.errors import InputError
from slick_jax.longform import lengths


def pieces(sizes, n_prompts=10, name="t"):
    """Pieces of these token counts, dealt out to the prompts in turn."""
    return pd.DataFrame(
        {
            "entity": [f"e{i % n_prompts}" for i in range(len(sizes))],
            "text_id": [f"{name}{i % n_prompts}" for i in range(len(sizes))],
            "sentence": [i // n_prompts for i in range(len(sizes))], "claim_id": "", "tokens": sizes,
            "n_claims": [1 + i % 3 for i in range(len(sizes))],
        }
    )  # fmt: skip


@pytest.mark.parametrize("measure", ["tokens", "claims"])
def test_arms_end_within_the_tolerance_and_keep_their_prompts(measure):
    rng = np.random.default_rng(0)
    kept = {name: pieces(rng.integers(4, 30, n)) for name, n in (("A", 60), ("B", 200), ("C", 61), ("D", 400))}
    made = lengths.match(kept, measure=measure, seed=1)
    column = lengths.MEASURES[measure]
    totals = {name: rows[column].sum() for name, rows in made.items()}
    assert max(totals.values()) <= 1.05 * min(totals.values())
    assert min(totals.values()) == min(rows[column].sum() for rows in kept.values())
    for name, rows in made.items():
        assert set(rows["entity"]) == set(kept[name]["entity"])
        assert rows.equals(kept[name].loc[rows.index]) and rows.index.is_monotonic_increasing
    assert lengths.match(kept, measure=measure, seed=1)["D"].equals(made["D"])
    assert not lengths.match(kept, measure=measure, seed=2)["D"].equals(made["D"])


def test_no_text_of_a_prompt_is_dropped_whole():
    two = pieces([10] * 60, n_prompts=20)
    two["entity"] = [f"e{place % 10}" for place in range(60)]  # of every prompt two texts of three sentences
    for seed in range(5):
        rows = lengths.match({"A": two, "B": pieces([10] * 20)}, seed=seed)["A"]
        assert len(rows) == 20 and set(rows["text_id"]) == set(two["text_id"])


def test_early_and_late_pieces_are_dropped_alike():
    rows = lengths.match({"A": pieces([10] * 1000), "B": pieces([10] * 500)})["A"]
    assert len(rows) == 500 and rows["sentence"].mean() == pytest.approx(49.5, abs=4)


def test_arms_that_cannot_be_matched_are_named():
    kept = {"GEN+GOLD": pieces([4] * 10), "GOLD": pieces([20] * 30)}
    with pytest.raises(InputError, match=r"GEN\+GOLD has 40 tokens, .* GOLD 200; write more samples"):
        lengths.match(kept)
    assert lengths.match(kept, measure="none")["GOLD"].equals(kept["GOLD"])
