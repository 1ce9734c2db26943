"""`slick pretrain` on a tiny world: files, learning, resuming, reuse, refusals."""

import dataclasses
import json

import numpy as np
import pytest

from slick_jax.config import Config, CorpusConfig, DataConfig, ModelConfig, PretrainConfig, ShapeConfig, WorldConfig
from slick_jax.data.examples import read_rows
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.data.world import make_world
from slick_jax.errors import InputError
from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec
from slick_jax.training import pretrain
from slick_jax.training.checkpoints import load_params

WORLD = WorldConfig(facts_per_relation=40, relations=2, ood_facts_per_relation=30, ood_relations=1)
CORPUS = CorpusConfig(median_exposures=6, vocab_size=600)
SHAPE = ShapeConfig(d_model=32, n_layers=2, n_heads=2, n_kv_heads=2, head_dim=16, d_mlp=64)


def config_for(run_dir, **settings):
    training = PretrainConfig(**{"max_steps": 45, "checkpoint_every": 15, "warmup_steps": 5, **settings})
    return Config(
        run_dir=str(run_dir),
        data=DataConfig(kind="world", world=WORLD, corpus=CORPUS),
        model=ModelConfig(shape=SHAPE),
        pretrain=training,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed")
    pretrain.run(config_for(run_dir))
    return run_dir


def test_the_model_is_an_ordinary_checkpoint_folder(finished):
    spec = read_spec(finished / "model")
    assert spec == dataclasses.replace(spec, vocab_size=600, d_model=32, n_layers=2, tie_embeddings=True)
    tokenizer = Tokenizer.from_folder(finished / "model", spec.vocab_size)
    for name in ("config.json", "generation_config.json"):
        ids = json.loads((finished / "model" / name).read_text())
        assert (ids["bos_token_id"],) == (ids["eos_token_id"],) == tokenizer.eos_ids
    params = load_hf(finished / "model", Network(spec))
    same = load_params(finished / "checkpoints", Network(spec))
    np.testing.assert_array_equal(params["embedding"]["table"], same["embedding"]["table"])


def test_the_world_is_written_as_rows(finished):
    world = make_world(WORLD, CORPUS)
    for split, examples in world.splits.items():
        assert read_rows(str(finished / "world" / f"{split}.jsonl"), split) == examples
    assert json.loads((finished / "exposures.json").read_text()) == world.exposures


@pytest.mark.parametrize("killed_at", [7, 20, 45])
def test_a_killed_run_ends_with_the_same_bytes(finished, tmp_path, monkeypatch, killed_at):
    class Killed(Exception):
        pass

    report = pretrain._report

    def die(progress, per_step, config, start, stop, losses):
        report(progress, per_step, config, start, stop, losses)
        if stop >= killed_at:
            raise Killed

    monkeypatch.setattr(pretrain, "_report", die)
    with pytest.raises(Killed):
        pretrain.run(config_for(tmp_path))
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr(pretrain, "_report", report)
    pretrain.run(config_for(tmp_path))
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "model" / name).read_bytes() == (finished / "model" / name).read_bytes(), name


def test_checkpoint_interval_changes_nothing(finished, tmp_path):
    pretrain.run(config_for(tmp_path, checkpoint_every=100))
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (tmp_path, finished)]
    assert weights[0] == weights[1]


def test_a_finished_model_is_reused(finished, monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "_train", None)
    before = (finished / "model" / "model.safetensors").stat().st_mtime_ns
    assert pretrain.run(config_for(finished, checkpoint_every=7)) == finished / "model"
    assert (finished / "model" / "model.safetensors").stat().st_mtime_ns == before
    assert "using it" in capsys.readouterr().out


def test_another_config_in_the_same_folder_is_refused(finished):
    with pytest.raises(InputError, match=r"pretrain.peak_lr was 0.003, is 0.5.*choose another config.run_dir"):
        pretrain.run(config_for(finished, peak_lr=0.5))


def test_a_loss_that_is_not_finite_is_fatal_and_named(tmp_path):
    with pytest.raises(InputError, match=r"the loss is (nan|inf) at step \d+; lower config.pretrain.peak_lr"):
        pretrain.run(config_for(tmp_path, peak_lr=1e30))
    assert not (tmp_path / "model").exists()
    pretrain.run(config_for(tmp_path, max_steps=3))  # nothing was saved, so the folder is free for other settings
    assert (tmp_path / "model" / "config.json").exists()


def test_rows_of_a_step_depend_on_its_number_only():
    whole, n_steps = pretrain._order(config_for("unused", max_steps=None), 200)
    assert n_steps == 200 // 17 and len(set(whole.ravel().tolist())) == whole.size == 11 * 17
    longer, _ = pretrain._order(config_for("unused", max_steps=30), 200)
    np.testing.assert_array_equal(longer[:11], whole)
    assert longer.shape == (30, 17) and longer.max() < 200
    other, _ = pretrain._order(config_for("unused", max_steps=None, seed=1), 200)
    assert (other != whole).any()


def test_a_corpus_smaller_than_a_step_is_refused():
    with pytest.raises(InputError, match="rows_per_step is 17: lower it"):
        pretrain._order(config_for("unused"), 16)
