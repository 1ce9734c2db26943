"""What a model holds at the end of a claim: its residual stream at the claim's last token, after every layer.

All layers come out of one forward pass (`Network.hidden(collect=...)`), which keeps the last token's state of each as
it goes, so that [B L+1 D] leaves the device and never [B L+1 T D]; and they go to a file, not to memory.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from slick_jax.errors import InputError
from slick_jax.files import atomic, run_folder
from slick_jax.files.hashing import digest
from slick_jax.longform.logprob import mean_logprob
from slick_jax.longform.reading import Reader, Row
from slick_jax.models.transformer import KV, Network, Params


def streams(
    network: Network,
    n_tokens: int,
    params: Params,
    kv: KV | None,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    starts: Int[Array, " B"],
) -> dict[str, jax.Array]:
    """A program of `Reader.read`: `states` float32 [B L+1 D], the residual stream at the last token of each row (after
    the embeddings, then after each layer, before the final norm); and `logprob` float32 [B], see `mean_logprob`."""

    def last(x: Float[Array, "1 B T D"]) -> Float[Array, "B D"]:
        return jnp.take_along_axis(x[0], lengths[:, None, None] - 1, axis=1)[:, 0].astype(jnp.float32)

    out = network.hidden(params, tokens[None], kv, collect=last)
    logprob = mean_logprob(network, n_tokens, params, out.states[0], tokens, lengths, starts)
    return {"states": jnp.moveaxis(out.collected, 0, 1), "logprob": logprob}


def keep_states(
    reader: Reader, rows: Sequence[Row], folder: Path, protocol: dict[str, Any], progress: str = "states"
) -> Float[np.ndarray, "L+1 N D"]:
    """The states of all rows as `<folder>/states.npy`, float32, mapped into memory: a layer is read as it is asked for.

    A file that is there for the same rows and `protocol` (what the reader's model is) is taken as it is, and one that
    was begun is gone on with. `folder` must be on a file system that can be mapped.
    """
    folder = Path(folder)
    path, partial, ledger = folder / "states.npy", folder / "states.npy.part", folder / "states.json"
    spec = reader.network.spec
    shape = (spec.n_layers + 1, len(rows), spec.d_model)
    bound = {"hash": digest([protocol, [[list(map(int, row.tokens)), row.start] for row in rows]]), "shape": [*shape]}
    found = run_folder.read_object(ledger) or {}
    same = {name: found.get(name) for name in bound} == bound
    if not (same and path.exists()):
        with atomic.told(path, "choose another run_dir"):
            folder.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            done = found["done"] if same and partial.exists() else 0
            if not done:
                partial.unlink(missing_ok=True)
                _check_room(folder, 4 * math.prod(shape))
                run_folder.write_json(ledger, bound | {"done": 0})  # or it would speak of another file's rows
            mode = {"mode": "r+"} if done else {"mode": "w+", "dtype": np.float32, "shape": shape}
            kept = np.lib.format.open_memmap(partial, **mode)
        for numbers, result in reader.read(streams, rows, done=done, progress=progress):
            kept[:, numbers] = result["states"].swapaxes(0, 1)
            done += len(numbers)
            kept.flush()  # before the ledger says so
            run_folder.write_json(ledger, bound | {"done": done})
        del kept
        partial.replace(path)
    return np.load(path, mmap_mode="r")


def _check_room(folder: Path, size: int) -> None:
    """A mapped file takes its room page by page, and a full disk would end the process without a word."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"{folder}: the states of the probe's claims take {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free;"
            " free space, choose another run_dir, or set longform.probe.claims lower"
        )
