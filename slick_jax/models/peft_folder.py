"""Adapters written as a PEFT folder, adapter_config.json and adapter_model.safetensors, and read from one."""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from slick_jax.errors import InputError, short
from slick_jax.files.json_text import parse
from slick_jax.models.families import layout_of
from slick_jax.models.hf_folder import copy_tokenizer, start_writing, write_json, write_tensors
from slick_jax.models.lora import Adapter, LoraSpec, adapter_table, resolve
from slick_jax.models.safetensors_file import FLOATS, TensorFile
from slick_jax.models.saving import fetch
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network, Params

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
# Fields of peft's LoraConfig that are read, or change nothing; any other that is set is refused by name.
_KNOWN = frozenset({
    "peft_type", "task_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "rank_pattern", "alpha_pattern", "bias",
    "fan_in_fan_out", "init_lora_weights", "megatron_core", "qalora_group_size", "runtime_config",
})  # fmt: skip
# Values of known fields that are understood; other initial values (pissa, say) come with a changed base model.
_ALLOWED = {"peft_type": ("LORA",), "bias": ("none", None), "init_lora_weights": (True, False, None, "gaussian")}


def save_adapter(
    folder: str | Path,
    spec: ModelSpec,
    lora: LoraSpec,
    params: Params,
    *,
    base: str,
    revision: str | None = None,
    tokenizer_folder: str | Path | None = None,
) -> None:
    """Writes adapters as a folder that peft loads on `base`, the config last: a folder without it is unfinished.

    `base` is a folder, or a hub id of which `revision` names the commit.

    Maps that share a Hugging Face module become one adapter of their ranks' sum: B is zero where one map's part of A
    meets another's outputs. On several processes all of them must call this; the first one writes.
    """
    folder, tensors = Path(folder), {}
    for adapter, array in zip(_adapters(spec, lora), jax.tree.leaves(params), strict=True):
        for layer, values in enumerate(fetch(array)):
            name = adapter.hf_name_at([layer])
            tensor = tensors.setdefault(name, np.zeros(_joined_shape(adapter), np.float32))
            adapter.write_hf(_ranks(adapter, tensor, adapter.slot[0]), values)
    if jax.process_index():
        return
    start_writing(folder)
    write_tensors(folder / TENSORS, tensors)
    if tokenizer_folder is not None:
        copy_tokenizer(Path(tokenizer_folder), folder, but=("generation_config.json",))
    write_json(folder / CONFIG, _config(spec, lora, base) | {"revision": revision})


def base_of(folder: str | Path) -> str:
    """The base model that a PEFT folder names: a folder, a hub id with its revision, or nothing."""
    config = _read_config(folder)
    base, revision = config.get("base_model_name_or_path") or "", config.get("revision")
    return f"{base}@{revision}" if base and revision and not Path(base).is_dir() else base


def read_lora(folder: str | Path, spec: ModelSpec) -> LoraSpec:
    """The adapters that a PEFT folder says it holds.

    Raises InputError for what is no plain LoRA, or changes only a part of the layers.
    """
    path, config = Path(folder) / CONFIG, _read_config(folder)
    targets = config["target_modules"]
    odd = {name for name in config.keys() - _KNOWN if config[name]}
    odd |= {name for name, allowed in _ALLOWED.items() if config.get(name) not in allowed}
    problems = [f"{name} is {short(config.get(name))}" for name in sorted(odd)]
    if targets == "all-linear":
        targets = ()
    elif not isinstance(targets, list):
        problems.append(f"target_modules is {short(targets)}; names in full are read")
    if problems:
        raise InputError.of(problems, f"{path}: these adapters cannot be read; merge them with peft (merge_and_unload)")
    lora = LoraSpec(config["r"], config["lora_alpha"], tuple(targets), rslora=bool(config.get("use_rslora")))
    lora = resolve(spec, lora, f"{path}: target_modules")
    patterns = {name: config.get(name) or {} for name in ("rank_pattern", "alpha_pattern")}
    if patterns != {name: _patterns(spec, lora)[name] for name in patterns} and any(patterns.values()):
        raise InputError(f"{path}: rank_pattern or alpha_pattern gives modules other ranks; merge them with peft")
    return lora


