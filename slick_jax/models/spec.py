"""The architecture of a checkpoint, read from its Hugging Face config.json.

Every field that changes the computation is either understood here or refused by name: a wrong RoPE base or a missed
window would not crash, it would quietly measure another model.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slick_jax.errors import InputError


@dataclass(frozen=True)
class RopeScaling:
    """Stretching of the rotary frequencies, as transformers' `rope_scaling` ('linear' or 'llama3')."""

    kind: str
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192


@dataclass(frozen=True)
class ModelSpec:
    """Sizes and switches of a decoder. Hashable, so that it can be static in `jax.jit`."""

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_mlp: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    activation: str = "silu"
    rope_scaling: RopeScaling | None = None
    max_position_embeddings: int = 2048
    family: str = "llama"

    def problems(self) -> list[str]:
        """What makes these sizes impossible, one line each."""
        found = []
        sizes = ("vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_mlp")
        for name in (*sizes, "max_position_embeddings"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                found.append(f"{name} is {value!r}; it must be an integer of at least 1")
        if not found and self.n_heads % self.n_kv_heads:
            found.append(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if not found and self.head_dim % 2:
            found.append(f"head_dim is {self.head_dim}; rotary positions need an even number")
        for name in ("rope_theta", "norm_eps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                found.append(f"{name} is {value!r}; it must be a number above 0")
        return found


ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh")

# Field of config.json -> field of ModelSpec, for the llama family.
_LLAMA_FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "head_dim": "head_dim",
    "intermediate_size": "d_mlp",
    "rms_norm_eps": "norm_eps",
    "tie_word_embeddings": "tie_embeddings",
    "attention_bias": "attention_bias",
    "mlp_bias": "mlp_bias",
    "hidden_act": "activation",
    "max_position_embeddings": "max_position_embeddings",
}
_LLAMA_REQUIRED = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
)  # fmt: skip
# What transformers assumes where a llama config.json is silent; it differs from what a fresh model of ours gets.
_LLAMA_DEFAULTS = {"rms_norm_eps": 1e-6, "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
                   "hidden_act": "silu", "max_position_embeddings": 2048}  # fmt: skip
_ROPE_FIELDS = ("rope_theta", "rope_scaling", "rope_parameters")

# Fields that may hold anything: bookkeeping, training only, or how transformers generates and stores.
_HARMLESS = frozenset({
    "model_type", "architectures", "torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range",
    "pretraining_tp", "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
    "cls_token_id", "unk_token_id", "_name_or_path", "name_or_path", "_attn_implementation",
    "_attn_implementation_autoset", "attn_implementation", "_commit_hash", "id2label", "label2id", "num_labels",
    "problem_type", "return_dict", "return_dict_in_generate", "output_scores", "output_attentions",
    "output_hidden_states", "tokenizer_class", "prefix", "finetuning_task", "task_specific_params", "torchscript",
    "tf_legacy_loss", "use_bfloat16", "chunk_size_feed_forward", "is_llama_config", "transformers.js_config",
    "unsloth_version", "unsloth_fixed", "do_sample", "early_stopping", "max_length", "min_length", "temperature",
    "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "num_beams", "num_beam_groups",
    "num_return_sequences", "diversity_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id",
    "decoder_start_token_id", "exponential_decay_length_penalty", "remove_invalid_values",
})  # fmt: skip
# Fields that say nothing at one value and change the computation at every other.
_NEUTRAL: dict[str, Any] = {"partial_rotary_factor": 1.0, "rope_interleaved": False, "use_sliding_window": False}


def spec_from_hf(config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture that a Hugging Face `config` (the parsed config.json) describes.

    `where` names the file in errors. Raises InputError listing every field that is missing, impossible, or changes the
    computation in a way this program does not know.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise InputError(f"{where}: model_type is {family!r}; known are {', '.join(sorted(FAMILIES))}")
    return FAMILIES[family].read(config, where)


def spec_to_hf(spec: ModelSpec, **extra: Any) -> dict[str, Any]:
    """The config.json of `spec` as transformers reads it; `extra` (token ids, dtype) is added as it is."""
    return {**FAMILIES[spec.family].write(spec), **extra}


def _read_llama(config: Mapping[str, Any], where: str) -> ModelSpec:
    problems = [f"{name} is missing" for name in _LLAMA_REQUIRED if config.get(name) is None]
    known = _HARMLESS | set(_LLAMA_FIELDS) | set(_ROPE_FIELDS)
    for name, value in sorted(config.items()):
        if name not in known and value is not None and value is not False and value != _NEUTRAL.get(name):
            problems.append(f"{name} is {_short(value)}; this program does not know that field, which may change what "
                            "the model computes (if it does not, remove it from the file)")  # fmt: skip
    if problems:
        raise InputError.of(problems, f"{where}: this architecture cannot be read")
    fields = {**_LLAMA_DEFAULTS, **{name: value for name, value in config.items() if value is not None}}
    values = {ours: fields[theirs] for theirs, ours in _LLAMA_FIELDS.items() if theirs in fields}
    values.setdefault("n_kv_heads", values["n_heads"])
    if "head_dim" not in values and all(isinstance(values[name], int) for name in ("d_model", "n_heads")):
        values["head_dim"] = values["d_model"] // max(values["n_heads"], 1)
    for name in ("tie_word_embeddings", "attention_bias", "mlp_bias"):
        if not isinstance(fields[name], bool):
            problems.append(f"{name} is {_short(fields[name])}; it must be true or false")
    values["activation"] = "silu" if values["activation"] == "swish" else values["activation"]
    if values["activation"] not in ACTIVATIONS:
        problems.append(f"hidden_act is {_short(values['activation'])}; known are {', '.join(ACTIVATIONS)}")
    values["rope_theta"], values["rope_scaling"], rope_problems = _read_rope(fields)
    spec = ModelSpec(**{"head_dim": 0, **values})
    theirs = {ours: name for name, ours in _LLAMA_FIELDS.items()}
    for problem in spec.problems():
        name, rest = problem.split(" ", 1)
        problems.append(f"{theirs.get(name, name)} {rest}")
    if problems or rope_problems:
        raise InputError.of(problems + rope_problems, f"{where}: this architecture cannot be read")
    return spec


def _read_rope(fields: Mapping[str, Any]) -> tuple[float, RopeScaling | None, list[str]]:
    """Base and scaling of the rotary positions: newer files keep both under `rope_parameters`, older ones apart."""
    name = "rope_parameters" if fields.get("rope_parameters") else "rope_scaling"
    given = fields.get(name) or {}
    if not isinstance(given, Mapping):
        return 1.0, None, [f"{name} is {_short(given)}; it must be an object"]
    given = dict(given)
    theta = given.pop("rope_theta", fields.get("rope_theta", 10000.0))
    kind = given.pop("rope_type", given.get("type", "default"))
    given.pop("type", None)
    if given.get("partial_rotary_factor") == 1.0:
        del given["partial_rotary_factor"]
    wanted = {
        "default": (),
        "linear": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    }
    if kind not in wanted:
        return theta, None, [f"{name} is of kind {kind!r}; known are {', '.join(wanted)}"]
    problems = [f"{name}.{key} is missing" for key in wanted[kind] if key not in given]
    problems += [f"{name}.{key} is not known for kind {kind!r}" for key in given if key not in wanted[kind]]
    problems += [
        f"{name}.{key} is {_short(value)}; it must be a number above 0"
        for key, value in given.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0
    ]
    scaling = None if kind == "default" or problems else RopeScaling(kind, **given)
    return theta, scaling, problems


def _write_llama(spec: ModelSpec) -> dict[str, Any]:
    config = {theirs: getattr(spec, ours) for theirs, ours in _LLAMA_FIELDS.items()}
    config |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rope_theta": spec.rope_theta}
    if spec.rope_scaling is not None:
        scaling = dataclasses.asdict(spec.rope_scaling)
        kind = scaling.pop("kind")
        kept = scaling if kind == "llama3" else {"factor": scaling["factor"]}
        config["rope_scaling"] = {"rope_type": kind, **kept}
    return config


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass(frozen=True)
class Family:
    """How one model_type is read from and written to config.json."""

    read: Callable[[Mapping[str, Any], str], ModelSpec]
    write: Callable[[ModelSpec], dict[str, Any]]


# Another family joins here, with its weights in weight_table.py.
FAMILIES = {"llama": Family(_read_llama, _write_llama)}
