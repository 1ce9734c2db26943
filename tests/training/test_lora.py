"""Training of adapters: the step, what is saved, exact resuming, meshes, and the ways out of a checkpoint."""

import dataclasses
import json
import os
import random
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slick_jax.config import Config, EvaluateConfig, ExportConfig, LoraConfig, MeshConfig, TrainConfig
from slick_jax.errors import InputError, Stopped
from slick_jax.mesh import make_mesh
from slick_jax.models.lora import LoraSpec, resolve
from slick_jax.models.peft_folder import base_of
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.models.weights import fingerprint, load_hf, read_spec
from slick_jax.settings.rules import problems
from slick_jax.training import evaluate, export, loop, train
from slick_jax.training.adapters import origin_of
from slick_jax.training.checkpoints import Checkpoints
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, abstract_state, init_state, mean_loss, train_step
from tests.training.fine_tuning import config_for, make_folder
from tests.training.test_loop import RUN, Killed, interrupt, job_of, kill, lines_of, steps_losses

LORA = LoraConfig(rank=4, alpha=8.0, dropout=0.1)
SPEC = ModelSpec(vocab_size=48, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_mlp=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("tiny"))


def lora_config(folder, run_dir, **settings):
    return config_for(folder, run_dir, **{"lora": LORA, "peak_lr": 3e-2, "dropout": 0.0, **settings})


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """The config and folder of an undisturbed run, all of its checkpoints kept."""
    config = lora_config(folder, tmp_path_factory.mktemp("undisturbed"), keep_every=1)
    return config, os.fspath(train.run(config))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    tokens, weights = rng.integers(0, 48, (8, 7)), rng.choice([0.0, 0.5, 1.0], (8, 6))
    return Rows(jnp.asarray(tokens[:, :-1]), jnp.asarray(tokens[:, 1:]), jnp.asarray(weights, jnp.float32))


def load_state(run):
    network = Network(read_spec(f"{run}/checkpoints"), lora=origin_of(f"{run}/checkpoints").lora)
    with Checkpoints(f"{run}/checkpoints") as checkpoints:
        return checkpoints.load(abstract_state(network, make_optimizer(TrainConfig(), 1, network.decay_mask())))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_steps_are_those_of_the_dense_model(rows, accumulate):
    """W + s A B built by hand and differentiated in A and B, then optax's AdamW, against adapters beside a base."""
    network = Network(SPEC, lora=resolve(SPEC, LoraSpec(3, 2.0, ("q_proj", "o_proj", "down_proj")), "here"))
    base = Network(SPEC).init(jax.random.key(0))
    plain = optax.adamw(1e-2, b2=0.999, eps=1e-6, weight_decay=0.1)
    optimizer = make_optimizer(TrainConfig(peak_lr=1e-2, eps=1e-6, weight_decay=0.1, clip_norm=0.0), 9,
                               network.decay_mask())  # fmt: skip
    state = init_state(network, optimizer, jax.random.key(1))
    params, plain_state = state.params, jax.jit(plain.init)(state.params)

    def dense_loss(adapters):
        whole = jax.tree.map(lambda leaf: leaf, base)
        for part, name, how in (("attention", "q", "ldr,lrnh->ldnh"), ("attention", "o", "lnhr,lrd->lnhd"),
                                ("mlp", "down", "lfr,lrd->lfd")):  # fmt: skip
            factors = adapters["layers"][part][name]["lora"]
            whole["layers"][part][name]["kernel"] += 2 / 3 * jnp.einsum(how, factors["a"], factors["b"])
        return mean_loss(Network(SPEC), whole, rows)

    step = jax.jit(lambda s, f: train_step(network, optimizer, s, rows, accumulate=accumulate, frozen=f))

    @jax.jit
    def dense(params, plain_state):
        loss, gradients = jax.value_and_grad(dense_loss)(params)
        updates, plain_state = plain.update(gradients, plain_state, params)
        return optax.apply_updates(params, updates), plain_state, loss, optax.tree.norm(gradients)

    for _ in range(4):
        state, measured = step(state, base)
        params, plain_state, loss, norm = dense(params, plain_state)
        assert float(measured.loss) == pytest.approx(float(loss), rel=1e-5)
        assert float(measured.gradient_norm) == pytest.approx(float(norm), rel=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), state.params, params)


