"""Prompts: the paper's layout, and prefixes that put every prompt together again."""

import numpy as np
import pytest

from slick_jax.config import WorldConfig
from slick_jax.data.corpus_tokens import train_tokenizer
from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Qa, few_shot_prompt
from slick_jax.data.prompts import PrefixTable, draft_answers, tokenise_prompts
from slick_jax.data.world import make_world


@pytest.fixture(scope="module")
def world():
    return make_world(WorldConfig(facts_per_relation=60, relations=2, ood_relations=0))


@pytest.fixture(scope="module")
def tokenizer(world):
    return train_tokenizer(world, 600)


def test_prompt_is_the_papers_layout():
    exemplars = [Example("1", "Who is A?", ("B", "b"), "r"), Example("2", "Who is C?", ("D",), "r")]
    assert few_shot_prompt(exemplars, "Who is E?") == "Q: Who is A?\nA: B\nQ: Who is C?\nA: D\nQ: Who is E?\nA:"


def test_prefix_and_rest_give_every_prompt_back(world, tokenizer):
    exemplar_sets = {number: world.splits["dev"][number : number + 4] for number in range(3)}
    asked = [(row, list(exemplar_sets.items())) for row in world.splits["train"]]
    table, kept = tokenise_prompts(Qa(tokenizer), asked, chunk=7)
    for number, chosen in exemplar_sets.items():
        whole = [tokenizer.encode(few_shot_prompt(chosen, row.question)) for row, _ in asked]
        prefix = table.prefix(number).tolist()
        rests = [table.rest(row[number]).tolist() for row in kept]
        assert [prefix + rest for rest in rests] == whole
        assert len(prefix) <= min(map(len, whole)) - 1
        columns = zip(*whole, strict=False)  # the longest common prefix, by brute force
        common = next(i for i, column in enumerate(columns) if len(set(column)) > 1)
        assert len(prefix) == min(common, min(map(len, whole)) - 1)


def test_a_prefix_shrinks_when_a_later_prompt_differs_earlier():
    table = PrefixTable()
    prompts = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 6, 7], [1, 2, 9], [1, 2]]
    kept = [table.add("k", tokens) for tokens in prompts]
    assert table.prefix("k").tolist() == [1]
    assert [np.concatenate([table.prefix("k"), table.rest(k)]).tolist() for k in kept] == prompts


def test_a_draft_is_the_answer_as_the_tokenizer_writes_it(world, tokenizer):
    rows = world.splits["train"][:30]
    for row, (made,) in zip(rows, draft_answers(Qa(tokenizer), rows), strict=True):
        text = b"".join(tokenizer.token_bytes[token] for token in made.tokens)
        assert text.decode().strip() == row.answers[0]
        assert tokenizer.is_stop[made.stop] and not any(tokenizer.is_stop[token] for token in made.tokens)
        whole = tokenizer.encode(f"Q: {row.question}\nA: {row.answers[0]}\n")
        opened = tokenizer.encode(f"Q: {row.question}\nA:")
        assert whole == [*opened, *made.tokens, made.stop]
