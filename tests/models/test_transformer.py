"""The decoder against a plain numpy one, behind prefixes, padded, scanned, sharded, with dropout."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.mesh import batch_sharding, make_mesh
from slick_jax.models.spec import ModelSpec, RopeScaling
from slick_jax.models.transformer import KV, Network
from tests.models.small_network import NETWORK, SPEC, noisy, tokens_of

hidden = jax.jit(NETWORK.hidden, static_argnames=("collect", "keep_kv"))
prefix_of = jax.jit(NETWORK.prefix)


@pytest.fixture(scope="module")
def params():
    return noisy(NETWORK.init(jax.random.key(0)))


def numpy_logits(spec, params, tokens):
    """A llama stack for one row of tokens [T], one head and one position at a time, in float64."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + spec.norm_eps) * scale

    def turn(vector, position):  # one head [H]
        half = spec.head_dim // 2
        out = vector.copy()
        for i in range(half):
            angle = position * spec.rope_theta ** (-2 * i / spec.head_dim)
            a, b = vector[i], vector[i + half]
            out[i], out[i + half] = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
        return out

    x = p["embedding"]["table"][tokens]
    for index in range(spec.n_layers):
        layer = jax.tree.map(lambda w, index=index: w[index], p["layers"])
        attention, mlp = layer["attention"], layer["mlp"]
        h = norm(x, layer["attention_norm"]["scale"])
        attended = np.zeros((len(tokens), spec.n_heads, spec.head_dim))
        for head in range(spec.n_heads):
            shared = head // (spec.n_heads // spec.n_kv_heads)
            q = h @ attention["q"]["kernel"][:, head] + attention["q"]["bias"][head]
            k = h @ attention["k"]["kernel"][:, shared] + attention["k"]["bias"][shared]
            v = h @ attention["v"]["kernel"][:, shared] + attention["v"]["bias"][shared]
            q = np.stack([turn(row, position) for position, row in enumerate(q)])
            k = np.stack([turn(row, position) for position, row in enumerate(k)])
            for position in range(len(tokens)):
                weights = np.exp(k[: position + 1] @ q[position] / np.sqrt(spec.head_dim))
                attended[position, head] = weights @ v[: position + 1] / weights.sum()
        flat = attended.reshape(len(tokens), -1)
        x = x + flat @ attention["o"]["kernel"].reshape(-1, spec.d_model) + attention["o"]["bias"]
        h = norm(x, layer["mlp_norm"]["scale"])
        gate = h @ mlp["gate"]["kernel"] + mlp["gate"]["bias"]
        up = h @ mlp["up"]["kernel"] + mlp["up"]["bias"]
        x = x + (gate / (1 + np.exp(-gate)) * up) @ mlp["down"]["kernel"] + mlp["down"]["bias"]
    table = p["embedding" if spec.tie_embeddings else "head"]["table"]
    return norm(x, p["final_norm"]["scale"]) @ table.T


def test_agrees_with_a_plain_numpy_decoder(params):
    tokens = tokens_of(2, 2, 9)
    got = NETWORK.logits(params, hidden(params, tokens).states)
    assert got.dtype == jnp.float32
    for g in range(2):
        for b in range(2):
            np.testing.assert_allclose(got[g, b], numpy_logits(SPEC, params, np.asarray(tokens[g, b])), atol=1e-4)


def test_prefix_and_rows_equal_the_whole_sequence(params):
    lengths = np.array([5, 1, 8, 3])
    prefix, rows = tokens_of(4, 8, seed=1), tokens_of(4, 3, 6, seed=2)
    kv = prefix_of(params, prefix, jnp.asarray(lengths))
    got = hidden(params, rows, kv).states
    for g, length in enumerate(lengths):
        joined = np.concatenate([np.broadcast_to(prefix[g, :length], (3, length)), rows[g]], axis=1)
        whole = hidden(params, jnp.asarray(joined[None])).states[0]
        np.testing.assert_allclose(got[g], whole[:, length:], atol=1e-5)


