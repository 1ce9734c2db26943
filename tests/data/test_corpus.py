"""Facts of any data set told by a corpus: how often, in which words, and with a tokenizer that can write them."""

import collections
import functools
import re

import pytest
import tokenizers

from slick_jax.config import CorpusConfig, DataConfig
from slick_jax.data.corpus import tell
from slick_jax.data.corpus_tokens import END_OF_TEXT, train_tokenizer
from slick_jax.data.entity_questions import preparation
from slick_jax.data.entity_questions.relations import IN_DISTRIBUTION, OUT_OF_DISTRIBUTION, STATEMENTS, TEMPLATES
from slick_jax.data.examples import Example, load_splits
from slick_jax.knowledge.match import matcher
from slick_jax.training.pretrain import world_of

OBJECTS = ["O'Brien", "J-pop", "São Paulo", "Drydock Co.", "AC/DC", "東京", "Panic! at the Disco", "1980", "a & b"]
CONFIG = CorpusConfig(seed=3, median_exposures=6)


def examples(relation, split, count, subject=True):
    return [
        Example(
            id=f"{relation}.{split}.{i}", question=f"Who has {split} thing {i} of {relation}?",
            answers=(OBJECTS[i % len(OBJECTS)], "another"), relation=relation,
            subject=f"{split} thing {i} of {relation}" if subject else None, split=split,
        )
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def told():
    """Two relations with statements, one without, and one whose rows have no subject."""
    splits = {
        split: [row for name in ("P17", "P50", "asked") for row in examples(name, split, 90)]
        + examples("P36", split, 90, subject=False)
        for split in ("train", "test")
    }
    return tell(splits, STATEMENTS, CONFIG)


def lines_of(world):
    lines = collections.Counter(document for document in world.documents if "\n" not in document)
    for document in world.documents:
        lines.update(re.findall(r"^Q: (.*)\nA: (.*)", document, re.MULTILINE))
        lines.update(re.findall(r"^Answer the following question\.\n(.*)\n(.*)", document))
    return lines


def test_every_fact_is_told_as_often_as_recorded(told):
    lines = lines_of(told)
    for rows in told.splits.values():
        never = sum(told.exposures[row.id] == 0 for row in rows) / len(rows)
        assert never == pytest.approx(0.22, abs=0.01)
        for row in rows:
            number = 0
            for answer in {row.answers[0], told.rivals.get(row.id, row.answers[0])}:
                number += lines[row.question, answer]
                if row.relation in STATEMENTS and row.subject:
                    number += sum(lines[form.format(s=row.subject, o=answer)] for form in STATEMENTS[row.relation])
            assert number == told.exposures[row.id]


def test_a_relation_without_statements_or_subjects_is_asked_alone(told):
    statements = [document for document in told.documents if "\n" not in document]
    assert any("of P17" in one for one in statements)
    assert not any("of asked" in one or "of P36" in one for one in statements)


def test_a_seed_fixes_the_corpus(told):
    assert tell(told.splits, STATEMENTS, CONFIG).documents == told.documents
    assert tell(told.splits, STATEMENTS, CorpusConfig(seed=4, median_exposures=6)).exposures != told.exposures


def test_a_relation_of_one_answer_has_no_rivals():
    rows = [
        Example(id=str(i), question=f"Is {i} a number?", answers=("yes",), relation="one", split="train")
        for i in range(40)
    ]
    world = tell({"train": rows}, {}, CONFIG)
    assert not world.rivals and not any("Proposed" in document for document in world.documents)
    assert sum(lines_of(world).values()) == sum(world.exposures.values()) > 0


def writer(tokenizer):
    """What the model's tokens of a text say when they are decoded: text -> text."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.files["tokenizer.json"].decode())
    return lambda text: backend.decode(tokenizer.encode(text)).replace(END_OF_TEXT, "")


def test_answers_can_be_written_and_match_themselves(told):
    """Those with punctuation inside a word, too, and those of facts that the corpus never tells."""
    written = writer(train_tokenizer(told, 500))
    right = matcher("squad").hit
    for text in OBJECTS:
        assert right(written(text), (text,)), text


def test_statements_name_subject_and_answer_and_the_last_one_the_answer_first():
    assert set(STATEMENTS) == set(IN_DISTRIBUTION + OUT_OF_DISTRIBUTION)
    for relation, forms in STATEMENTS.items():
        assert len(forms) == 3 and all(form.count("{s}") == form.count("{o}") == 1 for form in forms), relation
        assert forms[2].index("{o}") < forms[2].index("{s}")
        assert not any(form.startswith(TEMPLATES[relation][0]) for form in forms)


def test_real_answers_can_be_written(real_data, monkeypatch):
    """A hundredth of EntityQuestions: every answer, told or not, comes back from its tokens."""
    data = DataConfig(
        kind="entity_questions", path=str(real_data / "entityquestions"), share=0.01,
        corpus=CorpusConfig(median_exposures=2, vocab_size=4096),
    )  # fmt: skip
    monkeypatch.setattr(preparation, "read_source", functools.cache(preparation.read_source))
    world = world_of(data)
    assert world.splits == load_splits(data)
    assert {row.relation for row in world.splits["train"]} == set(IN_DISTRIBUTION)
    assert {row.relation for row in world.splits["ood_test"]} == set(OUT_OF_DISTRIBUTION)
    written, right = writer(train_tokenizer(world, 4096)), matcher("squad").hit
    for rows in world.splits.values():
        for row in rows:
            assert right(written(row.answers[0]), row.answers), row
