"""Random weights in a named shape, made on the device: python benchmarks/random_weights.py job.json out.json

Job: shape ('llama3-8b', 'smollm2' or 'tiny'), dtype, out (the Hugging Face folder). The result names the device.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
from shapes import SHAPES, random_model


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    random_model(Path(job["out"]), SHAPES[job["shape"]], job["dtype"])
    device = jax.devices()[0]
    found = {"device": device.device_kind, "torch_device": "cuda" if device.platform == "gpu" else "cpu"}
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
