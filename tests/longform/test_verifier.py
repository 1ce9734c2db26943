"""Verifiers: the fact table on facts made by hand, a checkpoint against single forward passes, users' functions."""

import dataclasses

import jax
import numpy as np
import pytest

from slick_jax.data.prompt_styles import Qa
from slick_jax.errors import InputError
from slick_jax.longform.bm25 import Bm25, passages_of
from slick_jax.longform.records import CLAIMS, Claim, Entity
from slick_jax.longform.store import Stage, claim_row
from slick_jax.longform.verifier import ByFacts, ByFunction, ByModel, Passages, labelled, prompt_of
from tests.longform.tiny import eight_devices, model, one_device

REFERENCE = "Ann Berg was born in Oslo. " + "She sang in Rome for many years with a choir. " * 12 + "She died in Bonn."
ENTITIES = {
    "a": Entity("a", "bio", "Ann Berg", "test", "Who?", REFERENCE, (("born", "Oslo"), ("died", "Bonn"))),
    "b": Entity("b", "bio", "Bob Lund", "test", "Who?", "Bob Lund was born in Rome.", (("born", "Rome"),)),
}


def claim(number, entity, words, *fact):
    return Claim(f"{entity}/generated/1#{number}.0", f"{entity}/generated/1", entity, number, words, fact or None)


FACTS = [
    claim(0, "a", "Ann Berg was born in Oslo.", "born", "Oslo"), claim(1, "a", "x", "born", "Bonn"),
    claim(2, "a", "x", "died", "Bonn"), claim(3, "a", "x", "died", "oslo"), claim(4, "a", "x", "sang", "Oslo"),
    claim(0, "b", "x", "born", "Oslo"), claim(1, "b", "Bob Lund was born in Rome.", "born", "Rome"),
]  # fmt: skip


