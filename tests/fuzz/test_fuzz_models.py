"""Model folders: tensors as the safetensors package reads them, and configs that mean what they say or are refused."""

import dataclasses
import json
import math

import ml_dtypes
import numpy as np
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from slick_jax.models import peft_folder, weights
from slick_jax.models.hf_folder import INDEX, open_tensors
from slick_jax.models.safetensors_file import FLOATS, TensorFile
from slick_jax.models.spec import ModelSpec, spec_from_hf, spec_to_hf
from tests.families import VARIANTS, config_of
from tests.fuzz.fuzzing import ODD_NUMBERS, attempt, changed, damaged, inputs, json_values, texts, written

TENSORS = {
    "wide": np.arange(6, dtype=np.float32).reshape(2, 3), "half": np.ones((4,), ml_dtypes.bfloat16),
    "low": np.zeros((1, 2), np.float16), "mask": np.ones((2, 2), np.bool_), "none": np.zeros((0, 3), np.float32),
}  # fmt: skip
SOUND = save(TENSORS, metadata={"format": "pt"})
_LENGTH = int.from_bytes(SOUND[:8], "little")
HEADER, DATA = json.loads(SOUND[8 : 8 + _LENGTH]), SOUND[8 + _LENGTH :]
TYPES = ("F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64", "f32", "F31", "")


@st.composite
def tensor_files(draw):
    """A file with a changed header of the right or another length, or with changed bytes."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(damaged(SOUND))
    header = json.loads(json.dumps(HEADER))
    for _ in range(draw(st.integers(0, 2))):
        entry = header.setdefault(draw(st.sampled_from(sorted(TENSORS)) | texts), {})
        if not isinstance(entry, dict):
            continue
        field = draw(st.sampled_from(("dtype", "shape", "data_offsets")))
        numbers = st.integers(0, len(DATA)) | st.sampled_from(ODD_NUMBERS)
        entry[field] = draw(st.sampled_from(TYPES) if field == "dtype" else st.lists(numbers, max_size=3))
    if kind == 1:
        header = draw(changed(header))
    text = draw(written(header)) if kind == 2 else json.dumps(header).encode("utf-8")
    text += b" " * draw(st.integers(0, 3))
    length = draw(st.just(len(text)) | st.sampled_from((0, len(text) - 1, len(text) + 1, 2**63, 2**64 - 1)))
    return length.to_bytes(8, "little") + text + DATA + draw(st.just(b"") | st.binary(max_size=4))


def _theirs(path):
    """{name: (type, shape)} and the float tensors as the safetensors package has them; None where it refuses."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            pairs = [(name, file.get_slice(name)) for name in file.keys()]  # noqa: SIM118
            told = {name: (piece.get_dtype(), tuple(piece.get_shape())) for name, piece in pairs}
            read = {name: file.get_tensor(name) for name, (kind, _) in told.items() if kind in ("F32", "F16")}
        return told, read
    except (safetensors.SafetensorError, OSError, ValueError, OverflowError, MemoryError):
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("model")


@inputs(300)
@given(tensor_files())
def test_tensor_files(folder, content):
    path = folder / "model.safetensors"
    path.write_bytes(content)
    taken, file = attempt(TensorFile, path)
    theirs = _theirs(path)
    if not taken:
        return
    assert theirs is not None or any(entry.dtype not in TYPES[:9] for entry in file.entries.values())
    for name, entry in file.entries.items():
        if theirs is not None:
            assert theirs[0][name] == (entry.dtype, entry.shape)
        if entry.dtype in FLOATS:
            assert math.prod(entry.shape) <= len(content)
    for name, tensor in (theirs[1] if theirs is not None else {}).items():
        np.testing.assert_array_equal(file.read(name), tensor)
    if theirs is not None:
        assert theirs[0].keys() == file.entries.keys()


@inputs(20, 0.1)
@given(st.lists(st.sampled_from(sorted(TENSORS)), unique=True), st.sampled_from(("pt", None)))
def test_what_the_library_writes_is_taken(folder, names, metadata):
    path = folder / "sound.safetensors"
    path.write_bytes(save({name: TENSORS[name] for name in names}, metadata and {"format": metadata}))
    taken, file = attempt(TensorFile, path)
    assert taken and file.entries.keys() == set(names)


