"""The command line: dispatch, exit status, and that bad input ends in one message without a traceback."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import pytest
from huggingface_hub import constants

from slick_jax import memory
from slick_jax.commands import COMMANDS
from slick_jax.main import main
from slick_jax.settings.config_file import load_config
from tests.data.chat_templates import AS_QA


@pytest.fixture
def run(root, capsys):
    """Runs a command line on configs/annotate_jsonl.py; returns (status, stdout, stderr)."""

    def call(command: str, *arguments: str) -> tuple[int, str, str]:
        status = main([command, f"--config={root}/configs/annotate_jsonl.py", *arguments])
        return status, *capsys.readouterr()

    return call


def write_rows(path, n: int = 12, **fields) -> str:
    rows = [{"question": f"What is {i}?", "answer": f"the {i}"} | fields for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_output_that_is_no_longer_read_ends_without_a_traceback():
    """As in `slick ... | head`."""
    started = subprocess.Popen(
        [sys.executable, "-m", "slick_jax.main", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    started.stdout.close()
    assert started.stderr.read() == b"" and started.wait() == 141


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_run(command):
    module, _, function = COMMANDS[command].place.partition(":")
    assert callable(getattr(importlib.import_module(module), function or "run"))


def test_usage_and_version(capsys):
    assert main([]) == 0
    assert all(command in capsys.readouterr().out for command in ("demo",))
    assert main(["annotate", "--help"]) == 0
    assert "usage: slick" in capsys.readouterr().out
    assert main(["--version"]) == 0


def test_unknown_command(capsys):
    assert main(["anotate"]) == 2
    assert "no command 'anotate'" in capsys.readouterr().err


def test_data_writes_counts_and_rows_that_read_back(run, tmp_path):
    from slick_jax.data.examples import read_rows

    path = write_rows(tmp_path / "rows.jsonl", relation="capital", subject="Überlingen")
    status, out, _ = run("data", f"--config.data.path={path}", f"--config.run_dir={tmp_path}/run")
    assert status == 0
    assert "capital" in out and "12" in out
    summary = json.loads((tmp_path / "run/data/summary.json").read_text())
    once = {"facts once": 1.0, "answers once": 1.0}
    rates = {"all relations": once, "capital": once}
    assert summary["splits"]["train"] == {"rows": 12, "relations": {"capital": 12}, "monofact_rates": rates}
    assert read_rows(f"{tmp_path}/run/data/train.jsonl", "train") == read_rows(path, "train")
    assert sorted(file.name for file in (tmp_path / "run/data").iterdir()) == ["summary.json", "train.jsonl"]


def test_validate_shows_rows_and_draws(run, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl")
    status, out, _ = run("validate", f"--config.data.path={path}", "--config.annotate.n_samples=3")
    assert status == 0
    assert "annotate.n_samples = 3" in out
    assert "12 questions of train: 10 exemplar sets x (1 greedy + 3 sampled) = 40 answers a question, 480 in all" in out
    assert "all: 12 questions, 12 rows" in out
    assert "no problems found" in out


def test_validate_shows_the_exact_first_prompt(run, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl")
    _, out, _ = run("validate", f"--config.data.path={path}")
    prompt = out.split("first prompt")[1].split("\n", 1)[1].split("\n\n")[0].splitlines()
    assert len(prompt) == 10 and prompt[-2:] == ["Q: What is 0?", "A:"]
    for question, answer in zip(prompt[:8:2], prompt[1:8:2], strict=True):
        assert answer == question.replace("Q: What is", "A: the")[:-1]


def test_a_limit_cuts_the_rows_and_leaves_the_exemplar_pool(run, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", n=40)
    whole = run("validate", f"--config.data.path={path}")[1]
    limited = run("validate", f"--config.data.path={path}", "--config.data.limit=2")[1]
    assert "all: 40 questions, 40 rows" in whole and "all: 2 questions, 40 rows" in limited
    assert whole.split("first prompt")[1] == limited.split("first prompt")[1]


@pytest.mark.parametrize("command", ["demo", "pretrain"])
def test_a_model_is_made_for_data_or_for_the_built_in_world(run, command, tmp_path):
    status, _, err = run(command, f"--config.run_dir={tmp_path}/run")
    assert status == 2 and "data.path: empty" in err and "data.kind='world'" in err


def test_validate_lists_problems_of_data_model_and_devices_together(run, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", n=4)
    status, out, err = run(
        "validate",
        f"--config.data.path={path}",
        f"--config.model.path={tmp_path}/absent",
        "--config.annotate.match=absent_module:hit",
        "--config.mesh.tensor=3",
    )
    assert status == 2
    for expected in ("relation 'all' has 4 exemplar rows", "absent: no such folder", "absent_module", "mesh.tensor=3"):
        assert expected in err
    assert "no problems found" not in out


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "does not exist"),
        ("", "holds no rows"),
        ('{"question": "Q?", "answer": "A"}\n{"question": \n', "rows.jsonl:2: is not JSON"),
        ('{"question": " ", "answer": "A"}\n', "rows.jsonl:1: question is empty"),
        ('{"question": "Q?", "answer": ""}\n', "rows.jsonl:1: answer is empty"),
        ('{"question": "Q?", "answer": 3}\n', "rows.jsonl:1: answer must be a text, found 3"),
        ('{"id": "a", "question": "Q?", "answer": "A"}\n' * 2, "rows.jsonl:2: id 'a' is already used at"),
    ],
)
@pytest.mark.parametrize("command", ["data", "validate", "annotate"])
def test_bad_rows_are_one_error_for_every_command(run, tmp_path, small_model, content, complaint, command):
    if content is not None:
        (tmp_path / "rows.jsonl").write_text(content)
    status, _, err = run(
        command,
        f"--config.data.path={tmp_path}/rows.jsonl",
        f"--config.run_dir={tmp_path}/run",
        f"--config.model.path={small_model}",
    )
    assert status == 2
    assert err.count("error: ") == 1
    assert complaint in err
    assert not (tmp_path / "run").exists()


def test_validate_describes_a_model(run, tmp_path, small_model):
    path = write_rows(tmp_path / "rows.jsonl")
    status, out, _ = run("validate", f"--config.data.path={path}", f"--config.model.path={small_model}")
    assert status == 0
    assert "d_model 128" in out and "tokenizer 1,000 ids" in out and "part files: 1;" in out


def test_validate_says_what_annotate_would_stop_at(run, tmp_path, small_model):
    path = write_rows(tmp_path / "rows.jsonl")
    status, out, _ = run("validate", f"--config.data.path={path}", "--config.run_dir=")
    assert status == 0 and "but config.run_dir: empty, and `slick annotate` needs it" in out
    assert "but config.model.path: empty" in out
    model, folder = f"--config.model.path={small_model}", f"--config.run_dir={tmp_path}/run"
    (tmp_path / "run").mkdir()
    status, out, err = run("validate", f"--config.data.path={path}", model, folder)
    assert status == 0 and "but config" not in out, err
    held = {"protocol": {"temperature": 0.7}, "rows": "of another run"}
    (tmp_path / "run" / "annotations").mkdir()
    (tmp_path / "run" / "annotations" / "manifest.json").write_text(json.dumps(held))
    (tmp_path / "run" / "annotations.parquet").touch()
    status, _, err = run("validate", f"--config.data.path={path}", model, folder)
    assert status == 2 and "of another protocol (different: " in err and "temperature, " in err


def test_validate_shows_the_first_chat(run, tmp_path, small_model):
    path = write_rows(tmp_path / "rows.jsonl")
    shutil.copytree(small_model, tmp_path / "model")
    given = [f"--config.data.path={path}", f"--config.model.path={tmp_path}/model"]
    given.append("--config.annotate.prompt_style=chat")
    status, _, err = run("validate", *given)
    assert status == 2 and "no chat template" in err
    (tmp_path / "model" / "chat_template.jinja").write_text(AS_QA)
    status, out, err = run("validate", *given)
    assert status == 0, err
    assert "'rows.0'\n<|endoftext|>Q: What is " in out and "\nQ: What is 0?\nA:\n" in out


def test_validate_takes_a_hub_id_and_says_when_there_is_none(run, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    path = write_rows(tmp_path / "rows.jsonl")
    status, _, err = run("validate", f"--config.data.path={path}", "--config.model.path=org/absent")
    assert status == 2 and err.count("error: ") == 1
    assert "config.model.path: 'org/absent' is no folder here" in err and "HF_HUB_OFFLINE is set" in err


def test_validate_reads_a_hub_model_without_its_tensors(run, tmp_path, small_model, monkeypatch):
    cached = tmp_path / "cache" / "models--org--small"
    shutil.copytree(small_model, cached / "snapshots" / ("0" * 40), ignore=shutil.ignore_patterns("*.safetensors"))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    path = write_rows(tmp_path / "rows.jsonl")
    status, out, err = run("validate", f"--config.data.path={path}", "--config.model.path=org/small")
    assert status == 0, err
    assert f"org/small@{'0' * 40}" in out and "tensors: not fetched" in out and "tokens in shared prefixes" in out


def test_validate_tells_of_a_broken_model_once(run, tmp_path, small_model):
    model = shutil.copytree(small_model, tmp_path / "model")
    (model / "config.json").write_text("{")
    path = write_rows(tmp_path / "rows.jsonl")
    status, _, err = run("validate", f"--config.data.path={path}", f"--config.model.path={model}")
    assert status == 2 and err.count("config.json") == 1 and "1 problem\n" in err


def test_a_misspelt_setting_in_a_real_process_is_no_traceback(root):
    command = [
        sys.executable,
        "-m",
        "slick_jax.main",
        "annotate",
        "--config=configs/base.py",
        "--config.annotate.sed=1",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2
    assert "config.annotate.sed: no such setting; did you mean seed?" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_full_device_is_one_message(root, capsys, monkeypatch):
    from slick_jax.data import prepare

    def fill(config):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.\nlong list")

    monkeypatch.setattr(prepare, "run", fill)
    overrides = [f"--config.data.path={root / 'README.md'}", "--config.run_dir=unused"]
    assert main(["data", f"--config={root}/configs/annotate_jsonl.py", *overrides]) == 2
    message = capsys.readouterr().err
    assert "memory is full (RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.)" in message
    assert "mesh.fsdp" in message and "long list" not in message


@pytest.mark.parametrize(
    ("command", "settings", "named", "left_out"),
    [
        ("annotate", (), "annotate.batch_tokens (it is 1024, chosen for this kind", "train.accumulate"),
        ("annotate", ("annotate.batch_tokens=77",), "annotate.batch_tokens (it is 77)", "annotate.answer_rows"),
        ("annotate", ("annotate.answers=all",), "annotate.answer_rows (it is 4096)", "train."),
        ("train", ("train.accumulate=2",), "train.accumulate (it is 2, of train.batch_size=128 rows)", "answer_rows"),
        ("study", (), "train.accumulate", "kept_gib"),
        ("study", ("study.shift=all",), "annotate.kept_gib (it is None", "answer_rows"),
        ("evaluate", (), "annotate.batch_tokens", "train."),
        ("longform", (), "longform.write.rows (it is 256)", "annotate.kept_gib"),
        ("pretrain", (), "lower pretrain.rows_per_step (it is 17) or data.corpus.row_tokens (it is 60)", "mesh."),
    ],
)
def test_the_hint_for_a_full_device_names_what_the_command_uses(root, command, settings, named, left_out):
    flags = [f"--config={root}/configs/annotate_jsonl.py", *(f"--config.{one}" for one in settings)]
    told = memory.hint(command, load_config(flags))
    assert named in told and left_out not in told and ("mesh.fsdp" in told) == (command != "pretrain")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
@pytest.mark.parametrize(("command", "goes_on"), [("pretrain", True), ("data", False)])
def test_a_command_that_is_stopped_promises_only_what_is_so(
    root, tmp_path, capsys, monkeypatch, command, goes_on, number, status
):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
    handler, ended = signal.getsignal(signal.SIGTERM), []

    def stop(config):
        try:
            os.kill(os.getpid(), number)
            pytest.fail("the signal was not seen")
        finally:
            if number == signal.SIGTERM:
                os.kill(os.getpid(), number)  # a second one breaks nothing off
            ended.append(True)

    monkeypatch.setattr(importlib.import_module(COMMANDS[command].place), "run", stop)
    assert main([command, f"--config={root}/tests/small_world.py", f"--config.run_dir={tmp_path}"]) == status
    assert ("goes on from here" in capsys.readouterr().err) == goes_on
    assert ended and signal.getsignal(signal.SIGTERM) is handler


def test_programs_are_kept_in_the_folder_that_is_asked_for(root, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    environment |= {"SLICK_CACHE": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}
    flags = [f"--config={root}/tests/small_world.py", f"--config.run_dir={tmp_path / 'run'}"]
    small = {"data.world.relations": 1, "data.world.facts_per_relation": 40, "pretrain.max_steps": 1}
    flags += [f"--config.{name}={value}" for name, value in small.items()]
    command = [sys.executable, "-m", "slick_jax.main", "pretrain", *flags]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "cache").glob("*-cache"))


def test_bad_input_is_told_before_jax_is_imported():
    check = "import sys, slick_jax.main, slick_jax.settings.rules; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_stopped_by_a_signal_has_a_status_of_its_own(root, capsys, monkeypatch):
    from slick_jax.data import prepare
    from slick_jax.errors import Stopped

    def stop(config):
        raise Stopped("stopped by a signal, run it again")

    monkeypatch.setattr(prepare, "run", stop)
    overrides = [f"--config.data.path={root / 'README.md'}", "--config.run_dir=unused"]
    assert main(["data", f"--config={root}/configs/annotate_jsonl.py", *overrides]) == 75
    assert capsys.readouterr().err == "data: stopped by a signal, run it again\n"
