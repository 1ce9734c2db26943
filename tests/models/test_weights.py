"""Hugging Face folders: exact round trips, sharded reads, and every way a folder can be wrong."""

import json
import os
import pickle
import types

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from slick_jax.errors import InputError
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.models.weights import fingerprint, load_hf, read_spec, save_hf

SPEC = ModelSpec(64, 24, 3, 6, 2, 10, 40, attention_bias=True, mlp_bias=True)
NETWORK = Network(SPEC)


@pytest.fixture(scope="module")
def params():
    return NETWORK.init(jax.random.key(0))


@pytest.fixture
def folder(tmp_path, params):
    save_hf(tmp_path / "model", NETWORK, params, extra_config={"bos_token_id": 0, "eos_token_id": [0, 3]})
    return tmp_path / "model"


def same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


def change_tensors(folder, change):
    """Rewrites model.safetensors after `change` on its dict of arrays."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_round_trip_is_exact(folder, params):
    assert read_spec(folder) == SPEC
    same(load_hf(folder, NETWORK), params)
    assert not list(folder.glob("*.tmp*"))


def test_config_and_generation_config_name_the_token_ids(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["eos_token_id"] == [0, 3] and config["torch_dtype"] == config["dtype"] == "float32"
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [0, 3]


def test_several_files_with_an_index(tmp_path, params):
    save_hf(tmp_path, NETWORK, params, max_file_bytes=20_000)
    names = sorted(path.name for path in tmp_path.glob("model-*.safetensors"))
    assert len(names) > 2 and names[0] == f"model-00001-of-{len(names):05d}.safetensors"
    same(load_hf(tmp_path, NETWORK), params)
    (tmp_path / names[1]).unlink()
    with pytest.raises(InputError, match=names[1]):
        load_hf(tmp_path, NETWORK)
    # Saved again as one file, nothing of the old set stays behind.
    save_hf(tmp_path, NETWORK, params)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_half_precision_files(folder, params, dtype):
    change_tensors(folder, lambda tensors: tensors.update({name: x.astype(dtype) for name, x in tensors.items()}))
    loaded = load_hf(folder, NETWORK)
    same(loaded, jax.tree.map(lambda x: np.asarray(x).astype(dtype).astype(np.float32), params))
    assert load_hf(folder, NETWORK, dtype=jax.numpy.bfloat16)["final_norm"]["scale"].dtype == jax.numpy.bfloat16


@pytest.mark.parametrize("data, fsdp, tensor", [(1, 8, 1), (2, 1, 4), (2, 2, 2)])
def test_sharded_read_and_write(folder, params, data, fsdp, tensor, tmp_path):
    mesh = make_mesh(types.SimpleNamespace(data=data, fsdp=fsdp, tensor=tensor), jax.devices()[:8])
    loaded = load_hf(folder, NETWORK, mesh)
    same(loaded, params)
    up = loaded["layers"]["mlp"]["up"]["kernel"]
    assert up.addressable_shards[0].data.shape == (3, 24 // fsdp, 40 // tensor)
    save_hf(tmp_path / "again", NETWORK, loaded)
    assert (tmp_path / "again/model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_tied_models_may_repeat_the_table(tmp_path):
    network = Network(ModelSpec(64, 24, 1, 6, 2, 10, 40, tie_embeddings=True))
    params = network.init(jax.random.key(0))
    save_hf(tmp_path, network, params)
    inv_freq = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(5, np.float32)}  # so did old exports
    change_tensors(tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"], **inv_freq}))
    same(load_hf(tmp_path, network), params)


def test_tied_model_with_an_output_table_of_its_own_is_refused(tmp_path):
    network = Network(ModelSpec(64, 24, 1, 6, 2, 10, 40, tie_embeddings=True))
    save_hf(tmp_path, network, network.init(jax.random.key(0)))
    change_tensors(tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 1}))
    with pytest.raises(InputError, match="lm_head.weight.*tie_word_embeddings"):
        load_hf(tmp_path, network)


def test_missing_unexpected_and_mis_shaped_are_listed_together(folder):
    def change(tensors):
        del tensors["model.norm.weight"]
        tensors["model.layers.0.self_attn.q_norm.weight"] = np.ones(10, np.float32)
        tensors["model.layers.1.mlp.up_proj.weight"] = np.ones((24, 40), np.float32)
        tensors["lm_head.weight"] = np.ones((64, 24), np.int32)

    change_tensors(folder, change)
    with pytest.raises(InputError) as error:
        load_hf(folder, NETWORK)
    text = str(error.value)
    assert "missing: model.norm.weight (24,)" in text
    assert "unexpected: model.layers.0.self_attn.q_norm.weight (10,)" in text
    assert "mis-shaped: model.layers.1.mlp.up_proj.weight is (24, 40), config.json asks for (40, 24)" in text
    assert "lm_head.weight is of type I32" in text and str(folder) in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_numbers_are_refused_by_tensor(folder, value):
    def change(tensors):
        for name in ("model.norm.weight", "model.layers.2.mlp.up_proj.weight"):
            tensors[name] = tensors[name].copy()
            tensors[name].flat[3] = value

    change_tensors(folder, change)
    with pytest.raises(InputError) as error:
        load_hf(folder, NETWORK)
    assert "model.norm.weight" in str(error.value) and "model.layers.2.mlp.up_proj.weight" in str(error.value)
    assert "model.layers.1" not in str(error.value)


def test_pickled_weights_are_refused_and_never_opened(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="pytorch_model.bin.*safetensors"):
        load_hf(folder, NETWORK)
    assert not (tmp_path / "ran").exists()


def test_folders_that_are_no_models(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_spec(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="config.json: no such file"):
        read_spec(tmp_path / "empty")
    with pytest.raises(InputError, match="no model.safetensors"):
        load_hf(tmp_path / "empty", NETWORK)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_spec(folder)
    (folder / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_hf(folder, NETWORK)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    with pytest.raises(InputError, match="not there"):
        load_hf(folder, NETWORK)


def test_a_killed_export_leaves_no_model(folder, params, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.numpy.save_file", stop)
    with pytest.raises(KeyboardInterrupt):
        save_hf(folder, NETWORK, params)
    assert [path.name for path in folder.iterdir()] == ["generation_config.json"]
    with pytest.raises(InputError, match="config.json"):
        read_spec(folder)


def test_tokenizer_files_and_ids_come_along(folder, params, tmp_path):
    (folder / "tokenizer.json").write_text('{"a": 1}')
    save_hf(tmp_path / "tuned", NETWORK, params, tokenizer_folder=folder)
    assert (tmp_path / "tuned/tokenizer.json").read_text() == '{"a": 1}'
    assert json.loads((tmp_path / "tuned/config.json").read_text())["eos_token_id"] == [0, 3]
    assert json.loads((tmp_path / "tuned/generation_config.json").read_text())["eos_token_id"] == [0, 3]


def test_fingerprint_tells_models_apart(folder, params, tmp_path):
    first = fingerprint(folder)
    assert len(first) == 64 and first == fingerprint(folder)
    (folder / "tokenizer.json").write_text("{}")
    assert fingerprint(folder) == first
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace("10000.0", "20000.0"))
    assert fingerprint(folder) != first
    (folder / "config.json").write_text(config)
    change_tensors(folder, lambda t: t.update({"model.norm.weight": t["model.norm.weight"] * 2}))
    assert fingerprint(folder) != first


def test_fingerprint_reads_the_files_once_per_process(folder, monkeypatch):
    first = fingerprint(folder)
    with monkeypatch.context() as patched:
        patched.setattr("hashlib.sha256", None)  # any use of it would fail
        assert fingerprint(folder) == first
    path = folder / "model.safetensors"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # touched: read again, and the same
    assert fingerprint(folder) == first
