"""Generated texts: what they hang on, where they end, and that nothing is lost by a kill."""

import dataclasses

import jax
import numpy as np
import pytest

from slick_jax.errors import InputError
from slick_jax.longform.generate import Generator, counts_of, gold_texts, protocol_of
from slick_jax.longform.records import TEXTS, Entity
from slick_jax.longform.store import Stage
from slick_jax.longform.writer import Sampling, Writer, Written, stop_table
from tests.knowledge.reference import decode_draws
from tests.longform.tiny import eight_devices, model, one_device

NAMES = ("Carl", "Eve", "Zoë", "Ida", "Max", "Lee", "Kim", "Jo", "Al", "Su")
SHOTS = "Ann\nAnn wrote 1965.\n\nBob\nBob wrote an essay and was thanked.\n\n"
PROMPTS = {f"bio/{i}": f"{SHOTS}{name}\n" for i, name in enumerate(NAMES)}
SAMPLING = Sampling(samples=2, greedy=True, temperature=0.7, top_k=20, max_tokens=12, seed=5, rows=24)


@pytest.fixture(scope="module")
def texts():
    network, params, tokenizer = model()
    return Generator(network, one_device(), tokenizer, PROMPTS, SAMPLING, source="generated")(params)


def test_texts_are_those_of_the_reference_process(texts):
    network, params, tokenizer = model()
    assert [text.id for text in texts[:4]] == [*(f"bio/0/generated/{n}" for n in range(3)), "bio/1/generated/0"]
    stops = stop_table(tokenizer, b"\n\n")[1][0] == 2
    # Slot 1 of an id is the source `generated`; what stands at slot 0 has other noise.
    for entity in ("bio/0", "bio/7"):
        whole = tokenizer.encode(PROMPTS[entity])
        draws = decode_draws(
            network, params, [whole, whole], entity, 5, 2, 0.7, 20, 12, stops, tokenizer.n_ids, pad_to=128
        )[1]
        found = [text for text in texts if text.entity == entity]
        for text, draw in zip(found, draws, strict=True):
            cut = not stops[draw.path[-1]]
            path = draw.path if cut else draw.path[:-1]
            assert (text.truncated, text.n_tokens) == (cut, len(path))
            spelt = b"".join(tokenizer.token_bytes[t] for t in path).decode("utf-8", "replace")
            assert text.text == (spelt.rstrip("\ufffd") if cut else spelt).strip()
    assert len({text.text for text in texts}) > 20


def test_eight_devices_and_other_batches_give_the_same(texts):
    network, params, tokenizer = model()
    mesh = eight_devices()
    placed = jax.device_put(params, network.shardings(mesh))
    assert Generator(network, mesh, tokenizer, PROMPTS, SAMPLING, source="generated")(placed) == texts
    fewer = dataclasses.replace(SAMPLING, rows=1, samples=1, greedy=False)
    some = Generator(network, one_device(), tokenizer, PROMPTS, fewer, source="generated")(params)
    assert some == [text for text in texts if text.sample == 1]


@pytest.fixture
def named(monkeypatch):
    """Texts that say what their noise hangs on, without a model; the calls that were made."""
    calls = []

    def scripted(self, params, which):
        calls.append(list(which))
        draws = self._sampler.numbers
        return [[Written(f"{self._prompts[i].name} {n}", i, n == 2) for n in draws] for i in which]

    monkeypatch.setattr(Writer, "__call__", scripted)
    return calls


def run(source="generated", label="", stage=None, sampling=SAMPLING):
    network, params, tokenizer = model()
    generator = Generator(network, one_device(), tokenizer, PROMPTS, sampling, source=source)
    return generator(params, label=label, stage=stage)


def test_another_source_has_other_noise_and_another_arm_the_same(named):
    generated, again, gold, gen = run(), run("resampled"), run("answer", "GOLD/seed-0"), run("answer", "GEN/seed-0")
    assert not {text.text for text in generated} & {text.text for text in again}
    assert len({text.text for text in generated}) == len(generated), "no two texts have the same noise"
    assert [text.text for text in gold] == [text.text for text in gen]
    assert gold[0].id == "bio/0/answer/GOLD/seed-0/0" and gen[-1].id == "bio/9/answer/GEN/seed-0/2"


def test_greedy_texts_do_not_hang_on_how_samples_are_drawn():
    greedy = Sampling(samples=0, greedy=True)
    assert greedy.protocol() == Sampling(samples=0, greedy=True, seed=1, temperature=0.5, top_k=3, rows=1).protocol()
    assert greedy.protocol() != Sampling(samples=0, greedy=True, max_tokens=7).protocol()
    assert Sampling().protocol() != Sampling(seed=1).protocol() and Sampling().protocol() == Sampling(rows=1).protocol()