def test_dropout_hangs_on_the_step_number(rows):
    network = Network(SPEC, lora=resolve(SPEC, LoraSpec(3, 2.0, (), dropout=0.5), "here"))
    optimizer = make_optimizer(TrainConfig(), 9, network.decay_mask())
    state, base = init_state(network, optimizer, jax.random.key(1)), Network(SPEC).init(jax.random.key(0))
    state = state._replace(params=jax.tree.map(lambda leaf: leaf + np.float32(0.1), jax.device_get(state.params)))
    step = jax.jit(lambda s: train_step(network, optimizer, s, rows, rng=jax.random.key(5), frozen=base)[1].loss)
    first, again, other = (float(step(state._replace(step=jnp.int32(n)))) for n in (3, 3, 4))
    assert first == again != other


def test_only_adapters_are_trained_and_saved(folder, finished):
    _, run = finished
    lines, state = lines_of(train.epath.Path(run)), load_state(run)
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    sizes = {"q": 32 * 4 + 4 * 32, "k": 32 * 4 + 4 * 16, "v": 32 * 4 + 4 * 16, "o": 32 * 4 + 4 * 32}
    wanted = 2 * (sum(sizes.values()) + 3 * (32 * 4 + 4 * 64))
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == wanted
    assert len(jax.tree.leaves(state.params)) == 14
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
    assert len(moments) == 28 and sum(leaf.nbytes for leaf in moments) == 2 * 4 * wanted
    assert {leaf.dtype for leaf in moments} == {jnp.dtype("float32")}
    origin = origin_of(f"{run}/checkpoints")
    assert (origin.base, origin.fingerprint) == (str(folder / "model"), fingerprint(folder / "model"))


def test_killed_and_stopped_a_run_ends_alike(folder, finished, tmp_path, monkeypatch):
    config = lora_config(folder, tmp_path, keep_every=1)
    for at, act, raised in ((8, lambda: os.kill(os.getpid(), signal.SIGTERM), Stopped), (17, kill, Killed)):
        at += random.randrange(3)
        print("interrupted at step", at)
        with monkeypatch.context() as patch:
            interrupt(patch, at, act)
            with pytest.raises(raised):
                train.run(config)
    train.run(config)
    for name in ("metrics.jsonl", "fit.parquet", "result.json"):
        assert (tmp_path / RUN / name).read_bytes() == train.epath.Path(finished[1], name).read_bytes(), name
    jax.tree.map(np.testing.assert_array_equal, load_state(tmp_path / RUN), load_state(finished[1]))


def test_every_way_out_of_a_checkpoint_answers_alike(folder, finished, tmp_path):
    """The step's folder, the merged export and the adapter export are asked what the run itself was asked."""
    config, run = finished
    expected = lines_of(train.epath.Path(run))[1]["dev"]
    step = f"{run}/checkpoints/12"
    for kind in ("merged", "adapter"):
        export.run(dataclasses.replace(config, export=ExportConfig(step, str(tmp_path / kind), kind)))
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        folder / "model"
    )
    for checkpoint in (step, tmp_path / "merged", tmp_path / "adapter"):
        asked = dataclasses.replace(config, run_dir="", evaluate=EvaluateConfig(str(checkpoint), ("dev",)))
        assert evaluate.run(asked)["dev"] == expected, checkpoint


def test_the_base_is_looked_for_and_must_be_the_same(folder, tmp_path):
    shutil.copytree(folder / "model", tmp_path / "model")
    config = lora_config(folder, tmp_path / "run", epochs=1)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, path=str(tmp_path / "model")))
    train.run(config)
    shutil.move(tmp_path / "model", tmp_path / "moved")
    checkpoint = str(tmp_path / "run" / RUN / "checkpoints")

    def exported(model, kind="merged"):
        config = Config(export=ExportConfig(checkpoint, str(tmp_path / "out"), kind))
        export.run(dataclasses.replace(config, model=dataclasses.replace(config.model, path=model)))

    with pytest.raises(InputError, match="the adapters need the model .* no such folder.* as config.model.path"):
        exported("")
    exported(str(tmp_path / "moved"))
    (tmp_path / "moved" / "config.json").write_text((tmp_path / "moved" / "config.json").read_text() + " ")
    with pytest.raises(InputError, match="moved holds another model"):
        exported(str(tmp_path / "moved"))


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    config = lora_config(folder, tmp_path_factory.mktemp("alone"), epochs=2)
    return steps_losses(config, MeshConfig(1, 1, 1), 1)


@pytest.mark.parametrize("sizes", [MeshConfig(1, 8, 1), MeshConfig(2, 2, 2)])
def test_any_mesh_gives_the_same_losses(folder, tmp_path, alone, sizes):
    losses, state = steps_losses(lora_config(folder, tmp_path, epochs=2), sizes, 8, asks=sizes.data > 1)
    assert len(losses) == 12
    np.testing.assert_allclose(losses, alone[0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), state.params, alone[1].params)
    assert not state.params["layers"]["mlp"]["gate"]["lora"]["a"].sharding.is_fully_replicated


