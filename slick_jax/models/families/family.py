"""What a family is: the fields of its config.json, their defaults, and the layout of its tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slick_jax.errors import InputError, short
from slick_jax.models.families.fields import Fields
from slick_jax.models.families.rope_fields import read_rope, write_rope
from slick_jax.models.hf_layout import Layout
from slick_jax.models.spec import ACTIVATIONS, MOST, ModelSpec

# Field of config.json -> field of ModelSpec, as most families since Llama spell them.
SIZES: Mapping[str, str] = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "head_dim": "head_dim",
    "intermediate_size": "d_mlp",
    "max_position_embeddings": "max_position_embeddings",
    "rms_norm_eps": "norm_eps",
    "hidden_act": "activation",
    "tie_word_embeddings": "tie_embeddings",
}
_REQUIRED = frozenset({"vocab_size", "d_model", "n_layers", "n_heads", "d_mlp"})
# Other names of an activation -> ours; gelu_new is the tanh approximation written out.
_SYNONYMS = {
    "swish": "silu", "gelu_python": "gelu",
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_python_tanh"), "gelu_pytorch_tanh"),
}  # fmt: skip

Values = dict[str, Any]  # fields of ModelSpec


def nothing(fields: Fields, values: Values) -> Values:
    """No further fields."""
    return {}


@dataclass(frozen=True)
class Family:
    """How one model_type is read from and written to config.json, and where its weights are.

    `defaults` holds what transformers assumes where the file is silent, which differs from what a fresh model of ours
    gets. `fixed` holds what all models of the family share. `more` reads what is no mere renaming, given the values so
    far; `back` writes it. A field that nobody reads is refused by name, unless it is in `harmless` or `neutral`.
    """

    model_type: str
    architecture: str
    fields: Mapping[str, str] = field(default_factory=lambda: SIZES)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    rope_theta: float | None = 10000.0  # base where the file is silent; None: no rotary positions, or read by `more`
    more: Callable[[Fields, Values], Values] = nothing
    back: Callable[[ModelSpec], dict[str, Any]] = lambda spec: {}
    harmless: tuple[str, ...] = ()
    neutral: Mapping[str, Any] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)

    def read(self, config: Mapping[str, Any], where: str) -> ModelSpec:
        """The architecture of a parsed config.json; `where` names it. Raises InputError listing all its problems."""
        fields = Fields(config)
        values = self._values(fields)
        if self.rope_theta is not None:
            rope, name, rest = read_rope(fields, values["max_position_embeddings"], theta=self.rope_theta)
            values |= rope
            for key, value in rest.items():
                if value != 1:
                    fields.problems.append(f"{name}.{key} is {short(value)}; this family rotates whole heads")
        values |= self.more(fields, values)
        for name in self.harmless:
            fields.get(name)
        for name, value in self.neutral.items():
            fields.neutral(name, value)
        fields.left_over()
        spec = ModelSpec(family=self.model_type, **{**values, **self.fixed})
        if not any(problem.endswith("is missing") for problem in fields.problems):
            fields.problems += self._in_their_words(spec.problems())
        if fields.problems:
            raise InputError.of(fields.problems, f"{where}: this architecture cannot be read")
        return spec

    def write(self, spec: ModelSpec) -> dict[str, Any]:
        """The config.json of `spec`, without token ids and dtype."""
        config = {theirs: getattr(spec, ours) for theirs, ours in self.fields.items()}
        config |= {"architectures": [self.architecture], "model_type": self.model_type}
        return config | (write_rope(spec) if self.rope_theta is not None else {}) | self.back(spec)

    def _values(self, fields: Fields) -> Values:
        """The fields that are mere renaming, with their defaults."""
        assumed = {"max_position_embeddings": 2048, "norm_eps": 1e-6, "tie_embeddings": False, "activation": "silu"}
        assumed |= {"attention_bias": False, "mlp_bias": False} | self.defaults
        values: Values = {}
        for theirs, ours in self.fields.items():
            value = fields.get(theirs, None if theirs in fields.nulls else assumed.get(ours))
            if value is None and ours in _REQUIRED:
                fields.problems.append(f"{theirs} is missing")
                value = 0
            if value is None:
                value = assumed.get(ours)
            if ours in ("tie_embeddings", "attention_bias", "mlp_bias", "parallel_residual"):
                value = fields.flag(theirs, value)
            if ours == "n_layers" and isinstance(value, int) and value > MOST[ours]:  # lists have an entry a layer
                fields.problems.append(f"{theirs} is {short(value)}; it can be {MOST[ours]} at most")
                value = 1
            if ours == "activation":
                value = _SYNONYMS.get(value, value) if isinstance(value, str) else value
                if value not in ACTIVATIONS:
                    fields.problems.append(f"{theirs} is {short(value)}; known are {', '.join(ACTIVATIONS)}")
            values[ours] = value
        if values.get("n_kv_heads") is None:
            values["n_kv_heads"] = values["n_heads"]
        if values.get("head_dim") is None:
            sizes = values["d_model"], values["n_heads"]
            values["head_dim"] = sizes[0] // max(sizes[1], 1) if all(isinstance(size, int) for size in sizes) else 0
        if not isinstance(values["head_dim"], int):
            fields.problems.append(f"head_dim is {short(values['head_dim'])}; it must be an integer of at least 1")
            values["head_dim"] = 0
        return values

    def _in_their_words(self, problems: list[str]) -> list[str]:
        theirs = {ours: name for name, ours in self.fields.items()}
        words = (problem.split(" ", 1) for problem in problems)
        return [f"{theirs.get(name, name)} {rest}" for name, rest in words]
