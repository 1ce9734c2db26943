"""`slick evaluate`: of a Hugging Face folder and of training checkpoints, with the categories of a run."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from slick_jax.config import EvaluateConfig
from slick_jax.data.examples import read_rows
from slick_jax.errors import InputError
from slick_jax.training import evaluate, train
from tests.data.chat_templates import AS_FINE_TUNING
from tests.training.fine_tuning import config_for, make_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The config of a finished run, all of its checkpoints kept."""
    folder = make_folder(tmp_path_factory.mktemp("tiny"))
    config = config_for(folder, tmp_path_factory.mktemp("run"), keep_every=1)
    train.run(config)
    return config


def evaluated(config, checkpoint, splits=("train", "dev")):
    return evaluate.run(dataclasses.replace(config, evaluate=EvaluateConfig(str(checkpoint), splits)))


def run_of(config):
    return evaluate.epath.Path(config.run_dir) / "train" / "mixed" / "seed-0"


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_checkpoint_answers_as_it_did_in_training(trained, epoch, capsys):
    lines = [json.loads(line) for line in (run_of(trained) / "metrics.jsonl").read_text().splitlines()]
    found = evaluated(trained, run_of(trained) / "checkpoints" / str(6 * epoch), ("dev",))
    assert found["dev"] == lines[epoch - 1]["dev"]
    assert "dev" in capsys.readouterr().out


def test_a_chat_template_of_the_same_texts_gives_the_same_answers(trained, tmp_path):
    shutil.copytree(trained.model.path, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(AS_FINE_TUNING)
    plain = evaluated(trained, tmp_path / "model")
    chat = dataclasses.replace(trained, annotate=dataclasses.replace(trained.annotate, prompt_style="chat"))
    assert evaluated(chat, tmp_path / "model") == plain
    with pytest.raises(InputError, match="no chat template"):
        evaluated(chat, trained.model.path)


def test_without_a_step_it_is_the_newest_one(trained):
    folder = run_of(trained) / "checkpoints"
    assert evaluated(trained, folder, ("dev",)) == evaluated(trained, folder / "24", ("dev",))
    with pytest.raises(InputError, match="no checkpoint of step 5 there; there are 6, 12, 18, 24"):
        evaluated(trained, folder / "5", ("dev",))


def test_a_model_folder_with_the_categories_of_the_run(trained, tmp_path):
    rows = read_rows(trained.data.path, "train")
    categories = ["Unknown" if place % 3 else "HighlyKnown" for place in range(len(rows))]
    annotations = {
        "id": [r.id for r in rows], "question": [r.question for r in rows], "category": categories, "protocol": "p",
        "strict_category": "WeaklyKnown",
    }  # fmt: skip
    pd.DataFrame(annotations).to_parquet(tmp_path / "annotations.parquet")
    config = dataclasses.replace(trained, run_dir=str(tmp_path))
    found = evaluated(config, "")
    assert {name: rate["n"] for name, rate in found["train"]["by_category"].items()} == {
        name: categories.count(name) for name in ("HighlyKnown", "Unknown")
    }
    assert found["dev"]["by_category"] == {}
    (path,) = (tmp_path / "evaluations").glob("*.parquet")
    assert json.loads(path.with_suffix(".json").read_text())["prompt_style"] == "qa"
    table = pq.read_table(path).to_pandas()
    assert json.loads(path.with_suffix(".json").read_text())["splits"] == found
    for split in ("train", "dev"):
        assert found[split]["em"] == pytest.approx(np.mean(table[table.split == split].hit))

    evaluated(config, "", ("dev",))  # another evaluation, which leaves that one as it is
    assert json.loads(path.with_suffix(".json").read_text())["splits"] == found
    assert len(list((tmp_path / "evaluations").glob("*.json"))) == 2

    strict = dataclasses.replace(config, mix=dataclasses.replace(config.mix, rule="strict_"))
    assert {name: rate["n"] for name, rate in evaluated(strict, "")["train"]["by_category"].items()} == {
        "WeaklyKnown": len(rows)
    }

    annotations["question"][1] = "Another question?"
    pd.DataFrame(annotations).to_parquet(tmp_path / "annotations.parquet")
    with pytest.raises(InputError, match=f"1 of its ids stand for other questions .*{rows[1].id}"):
        evaluated(config, "")


def test_a_model_of_the_hub_is_named_by_its_commit_wherever_its_cache_is(trained, tmp_path, monkeypatch):
    source, told = f"org/name@{'0' * 40}", []
    for place in ("one", "other"):
        shutil.copytree(trained.model.path, tmp_path / place / "snapshot")
        monkeypatch.chdir(tmp_path / place)
        model = dataclasses.replace(trained.model, path=str(tmp_path / place / "snapshot"), source=source)
        evaluated(dataclasses.replace(trained, run_dir=str(tmp_path / place), model=model), "", ("dev",))
        (path,) = (tmp_path / place / "evaluations").glob("*.json")
        told.append((path.name, json.loads(path.read_text())))
    assert told[0] == told[1]
    assert told[0][0].startswith("org_name@0000") and told[0][1]["checkpoint"] == source


def test_splits_that_are_not_there(trained):
    with pytest.raises(InputError, match="the data has no test, ood_test; choose from train, dev"):
        evaluated(trained, "", ("dev", "test", "ood_test"))
    assert list(evaluated(trained, "", ())) == ["dev"]  # the held-out splits that there are
    alone = dataclasses.replace(trained, data=dataclasses.replace(trained.data, dev_path=""))
    with pytest.raises(InputError, match="the data has no dev, test or ood_test; name the splits to ask"):
        evaluated(alone, "", ())


def test_a_limit_leaves_dev_whole(trained):
    limited = dataclasses.replace(trained, data=dataclasses.replace(trained.data, limit=3))
    assert {name: rate["n"] for name, rate in evaluated(limited, "").items()} == {
        "train": 3, "dev": len(read_rows(trained.data.dev_path, "dev")),
    }  # fmt: skip


def test_relations_may_be_called_like_lines_of_the_table():
    rates = {"em": 0.5, "n": 4, "by_category": {"Unknown": {"em": 0.25, "n": 2}}}
    rates["by_relation"] = {"questions": {"em": 1.0, "n": 1}, "Unknown": {"em": 0.0, "n": 1}}
    lines = [line.split() for line in evaluate.table({"dev": rates}).splitlines()[1:]]
    assert lines == [
        ["questions", "4.0"],
        ["exact", "match", "50.0"],
        ["Unknown", "25.0"],
        ["Unknown", "0.0"],
        ["questions", "100.0"],
    ]
