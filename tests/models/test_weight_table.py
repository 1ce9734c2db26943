"""The one description of every weight: Hugging Face layout and back, names, counts."""

import jax
import numpy as np
import pytest

from slick_jax.mesh import RULES
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight_table import Weight, weight_table

SPEC = ModelSpec(50, 24, 3, 6, 3, 10, 40, attention_bias=True, mlp_bias=True)


def weights(spec=SPEC):
    return jax.tree.leaves(weight_table(spec), is_leaf=lambda node: isinstance(node, Weight))


def to_hf(weight, array):
    tensor = np.full(weight.hf_shape, np.nan)
    weight.write_hf(tensor, array)
    return tensor


def test_layout_is_the_transpose_that_torch_linear_keeps():
    table = weight_table(SPEC)["layers"]["attention"]
    q, o = table["q"]["kernel"], table["o"]["kernel"]
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(24), rng.standard_normal((24, 6, 10))
    np.testing.assert_allclose(to_hf(q, kernel) @ x, np.einsum("d,dnh->nh", x, kernel).ravel())
    y, kernel = rng.standard_normal((6, 10)), rng.standard_normal((6, 10, 24))
    np.testing.assert_allclose(to_hf(o, kernel) @ y.ravel(), np.einsum("nh,nhd->d", y, kernel))
    assert q.hf_shape == (60, 24) and o.hf_shape == (24, 60)


@pytest.mark.parametrize("weight", weights(), ids=lambda weight: weight.hf_name)
def test_layout_round_trip(weight):
    array = np.random.default_rng(0).standard_normal(weight.shape)
    tensor = to_hf(weight, array)
    np.testing.assert_array_equal(weight.from_hf(tensor), array)


def test_names_are_those_of_a_llama_checkpoint():
    names = {name for weight in weights() for name in weight.hf_names()}
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= names
    assert {"model.layers.0.self_attn.o_proj.weight", "model.layers.2.mlp.down_proj.bias"} <= names
    assert {"model.layers.0.input_layernorm.weight", "model.layers.1.post_attention_layernorm.weight"} <= names
    assert len(names) == 3 + 3 * (2 + 7 * 2)
    tied = {name for weight in weights(ModelSpec(50, 24, 3, 6, 3, 10, 40, tie_embeddings=True))
            for name in weight.hf_names()}  # fmt: skip
    assert "lm_head.weight" not in tied and not any(name.endswith("bias") for name in tied)


def test_every_logical_axis_has_a_rule_and_no_weight_claims_one_twice():
    for weight in weights():
        claimed = [mesh_axis for axis in weight.stacked_axes for mesh_axis in RULES[axis]]
        assert len(claimed) == len(set(claimed)), weight.hf_name
        assert len(weight.axes) == len(weight.shape)


def test_the_demo_model_has_its_published_size():
    spec = ModelSpec(2000, 128, 3, 4, 4, 32, 384, tie_embeddings=True)
    assert sum(np.prod(weight.stacked_shape) for weight in weights(spec)) == pytest.approx(0.90e6, rel=0.01)
