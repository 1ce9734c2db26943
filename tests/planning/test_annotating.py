"""The annotate stage against real arrays on eight host devices."""

import dataclasses

import jax
import numpy as np
import pytest

from slick_jax.config import AnnotateConfig, Config, MeshConfig, ModelConfig
from slick_jax.knowledge.engine import IN_FLIGHT
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.pools import Pools
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.annotating import annotation, compile_programs
from slick_jax.planning.devices import CPU, KINDS
from slick_jax.planning.questions import Questions
from slick_jax.planning.stages import annotate_stage
from slick_jax.planning.target import Target, abstract_mesh, target_of, team_mesh
from slick_jax.settings.plan import PlanConfig

SPEC = ModelSpec(vocab_size=512, d_model=64, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, d_mlp=128)
QUESTIONS = Questions(60, 5, 4, 60 * 4 * 12, 60 * 4 * 4, 8 * 40, 48, 8, 12 * 4 * 12, 15, "by hand")
CONFIG = Config(
    model=ModelConfig(scan_layers=True),
    annotate=AnnotateConfig(n_exemplar_sets=4, n_samples=2, top_k=4, max_answer_tokens=16, part_size=12),
)


def bytes_on(device, tree):
    shards = (shard for leaf in jax.tree.leaves(tree) for shard in leaf.addressable_shards)
    return sum(shard.data.nbytes for shard in shards if shard.device == device)


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 2, 2)])
def test_what_lies_on_a_device_is_what_a_real_run_has_there(sizes):
    plan = annotation(SPEC, CONFIG, abstract_mesh(sizes), QUESTIONS, 256, 64e6)
    mesh = make_mesh(MeshConfig(*sizes), jax.devices())
    network = Network(SPEC)
    with jax.set_mesh(mesh):
        params = network.init(jax.random.key(0), mesh)
        pools = Pools(network, mesh, plan.device.pools.abstract.k.shape[2])
        device = Device(
            Program(network, 2, 4, 4, SPEC.vocab_size, keeps=True), params, mesh, seed=0, temperature=0.5,
            prefix_length=QUESTIONS.prefix_length, pools=pools,
        )  # fmt: skip
        bank = device.bank([np.arange(40)] * QUESTIONS.bank_slots, QUESTIONS.bank_slots)
        leases = [pools.take().arrays for _ in range(IN_FLIGHT)]
    for one in jax.devices():
        assert plan.memory["parameters"] == bytes_on(one, params)
        assert plan.memory["caches of prefixes"] == bytes_on(one, bank)
        assert plan.memory["caches of questions"] == bytes_on(one, leases) > 0


def test_compiled_programs_tell_what_is_sent():
    """Over data nothing but ids and prefixes; over tensor two sums of the states a layer, and one of the embedding."""
    mesh = make_mesh(MeshConfig(4, 1, 2), jax.devices())
    found = annotation(SPEC, CONFIG, mesh, QUESTIONS, 256, 64e6)
    programs = {one.name: one for one in compile_programs(found)}
    assert set(programs) == {"prefix", "states", "states of later rounds", "keep", "judged", "decide"}
    states = found.states.shape[0] // 4 * found.states.shape[1] * SPEC.d_model * 4
    received = programs["states"].received()
    assert received["tensor",] == pytest.approx((2 * SPEC.n_layers + 1) * states, rel=0.01)
    assert received["data",] < states / 100
    target = Target(CPU, abstract_mesh((4, 1, 2)), "", 64e6)
    asked = dataclasses.replace(CONFIG, annotate=dataclasses.replace(CONFIG.annotate, batch_tokens=256))
    stage = annotate_stage(SPEC, asked, target, QUESTIONS, None)
    most = max(map(found.needed, programs.values()))
    assert 0.75 < stage.peak / most < 1.15  # from shapes, and from the compiler (docs/plan.md)
    assert stage.spare == stage.memory["caches of questions"]


@pytest.mark.parametrize(
    ("count", "given", "mesh", "share"),
    [
        (8, {}, (4, 2, 1), 1.0),  # one process: one mesh
        (32, {}, (4, 2, 1), 2 / 5),  # five parts for four hosts: two rounds
        (32, {"per_process": 1}, (1, 2, 1), 1 / 5),  # a model group spans two processes: 16 teams, 11 of them idle
    ],
)
def test_every_team_has_parts_and_a_mesh_of_its_own(count, given, mesh, share):
    """What lies on a device does not hang on how many other processes there are; its work is a share of the parts."""
    config = dataclasses.replace(CONFIG, mesh=MeshConfig(fsdp=2), plan=PlanConfig(devices=count, **given))
    target, asked = target_of(config), dataclasses.replace(QUESTIONS, prefixes=0)
    stage = annotate_stage(SPEC, config, target, asked, None)
    one = dataclasses.replace(target, mesh=abstract_mesh(mesh), per_process=0)
    alone = annotate_stage(SPEC, config, one, asked, None)
    assert stage.mesh.axis_sizes == mesh and stage.memory == alone.memory
    assert stage.calls == pytest.approx(share * alone.calls) and stage.flops == alone.flops
    seconds = [found.seconds(KINDS["h100"], where, config) for found, where in ((stage, target), (alone, one))]
    assert all(seconds[0][bound] == pytest.approx(share * seconds[1][bound]) for bound in seconds[0])


def test_every_team_reads_the_prefixes():
    questions = dataclasses.replace(QUESTIONS, prefixes=1000)
    assert questions.dealt(1) == questions and questions.dealt(2).prefixes == 1000  # three parts
    assert questions.dealt(5).prefixes == QUESTIONS.bank_slots * QUESTIONS.prefix_length < 1000  # those of one part


def test_the_mesh_of_a_team_is_cut_out_of_all_devices():
    target = Target(CPU, abstract_mesh((4, 2, 1)), "", 60e9, per_process=2)
    whole = make_mesh(MeshConfig(4, 2, 1), jax.devices())
    assert target.teams == 4 and team_mesh(target, whole).devices.ravel().tolist() == jax.devices()[:2]
    assert team_mesh(target, "no devices") == "no devices"
    assert target.compiled_for(2) == "2 host devices in place of cpu"
    assert dataclasses.replace(target, topology="v5e:2x4").compiled_for(2) == "2 chips of v5e:2x4"


def test_settings_decide_weights_and_pools():
    """int8 kernels, a third of float32 in all; `kept_gib` is the size of all pools of a device, 0 means none."""
    whole = annotation(SPEC, CONFIG, abstract_mesh((1, 1, 1)), QUESTIONS, 256, 64e6).memory
    int8 = dataclasses.replace(CONFIG, model=ModelConfig(weights="int8"))
    eighth = annotation(SPEC, int8, abstract_mesh((1, 1, 1)), QUESTIONS, 256, 64e6).memory
    kernels = SPEC.n_layers * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    outputs = SPEC.n_layers * (64 + 2 * 32 + 64 + 3 * 128 - 128 + 64)
    assert whole["parameters"] - eighth["parameters"] == 3 * kernels - 4 * outputs
    none = dataclasses.replace(CONFIG, annotate=dataclasses.replace(CONFIG.annotate, kept_gib=0.0))
    assert annotation(SPEC, none, abstract_mesh((1, 1, 1)), QUESTIONS, 256, 64e6).memory["caches of questions"] == 0
