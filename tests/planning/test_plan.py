"""`slick plan` from its command line: published models, fits and advice, assumptions told, and every refusal."""

import json

import pytest

from slick_jax.data.corpus_tokens import train_tokenizer
from slick_jax.main import main
from slick_jax.models.spec import spec_to_hf
from slick_jax.models.weights import read_spec
from slick_jax.planning import plan, target
from slick_jax.planning.questions import questions_of, tokenizer_of
from slick_jax.settings.config_file import load_config
from slick_jax.training import pretrain
from tests.data.small_tokenizers import byte_level_files

LLAMA_3 = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
    "rope_theta": 500000.0, "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": False,
}  # fmt: skip
EIGHT_B = 8_030_261_248  # parameters of meta-llama/Meta-Llama-3-8B


@pytest.fixture
def llama(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(LLAMA_3))
    return tmp_path / "model"


def planned(root, llama, *more, config="base"):
    settings = [f"--config.plan.model={llama}", "--config.plan.compile=False", *more]
    return plan.make_plan(load_config([f"--config={root}/configs/{config}.py", *settings], "plan"))


def test_llama_3_8b_on_eight_h100(root, llama):
    made = planned(root, llama, config="plan_8b_h100")
    (train,) = made.stages
    assert made.model[1] == EIGHT_B
    norms = (2 * 32 + 1) * 4096  # whole on every device
    assert train.memory["parameters"] == train.memory["gradients"] == (EIGHT_B - norms) * 4 / 8 + norms * 4
    assert train.memory["optimizer state"] == 2 * train.memory["parameters"] + 8  # and two counters
    # 6 FLOPs for every weight of the layers and token, 50 epochs of 3,334 rows of 30 tokens, and the questions on top.
    tokens = 50 * 3334 * 30
    assert train.flops > 6 * (EIGHT_B - 2 * 128256 * 4096) * tokens
    assert not made.advice and made.table()[0]["device"] == "h100"
    hours = {row["device"]: row["hours"]["train"] for row in made.table()}
    assert list(hours) == ["h100", "h200", "v5e", "v5p", "v6e"]
    assert all(row["device_hours"] == pytest.approx(8 * hours[row["device"]]) for row in made.table())


def test_hours_follow_the_utilisation_where_arithmetic_is_the_bound(root, llama):
    half, full = (
        planned(root, llama, "--config.plan.stages=annotate", f"--config.plan.utilisation={share}").table()[0]
        for share in (0.25, 0.5)
    )
    assert half["bound_by"]["annotate"] == "arithmetic"
    assert half["hours"]["annotate"] == pytest.approx(2 * full["hours"]["annotate"])


def test_what_does_not_fit_says_what_to_change(root, llama):
    """AdamW in float32 is 16 bytes a parameter: 128 GB, too much for an H100, and enough room on eight."""
    made = planned(root, llama, "--config.plan.stages=train", "--config.model.dtype=bfloat16")
    assert made.advice["train"].startswith("set mesh.fsdp=4, mesh.tensor=1, which fits by shapes; or cut the model")
    assert "train.remat" in made.advice["train"] and "NO" in made.text()
    alone = planned(root, llama, "--config.plan.stages=train", "--config.plan.devices=1")
    assert "take more devices" in alone.advice["train"]


def test_rows_and_tokens_are_counted_where_they_are_there(root, tmp_path):
    """The built-in world and a tokenizer of its text; tokens of the first round as the tokenizer itself writes them."""
    arguments = [f"--config={root}/tests/small_world.py", f"--config.plan.model={tmp_path}", "--config.plan.device=cpu"]
    config = load_config([*arguments, "--config.plan.compile=False", "--config.annotate.p_true=False"], "plan")
    world = pretrain.world_of(config.data)
    tokenizer = train_tokenizer(world, config.data.corpus.vocab_size)
    tokenizer.save(tmp_path)
    spec = pretrain.make_network(config, tokenizer.size).spec
    (tmp_path / "config.json").write_text(json.dumps(spec_to_hf(spec, eos_token_id=tokenizer.eos_ids[0])))

    asked = [row for name, rows in world.splits.items() if name not in ("dev", "ood_dev") for row in rows]
    found = questions_of(config, str(tmp_path), spec)
    assert found.count == len(asked) and found.parts >= len(asked) / 32
    answers = sum(len(tokenizer.encode(f" {answer}")) for row in asked for answer in row.answers)
    own = sum(len(tokenizer.encode(f"Q: {row.question}\nA:")) for row in asked)
    assert 0.5 < found.first / (10 * (own + answers)) < 1.1  # what a relation's prompts share is not forwarded again

    made = plan.make_plan(config)
    assert [stage.name for stage in made.stages] == ["annotate", "train", "study"]
    assert "rows and tokens of the first round counted" in made.stages[0].told
    assert "not mixed" in made.stages[1].told and "tokens of rows counted" in made.stages[1].told
    train, study = made.stages[1:]
    assert train.flops < study.flops < 10 * train.flops  # ten mixtures, of which D_Known lack the Unknown
    assert "10 mixtures x 1 seeds" in study.told


