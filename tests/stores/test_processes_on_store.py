"""Processes that share a run folder on a store, as launch/local.sh starts them, and what one writes on a disk."""

import json
import subprocess
import sys

import pandas as pd
from etils import epath

from tests.knowledge.test_annotate import assert_same, environment
from tests.training.fine_tuning import make_folder

ENDS_WITHIN = 300  # seconds


def test_two_processes_annotate_on_a_store_as_one_does_on_a_disk(root, tmp_path, bucket):
    tiny = make_folder(tmp_path)
    words = [
        "launch/local.sh", "annotate", f"--config={root}/tests/small_world.py", f"--config.model.path={tiny}/model",
        "--config.data.kind=rows", f"--config.data.path={tiny}/rows.jsonl", f"--config.data.dev_path={tiny}/dev.jsonl",
        "--config.data.limit=16", "--config.annotate.part_size=8", "--config.annotate.n_exemplars=1",
        "--config.annotate.n_exemplar_sets=3",
    ]  # fmt: skip
    found = []
    for count, folder in (("1", tmp_path / "run"), ("2", epath.Path(bucket))):
        settings = environment(1) | {"PROCESSES": count, "SLICK": f"{sys.executable} -m slick_jax.main"}
        done = subprocess.run(
            [*words, f"--config.run_dir={folder}"], cwd=root, env=settings, capture_output=True, text=True,
            timeout=ENDS_WITHIN, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with (folder / "annotations.parquet").open("rb") as file:
            found.append(pd.read_parquet(file))
    assert_same(*found)
    assert json.loads((folder / "summary.json").read_text())["questions"] == 16
    assert not (folder / "processes").exists()