def test_an_empty_prefix_is_no_prefix(params):
    rows = tokens_of(2, 3, 6)
    kv = prefix_of(params, tokens_of(2, 4, seed=3), jnp.zeros(2, jnp.int32))
    got = hidden(params, rows, kv).states
    np.testing.assert_allclose(got, hidden(params, rows).states, atol=1e-5)


def test_prefix_padding_is_never_seen(params):
    prefix, rows, lengths = tokens_of(2, 7), tokens_of(2, 2, 4, seed=1), jnp.array([4, 7])
    first = hidden(params, rows, prefix_of(params, prefix, lengths)).states
    other = prefix.at[0, 4:].set((prefix[0, 4:] + 1) % SPEC.vocab_size)
    np.testing.assert_array_equal(first, hidden(params, rows, prefix_of(params, other, lengths)).states)


def test_groups_behind_a_bank_continue_the_prefix_they_name(params):
    rows, behind = tokens_of(4, 2, 5, seed=1), jnp.array([2, 0, 2, 1])
    bank = prefix_of(params, tokens_of(3, 7), jnp.array([4, 7, 5]))
    each = KV(bank.k[:, behind], bank.v[:, behind], bank.lengths[behind])
    got = hidden(params, rows, bank, behind=behind).states
    np.testing.assert_allclose(got, hidden(params, rows, each).states, atol=1e-6)


def test_padding_on_the_right_does_not_reach_real_positions(params):
    tokens = tokens_of(2, 3, 9)
    padded = jnp.concatenate([tokens[..., :5], jnp.zeros((2, 3, 4), jnp.int32)], axis=-1)
    got = hidden(params, padded).states[..., :5, :]
    np.testing.assert_allclose(got, hidden(params, tokens[..., :5]).states, atol=1e-5)


def test_kept_keys_values_serve_as_prefix(params):
    tokens, rows = tokens_of(2, 1, 5), tokens_of(2, 3, 4, seed=1)
    assert hidden(params, tokens).keys_values is None
    kv = hidden(params, tokens, keep_kv=True).keys_values
    assert kv.k.shape == (3, 2, 1, 5, 3, 10) and kv.lengths is None
    got = hidden(params, rows, KV(kv.k[:, :, 0], kv.v[:, :, 0], jnp.array([5, 5]))).states
    same = hidden(params, rows, prefix_of(params, tokens[:, 0], jnp.array([5, 5]))).states
    np.testing.assert_array_equal(got, same)


@pytest.mark.parametrize("with_prefix", [False, True])
def test_scanned_and_unrolled_layers_agree(params, with_prefix):
    unrolled = jax.jit(Network(SPEC, scan_layers=False).hidden, static_argnames="collect")
    tokens, kv = tokens_of(2, 3, 6), None
    if with_prefix:
        kv = prefix_of(params, tokens_of(2, 4), jnp.array([4, 2]))
    scanned = hidden(params, tokens, kv, collect=jnp.asarray)
    other = unrolled(params, tokens, kv, collect=jnp.asarray)
    np.testing.assert_allclose(scanned.states, other.states, atol=1e-5)
    np.testing.assert_allclose(scanned.collected, other.collected, atol=1e-5)


def test_collect_sees_the_residual_stream_of_every_layer(params):
    tokens = tokens_of(2, 3, 6)
    out = hidden(params, tokens, collect=lambda x: {"last": x[:, :, -1], "mean": jnp.mean(x)})
    assert out.collected["last"].shape == (SPEC.n_layers + 1, 2, 3, SPEC.d_model)
    assert out.collected["mean"].shape == (SPEC.n_layers + 1,)
    np.testing.assert_allclose(out.collected["last"][0], params["embedding"]["table"][tokens[:, :, -1]], atol=1e-6)
    last = out.collected["last"][-1]
    scaled = last / np.sqrt(np.mean(np.square(last), -1, keepdims=True) + SPEC.norm_eps)
    np.testing.assert_allclose(out.states[:, :, -1], scaled * params["final_norm"]["scale"], atol=1e-5)