def test_a_run_of_one_mixture_is_planned_alone(root, llama):
    """`slick study` takes no train.variant."""
    made = planned(root, llama, "--config.train.variant=unknown_50", "--config.mix.size=600")
    assert [stage.name for stage in made.stages] == ["annotate", "train"]
    assert made.stages[1].calls == 50 * 5  # 600 rows by 128


def test_a_tokenizer_may_be_two_files(llama):
    assert tokenizer_of(llama, read_spec(llama)) is None
    settings = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<s>"}
    files = byte_level_files() | {"tokenizer_config.json": json.dumps(settings).encode()}
    for name, content in files.items():
        (llama / name).write_bytes(content)
    assert tokenizer_of(llama, read_spec(llama)).encode("a")


def test_stages_of_longform_and_of_a_fresh_model(root):
    config = [f"--config={root}/configs/longform.py", "--config.plan.compile=False", "--config.run_dir="]
    made = plan.make_plan(load_config(config, "plan"))
    assert [stage.name for stage in made.stages] == ["texts", "beliefs", "fine-tuning", "answers"]
    assert "29 runs" in made.stages[2].told  # as the config says of itself
    assert made.stages[0].memory["parameters"] == 4 * made.model[1]


def test_the_command_prints_and_writes(root, llama, tmp_path, capsys):
    arguments = [f"--config={root}/configs/plan_8b_h100.py", f"--config.plan.model={llama}"]
    arguments += ["--config.plan.compile=False", f"--config.run_dir={tmp_path / 'run'}"]
    assert main(["plan", *arguments]) == 0
    text = capsys.readouterr().out
    assert "8,030,261,248 parameters" in text and "device-hours" in text and "arithmetic on shapes" in text
    written = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert written["target"]["mesh"] == {"data": 1, "fsdp": 8, "tensor": 1}
    assert written["stages"][0]["memory"]["parameters"] == pytest.approx(EIGHT_B * 4 / 8, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["device=a100"], "config.plan.device: 'a100' is unknown; allowed: h100, h200, v5e, v5p, v6e, cpu"),
        (["stages=fly"], "config.plan.stages: 'fly' is unknown"),
        (["utilisation=1.5"], "config.plan.utilisation: 1.5 is no share"),
        (["topology=v5p-256"], "config.plan.topology: 'v5p-256' is no slice of TPUs"),
        (["topology=v5p:2x2x2", "device=v5e"], "is 8 chips of v5p, and plan.device='v5e'"),
        (["per_process=3"], "config.plan.per_process: 3 devices of a process do not divide the 8 of plan.devices"),
        (["devices=6"], "mesh.data=1, mesh.fsdp=8, mesh.tensor=1 does not fit 6 devices"),
    ],
)
def test_refusals(root, llama, settings, message, capsys):
    more = [f"--config.plan.{one}" for one in settings] + ["--config.mesh.data=1"] * (settings == ["devices=6"])
    config = [f"--config={root}/configs/plan_8b_h100.py", f"--config.plan.model={llama}", "--config.plan.devices=0"]
    assert main(["plan", *config, *more]) == 2
    assert message in capsys.readouterr().err


def test_a_topology_without_libtpu(root, llama, monkeypatch, capsys):
    monkeypatch.setattr(target.importlib.util, "find_spec", lambda name: None)
    config = [f"--config={root}/configs/plan_70b_v5p.py", f"--config.plan.model={llama}"]
    assert main(["plan", *config]) == 2
    assert "needs libtpu: pip install slick_jax[tpu]; or leave plan.topology empty" in capsys.readouterr().err