def stage_of(folder, sampling=SAMPLING):
    settings = protocol_of(PROMPTS, sampling, model()[2], source="generated", label="", model="tiny")
    return Stage(folder, "bio", "texts", TEXTS, settings)


def test_killed_and_resumed_is_undisturbed(named, tmp_path, monkeypatch):
    whole = run(stage=stage_of(tmp_path / "whole"))
    assert whole == run() and named[:2] == [list(range(8)), [8, 9]]
    scripted = Writer.__call__

    def killed(self, params, which):
        if which[0] == 8:
            raise KeyboardInterrupt
        return scripted(self, params, which)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Writer, "__call__", killed)
        run(stage=stage_of(tmp_path / "killed"))
    named.clear()
    assert run(stage=stage_of(tmp_path / "killed")) == whole and named == [[8, 9]]
    assert stage_of(tmp_path / "killed").path.read_bytes() == stage_of(tmp_path / "whole").path.read_bytes()
    assert stage_of(tmp_path / "whole").read()[1] == counts_of(whole)
    assert counts_of(whole) == {"texts": 30, "empty": 0, "truncated": 10, "tokens": 3 * sum(range(10))}
    monkeypatch.setattr(Writer, "__call__", None)
    assert run(stage=stage_of(tmp_path / "whole")) == whole, "read, not decoded"
    with pytest.raises(InputError, match="sampling.top_k was 20, is 0"):
        stage_of(tmp_path / "whole", dataclasses.replace(SAMPLING, top_k=0))
    stage_of(tmp_path / "whole", dataclasses.replace(SAMPLING, rows=7))  # decides no text


def read_back(stop, *pieces):
    """What a writer makes of drawn tokens, given as what they add to a text; `None` is the end-of-text token."""
    network, _, tokenizer = model()
    writer = Writer(network, one_device(), tokenizer, [("a", "Ann\n")], Sampling(stop=stop))
    eos = tokenizer.backend.token_to_id("</s>")
    tokens = [eos if piece is None else tokenizer.token_bytes.index(piece) for piece in pieces]
    return dataclasses.astuple(writer._written(tokens))


@pytest.mark.parametrize(
    ("stop", "pieces", "wanted"),
    [
        ("\n\n", [b" wrote", b" and", None], ("wrote and", 2, False)),
        ("\n\n", [b"19", b"\n\n"], ("19", 1, False)),
        ("\n\n", [b"19", b"\n", b"a", b"\n", b"\n", b"b", b"b"], ("19\na", 3, False)),  # a stop of two tokens
        ("\n\n", [b"19", b"\n", b"a"], ("19\na", 3, True)),
        ("\n\n", [b"\n\n"], ("", 0, False)),
        ("\n\n", [None], ("", 0, False)),
        ("", [b"19", b"\n\n", b"a", None], ("19\n\na", 3, False)),
        ("\n\n", [b"a", b"\xc3"], ("a", 2, True)),  # half a character at the limit
        ("\n", [b"19", b"\n\n"], ("19", 1, False)),
    ],
)
def test_where_a_text_ends(stop, pieces, wanted):
    assert read_back(stop, *pieces) == wanted


def test_a_stop_of_several_tokens_ends_the_decoding():
    """The table of stops, run over tokens as the sampler does, against a search in what they spell."""
    tokenizer, rng = model()[2], np.random.default_rng(0)
    for stop in (b"\n\n", b"aab", b"ab"):
        hard, table = stop_table(tokenizer, stop)
        some = [t for t, text in enumerate(tokenizer.token_bytes) if text and set(text) <= set(b"ab\n") and not hard[t]]
        some += [tokenizer.token_bytes.index(b" a")]
        seen = 0
        for _ in range(300):
            stage, tokens = 0, rng.choice(some, 8)
            for place, token in enumerate(tokens):
                stage = table[stage, token]
                ended = stop in b"".join(tokenizer.token_bytes[t] for t in tokens[: place + 1])
                assert (stage == len(stop)) == ended
                if ended:
                    seen += 1
                    break
        assert seen > 30
        assert (table[:, hard] == len(stop)).all() and hard.any()


def test_prompts_that_do_not_fit_are_refused_together():
    network, _, tokenizer = model()
    long = {"bio/a": "x" * 600, "bio/b": "short", "bio/c": "y" * 700}
    with pytest.raises(InputError, match="(?s)bio/a: its prompt has 600 tokens.*bio/c: its prompt has 700 tokens"):
        Generator(network, one_device(), tokenizer, long, SAMPLING, source="generated")


def test_references_are_texts_too():
    tokenizer = model()[2]
    entity = Entity("bio/a", "bio", "A", "test", "Who?", "A wrote 1965.")
    (text,) = gold_texts([entity], tokenizer)
    assert (text.id, text.source, text.text) == ("bio/a/gold/0", "gold", "A wrote 1965.")
    assert text.n_tokens == len(tokenizer.encode("A wrote 1965."))
