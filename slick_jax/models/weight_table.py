"""Every weight described once: shape, logical axes, initialiser and Hugging Face name.

Parameters are a nested dict of arrays, {'embedding', 'positions', 'layers', 'final_norm', 'head'} of which a model has
what it needs; weights of the layers are stacked on axis 0. Abstract shapes, shardings, initialisation, import and
export are all derived from this table.
"""

import dataclasses
import math
from typing import Any

from slick_jax.models.families import layout_of
from slick_jax.models.hf_layout import Layout, PerHead
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight import Part, Table, Weight

__all__ = ["Table", "Weight", "weight_table"]

NORMS = {
    "pre": ("attention_norm", "mlp_norm"),
    "post": ("attention_out_norm", "mlp_out_norm"),
    "sandwich": ("attention_norm", "attention_out_norm", "mlp_norm", "mlp_out_norm"),
}


def weight_table(spec: ModelSpec) -> dict[str, Any]:
    """The nested table of every weight of `spec`.

    Initial values have the standard deviation 0.02 in embeddings, d_in^-0.5 in linear maps, and that by sqrt(2 L) in
    those that write to the residual stream, as in GPT-2.
    """
    layout = layout_of(spec)
    rows = _Rows(spec, layout)
    table = {
        "embedding": _vocabulary(spec, layout.base + layout.embedding, 0.02),
        "layers": {
            **{name: rows.norm(name, spec.d_model) for name in NORMS[spec.norm_placement]},
            "attention": rows.attention(),
            "mlp": rows.mlp() if spec.moe is None else rows.experts(),
        },
        "final_norm": _norm(spec, layout.base + layout.final_norm, spec.d_model, 0),
    }
    if spec.positions == "learned":
        shape = (spec.max_position_embeddings, spec.d_model)
        name = f"{layout.base}{layout.positions}.weight"
        table["positions"] = {"table": Weight(name, shape, ("positions", "embed"), 0.02)}
    if not spec.tie_embeddings:
        # The output matrix is no lookup: it starts like any linear map of the model width.
        table["head"] = _vocabulary(spec, layout.head, spec.d_model**-0.5)
    return table


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The weights of one layer."""

    spec: ModelSpec
    layout: Layout

    def attention(self) -> dict[str, Any]:
        spec = self.spec
        d, n, k, h = spec.d_model, spec.n_heads, spec.n_kv_heads, spec.head_dim
        biased = spec.attention_bias or spec.qkv_bias
        table = {
            "q": self.linear("q", (d, n, h), ("embed", "heads", "head_dim"), 1, biased),
            "k": self.linear("k", (d, k, h), ("embed", "kv_heads", "head_dim"), 1, biased),
            "v": self.linear("v", (d, k, h), ("embed", "kv_heads", "head_dim"), 1, biased),
            "o": self.linear("o", (n, h, d), ("heads", "head_dim", "embed"), 2, spec.attention_bias),
        }
        if spec.qk_norm:
            heads = (n, k) if spec.qk_norm == "full" else (1, 1)
            table["q_norm"], table["k_norm"] = (
                self.norm(name, count * h) for name, count in zip(("q_norm", "k_norm"), heads, strict=True)
            )
        return table

    def mlp(self) -> dict[str, Any]:
        d, f, biased = self.spec.d_model, self.spec.d_mlp, self.spec.mlp_bias
        ins = ("gate", "up") if self.spec.gated_mlp else ("up",)
        table = {name: self.linear(name, (d, f), ("embed", "mlp"), 1, biased) for name in ins}
        return table | {"down": self.linear("down", (f, d), ("mlp", "embed"), 1, biased)}

    def experts(self) -> dict[str, Any]:
        d, moe = self.spec.d_model, self.spec.moe
        wide = {"shape": (d, moe.d_mlp), "axes": ("embed", "mlp"), "inputs": 1, "biased": False}
        table = {name: self.linear(name, **wide, experts=moe.n_experts) for name in ("gate", "up")}
        table["down"] = self.linear("down", (moe.d_mlp, d), ("mlp", "embed"), 1, False, moe.n_experts)
        return table | {"router": self.linear("router", (d, moe.n_experts), ("embed", "experts"), 1, False)}

    def norm(self, name: str, size: int) -> dict[str, Weight]:
        return _norm(self.spec, self._name(self.layout.modules[name]), size, self.spec.n_layers)

    def linear(
        self, name: str, shape: tuple[int, ...], axes: tuple[str, ...], inputs: int, biased: bool, experts: int = 0
    ) -> dict[str, Weight]:
        layers = self.spec.n_layers
        # What writes to the residual stream starts smaller, as the stream sums 2 L of them.
        std = math.prod(shape[:inputs]) ** -0.5 / (math.sqrt(2 * layers) if name in ("o", "down") else 1)
        module, part = self.layout.modules[name], None
        if not isinstance(module, str):
            part = self._part(name, module)
            module = module.module
        hf_name = self._name(module)
        weights = {
            "kernel": Weight(
                f"{hf_name}.weight", shape, axes, std, 0.0, inputs, layers, experts, self.layout.transposed, part
            )
        }
        if biased:
            # A bias along the model width is small: replicated, like a norm.
            bias_axes = tuple("norm" if axis == "embed" else axis for axis in axes[inputs:])
            weights["bias"] = Weight(f"{hf_name}.bias", shape[inputs:], bias_axes, layers=layers, part=part)
        return weights

    def _part(self, name: str, module: Any) -> Part:
        if isinstance(module, PerHead):
            return Part(module.weights.index(name), len(module.weights), per_head=True)
        spec = self.spec
        heads = {"q": spec.n_heads, "k": spec.n_kv_heads, "v": spec.n_kv_heads}
        sizes = [heads[one] * spec.head_dim if one in heads else spec.d_mlp for one in module.weights]
        return Part(sum(sizes[: module.weights.index(name)]), sum(sizes))

    def _name(self, module: str) -> str:
        return f"{self.layout.base}{self.layout.layer}{module}"


def _norm(spec: ModelSpec, name: str, size: int, layers: int) -> dict[str, Weight]:
    fill = 0.0 if spec.norm == "rms_plus_one" else 1.0
    table = {"scale": Weight(f"{name}.weight", (size,), ("norm",), fill=fill, layers=layers)}
    if spec.norm == "layer":
        table["bias"] = Weight(f"{name}.bias", (size,), ("norm",), layers=layers)
    return table


def _vocabulary(spec: ModelSpec, name: str, std: float) -> dict[str, Weight]:
    return {"table": Weight(f"{name}.weight", (spec.vocab_size, spec.d_model), ("vocab", "embed"), std)}
