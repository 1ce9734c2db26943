"""chromium.sh finds a browser, installs one where it may, and else says what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("chromium.sh")


@pytest.fixture
def place(tmp_path):
    """A folder for PATH with a shell, and `put` for more commands: (name, lines)."""
    for name in ("bash", "env", "chmod"):
        (tmp_path / name).symlink_to(shutil.which(name))

    def put(name, lines):
        (tmp_path / name).write_text(f"#!{shutil.which('bash')}\n{lines}\n")
        (tmp_path / name).chmod(0o755)

    return tmp_path, put


def run(folder, **environment):
    return subprocess.run(
        [shutil.which("bash"), SCRIPT], env={"PATH": str(folder), **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_the_one_that_is_there_is_named_and_nothing_installed(place):
    folder, put = place
    put("apt-get", "exit 9")
    put("chromium", "")
    assert run(folder).stdout == f"{folder / 'chromium'}\n"
    put("mine", "")
    assert run(folder, CHROMIUM=str(folder / "mine")).stdout == f"{folder / 'mine'}\n"


def test_root_gets_the_distributions(place):
    folder, put = place
    put("id", "echo 0")
    put("apt-get", f'echo "$@"; [ "$1" = update ] || {{ echo > {folder}/chromium; chmod +x {folder}/chromium; }}')
    done = run(folder)
    assert done.returncode == 0 and done.stdout == f"{folder / 'chromium'}\n"
    assert "install -y" in done.stderr


@pytest.mark.parametrize("installs", ["exit 1", ""])
def test_a_failed_installation_is_a_failure(place, installs):
    folder, put = place
    put("id", "echo 0")
    put("apt-get", installs)
    done = run(folder)
    assert done.returncode != 0 and done.stdout == ""


def test_others_are_told_what_to_do(place):
    folder, put = place
    put("id", "echo 1000")
    done = run(folder)
    assert done.returncode == 1 and "apt-get install chromium" in done.stderr and "CHROMIUM" in done.stderr


def test_shellcheck_finds_nothing():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, SCRIPT], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