def load_adapter(folder: str | Path, network: Network, mesh: Mesh | None = None) -> Params:
    """The float32 adapters of a PEFT folder, for a network of the same adapters, sharded over `mesh`.

    Raises InputError listing all missing, unexpected and mis-shaped tensors together. Where peft trained one adapter
    for a module that several maps share, each of them gets its A.
    """
    file = TensorFile(Path(folder) / TENSORS)
    adapters = list(_adapters(network.spec, network.lora))
    wanted = {name: adapter for adapter in adapters for name in adapter.hf_names()}
    problems = [f"missing: {name}" for name in wanted if name not in file.entries]
    problems += [f"unexpected: {name}" for name in sorted(file.entries.keys() - wanted.keys())]
    for name, adapter in wanted.items():
        shapes = (adapter.hf_shape, _joined_shape(adapter))
        if name in file.entries and file.entries[name].shape not in shapes:
            problems.append(f"mis-shaped: {name} is {file.entries[name].shape}, not {' or '.join(map(str, shapes))}")
        elif name in file.entries and file.entries[name].dtype not in FLOATS:
            problems.append(f"{name} is of type {file.entries[name].dtype}; read are {', '.join(FLOATS)}")
    if problems:
        raise InputError.of(problems, f"{folder}: the tensors do not fit its {CONFIG}")

    def read(adapter: Adapter, layer: int) -> np.ndarray:
        name = adapter.hf_name_at([layer])
        tensor = file.read(name).astype(np.float32)
        if tensor.shape == adapter.hf_shape:
            return adapter.from_hf(tensor)
        own, count = adapter.slot
        others = [_ranks(adapter, tensor, slot) for slot in range(count) if slot != own]
        if _rank_axis(adapter) and any(adapter.from_hf(other).any() for other in others):
            raise InputError(f"{folder}: {name} mixes the maps that share the module; merge the adapters with peft")
        return adapter.from_hf(_ranks(adapter, tensor, own))

    arrays = [np.stack([read(adapter, layer) for layer in range(adapter.layers)]) for adapter in adapters]
    return jax.tree.map(
        lambda leaf, array: jax.device_put(array, leaf.sharding),
        network.abstract(mesh),
        jax.tree.unflatten(jax.tree.structure(network.abstract()), arrays),
    )


def _read_config(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / CONFIG
    try:
        config = parse(path.read_bytes())
        if not isinstance(config, dict):
            raise ValueError("no JSON object")
        missing = [name for name in ("r", "lora_alpha", "target_modules") if name not in config]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not the config of an adapter ({error}); copy the file again") from None
    if missing:
        raise InputError(f"{path}: no {', '.join(missing)}: not the config of a LoRA adapter")
    targets, base = config["target_modules"], config.get("base_model_name_or_path")
    named = isinstance(targets, list) and targets and all(isinstance(one, str) for one in targets)
    sound = {
        "r": isinstance(config["r"], int) and not isinstance(config["r"], bool) and 0 < config["r"] < 2**16,
        "lora_alpha": isinstance(config["lora_alpha"], int | float) and 0 < config["lora_alpha"] < 2**64,
        "target_modules": named or isinstance(targets, str),
        "base_model_name_or_path": base is None or isinstance(base, str),
        "task_type": config.get("task_type") in ("CAUSAL_LM", None),
    }
    wrong = [f"{name} is {short(config.get(name))}" for name, fine in sound.items() if not fine]
    if wrong:
        raise InputError.of(wrong, f"{path}: not the config of LoRA adapters of a language model; copy the file again")
    return config


def _adapters(spec: ModelSpec, lora: LoraSpec) -> list[Adapter]:
    return jax.tree.leaves(adapter_table(spec, lora), is_leaf=lambda node: isinstance(node, Adapter))


def _rank_axis(adapter: Adapter) -> int:
    """The axis of the Hugging Face tensor along which ranks of maps that share a module follow each other."""
    return 1 if adapter.axes[0] == "rank" else 0


def _joined_shape(adapter: Adapter) -> tuple[int, ...]:
    shape = list(adapter.hf_shape)
    shape[_rank_axis(adapter)] *= adapter.slot[1]
    return tuple(shape)


def _ranks(adapter: Adapter, tensor: np.ndarray, slot: int) -> np.ndarray:
    """A view of the ranks of the map of this number."""
    start, rank = slot * adapter.lora.rank, adapter.lora.rank
    cut = [slice(None), slice(None)]
    cut[_rank_axis(adapter)] = slice(start, start + rank)
    return tensor[tuple(cut)]


def _patterns(spec: ModelSpec, lora: LoraSpec) -> dict[str, Any]:
    """Rank and alpha of the modules that several maps share; they keep the scale."""
    counts = {adapter.hf_name.split(".")[-3]: adapter.slot[1] for adapter in _adapters(spec, lora)}
    counts = {name: count for name, count in counts.items() if count > 1}
    growth = math.sqrt if lora.rslora else float
    return {
        "rank_pattern": {name: lora.rank * count for name, count in counts.items()},
        "alpha_pattern": {name: lora.alpha * growth(count) for name, count in counts.items()},
    }


def _config(spec: ModelSpec, lora: LoraSpec, base: str) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rslora,
        "target_modules": list(lora.targets),
        "bias": "none",
        "fan_in_fan_out": layout_of(spec).transposed,
        "init_lora_weights": True,
        **_patterns(spec, lora),
    }
