"""Memory of a fine-tuning step, as the compiler plans it: nothing is run or allocated.

    python benchmarks/training_memory.py

State is what lies on the device between steps (parameters, frozen ones included, and optimizer state), temporary what a
step needs besides. SmolLM2-135M, AdamW, 32 rows of 128 tokens, on the first device; about a minute on 2 CPU cores.
"""

import jax
import jax.numpy as jnp

from slick_jax.config import TrainConfig
from slick_jax.models.lora import LoraSpec, resolve
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, abstract_state, on_one_device, train_step

SPEC = ModelSpec(
    vocab_size=49152, d_model=576, n_layers=30, n_heads=9, n_kv_heads=3, head_dim=64, d_mlp=1536, tie_embeddings=True,
    rope_theta=100000.0,
)  # fmt: skip
LORA = resolve(SPEC, LoraSpec(16, 32.0, ()), "LORA")
B, T, A = 32, 128, 8  # rows, tokens of a row, targets of a row
CASES = (  # compute type, frozen type (None: all parameters are trained), remat
    ("float32", None, "none"),
    ("float32", None, "dots"),
    ("float32", None, "full"),
    ("bfloat16", None, "none"),
    ("float32", "float32", "none"),
    ("float32", "bfloat16", "none"),
    ("bfloat16", "bfloat16", "none"),
    ("bfloat16", "bfloat16", "full"),
)


def planned(dtype: str, frozen: str | None, remat: str) -> tuple[float, float]:
    """MB of state, and MB of temporaries."""
    network = Network(SPEC, dtype, lora=LORA if frozen else None, remat=remat)
    optimizer = make_optimizer(TrainConfig(), 100, network.decay_mask())
    state = abstract_state(network, optimizer)
    base = on_one_device(Network(SPEC).abstract(dtype=jnp.dtype(frozen))) if frozen else None
    shapes = {"tokens": ((B, T), "int32"), "targets": ((B, A), "int32"), "weights": ((B, A), "float32"),
              "positions": ((B, A), "int32")}  # fmt: skip
    rows = Rows(**{name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()})

    def step(state, rows, base):
        return train_step(network, optimizer, state, rows, frozen=base)

    memory = jax.jit(step, donate_argnums=0).lower(state, rows, base).compile().memory_analysis()
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state, base)))
    return size / 1e6, memory.temp_size_in_bytes / 1e6


def main() -> None:
    """Prints a table."""
    print("| trained | compute | base | remat | state MB | temporary MB |\n| --- | --- | --- | --- | ---: | ---: |")
    for dtype, frozen, remat in CASES:
        state, temporary = planned(dtype, frozen, remat)
        trained = "LoRA, rank 16" if frozen else "all"
        print(f"| {trained} | {dtype} | {frozen or '-'} | {remat} | {state:,.0f} | {temporary:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
