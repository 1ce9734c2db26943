"""The paper's cut of EntityQuestions: relations, single answers, no test subject in train (section 2, appendix A)."""

import dataclasses

from slick_jax.data.entity_questions.relations import IN_DISTRIBUTION, OUT_OF_DISTRIBUTION
from slick_jax.data.entity_questions.sources import read_source
from slick_jax.data.examples import Example


def prepare(path: str, *, drop_shared_objects: bool = False) -> dict[str, list[Example]]:
    """train, dev and test of the 12 in-distribution relations, ood_dev and ood_test of the 7 out of distribution.

    Rows with several right answers are dropped. A train row is dropped when its subject is the subject of any test row,
    of all 24 relations and with any number of answers: this gives the published 81,700 / 10,481 / 5,848 rows (Tables
    3-5). `drop_shared_objects` also drops train rows whose answer is an answer of any such test row (32,403 are left):
    the paper's text says so, its counts do not. Rows are in the order of the relations, then of the source.
    `path`: see `sources.read_source`.
    """
    source = read_source(path)
    test_rows = [row for rows in source["test"].values() for row in rows]
    test_subjects = {row.subject for row in test_rows}
    test_objects = {answer for row in test_rows for answer in row.answers} if drop_shared_objects else set()

    def single(split: str, relations: tuple[str, ...]) -> list[Example]:
        return [row for relation in relations for row in source[split][relation] if len(row.answers) == 1]

    return {
        "train": [
            row
            for row in single("train", IN_DISTRIBUTION)
            if row.subject not in test_subjects and row.answers[0] not in test_objects
        ],
        "dev": single("dev", IN_DISTRIBUTION),
        "test": single("test", IN_DISTRIBUTION),
        "ood_dev": [dataclasses.replace(row, split="ood_dev") for row in single("dev", OUT_OF_DISTRIBUTION)],
        "ood_test": [dataclasses.replace(row, split="ood_test") for row in single("test", OUT_OF_DISTRIBUTION)],
    }
