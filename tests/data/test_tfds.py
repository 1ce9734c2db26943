"""TFDS data sets: every row comes back, through TFDS, Grain and as examples, and TensorFlow is never imported."""

import http.server
import json
import subprocess
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

import grain
import pytest

from slick_jax.config import DataConfig
from slick_jax.data.entity_questions import builder as builders
from slick_jax.data.entity_questions.preparation import prepare
from slick_jax.data.entity_questions.relations import TEMPLATES
from slick_jax.data.examples import Example, load_splits
from slick_jax.data.tfds_rows import ExampleSource, SlickRows, read_tfds, write_tfds
from slick_jax.errors import InputError
from slick_jax.main import main

OWN = {
    "train": [
        Example("né-1", "Où est né “Zoë”?", ("Åbo", "Turku"), "born", "Zoë"),
        Example("2", "What is 1 + 1?", ("2",)),
    ],
    "dev": [Example("3", "What is 1 + 2?", ("3",), split="dev")],
    "test": [],
}
KEPT = {name: rows for name, rows in OWN.items() if rows}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Folder of a small EntityQuestions: four rows of every relation and split, one of them with two answers."""
    folder = tmp_path_factory.mktemp("source")
    for split in ("train", "dev", "test"):
        for relation, (before, after) in TEMPLATES.items():
            answers = [["ä 0"], ["b 1"], ["c 2"], ["d", "e"]]
            rows = [{"question": f"{before}{split} Ö{i}{after}", "answers": a} for i, a in enumerate(answers)]
            (folder / f"{relation}.{split}.json").write_text(json.dumps(rows))
    return folder


# Run apart: other tests may have imported modules that hide what the builder needs.
BUILD = """
import sys
import tensorflow_datasets as tfds
import slick_jax.data.entity_questions.builder
builder = tfds.builder("entity_questions", path=sys.argv[1], data_dir=sys.argv[2])
builder.download_and_prepare()
ids = {name: [record["id"].decode() for record in builder.as_data_source(name)] for name in builder.info.splits}
from slick_jax.data import tfds_rows
rows = tfds_rows.read_tfds(builder.data_dir)
assert {name: [row.id for row in found] for name, found in rows.items()} == ids
assert not [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]
print(builder.data_dir)
"""


def test_entity_questions_without_tensorflow(source, tmp_path, root):
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(source), str(tmp_path)], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    assert folder == tmp_path / "entity_questions" / "paper" / "1.0.0"
    assert len(list(folder.glob("*.array_record-00000-of-00001"))) == 5
    expected = prepare(str(source))
    assert {name: len(rows) for name, rows in expected.items()} == {
        "train": 36, "dev": 36, "test": 36, "ood_dev": 21, "ood_test": 21,
    }  # fmt: skip
    assert read_tfds(folder) == expected
    assert load_splits(DataConfig(kind="tfds", path=str(folder))) == expected
    assert expected["train"][0] == Example(
        "P131.train.0", "Where is train Ö0 located?", ("ä 0",), "P131", "train Ö0", "train"
    )


def test_the_stricter_cut(source, tmp_path):
    builder = builders.EntityQuestions(path=str(source), data_dir=tmp_path, config="no_shared_objects")
    builder.download_and_prepare()
    assert builder.info.splits["dev"].num_examples == 36 and "train" not in builder.info.splits


def test_download(source, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    with zipfile.ZipFile(tmp_path / "site" / "dataset.zip", "w") as archive:
        for file in source.iterdir():
            archive.write(file, f"dataset/{file.suffixes[0][1:]}/{file.name}")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(builders, "URL", f"{address}/dataset.zip")
        builder = builders.EntityQuestions(data_dir=tmp_path / "data")
        builder.download_and_prepare()
        assert read_tfds(builder.data_dir) == prepare(str(source))

        monkeypatch.setattr(builders, "URL", f"{address}/gone.zip")
        with pytest.raises(InputError, match="gone.zip: cannot be downloaded .* give its place as path="):
            builders.EntityQuestions(data_dir=tmp_path / "other").download_and_prepare()
        server.shutdown()


def test_own_rows(tmp_path):
    folder = write_tfds(OWN, tmp_path)
    assert read_tfds(folder) == KEPT
    again = {"train": OWN["train"][1:]}
    assert write_tfds(again, tmp_path) == folder and read_tfds(folder) == again


def test_grain_reads_examples(tmp_path):
    rows = [Example(str(i), f"q {i}?", (f"a {i}",)) for i in range(100)]
    source = ExampleSource(write_tfds({"train": rows}, tmp_path), "train")
    assert len(source) == 100 and source[99] == source[-1] == rows[99] and list(source) == rows
    shuffled = list(grain.MapDataset.source(source).shuffle(seed=3))
    assert shuffled != rows and sorted(shuffled, key=lambda row: int(row.id)) == rows


def test_slick_data_writes_it(source, tmp_path, root, capsys):
    line = ["data", f"--config={root}/configs/entity_questions.py", f"--config.data.path={source}"]
    assert main([*line, f"--config.run_dir={tmp_path}", "--config.data.write_tfds=True"]) == 0
    folder = tmp_path / "data" / "tfds" / "slick_rows" / "1.0.0"
    assert f"TFDS data set: {folder}" in capsys.readouterr().out
    assert read_tfds(folder) == prepare(str(source))


def test_full_disk(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("write() failed: No space left on device")

    monkeypatch.setattr(SlickRows, "download_and_prepare", fail)
    with pytest.raises(InputError, match="cannot be written .*No space left on device.*free space"):
        write_tfds(OWN, tmp_path)


def test_bad_data_sets(tmp_path):
    def complaint(call) -> str:
        with pytest.raises(InputError) as caught:
            call()
        return str(caught.value)

    assert "no rows to write" in complaint(lambda: write_tfds({"train": []}, tmp_path))
    (tmp_path / "file").write_text("")
    assert "cannot be written" in complaint(lambda: write_tfds(OWN, tmp_path / "file"))
    assert "cannot be read as a TFDS data set" in complaint(lambda: read_tfds(tmp_path / "absent"))
    folder = Path(write_tfds(OWN, tmp_path))
    assert "no split 'test'; this data set has train, dev" in complaint(lambda: ExampleSource(folder, "test"))
    (file,) = folder.glob("*train.array_record*")
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], bytes(len(whole)), whole[:100] + b"damaged" + whole[107:]):
        file.write_bytes(damaged)
        assert "cannot be read as a TFDS data set" in complaint(lambda: read_tfds(folder))
    file.unlink()
    assert "cannot be read as a TFDS data set" in complaint(lambda: read_tfds(folder))
    features = json.loads((folder / "features.json").read_text())
    del features["featuresDict"]["features"]["relation"]
    (folder / "features.json").write_text(json.dumps(features))
    assert "of another form, without relation" in complaint(lambda: read_tfds(folder))
