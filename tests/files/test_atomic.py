"""Files are whole or not there, and what keeps them from being written is one message."""

import os

import numpy as np
import pytest
from etils import epath
from safetensors.numpy import load_file

from slick_jax.errors import InputError
from slick_jax.files import atomic, run_folder
from slick_jax.models import hf_folder


@pytest.mark.parametrize("path_of", [lambda path: path, epath.Path])
def test_a_failed_write_leaves_what_was_there(tmp_path, path_of):
    path = path_of(tmp_path / "new" / "file")
    atomic.replace(path, lambda temporary: temporary.write_text("first"))

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"file: cannot be written \(No space left on device\); free space, or choose"):
        atomic.replace(path, fail)
    with pytest.raises(KeyboardInterrupt):
        atomic.replace(path, lambda temporary: (temporary.write_text("half"), (_ for _ in ()).throw(KeyboardInterrupt)))
    assert [file.name for file in path.parent.iterdir()] == ["file"] and path.read_text() == "first"


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / "file", []
    path.write_text("before")

    def fsync(descriptor):
        seen.append((os.pread(descriptor, 100, 0), path.read_text()))
        if len(seen) == 2:
            raise OSError(28, "No space left on device")  # network file systems tell it only then

    monkeypatch.setattr(os, "fsync", fsync)
    atomic.replace(path, lambda temporary: temporary.write_text("after"))
    assert seen == [(b"after", "before")] and path.read_text() == "after"
    with pytest.raises(InputError, match="No space left"):
        atomic.replace(path, lambda temporary: temporary.write_text("more"))
    assert path.read_text() == "after" and [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_file_where_a_folder_belongs_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out: cannot be written .*choose another folder"):
        hf_folder.start_writing(tmp_path / "out")
    with pytest.raises(InputError, match="cannot be written .*choose another run_dir"):
        run_folder.write_text(tmp_path / "out" / "x", "")


def test_tensors_that_cannot_be_written(tmp_path):
    tensors = {"a": np.arange(3.0)}
    hf_folder.write_tensors(tmp_path / "model.safetensors", tensors)
    np.testing.assert_array_equal(load_file(tmp_path / "model.safetensors")["a"], tensors["a"])
    (tmp_path / "gone").symlink_to(tmp_path / "absent" / "folder")
    with pytest.raises(InputError, match="model.safetensors: cannot be written"):
        hf_folder.write_tensors(tmp_path / "gone" / "model.safetensors", tensors)


def test_an_error_of_safetensors_is_one_of_writing(tmp_path, monkeypatch):
    from safetensors import SafetensorError, numpy

    def fail(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(numpy, "save_file", fail)
    with pytest.raises(InputError, match="model.safetensors: cannot be written .*No space left on device"):
        hf_folder.write_tensors(tmp_path / "model.safetensors", {})
