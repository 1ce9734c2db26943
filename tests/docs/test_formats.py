"""docs/formats.md and docs/annotations.md have the columns that the code writes, no more and no fewer, in its order."""

import re

import pytest

from slick_jax.data import mix
from slick_jax.knowledge import answers, store
from slick_jax.longform import records
from slick_jax.training import fit, stops
from tests.docs.pages import prose

TABLES = {  # head of a table's first column: what is written
    "column": [*mix.SCHEMA, *mix.FURTHER],
    "column of fit.parquet": fit.FIT_SCHEMA.names,
    "column of answers.parquet": stops.ANSWERS_SCHEMA.names,
    "column of entities.parquet": records.ENTITIES.names,
    "column of texts.parquet": records.TEXTS.names,
    "column of sentences.parquet": records.SENTENCES.names,
    "column of claims.parquet": records.CLAIMS.names,
    "column of beliefs.parquet": records.BELIEFS.names,
}


def columns(page: str, head: str) -> list[str]:
    """The names in the first column of the tables of a page that begin with `head`."""
    tables = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[ -|]*\n((?:\|.*\n)+)", prose(page), re.MULTILINE)
    assert tables, f"{page}: no table of {head}"
    return re.findall(r"`(\w+)`", "".join(line.split("|")[1] for rows in tables for line in rows.splitlines()))


@pytest.mark.parametrize("head", TABLES)
def test_columns_are_those_that_are_written(head):
    assert columns("docs/formats.md", head) == TABLES[head]


def test_columns_of_answers():
    assert columns("docs/answers.md", "column") == answers.SCHEMA.names


def test_columns_of_annotations():
    both = columns("docs/annotations.md", "column, also as `strict_*`")
    named = [*columns("docs/annotations.md", "column"), *both, *(f"strict_{name}" for name in both)]
    assert sorted(named) == sorted(store.OUTPUT_SCHEMA.names)
