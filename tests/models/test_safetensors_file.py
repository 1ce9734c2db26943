"""Byte ranges of safetensors files against the library that wrote them."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from slick_jax.errors import InputError
from slick_jax.models.safetensors_file import TensorFile


@pytest.fixture
def written(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "wide": rng.standard_normal((7, 5)).astype(np.float32),
        "half": rng.standard_normal((4, 3)).astype(ml_dtypes.bfloat16),
        "flat": rng.standard_normal(6).astype(np.float16),
        "mask": np.ones((2, 2), np.bool_),
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors", tensors


def test_rows_are_read_from_their_own_bytes(written):
    path, tensors = written
    file = TensorFile(path)
    assert {name: (entry.shape, entry.dtype) for name, entry in file.entries.items()} == {
        "wide": ((7, 5), "F32"), "half": ((4, 3), "BF16"), "flat": ((6,), "F16"), "mask": ((2, 2), "BOOL"),
    }  # fmt: skip
    for name in ("wide", "half", "flat"):
        np.testing.assert_array_equal(file.read(name), tensors[name])
        np.testing.assert_array_equal(file.read(name, slice(1, 3)), tensors[name][1:3])


def test_a_file_that_is_cut_short_is_refused(written):
    path, _ = written
    data = path.read_bytes()
    for kept in (0, 5, 40, len(data) - 1):
        path.write_bytes(data[:kept])
        with pytest.raises(InputError, match="cannot be read as safetensors"):
            TensorFile(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [2]},
        ["F32"],
    ],
)
def test_headers_that_lie_are_refused(tmp_path, entry):
    header = json.dumps({"x": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        TensorFile(path)
