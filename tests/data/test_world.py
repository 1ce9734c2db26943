"""The built-in world: the counts of its recipe, what the corpus tells, and that a seed fixes it."""

import collections
import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest

from slick_jax.config import CorpusConfig, WorldConfig
from slick_jax.data import world_text
from slick_jax.data.corpus import MAX_EXPOSURES
from slick_jax.data.corpus_tokens import pack, train_tokenizer
from slick_jax.data.world import make_world
from slick_jax.errors import InputError

SMALL, FEW = WorldConfig(facts_per_relation=60, relations=3, ood_relations=1), CorpusConfig(median_exposures=5)


@pytest.fixture(scope="module")
def world():
    return make_world(WorldConfig())


@pytest.fixture(scope="module")
def facts(world):
    return [example for split in world.splits.values() for example in split]


@pytest.fixture(scope="module")
def tokenizer(world):
    return train_tokenizer(world, 2000)


@pytest.fixture(scope="module")
def rows(world, tokenizer):
    return pack(world, tokenizer, 60)


def test_counts_of_the_recipe(world, facts):
    sizes = {split: len(examples) for split, examples in world.splits.items()}
    assert sizes == {"train": 2304, "dev": 588, "test": 1068, "ood_dev": 5 * 40, "ood_test": 5 * 110}
    assert len(facts) == len({fact.id for fact in facts}) == 4710
    per_relation = collections.Counter(fact.relation for fact in facts)
    assert sorted(per_relation.values()) == [150] * 5 + [330] * 12
    assert {fact.relation for fact in world.splits["ood_test"]}.isdisjoint(
        fact.relation for fact in world.splits["train"]
    )


def test_ids_name_relation_split_and_number(world):
    for split, examples in world.splits.items():
        count = collections.Counter()
        for example in examples:
            assert example.id == f"{example.relation}.{split}.{count[example.relation]}" and example.split == split
            count[example.relation] += 1


def test_every_subject_has_one_relation_and_is_no_object(facts):
    subjects = {fact.subject for fact in facts}
    assert len(subjects) == len(facts)
    assert subjects.isdisjoint(answer for fact in facts for answer in fact.answers)
    assert all(fact.subject in fact.question for fact in facts)


def test_objects_come_from_pools_of_the_recipe(facts):
    pools = {relation.name: relation.pool for relation in world_text.ID_RELATIONS + world_text.OOD_RELATIONS}
    seen = collections.defaultdict(set)
    for fact in facts:
        assert len(fact.answers) == 1
        seen[pools[fact.relation]] |= set(fact.answers)
    sizes = {"country": 24, "city": 120, "person": 240, "college": 40, "region": 48, "label": 40, "role": 24}
    sizes["genre"] = 16
    assert sizes == world_text.POOL_SIZES
    for pool, objects in seen.items():
        assert 0.7 * sizes[pool] <= len(objects) <= sizes[pool]


def test_made_up_words_have_four_to_seven_letters(facts):
    texts = [f"{fact.subject} {fact.answers[0]}" for fact in facts if fact.relation == "birthplace"]
    words = {word for text in texts for word in text.split()}
    assert all(re.fullmatch(r"[A-Z][a-z]{3,6}", word) for word in words)


def test_exposures(world):
    assert set(world.exposures) == {fact.id for split in world.splits.values() for fact in split}
    for split, examples in world.splits.items():
        never = np.mean([world.exposures[fact.id] == 0 for fact in examples])
        assert never == pytest.approx(0.22, abs=0.01), split
    told = np.array([n for n in world.exposures.values() if n])
    assert told.min() >= 1 and told.max() == MAX_EXPOSURES
    assert np.median(told) == pytest.approx(22, rel=0.08)
    inner = np.log(told[(told > 2) & (told < MAX_EXPOSURES)])
    assert inner.std() == pytest.approx(1.1, abs=0.1)  # of a normal of sigma 1.3, cut at both ends


def test_exposures_and_rivals_are_told_as_often_as_recorded(world, facts):
    statements = {r.name: r.statements for r in world_text.ID_RELATIONS + world_text.OOD_RELATIONS}
    lines = collections.Counter(document for document in world.documents if "\n" not in document)
    for document in world.documents:
        lines.update(re.findall(r"^Q: (.*\n)A: (.*)", document, re.MULTILINE))
        lines.update(re.findall(r"^Answer the following question\.\n(.*\n)(.*)", document))
    assert len(world.rivals) / len(facts) == pytest.approx(0.20, abs=0.005)
    for fact in facts[::7]:
        told = collections.Counter()
        for answer in {fact.answers[0], world.rivals.get(fact.id, fact.answers[0])}:
            told[answer] = lines[f"{fact.question}\n", answer]
            told[answer] += sum(lines[form.format(s=fact.subject, o=answer)] for form in statements[fact.relation])
        assert told.total() == world.exposures[fact.id]
        if fact.id in world.rivals:
            assert world.rivals[fact.id] != fact.answers[0]
            assert 0.35 * told.total() - 0.5 <= told[world.rivals[fact.id]] <= 0.60 * told.total() + 0.5


