"""T3 to T5 against counts made by hand."""

import pandas as pd

from slick_jax.analysis import tables
from tests.analysis import planted


def test_counts_equal_a_count_by_hand(tmp_path):
    frame = planted.write_annotations(tmp_path, relations=("P17", "P264", "P36"))
    found = tables.categories_by_relation(frame, "test")
    for relation in ("P17", "P264", "P36"):
        for category in planted.CATEGORIES:
            chosen = [
                row for row in frame.itertuples()
                if (row.split, row.relation, row.category) == ("test", relation, category)
            ]  # fmt: skip
            assert found.loc[relation, category] == len(chosen)
    assert found["Total"].tolist() == [133, 133, 133, 399]
    assert found.index.tolist() == ["P17", "P264", "P36", "TOTAL"]


def test_a_category_that_does_not_occur_is_a_column_of_zeros():
    frame = pd.DataFrame({"split": ["train"], "relation": ["P17"], "category": ["MaybeKnown"]})
    assert tables.categories_by_relation(frame, "train").loc["P17"].tolist() == [0, 1, 0, 0, 1]


def test_a_relation_named_like_the_total_keeps_its_row():
    frame = pd.DataFrame({"split": "train", "relation": ["TOTAL", "a"], "category": ["Unknown", "MaybeKnown"]})
    assert tables.categories_by_relation(frame, "train")["Total"].tolist() == [1, 1, 2]


def test_splits_that_were_not_annotated_have_no_table(tmp_path):
    frame = planted.write_annotations(tmp_path)
    assert list(tables.all_categories(frame)) == ["T3", "T4", "T5"]
    assert list(tables.all_categories(frame[frame["split"] == "test"])) == ["T4"]
