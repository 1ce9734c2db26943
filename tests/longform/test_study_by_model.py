"""A study whose claims one second checkpoint words and checks, with settings that other tests leave as they are."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slick_jax.longform import checkpoint, finetune, study
from slick_jax.longform.p_true import odds
from slick_jax.longform.reading import Reader
from slick_jax.longform.writer import Writer, Written
from slick_jax.settings.longform import ClaimsConfig, FilterConfig
from slick_jax.training import loop
from tests.longform.scripted import make_model, own_config, script


@pytest.fixture
def config(tmp_path):
    second = str(make_model(tmp_path / "second"))
    found = own_config(
        tmp_path / "run", tmp_path, arms=("GOLD", "GEN"), scorers=("logprob", "consistency"), transfer=(),
        calibration="isotonic", filter=FilterConfig(granularity="claim", match="claims", scorer="consistency"),
    )  # fmt: skip
    longform = dataclasses.replace(
        found.longform, claims=ClaimsConfig(method="model", model=second, verifier="model", verifier_model=second),
        write=dataclasses.replace(found.longform.write, rows=16, answers="sample"),
    )  # fmt: skip
    return dataclasses.replace(found, longform=longform)


@pytest.fixture
def wrote(config, monkeypatch):
    """Scripts all that models write; returns the numbers of sentences that the checkpoint was asked about."""

    def words(self, params, which):
        calls.append(len(which))
        names = [self._prompts[index].tokens for index in which]
        return [[Written("- It has mills.\n- It has inns." if len(of) % 3 else "rubbish", 9, False)] for of in names]

    def judged(self, program, rows, *columns, progress=""):
        if program is not odds:
            return real(self, program, rows, *columns, progress=progress)
        return [(np.arange(len(rows)), np.arange(len(rows)) % 3 - 0.5)]

    calls, real = [], Reader.read
    script(monkeypatch, config)
    monkeypatch.setattr(Writer, "__call__", words)
    monkeypatch.setattr(Reader, "read", judged)
    monkeypatch.setattr(loop, "train", lambda job: [{"epoch": 1, "loss": 1.0}])
    monkeypatch.setattr(loop, "note_wanted", lambda job, lines: None)
    monkeypatch.setattr(finetune.Run, "load", lambda run, network, model: {})
    return calls


def test_claims_of_a_checkpoint_from_end_to_end(config, wrote):
    page = study.run(config)
    room = Path(config.run_dir, "longform", "towns")
    outputs = pd.read_parquet(room / "generated" / "decomposed.parquet")
    assert not outputs.duplicated(["name", "words"]).any() and outputs["output"].eq("rubbish").any()
    sentences = pd.read_parquet(room / "generated" / "sentences.parquet")
    asked = set(sentences["words"])
    assert asked == set(outputs["words"])
    labels = pd.read_parquet(room / "generated" / "labels.parquet")
    by_output = outputs.set_index("words")["output"]
    for row in labels.merge(sentences, on=["text_id", "sentence"]).itertuples():
        if by_output[row.words] == "rubbish":
            assert row.claim == row.words, "the sentence names its town, and is its own claim"
        else:
            assert row.claim.split(": ")[1] in ("It has mills.", "It has inns.")
    assert not (room / "resampled" / "decomposed.parquet").exists(), "claims are looked up in them by words"
    arms = [pd.read_json(room / "arms" / f"{name}.jsonl", lines=True) for name in ("gold", "gen")]
    claims = [sum(text.count(".") for text in rows["completion"]) for rows in arms]
    assert max(claims) <= 1.05 * min(claims)
    text = Path(page).read_text()
    assert f"what {config.longform.claims.model} writes down" in text and "isotonic calibration" in text


def test_one_checkpoint_for_both_is_held_once_and_a_kill_loses_nothing(config, wrote, monkeypatch):
    folders, load = [], checkpoint.weights.load_hf
    monkeypatch.setattr(checkpoint.weights, "load_hf", lambda *args: folders.append(args[0]) or load(*args))
    whole = Writer.__call__

    def killed(self, params, which):
        if len(wrote) == 2:
            raise KeyboardInterrupt
        return whole(self, params, which)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            study.claims(config)
    before = sum(wrote)
    study.claims(config)
    room = Path(config.run_dir, "longform", "towns")
    rows = sum(len(pd.read_parquet(room / source / "decomposed.parquet")) for source in ("gold", "generated"))
    assert before > 0 and sum(wrote) == rows, "nothing is asked twice"
    assert folders.count(config.longform.claims.model) == 2, "once by each command"
