"""P(True) of claims equals two plain look-ups of the next token, with and without examples."""

import numpy as np
import pytest

from slick_jax.errors import InputError
from slick_jax.longform.p_true import FORM, PTrue, examples_of
from tests.longform.believers import ENTITIES, reader, told

_, CLAIMS, LABELS = told()
PROBE = [i for i, claim in enumerate(CLAIMS) if ENTITIES[claim.entity].split == "probe"]
EXAMPLES = [CLAIMS[i] for i in PROBE], LABELS[PROBE], ENTITIES


@pytest.fixture(scope="module")
def model():
    return reader(tokens=512)


def expected(model, text, verdicts):
    true, false = (model.tokenizer.encode(text + verdict) for verdict in verdicts)
    fork = next(i for i in range(len(true)) if true[i] != false[i])
    tokens = np.zeros((1, 1, 448), np.int32)
    tokens[0, 0, :fork] = true[:fork]
    states = model.network.hidden(model.params, tokens).states[0, 0, fork - 1]
    logits = np.asarray(model.network.logits(model.params, states))
    return logits[true[fork]] - logits[false[fork]]


@pytest.mark.parametrize("verdicts", [(" True", " False"), (" a", " and"), ("Who", "What")])
def test_scores_are_plain_contrasts(model, verdicts):
    if verdicts == (" a", " and"):
        verdicts = (" a.", " and.")  # tokens " a" and " and": they part at once, not at the third letter
    given = CLAIMS[:3] + CLAIMS[:1]
    found = PTrue(model, verdicts=verdicts).score(given, ENTITIES)
    assert found.shape == (1, 4) and found[0, 0] == found[0, 3]
    for claim, score in zip(given, found[0], strict=True):
        text = FORM.format(prompt=ENTITIES[claim.entity].prompt, claim=claim.claim)
        assert score == pytest.approx(expected(model, text, verdicts), abs=1e-4)


def test_examples_are_read_once_and_asked_behind(model):
    examples = examples_of(*EXAMPLES, n=4, seed=0)
    found = PTrue(model, examples=examples).score(CLAIMS[-2:], ENTITIES)[0]
    for claim, score in zip(CLAIMS[-2:], found, strict=True):
        text = examples + FORM.format(prompt=ENTITIES[claim.entity].prompt, claim=claim.claim)
        assert score == pytest.approx(expected(model, text, (" True", " False")), abs=1e-4)


def test_examples_are_half_true_seeded_and_of_all_entities():
    text = examples_of(*EXAMPLES, n=4, seed=0)
    assert text.count("This statement is: True\n\n") == text.count("This statement is: False\n\n") == 2
    assert text.count("Who is A?") == text.count("Who is Bo?") == 2
    assert text == examples_of(*EXAMPLES, n=4, seed=0) != examples_of(*EXAMPLES, n=4, seed=1)
    assert examples_of(*EXAMPLES, n=0, seed=0) == ""


def test_examples_that_give_verdicts_away_or_are_too_few_are_refused():
    with pytest.raises(InputError, match="split probe: claims are about entities of other splits .'Cy' of dev"):
        examples_of(CLAIMS, LABELS, ENTITIES, n=2, seed=0)
    with pytest.raises(InputError, match="longform.p_true.examples=40: split probe has 7 supported and 7 unsupported"):
        examples_of(*EXAMPLES, n=40, seed=0)


def test_verdicts_that_do_not_part_are_refused(model):
    with pytest.raises(InputError, match="longform.p_true.verdicts: .* one continues the other"):
        PTrue(model, verdicts=(" no", " not")).score(CLAIMS[:2], ENTITIES)