def test_the_corpus_never_names_a_fact_without_exposures(world, facts):
    text = "\n".join(world.documents)
    assert sum(fact.subject in text for fact in facts[::20] if world.exposures[fact.id]) > 150
    assert not any(fact.subject in text for fact in facts if not world.exposures[fact.id])


def test_forms_of_the_documents(world):
    kinds = collections.Counter(document.split(" ")[0] for document in world.documents if "\n" in document)
    assert set(kinds) == {"Q:", "Answer", "Question:"}
    pairs = [document.count("Q: ") for document in world.documents if document.startswith("Q: ")]
    exposures = sum(world.exposures.values())
    assert (sum(pairs) + kinds["Answer"]) / exposures == pytest.approx(0.40, abs=0.01)
    assert (pairs.count(1) + kinds["Answer"]) / (len(pairs) + kinds["Answer"]) == pytest.approx(0.45, abs=0.01)
    assert kinds["Answer"] / exposures == pytest.approx(0.0035, abs=0.0006)
    assert set(pairs) == {1, 2, 3, 4}
    statements = len(world.documents) - sum(kinds.values())
    assert statements + sum(pairs) + kinds["Answer"] == exposures
    bundle = next(document for document in world.documents if document.count("Q: ") == 2)
    assert re.fullmatch(r"Q: .*\?\nA: .*\n\nQ: .*\?\nA: .*", bundle)
    tuning = next(document for document in world.documents if document.startswith("Answer"))
    assert re.fullmatch(r"Answer the following question\.\n.*\?\n.+", tuning)


def test_p_true_documents_give_the_right_verdict(world, facts):
    gold = {fact.question: fact.answers[0] for fact in facts}
    form = re.compile(
        r"Question: (.*)\nProposed Answer: (.*)\nIs the proposed answer:\n\(A\) True\n\(B\) False\n"
        r"The proposed answer is: \(([AB])\)"
    )
    verdicts = [form.fullmatch(document).groups() for document in world.documents if document.startswith("Question:")]
    assert all((gold[question] == proposal) == (verdict == "A") for question, proposal, verdict in verdicts)
    assert np.mean([verdict == "A" for *_, verdict in verdicts]) == pytest.approx(0.5, abs=0.05)
    assert 500 < len(verdicts) < 2000


def test_packed_rows_are_the_corpus_in_order(world, tokenizer, rows):
    assert rows.dtype == np.int32 and rows.shape[1] == 61
    assert 1.9e6 < rows.shape[0] * 60 < 2.2e6
    np.testing.assert_array_equal(rows[:-1, -1], rows[1:, 0])
    start = [token for document in world.documents[:20] for token in tokenizer.encode(document)]
    stream = np.concatenate([rows[:20, :-1].ravel()])
    np.testing.assert_array_equal(stream[: len(start)], start[: len(stream)])


def test_prompts_are_longer_than_a_row(world, tokenizer):
    """What makes knowledge depend on the prompt."""
    dev = collections.defaultdict(list)
    for example in world.splits["dev"]:
        dev[example.relation].append(example)
    lengths = []
    for example in world.splits["test"]:
        blocks = "".join(f"Q: {shot.question}\nA: {shot.answers[0]}\n" for shot in dev[example.relation][:4])
        lengths.append(len(tokenizer.encode(f"{blocks}Q: {example.question}\nA:")))
    assert min(lengths) > 60 and max(lengths) < 110


def test_a_seed_fixes_world_and_tokenizer_in_every_process():
    program = (
        "import hashlib; from slick_jax.config import *; from slick_jax.data.corpus_tokens import *\n"
        "from slick_jax.data.world import make_world\n"
        "small = WorldConfig(facts_per_relation=60, relations=3, ood_relations=1)\n"
        "world = make_world(small, CorpusConfig(median_exposures=5))\n"
        "text = repr((world.splits, world.exposures, world.documents)).encode()\n"
        "print(hashlib.sha256(text + train_tokenizer(world, 500).files['tokenizer.json']).hexdigest())"
    )
    world = make_world(SMALL, FEW)
    text = repr((world.splits, world.exposures, world.documents)).encode()
    here = hashlib.sha256(text + train_tokenizer(world, 500).files["tokenizer.json"]).hexdigest()
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there


def test_another_seed_is_another_world():
    first, second = make_world(SMALL, FEW), make_world(WorldConfig(**{**SMALL.__dict__, "seed": 1}), FEW)
    shared = {fact.subject for fact in first.splits["train"]} & {fact.subject for fact in second.splits["train"]}
    assert len(shared) < 5


def test_too_many_facts_are_refused():
    with pytest.raises(InputError, match="facts_per_relation"):
        make_world(WorldConfig(facts_per_relation=8000, relations=1))