def test_the_fact_table_is_exact():
    rows, counts = labelled(FACTS, ENTITIES, ByFacts())
    assert [row["supported"] for row in rows] == [True, False, True, False, False, False, True]
    assert [row["support"] for row in rows] == [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert [row["id"] for row in rows] == [one.id for one in FACTS] and counts == {"claims": 7, "supported": 3}
    with pytest.raises(InputError, match="claim a/generated/1#9.0: 'words' was not parsed"):
        labelled([*FACTS, claim(9, "a", "words")], ENTITIES, ByFacts())
    assert labelled([], ENTITIES, ByFacts()) == ([], {})


def test_equal_claims_have_equal_labels_and_a_stage_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setattr("slick_jax.longform.verifier.PART", 3)
    claims = [dataclasses.replace(one, id=f"{one.id}.{n}") for n in range(3) for one in FACTS]
    calls = []

    class Counted(ByFacts):
        def __call__(self, which):
            calls.append(list(which))
            return super().__call__(which)

    def stage():
        return Stage(tmp_path, "bio", "labels", CLAIMS, ByFacts.settings)

    rows, counts = labelled(claims, ENTITIES, Counted(), stage())
    assert [row["supported"] for row in rows] == [True, False, True, False, False, False, True] * 3
    assert counts == {"claims": 21, "supported": 9} and len(calls) == 7
    assert calls[:3] == [[0, 1, 2], [3, 4, 5], [6, 0, 1]], "claims 7 and 8 are 0 and 1 again"
    assert labelled(claims, ENTITIES, None, stage()) == (rows, counts), "read, not judged"


def verifier(mesh, most=4096, **options):
    network, params, tokenizer = model()
    spec = dataclasses.replace(network.spec, max_position_embeddings=most)
    network = dataclasses.replace(network, spec=spec)
    placed = jax.device_put(params, network.shardings(mesh))
    judge = ByModel(network, lambda: placed, mesh, Qa(tokenizer), batch_tokens=512, **options)
    return judge, network, params, tokenizer


CLAIMS_IN_WORDS = [
    claim(0, "a", "Ann Berg was born in Oslo."), claim(1, "a", "Ann Berg died in Rome."),
    claim(0, "b", "Bob Lund was born in Rome."), claim(2, "a", "Ann Berg sang."), claim(0, "a", "Ann Berg sang."),
]  # fmt: skip


def test_the_contrast_is_that_of_one_forward_pass_each():
    judge, network, params, tokenizer = verifier(one_device())
    rows, _ = labelled(CLAIMS_IN_WORDS, ENTITIES, judge)
    wanted, forward = [], jax.jit(
        lambda tokens: network.logits(params, network.hidden(params, tokens).states)[0, 0],
        compiler_options={"xla_backend_optimization_level": 3},
    )
    for one in CLAIMS_IN_WORDS:
        entity = ENTITIES[one.entity]
        query = " ".join(word for word in one.claim.split() if word not in entity.name)
        passages = Bm25(passages_of(entity.reference)).best(query, 5)
        tokens = tokenizer.encode(prompt_of(Qa(tokenizer), entity.name, passages, one.claim) + " ")
        padded = np.pad(tokens, (0, 1408 - len(tokens)))  # what stands behind is not seen: one program for all
        scores = np.asarray(forward(padded[None, None])[len(tokens) - 1], np.float64)
        true, false = (tokenizer.encode(letter)[0] for letter in "TF")
        wanted.append(1 / (1 + np.exp(scores[false] - scores[true])))
    np.testing.assert_allclose([row["support"] for row in rows], wanted, rtol=2e-4)
    assert np.ptp(wanted) > 1e-3
    assert [row["supported"] for row in rows] == [support >= 0.5 for support in wanted]
    eight = labelled(CLAIMS_IN_WORDS, ENTITIES, verifier(eight_devices())[0])[0]
    np.testing.assert_allclose([row["support"] for row in eight], wanted, rtol=2e-4)


def test_prompts_hold_the_best_passages_and_the_statement():
    passages = passages_of(REFERENCE)
    assert len(passages) == 2
    prompt = prompt_of(Qa(model()[2]), "Ann Berg", passages[::-1], "Ann\nBerg sang.")
    told = f"Passages about Ann Berg:\n{passages[1]}\n{passages[0]}\nStatement: Ann Berg sang.\nTrue or False? Answer:"
    assert prompt.endswith(f"Answer: True\n\n{told}")


def test_a_name_that_only_one_passage_holds_does_not_find_it():
    find = Passages(ENTITIES, 1)
    assert find(claim(0, "a", "Ann Berg: She died in Bonn.")) == [passages_of(REFERENCE)[1]]
    assert find(claim(0, "a", "Ann Berg was born in Oslo.")) == find(claim(0, "a", "Ann Berg")) == [
        passages_of(REFERENCE)[0]
    ]


def test_what_a_checkpoint_cannot_do_is_told(monkeypatch):
    with pytest.raises(InputError, match="(?s)longform.claims.passages lower.*claim a/generated/1#0.0: its prompt has"):
        labelled(CLAIMS_IN_WORDS, ENTITIES, verifier(one_device(), most=512)[0])
    monkeypatch.setattr("slick_jax.longform.verifier.VERDICTS", ("True", "True"))
    with pytest.raises(InputError, match="it writes one as the other's beginning"):
        labelled(CLAIMS_IN_WORDS, ENTITIES, verifier(one_device())[0])


def test_a_users_function_judges_claims_with_their_passages():
    rows, _ = labelled(CLAIMS_IN_WORDS, ENTITIES, ByFunction("tests.longform.judges:overlap"))
    assert [row["support"] for row in rows] == pytest.approx([1, 0.6, 1, 1, 1])
    settings = ByFunction("tests.longform.judges:overlap").settings
    assert settings["verifier"] == "tests.longform.judges:overlap" and len(settings["source"]) == 64


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tests.longform.judges:percent", "judging claim a/generated/1#0.0 .* returned 70.0; return how likely"),
        ("tests.longform.judges:broken", "failed with KeyError: 'no key'; it must judge any claim"),
        ("tests.longform.judges:absent", "has no function 'absent'"),
        ("tests.longform.no_module:f", "longform.claims.verifier='tests.longform.no_module:f': importing"),
        ("bm25", "use 'facts', 'model' or 'module:function'"),
    ],
)
def test_users_functions_that_do_not_work_are_told(name, told):
    with pytest.raises(InputError, match=told):
        labelled(CLAIMS_IN_WORDS, ENTITIES, ByFunction(name))


def test_rows_are_those_of_the_store():
    rows, _ = labelled(FACTS[:1], ENTITIES, ByFacts())
    assert rows == [claim_row(FACTS[0], 1.0)]
