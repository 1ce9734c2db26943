"""Greedy exact match without exemplars equals decoding token by token, on any mesh and in any grouping."""

import json

import jax
import numpy as np
import pytest

from slick_jax.config import AnnotateConfig, MeshConfig
from slick_jax.data.examples import read_rows
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.knowledge.greedy import Asked, GreedyEvaluator, _shapes
from slick_jax.knowledge.match import Golds, matcher
from slick_jax.knowledge.verify import Question
from slick_jax.mesh import make_mesh
from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec
from tests.knowledge import reference

LIMIT = 12
PHRASE = "I don't know"


@pytest.fixture(scope="module")
def model(small_model):
    network = Network(read_spec(small_model), scan_layers=False)
    return network, load_hf(small_model, network), Tokenizer.from_folder(small_model, network.spec.vocab_size)


@pytest.fixture(scope="module")
def groups(small_model):
    """200 questions; a few have two answers, and some a rule-dependent one."""
    world = small_model.parent / "world"
    found = {}
    for split, n in (("train", 110), ("test", 60), ("ood_test", 30)):
        rows = read_rows(str(world / f"{split}.jsonl"), split)[:n]
        found[split] = [
            Asked(
                row.id,
                fine_tuning_prompt(row.question),
                (row.answers[0].lower(), "Someone Else") if place % 5 == 0 else row.answers,
                row.relation,
            )
            for place, row in enumerate(rows)
        ]
    return found


def evaluator(model, groups, mesh, **settings):
    network, _, tokenizer = model
    return GreedyEvaluator(network, mesh, tokenizer, groups, AnnotateConfig(**settings), LIMIT, "the model")


@pytest.fixture(scope="module")
def expected(model, groups):
    """(strict, squad, abstained, text) of every question, decoded token by token."""
    network, params, tokenizer = model
    found = {}
    for name, rows in groups.items():
        found[name] = []
        for row in rows:
            ((draw,),) = reference.decode_draws(
                network, params, [tokenizer.encode(row.prompt)], row.id, 0, 0, 1.0, 1, LIMIT, tokenizer.is_stop,
                tokenizer.n_ids,
            )  # fmt: skip
            judged = reference.judge_text(
                draw.path, tokenizer.token_bytes, tokenizer.is_stop, row.answers, LIMIT, (PHRASE,)
            )
            data = b"".join(tokenizer.token_bytes[token] for token in draw.path)
            text = data.split(b"\n")[0].decode("utf-8", "replace")
            found[name].append((judged.strict, judged.squad, judged.abstained, text))
    return found


def assert_answers(answers, expected):
    for name, rows in expected.items():
        np.testing.assert_array_equal(answers[name].hits, [row[:2] for row in rows])
        np.testing.assert_array_equal(answers[name].abstained, [row[2] for row in rows])


@pytest.mark.parametrize("sizes", [MeshConfig(1, 1, 1), MeshConfig(2, 2, 2)])
def test_greedy_answers_are_those_of_the_reference(model, groups, expected, sizes):
    n = sizes.data * sizes.fsdp * sizes.tensor
    mesh = make_mesh(sizes, jax.devices()[:n])
    with jax.set_mesh(mesh):
        params = load_hf_on(model, mesh)
        ask = evaluator(model, groups, mesh, batch_tokens=256, answer_rows=128)
        answers, written = ask(params, list(groups)), ask.write(params, list(groups))
    assert_answers(answers, expected)
    assert_answers(written, expected)  # judged as whole texts
    for name, rows in expected.items():
        assert written[name].texts == tuple(row[3] for row in rows)
    hits = np.concatenate([one.hits for one in answers.values()])
    assert 0.02 < hits[:, 1].mean() < 0.98 and (hits[:, 0] != hits[:, 1]).any()


def load_hf_on(model, mesh):
    network, params, _ = model
    return jax.device_put(params, network.shardings(mesh))


def test_one_evaluator_serves_many_parameters_and_any_groups(model, groups, expected):
    """Asked of other parameters in between, and one group at a time: nothing is left over from before."""
    mesh = make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1])
    with jax.set_mesh(mesh):
        params = load_hf_on(model, mesh)
        ask = evaluator(model, groups, mesh)
        other = ask(jax.tree.map(lambda leaf: leaf * 0.5, params), ["test"])["test"]
        answers = {name: ask(params, [name])[name] for name in reversed(groups)}
    assert_answers(answers, expected)
    assert (other.hits != answers["test"].hits).any()


def test_many_relations_share_one_prefix(model, groups, expected, monkeypatch):
    monkeypatch.setattr("slick_jax.knowledge.greedy.MAX_PREFIXES", 2)
    mesh = make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1])
    with jax.set_mesh(mesh):
        ask = evaluator(model, groups, mesh)
        assert len(ask._prefixes) == 1
        assert_answers(ask(load_hf_on(model, mesh), list(groups)), expected)


def test_prompts_that_share_no_token(model, small_model):
    """As with a tokenizer without BOS and prompts of the user's own."""
    network, params, _ = model
    described = json.loads((small_model / "tokenizer.json").read_text()) | {"post_processor": None}
    files = {"tokenizer.json": json.dumps(described).encode()}
    tokenizer = Tokenizer(files, network.spec.vocab_size, model[2].eos_ids)
    rows = read_rows(str(small_model.parent / "world" / "test.jsonl"), "test")[:6]
    openings = ("Who", "Where", "In", "The", "What", "A")
    asked = [
        Asked(row.id, f"{word}: {row.question}\n", row.answers) for word, row in zip(openings, rows, strict=True)
    ]
    assert len({tokenizer.encode(row.prompt)[0] for row in asked}) > 1
    mesh = make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1])
    with jax.set_mesh(mesh):
        ask = evaluator((network, params, tokenizer), {"test": asked}, mesh, answer_rows=8)
        params = load_hf_on(model, mesh)
        answers, written = ask(params, ["test"])["test"], ask.write(params, ["test"])["test"]
    for number, row in enumerate(asked):
        ((draw,),) = reference.decode_draws(
            network, model[1], [tokenizer.encode(row.prompt)], row.id, 0, 0, 1.0, 1, LIMIT, tokenizer.is_stop,
            tokenizer.n_ids,
        )  # fmt: skip
        judged = reference.judge_text(draw.path, tokenizer.token_bytes, tokenizer.is_stop, row.answers, LIMIT)
        assert [*answers.hits[number]] == [*written.hits[number]] == [judged.strict, judged.squad]


def test_lanes_are_as_long_as_a_question_with_all_its_answers():
    golds = Golds(("x",), matcher("squad"))
    questions = [Question((0, n), [(0, [1] * 40)], golds, None, [((1,) * 5, 2)] * 6) for n in range(4)]
    assert _shapes(questions, 64, 1024, 1).lengths[0] == 40 + 6 * 5
    assert max(_shapes(questions, 12, 1024, 1).lengths) == 64  # no longer than any path needs


def test_answers_that_could_never_be_right_are_refused(model):
    mesh = make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1])
    rows = {"test": [Asked("long", fine_tuning_prompt("Who?"), ("word " * 40,))]}
    with pytest.raises(InputError, match="row 'long': the answer .* train.max_target_tokens"):
        evaluator(model, rows, mesh)
