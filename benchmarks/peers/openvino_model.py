"""A Llama checkpoint as an OpenVINO model with its cache as state, which OpenVINO GenAI takes.

optimum-intel, the usual exporter, asks for an older transformers (2.2 for < 5.6); this does the same steps for one
family: a plain torch module with the cache as inputs and outputs, traced, then each pair turned into a state that
`beam_idx` reorders.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import torch
import torch.nn.functional as F
from openvino import opset13 as ops
from openvino._offline_transformations import apply_make_stateful_transformation
from openvino_tokenizers import convert_tokenizer
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast


class Llama(nn.Module):
    """The decoder; every linear map by its name in the checkpoint."""

    def __init__(self, folder: Path):
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        self.weights = {}
        for file in sorted(folder.glob("*.safetensors")):
            self.weights |= load_file(file)
        self.layers, self.epsilon = config["num_hidden_layers"], config["rms_norm_eps"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        theta = (config.get("rope_parameters") or config)["rope_theta"]
        self.frequencies = theta ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)

    def linear(self, x, name):
        return F.linear(x, self.weights[f"{name}.weight"])

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weights[f"{name}.weight"]

    def heads_of(self, x, heads):
        return x.view(x.shape[0], x.shape[1], heads, self.head_dim).transpose(1, 2)

    def turn(self, x, cos, sin):
        half = self.head_dim // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    def repeat(self, x):
        if self.heads == self.kv_heads:
            return x
        batch, _, length, dim = x.shape
        x = x[:, :, None].expand(batch, self.kv_heads, self.heads // self.kv_heads, length, dim)
        return x.reshape(batch, self.heads, length, dim)

    def forward(self, input_ids, attention_mask, position_ids, beam_idx, *cache):
        x = F.embedding(input_ids, self.weights["model.embed_tokens.weight"])
        angles = position_ids[..., None].float() * self.frequencies
        angles = torch.cat([angles, angles], -1)[:, None]
        cos, sin = angles.cos(), angles.sin()
        total, new = attention_mask.shape[1], input_ids.shape[1]
        seen = torch.arange(total)[None] <= torch.arange(total)[-new:, None]
        mask = torch.where(seen[None, None] & attention_mask[:, None, None].bool(), 0.0, torch.finfo(x.dtype).min)
        out = []
        for i in range(self.layers):
            at = f"model.layers.{i}"
            y = self.norm(x, f"{at}.input_layernorm")
            q, k, v = (
                self.heads_of(self.linear(y, f"{at}.self_attn.{n}_proj"), heads)
                for n, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads))
            )
            q, k = self.turn(q, cos, sin), self.turn(k, cos, sin)
            k = torch.cat([cache[2 * i].index_select(0, beam_idx), k], 2)
            v = torch.cat([cache[2 * i + 1].index_select(0, beam_idx), v], 2)
            out += [k, v]
            y = F.scaled_dot_product_attention(q, self.repeat(k), self.repeat(v), mask)
            y = y.transpose(1, 2).reshape(x.shape[0], x.shape[1], self.heads * self.head_dim)
            x = x + self.linear(y, f"{at}.self_attn.o_proj")
            y = self.norm(x, f"{at}.post_attention_layernorm")
            gated = F.silu(self.linear(y, f"{at}.mlp.gate_proj")) * self.linear(y, f"{at}.mlp.up_proj")
            x = x + self.linear(gated, f"{at}.mlp.down_proj")
        head = "lm_head" if "lm_head.weight" in self.weights else "model.embed_tokens"
        return self.linear(self.norm(x, "model.norm"), head), *out


@torch.inference_mode()
def convert(source: Path, out: Path) -> None:
    """openvino_model.xml in `out`, in float32, with a tokenizer of bytes: GenAI loads one, but is given token ids."""
    model = Llama(source)
    past = [torch.zeros(2, model.kv_heads, 3, model.head_dim) for _ in range(2 * model.layers)]
    example = (torch.ones(2, 4, dtype=torch.long), torch.ones(2, 7, dtype=torch.long),
               torch.arange(3, 7).expand(2, 4), torch.arange(2, dtype=torch.int32), *past)  # fmt: skip
    converted = ov.convert_model(model, example_input=example)
    names = ["input_ids", "attention_mask", "position_ids", "beam_idx"]
    names += [f"past_key_values.{i}.{part}" for i in range(model.layers) for part in ("key", "value")]
    kinds = {"beam_idx": (ov.Type.i32, [-1])} | dict.fromkeys(names[:3], (ov.Type.i64, [-1, -1]))
    for place, (given, name) in enumerate(zip(converted.inputs, names, strict=True)):
        given.get_tensor().set_names({name})
        kind, shape = kinds.get(name, (ov.Type.f32, [-1, model.kv_heads, -1, model.head_dim]))
        converted.get_parameters()[place].set_element_type(kind)
        converted.get_parameters()[place].set_partial_shape(ov.PartialShape(shape))
    results = ["logits"] + [name.replace("past_key_values", "present") for name in names[4:]]
    for given, name in zip(converted.outputs, results, strict=True):
        given.get_tensor().set_names({name})
    converted.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(converted, dict(zip(names[4:], results[1:], strict=True)))
    start_empty(converted)
    ov.save_model(converted, out / "openvino_model.xml", compress_to_fp16=False)
    names = ("tokenizer", "detokenizer")
    for part, name in zip(convert_tokenizer(byte_tokenizer(), with_detokenizer=True), names, strict=True):
        ov.save_model(part, out / f"openvino_{name}.xml")
    for name in ("config.json", "generation_config.json"):
        (out / name).write_bytes((source / name).read_bytes())


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token per byte; without a merge and a special token it cannot be converted."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    made = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[("a", "b")]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    return PreTrainedTokenizerFast(tokenizer_object=made)


def start_empty(model: ov.Model) -> None:
    """Every state begins as an empty cache of the batch's size."""
    batch = ops.gather(ops.shape_of(model.input("input_ids")), ops.constant([0]), ops.constant(0))
    for node in model.get_ops():
        if node.get_type_name() == "ReadValue":
            _, heads, _, dim = node.get_output_partial_shape(0)
            sizes = [batch, *(ops.constant(np.array([n], np.int64)) for n in (heads.get_length(), 0, dim.get_length()))]
            node.set_arguments([ops.broadcast(ops.constant(0.0, dtype=np.float32), ops.concat(sizes, 0))])
    model.validate_nodes_and_infer_types()
