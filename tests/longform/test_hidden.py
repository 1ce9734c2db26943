"""States and log-probabilities of padded rows in calls of any size equal those of plain forward passes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.config import MeshConfig
from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.longform import reading
from slick_jax.longform.belief import claim_rows
from slick_jax.longform.contexts import CONTEXT
from slick_jax.longform.hidden import keep_states, streams
from slick_jax.longform.reading import Reader
from tests.longform.believers import ENTITIES, SPEC, reader, told

CLAIMS = told()[1]


def rows_of(model, context=CONTEXT):
    return claim_rows(model, CLAIMS, ENTITIES, context)[0]


def read(model, rows, **options):
    """All results, in order of the rows."""
    found = {"states": np.empty((len(rows), SPEC.n_layers + 1, SPEC.d_model)), "logprob": np.empty(len(rows))}
    for numbers, result in model.read(streams, rows, **options):
        for name, values in result.items():
            found[name][numbers] = values
    return found


@pytest.fixture(scope="module")
def model():
    return reader()


@pytest.fixture(scope="module")
def found(model):
    return read(model, rows_of(model))


def test_states_are_those_of_networks_that_end_at_each_layer(model, found):
    rows, network, params = rows_of(model), model.network, model.params
    last = np.array([len(row.tokens) - 1 for row in rows])
    tokens = np.full((len(rows), last.max() + 5), 9, np.int32)  # padded with something else, and further
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row.tokens)] = row.tokens
    embedded = np.asarray(params["embedding"]["table"])[tokens[np.arange(len(rows)), last]]
    np.testing.assert_allclose(found["states"][:, 0], embedded, atol=1e-6)
    for depth in (1, 2):
        cut = dataclasses.replace(network, spec=dataclasses.replace(SPEC, n_layers=depth))
        plain = cut.hidden(params | {"layers": jax.tree.map(lambda x: x[:depth], params["layers"])}, tokens[None])  # noqa: B023
        normed = network._part("final_norm", params)(jnp.asarray(found["states"][:, depth], jnp.float32))
        np.testing.assert_allclose(normed, plain.states[0, np.arange(len(rows)), last], atol=1e-5)


def test_log_probability_is_the_mean_over_the_claims_tokens(model, found):
    rows, n_ids = rows_of(model), model.tokenizer.n_ids
    assert n_ids < SPEC.vocab_size
    longest = max(len(row.tokens) for row in rows)
    for row, mean in list(zip(rows, found["logprob"], strict=True))[::5]:
        tokens = np.zeros((1, 1, longest), np.int32)
        tokens[0, 0, : len(row.tokens)] = row.tokens
        logits = model.network.logits(model.params, model.network.hidden(model.params, tokens).states)[0, 0, :, :n_ids]
        logprob = np.asarray(jax.nn.log_softmax(logits))
        each = [logprob[at - 1, row.tokens[at]] for at in range(row.start, len(row.tokens))]
        assert mean == pytest.approx(np.mean(each), abs=1e-5)


def test_a_claim_starts_where_its_context_ends(model):
    decode = model.tokenizer.backend.decode
    for claim, row in zip(CLAIMS, rows_of(model), strict=True):
        assert decode(row.tokens[: row.start]) == f"Who is {claim.entity}?\n"
        assert decode(row.tokens[row.start :]) == claim.claim


@pytest.mark.parametrize("sizes", [MeshConfig(8, 1, 1), MeshConfig(2, 2, 2)])
def test_eight_devices_give_the_same(model, found, sizes):
    eight = read(reader(sizes, tokens=64), rows_of(model))
    for name in found:
        np.testing.assert_allclose(eight[name], found[name], atol=1e-5)


def test_what_all_contexts_begin_with_is_read_once(model, monkeypatch):
    rows = rows_of(model, "Tell me what is true of them, in short words and not in many more of them. {prompt}\n")
    assert reading._shared(rows) >= reading.LEAST_SHARED
    shared = read(model, rows)
    monkeypatch.setattr(reading, "LEAST_SHARED", 10_000)
    whole = read(model, rows)
    for name in shared:
        np.testing.assert_allclose(shared[name], whole[name], atol=1e-5)


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_and_ends_with_the_same_file(model, found, tmp_path, monkeypatch):
    rows = rows_of(model)
    small = dataclasses.replace(model, tokens=256)
    write, dispatch, calls = run_folder.write_json, Reader._dispatch, []

    def dies(path, value):
        write(path, value)
        if value["done"] >= 16:
            raise Killed

    monkeypatch.setattr(run_folder, "write_json", dies)
    with pytest.raises(Killed):
        keep_states(small, rows, tmp_path, {"model": 1})
    assert not (tmp_path / "states.npy").exists()
    monkeypatch.setattr(run_folder, "write_json", write)
    monkeypatch.setattr(Reader, "_dispatch", lambda self, *given: calls.append(1) or dispatch(self, *given))
    kept = keep_states(small, rows, tmp_path, {"model": 1})
    assert len(calls) == -(-(len(rows) - 16) // 8)  # 8 rows of 32 tokens a call
    assert isinstance(kept, np.memmap) and kept.dtype == np.float32
    np.testing.assert_array_equal(kept.swapaxes(0, 1), found["states"].astype(np.float32))
    keep_states(small, rows, tmp_path, {"model": 1})
    assert len(calls) == 4
    keep_states(small, rows, tmp_path, {"model": 2})  # another model reads anew
    assert len(calls) == 4 + -(-len(rows) // 8)


def test_a_claim_that_the_model_cannot_hold_is_refused():
    with pytest.raises(InputError, match="claims have more tokens, with their context, .*max_position_embeddings=20"):
        rows_of(reader(spec=dataclasses.replace(SPEC, max_position_embeddings=20)))


def test_an_overflowing_model_is_refused(model):
    broken = dataclasses.replace(model, params=jax.tree.map(lambda x: x * jnp.nan, model.params))
    with pytest.raises(InputError, match="NaN or infinite"):
        read(broken, rows_of(model))
