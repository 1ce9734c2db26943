"""Host memory and rate of loading a checkpoint of several files, against a plain read of the same files.

    python benchmarks/load_weights.py [--gigabytes=1.5] [--dtype=bfloat16]

Makes a synthetic Llama checkpoint in a temporary folder, reads its files once (so that both readings come from the
page cache), and loads it in a process of its own. Parameters live in host memory here, so what counts is the peak above
them: it has to stay under the two largest tensors. Figures go to stdout as one JSON line. Needs Linux.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LAYERS, WIDTH, HEADS, KV_HEADS, VOCABULARY = 16, 2048, 16, 8, 32000
FILE_BYTES = 400_000_000
BLOCK = 1 << 22


def spec_of(gigabytes: float, itemsize: int):
    """A Llama whose weights take about `gigabytes`: the MLP is as wide as that needs."""
    from slick_jax.models.spec import ModelSpec

    head = WIDTH // HEADS
    rest = 2 * VOCABULARY * WIDTH + LAYERS * WIDTH * (2 * WIDTH + 2 * KV_HEADS * head)
    wide = max(256, int((gigabytes * 1e9 / itemsize - rest) / (3 * LAYERS * WIDTH)) // 256 * 256)
    return ModelSpec(VOCABULARY, WIDTH, LAYERS, HEADS, KV_HEADS, head, wide)


def write(folder: Path, spec, dtype) -> int:
    """Random weights in files of at most FILE_BYTES, one file in memory at a time; the bytes of the largest two."""
    import jax
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import save_file

    from slick_jax.models.hf_folder import INDEX, write_json
    from slick_jax.models.spec import spec_to_hf
    from slick_jax.models.weight import Weight
    from slick_jax.models.weight_table import weight_table

    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    weights = jax.tree.leaves(weight_table(spec), is_leaf=lambda node: isinstance(node, Weight))
    shapes = [(name, weight.hf_shape) for weight in weights for name in weight.hf_names()]
    rng = np.random.default_rng(0)
    tensors, size, files, where = {}, 0, 0, {}
    for name, shape in [*shapes, (None, ())]:
        count = int(np.prod(shape)) * kind.itemsize
        if tensors and (name is None or size + count > FILE_BYTES):
            files += 1
            file = f"model-{files:05d}.safetensors"
            save_file(tensors, folder / file, metadata={"format": "pt"})
            where |= dict.fromkeys(tensors, file)
            tensors, size = {}, 0
        if name is not None:
            tensors[name] = rng.standard_normal(shape, np.float32).astype(kind)
            size += count
    write_json(folder / INDEX, {"metadata": {}, "weight_map": where})
    write_json(folder / "config.json", spec_to_hf(spec))
    return sum(sorted(int(np.prod(shape)) * 4 for _, shape in shapes)[-2:])


def plain_read(folder: Path) -> float:
    """Seconds to read every file once in blocks."""
    start, buffer = time.perf_counter(), bytearray(BLOCK)
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def memory(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at its peak."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def load(folder: Path) -> None:
    """The measured process; everything is imported before the peak is reset."""
    import jax
    import jax.numpy as jnp

    from slick_jax.models.transformer import Network
    from slick_jax.models.weights import load_hf, read_spec

    network = Network(read_spec(folder))
    jax.block_until_ready(jnp.zeros(1))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = memory("VmRSS")
    start = time.perf_counter()
    params = jax.block_until_ready(load_hf(folder, network))
    seconds = time.perf_counter() - start
    peak = memory("VmHWM")
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    print(json.dumps({"seconds": seconds, "peak": peak, "before": before, "parameters": held}))


def main() -> None:
    """Measure and print; exits with 1 where the limit is not held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        return load(options.load)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = spec_of(options.gigabytes, 4 if options.dtype == "float32" else 2)
        limit = write(folder, spec, options.dtype)
        total = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        plain_read(folder)
        plain = plain_read(folder)
        command = [sys.executable, __file__, f"--load={folder}"]
        out = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ}).stdout
        found = json.loads(out.splitlines()[-1])
        beyond = found["peak"] - found["before"] - found["parameters"]
        print(json.dumps({
            "files": len(list(folder.glob("*.safetensors"))),
            "dtype": options.dtype,
            "checkpoint_mb": round(total / 1e6),
            "parameters_mb": round(found["parameters"] / 1e6),
            "peak_beyond_parameters_mb": round(beyond / 1e6),
            "limit_two_largest_tensors_mb": round(limit / 1e6),
            "load_mb_per_s": round(total / 1e6 / found["seconds"]),
            "plain_read_mb_per_s": round(total / 1e6 / plain),
        }))  # fmt: skip
        if beyond > limit:
            sys.exit("peak host memory is above the limit")


if __name__ == "__main__":
    main()
