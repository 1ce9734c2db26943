"""`slick longform` on real prose: short biographies, a model of random weights that rambles, a verifier of another
family, as a user runs it from configs/longform_own.py."""

import json
import shutil
from pathlib import Path

import jax
import pandas as pd
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from slick_jax.longform import verifier
from slick_jax.longform.arms import BASE
from slick_jax.longform.bm25 import passages_of, words
from slick_jax.longform.sentences import is_complete, sentences
from slick_jax.main import main
from slick_jax.models.spec import spec_from_hf
from slick_jax.models.transformer import Network
from slick_jax.models.weights import save_hf
from tests.analysis.test_report import Page
from tests.families import config_of

ROWS = [json.loads(line) for line in Path(__file__).with_name("biographies.jsonl").read_text().splitlines()]
REFERENCES = {row["entity"]: row["reference"] for row in ROWS}
USED, VOCABULARY, MOST = 40, 600, 96  # biographies, tokens, tokens of a text
ARMS = ("GOLD", "GEN+GOLD", "GEN+SELF")
BY_HAND = {  # sentences, counted by eye, of biographies that are hard to split
    "Marie Curie": 6, "Ada Lovelace": 6, "Albert Einstein": 7, "Galileo Galilei": 7, "Rosalind Franklin": 6,
    "Michael Faraday": 6, "Gregor Mendel": 6, "Alan Turing": 7, "Dmitri Mendeleev": 6, "Sigmund Freud": 6,
    "Richard Feynman": 7, "Jane Austen": 6, "Charles Dickens": 7, "Virginia Woolf": 6, "Emily Dickinson": 6,
    "Edgar Allan Poe": 6, "J. R. R. Tolkien": 7, "Wolfgang Amadeus Mozart": 7, "Clara Schumann": 6,
    "Pyotr Ilyich Tchaikovsky": 5, "Igor Stravinsky": 7, "Frida Kahlo": 8, "Amelia Earhart": 6, "Yuri Gagarin": 6,
    "Ernest Shackleton": 7, "Abraham Lincoln": 7, "Mahatma Gandhi": 6,
}  # fmt: skip


def make_model(folder, family, scale, layers=2):
    """Random weights of a family, with a tokenizer of the biographies in which many tokens end a sentence."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<s>", "</s>"], max_token_length=24, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    backend.train_from_iterator(REFERENCES.values(), trainer)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(backend.to_str())
    named = {"eos_token": "</s>", "bos_token": "<s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    sizes = {"vocab_size": VOCABULARY, "max_position_embeddings": 4096, "num_hidden_layers": layers}
    config = config_of(family) | sizes
    network = Network(spec_from_hf(config, family), scan_layers=False)
    params = jax.tree.map(lambda weight: scale * weight if weight.ndim > 1 else weight, network.init(jax.random.key(1)))
    save_hf(folder, network, params, tokenizer_folder=folder, extra_config={"bos_token_id": 0, "eos_token_id": 1})
    return str(folder)


@pytest.fixture(scope="module")
def command(root, tmp_path_factory):
    """Runs a stage in a run folder: (stage, run folder, further overrides) -> exit status."""
    folder = tmp_path_factory.mktemp("biographies")
    path = folder / "biographies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:USED]))
    settings = {
        "model.path": make_model(folder / "gemma", "gemma2", 4.0), "model.dtype": "float32",
        "model.scan_layers": False, "longform.own.paths": path, "longform.own.shares": (0.3, 0.3, 0.2, 0.2),
        "longform.arms": ",".join(ARMS), "longform.write.max_tokens": MOST,
        "longform.claims.verifier_model": make_model(folder / "qwen", "qwen3", 4.0, layers=1),
        "longform.claims.passages": 1, "longform.draws": 100, "longform.scorers": "probe,logprob",
        "longform.filter.rule": "share", "train.epochs": 1, "train.batch_size": 8, "train.lora.rank": 2,
    }  # fmt: skip

    def run(stage, run_dir, *more):
        given = [f"--config.{name}={value}" for name, value in settings.items()]
        return main([stage, f"--config={root}/configs/longform_own.py", *given, f"--config.run_dir={run_dir}", *more])

    return run


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    """(run folder of a whole study, what the verifier was shown: (entity, passages, claim) each)."""
    folder, shown = tmp_path_factory.mktemp("study"), []
    real = verifier.prompt_of

    def spied(style, name, passages, claim):
        shown.append((name, tuple(passages), claim))
        return real(style, name, passages, claim)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifier, "prompt_of", spied)
        assert command("longform", folder) == 0
    return folder / "longform", shown


def table(folder, *parts):
    return pd.read_parquet(Path(folder, "biographies", *parts).with_suffix(".parquet"))


def cut_off(folder):
    """The unfinished last sentences of the model's own texts that hit the token limit, by text."""
    texts, told = table(folder, "generated", "texts"), table(folder, "generated", "sentences")
    last = told.groupby("text_id")["words"].last()
    own = last[last.index.isin(set(texts.loc[texts["truncated"], "id"]))]
    return own[~own.map(is_complete).astype(bool)].to_dict()


