"""What is trained on and asked in training: mixtures by name, the user's own files, recipes not mixed yet, epochs."""

import dataclasses
import gzip
import json

import pytest

from slick_jax.config import Config, MixConfig, StudyConfig, TrainConfig
from slick_jax.data.examples import Example
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge.preparation import AskedRows
from slick_jax.planning.mixed import mixtures_of
from slick_jax.planning.rows import training_rows
from slick_jax.settings.plan import PlanConfig
from tests.planning.test_annotating import QUESTIONS


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"prompt": f"Q: who {n}?\nA:", "completion": f"name {n}"} | row for n, row in enumerate(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture
def run_dir(tmp_path):
    """Mixtures of 90 and 10 rows."""
    sizes = {"big": 90, "small": 10}
    for name, size in sizes.items():
        write(tmp_path / "mixtures" / f"{name}.jsonl", *[{}] * size)
    manifest = {"variants": {name: {"n": size} for name, size in sizes.items()}}
    (tmp_path / "mixtures" / "manifest.json").write_text(json.dumps(manifest))
    return str(tmp_path)


def rows_of(run_dir="", questions=QUESTIONS, mix=None, **train):
    return training_rows(Config(run_dir, train=TrainConfig(batch_size=8, **train), mix=mix or MixConfig()), questions)


def test_the_named_mixtures_count(run_dir):
    every = rows_of(run_dir)
    assert every.train.count == 90 and (every.study.count, every.variants) == (100, 2)
    assert every.study.steps == 12 + 2 and "mixtures counted" in every.train.told
    assert rows_of(run_dir, variant="small").train.count == 10
    studied = training_rows(Config(run_dir, study=StudyConfig(variants=("small",))), QUESTIONS)
    assert (studied.train.count, studied.study.count, studied.variants) == (10, 10, 1)


def test_a_mixture_of_the_users_own_counts_rows_as_often_as_they_come(tmp_path):
    """Three rows, one of them five times and one replayed: seven an epoch, and two are asked again."""
    own = write(tmp_path / "own.jsonl", {}, {"times": 5}, {"role": "replay"})
    found = rows_of(mixture=own, epochs=10, eval_test_epochs="none").train
    assert (found.count, found.steps) == (7, 1)
    assert found.asked == 10 * 2 + 2  # what is held out is not known: as many as are trained on, asked at the end
    assert "not mixed" in rows_of(mixture=str(tmp_path / "none.jsonl")).train.told


@pytest.mark.parametrize(
    ("name", "rows", "asked"),
    [("unknown_50", 400, 400), ("known_only_25", 300, 300), ("replay_50", 1200, 400), ("upweight_50", 580, 400)],
)
def test_recipes_say_how_many_rows_they_will_have(name, rows, asked):
    """REMIX replays two rows a fact, upweighting shows 5 % ten times, D_Known leaves the Unknown out."""
    config = Config(mix=MixConfig(size="400"), train=TrainConfig(variant=name))
    found = mixtures_of(config, pool=9000)
    assert (found.train.epoch, found.train.asked) == (rows, asked) and "(mix.size)" in found.told
    given = dataclasses.replace(config, plan=PlanConfig(mixture_rows=40))
    assert mixtures_of(given, pool=9000).train.epoch == rows / 10


def test_every_split_is_asked_at_its_own_epochs(run_dir):
    """Train, dev and test rows by their settings; dev and test once more at EARLY_STOP and at CONVERGENCE."""
    splits = {
        name: [Example(f"{name}{n}", f"who {n}?", ("a",), "r") for n in range(size)]
        for name, size in {"train": 90, "dev": 20, "test": 30, "ood_dev": 7}.items()
    }
    asked = dataclasses.replace(QUESTIONS, asked=AskedRows(splits, splits["train"], {}, []))
    epochs = {"eval_train_epochs": "last", "eval_dev_epochs": "1-4", "eval_test_epochs": "every 5"}
    assert rows_of(run_dir, asked, epochs=10, **epochs).train.asked == 90 + 4 * 20 + 2 * 30 + 2 * (20 + 30)
    epochs["eval_dev_epochs"] = "none"  # no EARLY_STOP
    assert rows_of(run_dir, asked, epochs=10, **epochs).train.asked == 90 + 2 * 30 + 20 + 30


def test_rows_of_a_mixture_have_the_tokens_that_training_gives_them(tmp_path, real_data):
    """Replayed text is cut at train.max_replay_tokens; the longest row and answer are those of the file."""
    text = gzip.decompress((real_data / "tokenizers" / "smollm2" / "tokenizer.json.gz").read_bytes())
    (tmp_path / "tokenizer.json").write_bytes(text)
    tokenizer = Tokenizer.from_folder(tmp_path, 49152)
    asked = dataclasses.replace(QUESTIONS, tokenizer=tokenizer)
    words = {"prompt": "", "completion": "some plain text " * 40, "role": "replay"}
    own = write(tmp_path / "own.jsonl", {}, {"completion": "a much longer answer than the others have"}, words)
    found = rows_of("", asked, mixture=own, max_replay_tokens=20).train
    longest = len(tokenizer.encode("Q: who 1?\nA: a much longer answer than the others have")) + 1
    assert found.longest == max(-(-longest // 4) * 4, 24) and found.targets == 20
