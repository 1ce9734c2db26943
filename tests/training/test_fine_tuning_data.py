"""Mixtures read, rendered and dealt out: texts, loss positions, padding, order."""

import json

import numpy as np
import pytest

from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.training.fine_tuning_data import Batches, TokenRow, render
from slick_jax.training.mixture_file import MixtureRow, read_mixture
from tests.data.chat_templates import CHATML, chat_files
from tests.training.fine_tuning import make_folder, tokenizer_of, world, write_mixture


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tokenizer_of(make_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return read_mixture(write_mixture(tmp_path_factory.mktemp("mixture")))


def test_a_chat_is_a_turn_of_the_user_and_ends_as_the_template_ends_it():
    tokenizer = Tokenizer(chat_files(CHATML))
    rows = [MixtureRow("1", "Answer.\nWho?\n", "and who", "and who")]
    (row,) = render(Chat(tokenizer), rows, max_target=20, max_positions=None, where="the model")
    prompt = "<|im_start|>user\nAnswer.\nWho?<|im_end|>\n<|im_start|>assistant\n"
    assert row.tokens[: row.n_prompt].tolist() == tokenizer.encode_batch([prompt], framed=False)[0]
    assert b"".join(tokenizer.token_bytes[token] for token in row.tokens[row.n_prompt :]) == b"and who"
    assert row.tokens[-1] == tokenizer.backend.token_to_id("<|im_end|>")


def rendered(tokenizer, rows, max_target=12, max_positions=96):
    return render(Qa(tokenizer), rows, max_target=max_target, max_positions=max_positions, where="the model")


def test_the_text_is_that_of_the_pretraining_corpus(tokenizer, rows):
    """A document of the corpus in the form of fine-tuning is, token for token, a rendered row without its last end."""
    documents = [text for text in world().documents if text.startswith("Answer the following question.")]
    assert documents
    for text in documents:
        prompt, completion = text.rsplit("\n", 1)
        row = rows[0].__class__("x", prompt + "\n", completion, completion)
        (made,) = rendered(tokenizer, [row])
        assert made.tokens.tolist() == [*tokenizer.encode(text), *tokenizer.eos_ids]
        assert made.tokens[0] == tokenizer.eos_ids[0]  # this tokenizer opens every text with end-of-text
        assert tokenizer.backend.decode(made.tokens[made.n_prompt : -1].tolist()) == completion


def test_targets_and_prompts_that_do_not_fit_are_named(tokenizer, rows):
    with pytest.raises(InputError, match=r"row '.*': its completion takes .* train.max_target_tokens"):
        rendered(tokenizer, rows, max_target=2)
    with pytest.raises(InputError, match=rf"row '{rows[0].id}': its prompt has .* max_position_embeddings=20"):
        rendered(tokenizer, rows, max_positions=20)


def random_rows(n=21):
    rng = np.random.default_rng(0)
    return [TokenRow(rng.integers(1, 99, 4 + rng.integers(2, 9) + 1).astype(np.int32), 4) for _ in range(n)]


def test_a_batch_predicts_the_completion_and_its_end_only():
    rows = random_rows()
    for batch in Batches(rows, batch_size=8, epochs=2, seed=1, multiple=3):
        assert batch.rows.tokens.shape[0] == 9  # rounded up
        for place in range(9):
            weights = batch.rows.weights[place]
            targets = batch.rows.targets[place][weights == 1]
            if place >= len(batch.index):
                assert not weights.any()
                continue
            tokens = rows[batch.index[place]].tokens
            assert targets.tolist() == tokens[4:].tolist()
            for target, position in zip(targets, batch.rows.positions[place], strict=False):
                assert batch.rows.tokens[place, : position + 1].tolist() == tokens[: position + 1].tolist()
                assert tokens[position + 1] == target
        assert batch.targets == sum(len(rows[i].tokens) - 4 for i in batch.index) == batch.rows.weights.sum()
        assert batch.n_tokens == sum(len(rows[i].tokens) - 1 for i in batch.index)


def test_every_epoch_holds_every_row_once_in_an_order_of_its_own():
    def order(seed, epochs=3):
        batches = Batches(random_rows(), batch_size=8, epochs=epochs, seed=seed)
        assert batches.per_epoch == 3
        return [batch.index.tolist() for batch in batches]

    one = order(1)
    assert [len(index) for index in one] == [8, 8, 5] * 3
    epochs = [sum(one[start : start + 3], []) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(21)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert order(1) == one != order(2)
    assert order(1, epochs=2) == one[:6]  # a longer run begins like a shorter one


def test_the_order_goes_on_from_any_state():
    whole = [batch.index.tolist() for batch in Batches(random_rows(), batch_size=8, epochs=3, seed=1)]
    batches = Batches(random_rows(), batch_size=8, epochs=3, seed=1)
    for number in range(7):
        assert next(batches).index.tolist() == whole[number]
        again = Batches(random_rows(), batch_size=8, epochs=3, seed=1)
        again.seek(json.loads(json.dumps(batches.state)))
        assert [batch.index.tolist() for batch in again] == whole[number + 1 :]


@pytest.mark.parametrize(("epochs", "lengths"), [(9, 1), (10, 2)])  # of 20 steps
def test_few_lengths_are_compiled_and_one_for_a_short_run(epochs, lengths):
    shapes = {batch.rows.tokens.shape for batch in Batches(random_rows(20), batch_size=1, epochs=epochs, seed=0)}
    assert len(shapes) == lengths


def test_the_tail_ends_every_epoch_in_its_order_and_the_rest_is_shuffled():
    def order(epochs=3, seed=1):
        batches = Batches(random_rows(), batch_size=8, epochs=epochs, seed=seed, tail=6)
        return [batch.index.tolist() for batch in batches]

    one = order()
    assert [len(index) for index in one] == [8, 8, 5] * 3
    epochs = [sum(one[start : start + 3], []) for start in (0, 3, 6)]
    for epoch in epochs:
        assert epoch[15:] == [15, 16, 17, 18, 19, 20] and sorted(epoch[:15]) == list(range(15))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert one != order(seed=2) and order(2) == one[:6]
    batches = Batches(random_rows(), batch_size=8, epochs=3, seed=1, tail=6)
    for number in range(5):
        assert next(batches).index.tolist() == one[number]
    again = Batches(random_rows(), batch_size=8, epochs=3, seed=1, tail=6)
    again.seek(json.loads(json.dumps(batches.state)))
    assert [batch.index.tolist() for batch in again] == one[5:]
    (all_of_it,) = Batches(random_rows(), batch_size=21, epochs=1, seed=1, tail=21)
    assert all_of_it.index.tolist() == list(range(21))


def test_replayed_rows_are_cut_and_plain_text_is_trained_on_whole(tokenizer):
    text, prompt = "Orlan was born in the town of Vel and lives there. " * 4, "Answer the following question.\n"
    rows = [MixtureRow("t", "", text, "", role="replay"), MixtureRow("p", prompt, "there. there", "", role="replay")]

    def replayed(limit, positions=None):
        return render(
            Qa(tokenizer), rows, max_target=2, max_positions=positions, where="the model", max_replay=limit
        )

    whole, asked = replayed(999)
    ids = tokenizer.encode_batch([text])[0]
    assert whole.tokens.tolist() == [*ids, *tokenizer.eos_ids] and whole.n_prompt == 1
    assert asked.tokens[: asked.n_prompt].tolist() == tokenizer.encode_batch([prompt])[0]
    taught = b"".join(tokenizer.token_bytes[token] for token in asked.tokens[asked.n_prompt : -1])
    assert taught.replace(b" ", b"") == b"there.there"
    cut, same = replayed(9)
    assert cut.tokens.tolist() == ids[:10] and len(same.tokens) == min(len(asked.tokens), asked.n_prompt + 9)
    assert len(replayed(999, positions=30)[0].tokens) == 30
    with pytest.raises(InputError, match=r"row 'p': its prompt of \d+ tokens leaves the model no room"):
        replayed(9, positions=asked.n_prompt)
