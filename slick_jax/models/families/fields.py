"""The fields of a config.json while they are read: what nobody asked for at the end is not understood."""

from collections.abc import Mapping
from typing import Any

from slick_jax.errors import short
from slick_jax.models.spec import LARGEST

# Fields that may hold anything: bookkeeping, training only, or how transformers generates and stores.
HARMLESS = frozenset({
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
    "decoder_start_token_id", "exponential_decay_length_penalty", "remove_invalid_values", "cache_implementation",
    "classifier_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "_num_labels",
    "attention_probs_dropout_prob", "hidden_dropout_prob", "output_past", "max_sequence_length", "is_encoder_decoder",
    "is_decoder", "tie_encoder_decoder", "gradient_checkpointing",
})  # fmt: skip
# Fields that say nothing at one value and change the computation at every other.
NEUTRAL: Mapping[str, Any] = {"partial_rotary_factor": 1.0, "pruned_heads": {}, "is_causal": True}


class Fields:
    """A config.json, its asked fields, and what is wrong with it; a null is taken as absent."""

    def __init__(self, config: Mapping[str, Any]):
        self.config = {name: value for name, value in config.items() if value is not None}
        self.nulls = {name for name, value in config.items() if value is None}
        self.asked: set[str] = set()
        self.problems: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        """The value of `name`, which is from now on understood."""
        self.asked.add(name)
        return self.config.get(name, default)

    def flag(self, name: str, default: bool) -> bool:
        """A field that must be true or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            self.problems.append(f"{name} is {short(value)}; it must be true or false")
        return value

    def number(self, name: str, default: float | None) -> float | None:
        """A field that must be a number above 0, or is not there."""
        value = self.get(name, default)
        if value is not None and not is_positive(value):
            self.problems.append(f"{name} is {short(value)}; it must be a number above 0")
            return default
        return value

    def neutral(self, name: str, value: Any) -> None:
        """A field understood at one value alone."""
        given = self.get(name, value)
        if given != value:
            self._refuse(name, given)

    def same(self, name: str, value: Any) -> None:
        """A field that repeats another one, whose value is `value`."""
        given = self.get(name, value)
        if given != value:
            self.problems.append(f"{name} is {short(given)}, but the field that it repeats has {short(value)}")

    def left_over(self) -> None:
        """Refuses by name what nobody asked for, unless it is harmless or switched off."""
        for name, value in sorted(self.config.items()):
            switched_off = value is False if name not in NEUTRAL else value == NEUTRAL[name]
            if name not in self.asked and name not in HARMLESS and not switched_off:
                self._refuse(name, value)

    def _refuse(self, name: str, value: Any) -> None:
        self.problems.append(
            f"{name} is {short(value)}; this program does not know that field, which may change what the model computes"
            " (if it does not, remove it from the file)"
        )


def is_positive(value: Any) -> bool:
    """Whether `value` is a number above 0 that float32 can hold."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 < value < LARGEST