def sizes(data=1, fsdp=1, tensor=1):
    return types.SimpleNamespace(data=data, fsdp=fsdp, tensor=tensor)


@pytest.mark.parametrize(
    "mesh_sizes", [sizes(fsdp=8), sizes(data=2, tensor=4), sizes(data=2, fsdp=2, tensor=2), sizes(data=8)]
)
def test_eight_devices_give_the_states_of_one(mesh_sizes):
    spec = ModelSpec(64, 32, 2, 8, 4, 6, 48, tie_embeddings=True)
    network = Network(spec)
    mesh = make_mesh(mesh_sizes, jax.devices()[:8])
    alone = network.init(jax.random.key(3))
    spread = network.init(jax.random.key(3), mesh)
    jax.tree.map(np.testing.assert_array_equal, alone, spread)

    # Every matrix is really cut: a device holds 1 / (fsdp * tensor) of it, where the axes divide.
    cut = mesh_sizes.fsdp * mesh_sizes.tensor
    layers = spread["layers"]
    for weight in (spread["embedding"]["table"], layers["attention"]["q"]["kernel"], layers["mlp"]["down"]["kernel"]):
        assert weight.sharding.mesh == mesh and weight.sharding.is_fully_replicated == (cut == 1)
        assert weight.addressable_shards[0].data.size * cut == weight.size

    tokens, prefix = tokens_of(8, 2, 5), tokens_of(8, 4, seed=1)
    lengths = jnp.arange(8) % 4 + 1

    def states(params, tokens, prefix, lengths):
        return network.hidden(params, tokens, network.prefix(params, prefix, lengths)).states

    expected = jax.jit(states)(alone, tokens, prefix, lengths)
    with jax.set_mesh(mesh):
        placed = [jax.device_put(x, batch_sharding(mesh, x.ndim)) for x in (tokens, prefix, lengths)]
        got = jax.jit(states)(spread, *placed)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    rows = mesh_sizes.data * mesh_sizes.fsdp
    assert got.addressable_shards[0].data.shape[0] * rows == 8


def test_training_rows_are_cut_over_devices():
    network = Network(ModelSpec(64, 32, 2, 4, 4, 8, 48))
    mesh = make_mesh(sizes(data=2, fsdp=4), jax.devices()[:8])
    params = network.init(jax.random.key(0), mesh)
    tokens = tokens_of(1, 16, 5)
    with jax.set_mesh(mesh):
        got = jax.jit(lambda p, t: network.hidden(p, t).states)(params, tokens)
    assert got.addressable_shards[0].data.shape[1] == 2
    alone = network.init(jax.random.key(0))
    np.testing.assert_allclose(got, jax.jit(network.hidden)(alone, tokens).states, atol=1e-5)


def loss(network, params, tokens, **options):
    logits = network.logits(params, network.hidden(params, tokens[..., :-1], **options).states)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., 1:, None], axis=-1))


def test_gradients_reach_every_weight_through_dropout(params):
    tokens = tokens_of(1, 4, 8)
    value_and_grad = jax.jit(
        jax.value_and_grad(lambda p, rng: loss(NETWORK, p, tokens, dropout=0.2, rng=rng)),
    )
    value, grads = value_and_grad(params, jax.random.key(0))
    assert np.isfinite(value)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(grad).all(), name
        if name != "['layers']['attention']['k']['bias']":  # it moves all scores of a query alike, save for rotation
            assert np.abs(grad).max() > 1e-7, name
    assert value != value_and_grad(params, jax.random.key(1))[0]
    assert value == value_and_grad(params, jax.random.key(0))[0]


def test_gradient_agrees_with_finite_differences(params):
    tokens = tokens_of(1, 2, 6)
    function = jax.jit(lambda p: loss(NETWORK, p, tokens))
    direction = noisy(jax.tree.map(jnp.zeros_like, params), seed=5)
    slope = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(jax.grad(function)(params)),
                                              jax.tree.leaves(direction), strict=True))  # fmt: skip
    step = 1e-3
    ahead, behind = (jax.tree.map(lambda p, d, s=s: p + s * d, params, direction) for s in (step, -step))
    np.testing.assert_allclose(slope, (function(ahead) - function(behind)) / (2 * step), rtol=2e-2, atol=1e-3)


