"""Eight host devices for every test, compiled programs kept between runs, and where the real data lies."""

import os
from pathlib import Path

from slick_jax.compilation import use_compilation_cache

# Must happen before any test imports jax.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
use_compilation_cache()

import hypothesis  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
hypothesis.settings.register_profile("slick", deadline=None)  # on a loaded machine any example may be slow
hypothesis.settings.load_profile("slick")


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
    """Checkpoint folder of a model pretrained on the small world (tests/small_world.py), once per session."""
    from slick_jax.config_file import load_config
    from slick_jax.training import pretrain

    folder = tmp_path_factory.mktemp("small_world")
    return Path(pretrain.run(load_config([f"--config={root}/tests/small_world.py", f"--config.run_dir={folder}"])))
