"""Eight host devices for every test, programs compiled quickly and kept between runs, and where the real data lies."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from slick_jax.compilation import use_compilation_cache
from slick_jax.garbage import collect_rarely

GIVEN_FLAGS = os.environ.setdefault("GIVEN_XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # of all workers

# Must happen before any test imports jax. Most of the time of the tests is compilation, of what then runs briefly.
os.environ["JAX_PLATFORMS"] = "cpu"
ours = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{ours} {GIVEN_FLAGS}".strip()  # what is given behind ours wins
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")  # kept for the other workers
use_compilation_cache()

import hypothesis  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
hypothesis.settings.register_profile("slick", deadline=None)  # on a loaded machine any example may be slow
hypothesis.settings.load_profile("slick")


def pytest_collection_finish():
    """Leaves what has been imported to itself: tracing makes so many objects that Python looks at all often."""
    collect_rarely()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with entityquestions/ and tokenizers/; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("SLICK_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "entityquestions").is_dir():
        pytest.skip(f"no real data in {folder}: set SLICK_TEST_DATA to a folder with entityquestions/ and tokenizers/")
    return folder


@pytest.fixture(scope="session")
def small_model(root, tmp_path_factory) -> Path:
    """Checkpoint folder of a model pretrained on the small world (tests/small_world.py), once for all workers.

    In a process of its own, whose programs are optimised: it is hundreds of steps of one.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / "small_world", base / "small_world.pretrained"
    command = [sys.executable, "-m", "slick_jax.main", "pretrain", f"--config={root}/tests/small_world.py"]
    environment = os.environ | {"XLA_FLAGS": GIVEN_FLAGS}
    with open(base / "small_world.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            subprocess.run([*command, f"--config.run_dir={folder}"], cwd=root, env=environment, check=True)
            done.touch()
    return folder / "model"
