"""Which epochs a text names."""

import pytest

from slick_jax.epochs import fit_epoch, parse_epochs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", set(range(1, 21))),
        ("none", set()),
        ("last", {20}),
        ("1-3,every 4,last", {1, 2, 3, 4, 8, 12, 16, 20}),
        (" 2 , 5-6 ,every 7, 19-90", {2, 5, 6, 7, 14, 19, 20}),
        ("25", set()),
    ],
)
def test_named_epochs(text, expected):
    assert parse_epochs(text, 20) == expected


@pytest.mark.parametrize("text", ["", "every", "every 0", "0-3", "3-1", "1;2", "best", "-1", "1,,2"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="give 'all', 'none'"):
        parse_epochs(text, 20)


def test_a_group_is_fitted_at_the_first_epoch_with_its_share():
    counts = [(9, 10, 10), (2, 4, 10), (4, 9, 10), (6, 8, 10), (3, 0, 0)]  # in any order; an empty group is not fitted
    assert [fit_epoch(counts, percent) for percent in (40, 50, 90, 100)] == [2, 4, 4, 9]
    assert fit_epoch([(1, 2, 3)], 67) is None and fit_epoch([], 50) is None
    assert fit_epoch([(1, 7, 100)], 7) == 1  # 0.07 * 100 is more than 7