def test_biographies_have_the_sentences_that_a_reader_counts(finished):
    assert {name: len(sentences(REFERENCES[name])) for name in BY_HAND} == BY_HAND
    found = table(finished[0], "gold", "sentences").groupby("text_id").size()
    told = {name.removeprefix("biographies/").removesuffix("/gold/0"): n for name, n in found.items()}
    known = set(told) & set(BY_HAND)
    assert len(known) > 6 and {name: told[name] for name in known} == {name: BY_HAND[name] for name in known}


def test_every_test_entity_has_an_answer_of_every_arm_and_no_entity_two_splits(finished):
    entities, answers = table(finished[0], "entities"), pd.read_parquet(finished[0] / "answers.parquet")
    assert entities["name"].is_unique and set(entities["name"]) == {row["entity"] for row in ROWS[:USED]}
    assert entities.groupby("split").size().to_dict() == {"probe": 12, "train": 12, "dev": 8, "test": 8}
    test = set(entities.loc[entities["split"] == "test", "id"])
    asked = answers.groupby("arm")["entity"].agg(list)
    assert set(asked.index) == {BASE, *ARMS} and all(sorted(of) == sorted(test) for of in asked)


def test_the_verifier_reads_the_passage_that_a_claim_is_from(finished):
    folder, shown = finished
    assert all(len(passages) == 1 and passages[0] in passages_of(REFERENCES[name]) for name, passages, _ in shown)
    made = table(folder, "gold", "claims")
    gold = set(zip(made["entity"].str.removeprefix("biographies/"), made["claim"], strict=True))
    told = [one for one in shown if (one[0], one[2]) in gold]
    assert len(told) == len(gold)
    for name, (passage,), claim in told:
        assert claim.removeprefix(f"{name}: ") in passage
    chosen = [name for name, (passage,), _ in told if passage != passages_of(REFERENCES[name])[0]]
    assert len(chosen) > 6, "of references with more than one passage, the later ones are read, too"
    for name, (passage,), claim in shown:
        most = max(len(set(words(claim)) & set(words(one))) for one in passages_of(REFERENCES[name]))
        assert most == 0 or set(words(claim)) & set(words(passage))


def test_arms_are_equally_long_and_hold_no_sentence_that_the_limit_cut(finished):
    folder = finished[0] / "biographies"
    rows = {path.stem: [json.loads(line) for line in path.read_text().splitlines()]
            for path in (folder / "arms").glob("*.jsonl")}  # fmt: skip
    backend = tokenizers.Tokenizer.from_file(str(next(folder.glob("train/gold/*/checkpoints/tokenizer.json"))))
    sizes = {arm: sum(len(backend.encode(row["completion"]).ids) for row in of) for arm, of in rows.items()}
    assert set(sizes) == {"gold", "gen_gold", "gen_self"} and max(sizes.values()) <= 1.05 * min(sizes.values())
    cut = cut_off(finished[0])
    assert not any(row["completion"].endswith(cut.get(row["id"], "\0")) for of in rows.values() for row in of)
    splits = table(finished[0], "entities").set_index("id")["split"]
    assert {splits[row["entity"]] for of in rows.values() for row in of} == {"train"}


def test_the_page_names_the_fallback_the_verifier_and_what_was_cut(finished):
    page = Page((finished[0] / "report" / "index.html").read_text())
    assert "the fallback where neither a grammar nor a second checkpoint is used" in page.text
    assert "qwen, shown 1 passages (BM25)" in page.text and "not valid by its own checks" in page.text
    skipped = pd.read_csv(finished[0] / "tables" / "skipped.csv").set_index("what")["n"]
    texts, cut = table(finished[0], "generated", "texts"), cut_off(finished[0])
    assert texts["truncated"].sum() > 5 and len(cut) > 5
    assert skipped["the model's own texts: texts cut at the token limit"] == texts["truncated"].sum()
    assert skipped["the model's own texts: unfinished last sentences"] == len(cut)


def test_a_filter_that_keeps_nothing_ends_in_an_error(command, finished, tmp_path, capsys):
    shutil.copytree(finished[0], tmp_path / "longform", ignore=shutil.ignore_patterns("arms", "train", "answers"))
    strict = ("--config.longform.filter.rule=threshold", "--config.longform.filter.threshold=1.0")
    assert command("longform-arms", tmp_path, *strict) == 2
    assert "no prompt has a text in every arm (of 12 train entities, by arm: GOLD 12, " in capsys.readouterr().err