_NAMES = st.sampled_from(
    ("model.safetensors", "b.safetensors", "../model.safetensors", "/etc/passwd", "a/../b.safetensors", "x.bin", "",
     "..", "a\0.safetensors", "z" * 300 + ".safetensors", "\ud800.safetensors", ".safetensors")
)  # fmt: skip


@inputs(60, 0.4)
@given(st.data())
def test_indices(folder, data):
    (folder / "model.safetensors").write_bytes(SOUND)
    (folder / "b.safetensors").write_bytes(save({data.draw(st.sampled_from(("other", "wide"))): TENSORS["wide"]}))
    index = {"metadata": {}, "weight_map": data.draw(st.dictionaries(texts, _NAMES, max_size=3))}
    content = data.draw(written(index) | changed(index).flatmap(written) | json_values.flatmap(written))
    (folder / INDEX).write_bytes(content)
    taken, found = attempt(open_tensors, folder)
    if taken:
        named = set(json.loads(content.decode("utf-8-sig"))["weight_map"].values())
        assert {file.path for file in found.values()} == {folder / name for name in named}
        assert len(found) == sum(len(TensorFile(folder / name).entries) for name in named)


FIELDS = sorted({"rope_theta", "rms_norm_eps", "layer_types"}.union(*map(config_of, VARIANTS)))


@st.composite
def model_configs(draw):
    """The config.json of a family with odd values in known fields, further fields, or changed anywhere."""
    config = dict(config_of(draw(st.sampled_from(sorted(VARIANTS)))))
    for _ in range(draw(st.integers(0, 2))):
        config[draw(st.sampled_from(FIELDS))] = draw(st.integers(1, 64) | st.sampled_from(ODD_NUMBERS) | json_values)
    return draw(changed(config)) if draw(st.booleans()) else config


@inputs(250)
@given(model_configs(), st.data())
def test_model_configs(folder, config, data):
    content = data.draw(written(config)) if data.draw(st.integers(0, 3)) == 0 else json.dumps(config).encode()
    (folder / "config.json").write_bytes(content)
    taken, spec = attempt(weights.read_spec, folder)
    if taken:
        _check_spec(spec)
        again = attempt(spec_from_hf, json.loads(json.dumps(spec_to_hf(spec), allow_nan=False)), "as written")
        assert again == (True, spec)


def _check_spec(spec: ModelSpec):
    """Sizes that can be computed with: every number finite, every size whole and positive."""
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            assert not isinstance(one, float) or math.isfinite(one), field.name
    sizes = (spec.vocab_size, spec.d_model, spec.n_layers, spec.n_heads, spec.n_kv_heads, spec.head_dim, spec.d_mlp)
    assert all(type(size) is int and 0 < size <= 2**24 for size in sizes)
    assert not spec.problems() and all(window is None or window > 0 for window in spec.windows or ())
    json.dumps(dataclasses.asdict(spec), allow_nan=False)


ADAPTERS = {
    "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": 4, "lora_alpha": 8,
    "lora_dropout": 0.0, "use_rslora": False, "target_modules": ["q_proj", "v_proj"], "bias": "none",
    "fan_in_fan_out": False, "init_lora_weights": True, "rank_pattern": {}, "alpha_pattern": {}, "revision": None,
}  # fmt: skip


@inputs(100, 0.5)
@given(st.data())
def test_adapter_configs(folder, data):
    config = data.draw(changed(ADAPTERS, most=2))
    (folder / peft_folder.CONFIG).write_bytes(data.draw(st.just(json.dumps(config).encode()) | written(config)))
    taken, lora = attempt(peft_folder.read_lora, folder, spec_from_hf(config_of("llama"), "here"))
    attempt(peft_folder.base_of, folder)
    if taken:
        assert type(lora.rank) is int and lora.rank > 0 and 0 < lora.alpha < math.inf
        assert config["r"] == lora.rank and config["lora_alpha"] == lora.alpha
