"""Rows and chunks of the sampler: who shares a row, and that everybody reads the right keys."""

import numpy as np
import pytest

from slick_jax.sampling.rows import plan, row_counts

PROMPTS, DRAWS, SHARDS, PREFIXES = 24, 9, 2, 3


@pytest.mark.parametrize(("words", "own"), [(2, False), (10_000, True)])
def test_draws_with_the_same_tokens_share_a_row_and_read_their_prompt(words, own):
    rng = np.random.default_rng(0)
    before = np.repeat(np.arange(PROMPTS), DRAWS) * 2 + rng.integers(0, 2, (SHARDS, PROMPTS * DRAWS))  # rows by prompt
    before = np.sort(before, axis=1)
    tokens, active = rng.integers(0, words, before.shape), rng.random(before.shape) < 0.8
    active[1, PROMPTS * DRAWS // 2 :] = False  # another shard has less to do
    prefix = np.sort(rng.integers(0, PREFIXES, (SHARDS, PROMPTS)), axis=1) + 5
    layout, floor = plan(before, tokens, active, prefix, DRAWS, (512, 256, 128, 64), PREFIXES)
    count = layout.parents.shape[1]
    for shard in range(SHARDS):
        alive = np.flatnonzero(active[shard])
        rows = layout.row_of[shard, alive]
        pairs = list(zip(before[shard, alive], tokens[shard, alive], strict=True))
        if own:
            assert len(set(rows)) == len(alive)
        else:
            assert len(set(zip(rows, pairs, strict=True))) == len(set(rows)) == len(set(pairs))
        assert (layout.parents[shard, rows] == before[shard, alive]).all()
        assert (layout.prompts[shard, rows] == alive // DRAWS).all()
        for level, wanted in enumerate((prefix[shard, alive // DRAWS], alive // DRAWS)):
            chunk_rows = layout.members[level].shape[2]
            places = layout.places[level][shard, rows]
            assert (layout.members[level][shard].reshape(-1)[places] == rows).all()
            assert (layout.sources[level][shard, places // chunk_rows] == wanted).all()
    used = max(len(set(layout.row_of[shard, active[shard]])) for shard in range(SHARDS))
    assert floor < used <= count


def test_a_row_a_prompt_fits_too():
    before = np.arange(64)[None]
    layout, floor = plan(before, before, before >= 0, np.zeros((1, 64), int), 1, (64,), 1)
    assert (layout.parents[0] == np.arange(64)).all() and floor == 0
    assert (layout.sources[1][0, layout.places[1][0]] == np.arange(64)).all()


def test_row_counts_fall_by_a_quarter_to_64():
    assert row_counts(10) == (10,)
    counts = row_counts(4352)
    assert counts[0] == 4352 and counts[-1] == 64
    assert all(0.6 <= b / a < 1 for a, b in zip(counts, counts[1:], strict=False) if b > 128)