def test_a_bfloat16_base_stays_coarse_and_adapters_fine(folder, tmp_path, alone):
    coarse = lora_config(folder, tmp_path, epochs=2, lora=dataclasses.replace(LORA, base_dtype="bfloat16"))
    losses, state = steps_losses(coarse, MeshConfig(1, 1, 1), 1)
    np.testing.assert_allclose(losses, alone[0], rtol=2e-2)
    assert losses != alone[0]
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    config = lora_config(folder, tmp_path / "other", lora=dataclasses.replace(LORA, base_dtype="bfloat16"))
    job = job_of(config, make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1]))
    full, half = (sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) for tree in (
        load_hf(job.model, job.network), loop._frozen(job)))  # fmt: skip
    assert half * 2 == full


def test_a_full_run_in_the_same_folder_keeps_no_record_and_is_exported(folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 0, kill)
        with pytest.raises(Killed):
            train.run(lora_config(folder, tmp_path, epochs=1))
    assert origin_of(tmp_path / RUN / "checkpoints")
    train.run(config_for(folder, tmp_path, epochs=1))
    assert origin_of(tmp_path / RUN / "checkpoints") is None
    config = Config(export=ExportConfig(str(tmp_path / RUN / "checkpoints"), str(tmp_path / "out"), "adapter"))
    with pytest.raises(InputError, match="is no LoRA run; leave export.lora at 'merged'"):
        export.run(config)
    export.run(dataclasses.replace(config, export=dataclasses.replace(config.export, lora="merged")))
    asked = config_for(folder, tmp_path)
    asked = dataclasses.replace(asked, run_dir="", evaluate=EvaluateConfig(str(tmp_path / "out"), ("dev",)))
    assert evaluate.run(asked)["dev"] == lines_of(tmp_path / RUN)[-1]["dev"]


def test_adapters_of_a_hub_model_name_it(folder, tmp_path):
    config = lora_config(folder, tmp_path, epochs=1)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, source="org/base@0a1b"))
    run = train.run(config)
    assert json.loads((run / "result.json").read_text())["model"] == "org/base@0a1b"
    export.run(dataclasses.replace(config, export=ExportConfig(f"{run}/checkpoints", str(tmp_path / "out"), "adapter")))
    found = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (found["base_model_name_or_path"], found["revision"]) == ("org/base", "0a1b")
    assert base_of(tmp_path / "out") == "org/base@0a1b"


def test_nothing_that_is_needed_is_written_over(folder, finished):
    config, run = finished
    for out, kind in ((f"{run}/checkpoints", "adapter"), (f"{folder}/model", "merged"), (f"{folder}/model", "adapter")):
        with pytest.raises(InputError, match="is what is exported, or its base model; give a folder of its own"):
            export.run(dataclasses.replace(config, export=ExportConfig(f"{run}/checkpoints", out, kind)))
    assert (folder / "model" / "config.json").exists()


def test_bad_input_is_refused(folder, finished, tmp_path):
    config, run = finished
    with pytest.raises(InputError, match=r"train.lora.targets: this model \(llama\) has no c_attn to adapt"):
        train.run(lora_config(folder, tmp_path, lora=dataclasses.replace(LORA, targets=("c_attn",))))
    other = dataclasses.replace(config.train, lora=dataclasses.replace(LORA, alpha=9.0))
    with pytest.raises(InputError, match=r"train.lora.alpha was 8.0, is 9.0"):
        train.run(dataclasses.replace(config, train=other))
    with pytest.raises(InputError, match=r"other settings \(.*train.lora was"):
        train.run(config_for(folder, train.epath.Path(config.run_dir), peak_lr=3e-2, dropout=0.0))
    lora = LoraConfig(rank=-1, alpha=0.0, dropout=1.0, base_dtype="int8")
    found = problems(Config(train=TrainConfig(lora=lora, remat="some"), export=ExportConfig(lora="both")))
    for name in ("train.lora.rank: -1", "train.lora.alpha: 0.0", "train.lora.dropout: 1.0", "base_dtype: 'int8'",
                 "train.remat: 'some'", "export.lora: 'both'"):  # fmt: skip
        assert any(name in line for line in found), name
    assert problems(Config(train=TrainConfig(lora=LoraConfig(targets=("q_proj",))))) == [
        "config.train.lora.rank: 0, which is no LoRA, although lora.targets is set; give a rank such as 16"
    ]
