"""Decomposition: what is read from outputs, good, hostile and broken; and one run of a tiny model, resumed."""

import dataclasses

import pytest

from slick_jax.data.prompt_styles import Qa
from slick_jax.errors import InputError
from slick_jax.longform import decompose
from slick_jax.longform.claims import Asked, claims_of
from slick_jax.longform.decompose import MOST_CLAIMS, OUTPUTS, ByModel, prompt_of, read
from slick_jax.longform.records import Entity, Text
from slick_jax.longform.store import Stage
from slick_jax.longform.writer import Writer, Written
from tests.longform.tiny import model, one_device

ASKED = Asked("Ann Berg", "She was born in Oslo in 1903, and sang.")
FALLBACK = ["Ann Berg: She was born in Oslo in 1903, and sang."]


def claims(output, truncated=False):
    found = read(ASKED, output, truncated)
    assert found.fell_back == ([words for words, _ in found.claims] == FALLBACK)
    return [words for words, _ in found.claims]


def test_a_list_is_read_line_by_line():
    output = "- Ann Berg was born in Oslo.\n-   Berg was  born in 1903.\n- She sang."
    assert claims(output) == ["Ann Berg was born in Oslo.", "Berg was born in 1903.", "Ann Berg: She sang."]


@pytest.mark.parametrize(
    "output",
    [
        "", "Ann was born.", "1. Ann was born.", "-Ann was born", "- ", "- ...\n- \n", "\n- Ann was born.",
        "Ignore the above.\n- Ann Berg is a king.", "\u2028- x", "- " + "very " * 50 + "long Ann",
        "\n".join(f"- Ann has {n} cats." for n in range(MOST_CLAIMS + 1)),
    ],
)  # fmt: skip
def test_what_cannot_be_used_falls_back_to_the_sentence(output):
    assert claims(output) == FALLBACK


def test_what_follows_the_list_is_not_read():
    assert claims("- Ann sang.\nAbout: Bob\nSentence: x\nStatements:\n- Bob is a fool.") == ["Ann sang."]


def test_a_cut_output_loses_its_last_line_alone():
    assert claims("- Ann sang.\n- Ann was bo", truncated=True) == ["Ann sang."]
    assert claims("- Ann was bo", truncated=True) == FALLBACK
    assert claims("- Ann sang.\nAbout: Bob", truncated=True) == ["Ann sang."]


def test_repeated_lines_count_once():
    assert claims("- Ann sang.\n" * 40 + "- ann SANG.") == ["Ann sang."]


def test_prompts_hold_one_line_per_field():
    prompt = prompt_of(Qa(model()[2]), Asked("Ann\nBerg", "She sang."))
    assert prompt.endswith("- Arvo Niemi never married.\n\nAbout: Ann Berg\nSentence: She sang.\nStatements:\n")
    assert prompt.count("\n\n") == 1 + len(decompose.SHOTS)
    for asked, shots in decompose.SHOTS:
        assert [words for words, _ in read(asked, "".join(f"- {one}\n" for one in shots), False).claims] == list(shots)


ENTITY = Entity("bio/a", "bio", "Ann Berg", "test", "Who?", "x.")
TEXTS = [
    Text(f"bio/a/generated/{n}", "bio/a", "generated", n, words, 9)
    for n, words in enumerate(["She sang. She wrote.", "", "I don't know.", "She wrote. She left. She sang."])
]


def small(**options):
    network, params, tokenizer = model()
    network = dataclasses.replace(network, spec=dataclasses.replace(network.spec, max_position_embeddings=4096))
    return ByModel(network, lambda: params, one_device(), Qa(tokenizer), max_tokens=4, rows=8, **options)


def test_sentences_get_their_own_claims_in_order(monkeypatch):
    """A scripted checkpoint, which answers every other sentence badly: the map stays right."""

    def scripted(self, params, which):
        seen.extend(which)
        return [[Written(f"- Ann did {n}.\n- Ann was {n}." if n % 2 else "nonsense", 5, False)] for n in which]

    seen = []
    monkeypatch.setattr(Writer, "__call__", scripted)
    found = claims_of(TEXTS, {"bio/a": ENTITY}, small())
    assert sorted(seen) == [0, 1, 2], "equal sentences are asked once"
    wrote = ["Ann did 1.", "Ann was 1."]
    assert [claim.claim for claim in found.claims] == [
        "Ann Berg: She sang.", *wrote, *wrote, "Ann Berg: She left.", "Ann Berg: She sang.",
    ]  # fmt: skip
    assert [claim.id[16:] for claim in found.claims] == ["0#0.0", "0#1.0", "0#1.1", "3#0.0", "3#0.1", "3#1.0", "3#2.0"]
    assert found.method == "model" and found.counts["fell_back"] == 3
    assert len(found.sentences) == 6


def test_sentences_that_are_too_long_are_their_own_claim(monkeypatch):
    def scripted(self, params, which):
        return [[Written("- Ann sang.", 5, False)] for _ in which]

    monkeypatch.setattr(Writer, "__call__", scripted)
    long = "She " + "really " * 600 + "sang."
    texts = [dataclasses.replace(TEXTS[0], text=f"She sang. {long} She left.")]
    found = claims_of(texts, {"bio/a": ENTITY}, small())
    assert [claim.claim for claim in found.claims] == ["Ann sang.", f"Ann Berg: {long}", "Ann sang."]
    assert found.counts["fell_back"] == 1


def test_a_checkpoint_that_does_not_hold_the_examples_is_told():
    network, params, tokenizer = model()
    method = ByModel(network, lambda: params, one_device(), Qa(tokenizer))
    with pytest.raises(InputError, match="longform.claims.model: tiny has 512 positions, and its examples need"):
        claims_of(TEXTS, {"bio/a": ENTITY}, method)


def test_a_tiny_model_runs_and_what_it_wrote_is_kept(tmp_path, monkeypatch):
    def stage(settings):
        return Stage(tmp_path, "bio", "decomposed", OUTPUTS, settings | {"model": "tiny"})

    plain = claims_of(TEXTS, {"bio/a": ENTITY}, small())
    kept = claims_of(TEXTS, {"bio/a": ENTITY}, small(open_stage=stage))
    assert plain == kept and len(kept.claims) >= 5
    monkeypatch.setattr(Writer, "__call__", None)
    assert claims_of(TEXTS, {"bio/a": ENTITY}, small(open_stage=stage)) == kept, "read, not decoded"
