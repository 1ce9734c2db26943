"""P(True) equals two plain forward passes over the whole prompts, whatever tokens write the verdicts."""

import jax
import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from slick_jax.config import MeshConfig
from slick_jax.data.corpus import P_TRUE_FORM
from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.data.prompts import PrefixTable
from slick_jax.data.tokenizer import Tokenizer, _byte_alphabet
from slick_jax.errors import InputError
from slick_jax.knowledge import p_true
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.shapes import Shapes
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from tests.data.chat_templates import CHATML, CHECKED, DATED, chat_files
from tests.knowledge.reference import plain_p_true

ROWS = [
    Example(str(n), f"Who {'really ' * (n % 3)}wrote {n}?", (f"and {n}" * (1 + n % 2), "other"), "r") for n in range(21)
]
MERGES = {
    "a letter": [],
    "several": [("Ġ", "("), ("i", "s")],
    "bracket and letter": [("(", "A"), ("(", "B"), ("Ġ", "(A"), ("Ġ", "(B")],
    "all in one": [("(", "A"), ("(", "B"), ("(A", ")"), ("(B", ")"), ("Ġ", "(A)"), ("Ġ", "(B)")],
    "only true in one": [("(", "A"), ("(A", ")"), ("Ġ", "(A)")],
    "only false in one": [("(", "B"), ("Ġ", "(B")],
    "across the prompt's end": [("(", "A"), ("Ġ", "(A"), (":", "Ġ(A")],
}
TAILS = {  # tokens that write either verdict from where they part
    "a letter": ["A", "B"],
    "several": ["A", "B"],
    "bracket and letter": ["Ġ(A", "Ġ(B"],
    "all in one": ["Ġ(A)", "Ġ(B)"],
    "only true in one": ["Ġ(A)", "Ġ ( B"],
    "only false in one": ["Ġ ( A", "Ġ(B"],
    "across the prompt's end": [":Ġ(A", ": Ġ ( B"],
}


def byte_level(merges):
    """A byte-level BPE that keeps a text in one piece, so that merges may cross anything."""
    tokens = ["</s>", *sorted(_byte_alphabet()), *("".join(pair) for pair in merges)]
    backend = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["</s>"])
    return Tokenizer({"tokenizer.json": backend.to_str().encode()})


ONE = MeshConfig(1, 1, 1)
STYLES = {name: lambda merges=merges: Qa(byte_level(merges)) for name, merges in MERGES.items()} | {
    "chatml": lambda: Chat(Tokenizer(chat_files(CHATML))),
    "llama 3": lambda: Chat(Tokenizer(chat_files(DATED)), ("date_string=26 Jul 2024",)),
    "mistral": lambda: Chat(Tokenizer(chat_files(CHECKED, "metaspace"))),
}


@pytest.fixture(scope="module")
def model():
    """A random network with more rows of the vocabulary than any tokenizer here has ids."""
    spec = ModelSpec(vocab_size=640, d_model=16, n_layers=2, n_heads=2, n_kv_heads=2, head_dim=8, d_mlp=16)
    network = Network(spec, scan_layers=False)
    return network, network.init(jax.random.key(0))


def score(style, network, params, rows, sizes=ONE, tokens=1024):
    """P(True) of `rows`, through prefix table, trees, lanes and device."""
    table = PrefixTable()
    proposals = p_true.tokenise(style, rows, table, 4096)
    rests = [table.rest(one.kept).tolist() for one in proposals]
    lengths = [len(rest) + one.extra for rest, one in zip(rests, proposals, strict=True)]
    prefix = table.prefix(p_true.PREFIX)
    mesh = make_mesh(sizes, jax.devices()[: sizes.data * sizes.fsdp * sizes.tensor])
    with jax.set_mesh(mesh):
        program = Program(network, 0, 1, 1, style.tokenizer.n_ids)
        device = Device(program, jax.device_put(params, network.shardings(mesh)), mesh, seed=0, temperature=1.0,
                        prefix_length=128)  # fmt: skip
        shapes = Shapes((160, 208), tokens, 64, device.shards)
        asked = [(rest, one.tails) for rest, one in zip(rests, proposals, strict=True)]
        bank = device.bank([prefix[:1], prefix], 2)
        scores, counts = p_true.Scoring(asked, 1, device, bank, shapes).result()
    assert counts == {"p_true_tokens": sum(lengths)}
    return np.array(scores)


def expected(style, network, params, rows):
    """From the texts alone: both prompts tokenised whole, each with its verdict."""
    tokenizer = style.tokenizer
    texts = [style.zero_shot(p_true.form(row)) + style.before for row in rows]
    pairs = [style.encode([f"{text}(A)", f"{text}(B)"]) for text in texts]
    return np.array([plain_p_true(network, params, *pair, tokenizer.token_bytes, tokenizer.n_ids) for pair in pairs])


@pytest.mark.parametrize("name", STYLES)
def test_the_score_is_that_of_plain_forward_passes(model, name):
    style = STYLES[name]()
    found, plain = score(style, *model, ROWS), expected(style, *model, ROWS)
    np.testing.assert_allclose(found, plain, atol=1e-5)
    odds = np.log(found / (1 - found))
    np.testing.assert_allclose(odds, np.log(plain / (1 - plain)), atol=1e-4)
    assert odds.std() > 0.01


@pytest.mark.parametrize("name", TAILS)
def test_the_tails_are_what_only_one_verdict_has_up_to_its_letter(name):
    style = STYLES[name]()
    for one in p_true.tokenise(style, ROWS[:3], PrefixTable(), None):
        spelled = [" ".join(map(style.tokenizer.backend.id_to_token, tail)) for tail in one.tails]
        assert spelled == TAILS[name]


@pytest.mark.parametrize("sizes", [MeshConfig(8, 1, 1), MeshConfig(2, 2, 2)])
def test_eight_devices_and_other_batches_give_the_same(model, sizes):
    style = STYLES["only true in one"]()
    eight = score(style, *model, ROWS, sizes, tokens=512)
    np.testing.assert_allclose(eight, score(style, *model, ROWS), atol=1e-5)


def test_the_built_in_world_tells_of_the_same_form():
    row = ROWS[0]
    told = P_TRUE_FORM.format(question=row.question, answer=row.answers[0], verdict="A")
    assert told == p_true.form(row) + " (A)"


def test_a_tokenizer_without_the_letters_is_refused():
    backend = tokenizers.Tokenizer(models.BPE({"<unk>": 0, "(": 1, ")": 2, "▁": 3}, [], unk_token="<unk>"))
    backend.decoder = decoders.Metaspace()
    style = Qa(Tokenizer({"tokenizer.json": backend.to_str().encode()}))
    with pytest.raises(InputError, match="cannot write .* annotate.p_true"):
        p_true.tokenise(style, ROWS, PrefixTable(), None)


def test_a_prompt_that_the_model_cannot_hold_is_refused():
    with pytest.raises(InputError, match="row '0': .* max_position_embeddings=20; .* annotate.p_true"):
        p_true.tokenise(STYLES["a letter"](), ROWS, PrefixTable(), 20)