def test_dropout_falls_on_both_branches_and_needs_a_key(params):
    with pytest.raises(ValueError, match="rng"):
        NETWORK.hidden(params, tokens_of(1, 1, 3), dropout=0.1)
    network = Network(ModelSpec(56, 24, 1, 6, 3, 10, 40))
    tokens = jnp.full((1, 20000, 1), 7)

    @jax.jit
    def branch(params, rng):  # what the only layer adds to the stream, with dropout and without
        def stream(x):
            return x[0, :, 0]

        dropped = network.hidden(params, tokens, dropout=0.3, rng=rng, collect=stream).collected
        plain = network.hidden(params, tokens[:, :1], collect=stream).collected
        return dropped[1] - dropped[0], plain[1] - plain[0]

    for part, name in (("mlp", "down"), ("attention", "o")):  # silenced, so that the other branch is seen alone
        weights = network.init(jax.random.key(0))
        weights["layers"][part][name]["kernel"] *= 0
        dropped, plain = branch(weights, jax.random.key(1))
        gone = np.asarray(dropped) == 0
        assert gone.mean() == pytest.approx(0.3, abs=0.01)
        np.testing.assert_allclose(np.where(gone, plain / 0.7, dropped) - plain / 0.7, 0, atol=1e-5)


def test_bfloat16_computes_near_float32(params):
    low = Network(SPEC, dtype="bfloat16")
    prefix, rows, lengths = tokens_of(2, 300), tokens_of(2, 2, 6, seed=4), jnp.array([300, 271])
    out = {}
    for network in (NETWORK, low):
        kv = jax.jit(network.prefix)(params, prefix, lengths)
        out[network.dtype] = jax.jit(network.hidden)(params, rows, kv).states
    assert out["bfloat16"].dtype == jnp.bfloat16 and low.logits(params, out["bfloat16"]).dtype == jnp.float32
    difference = np.abs(out["bfloat16"].astype(np.float32) - out["float32"])
    assert difference.mean() < 0.03


def test_initial_scales_follow_the_recipe():
    spec = ModelSpec(500, 128, 3, 4, 4, 32, 384, tie_embeddings=True)
    params = Network(spec).init(jax.random.key(0))
    assert "head" not in params
    layers = params["layers"]
    for array, std in [
        (params["embedding"]["table"], 0.02),
        (layers["attention"]["q"]["kernel"], 128**-0.5),
        (layers["attention"]["o"]["kernel"], 128**-0.5 / 6**0.5),
        (layers["mlp"]["up"]["kernel"], 128**-0.5),
        (layers["mlp"]["down"]["kernel"], 384**-0.5 / 6**0.5),
    ]:
        assert np.std(array) == pytest.approx(std, rel=0.02)
    assert (np.asarray(layers["mlp_norm"]["scale"]) == 1).all()
    assert not np.array_equal(layers["attention"]["q"]["kernel"], layers["attention"]["k"]["kernel"])
    mask = Network(spec).decay_mask()
    assert mask["layers"]["mlp"]["up"]["kernel"] and not mask["layers"]["mlp_norm"]["scale"]


def test_abstract_tree_describes_the_parameters():
    network = Network(ModelSpec(64, 32, 2, 4, 2, 8, 48, rope_scaling=RopeScaling("linear", 2.0)))
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), network.abstract(),
                        network.init(jax.random.key(0)))  # fmt: skip
    assert all(jax.tree.leaves(same))
    mesh = make_mesh(sizes(fsdp=4, tensor=2), jax.devices()[:8])
    wanted = jax.tree.map(lambda a: a.sharding, network.abstract(mesh))
    got = jax.tree.map(lambda a: a.sharding, network.init(jax.random.key(0), mesh))
    assert all(jax.tree.leaves(jax.tree.map(
        lambda a, b, x: a.is_equivalent_to(b, x.ndim), wanted, got, network.abstract())))  # fmt: skip
