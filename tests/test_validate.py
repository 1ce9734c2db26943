"""slick validate for every command: all problems together, nothing written, the commands' own checks."""

import contextlib
import json
import os
import shutil
from types import SimpleNamespace

import pytest

from slick_jax import validate_stages
from slick_jax.config import Config, ModelConfig
from slick_jax.errors import InputError
from slick_jax.main import main
from tests.browsing.planted_runs import write
from tests.training.fine_tuning import make_folder

FITTING = {  # prompts that the tiny model holds
    "annotate__n_exemplars": 1, "annotate__n_exemplar_sets": 2, "annotate__n_reserve_sets": 1,
    "annotate__max_answer_tokens": 12,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def validate(root, tmp_path, capsys):
    """Runs `slick validate` on configs/base.py with these settings; returns (status, stdout, stderr)."""

    def call(*flags, **settings):
        given = [f"--config.{name.replace('__', '.')}={value}" for name, value in settings.items()]
        status = main(["validate", f"--config={root}/configs/base.py", *flags, *given])
        return status, *capsys.readouterr()

    return call


def rows(tiny):
    return {"data__path": f"{tiny}/rows.jsonl", "data__dev_path": f"{tiny}/dev.jsonl", "model__path": f"{tiny}/model"}


def test_settings_data_model_and_devices_are_told_together(validate, tmp_path):
    status, out, err = validate(
        annotate__n_sampels=3, annotate__top_k=0, data__path=tmp_path / "absent.jsonl", model__path=tmp_path / "none",
        mesh__tensor=3,
    )  # fmt: skip
    assert status == 2 and err.count("error: ") == 1 and "5 problems" in err, err
    told = "n_sampels: no such setting", "annotate.top_k", "absent.jsonl' does not exist", "none: no such folder"
    assert all(expected in err for expected in (*told, "mesh.tensor=3")), err
    assert os.listdir(tmp_path) == []


def test_every_command_can_be_asked_for(validate, tmp_path):
    status, _, err = validate("--for=rescore", rescore__source=tmp_path / "absent", run_dir=tmp_path / "run")
    assert status == 2 and "absent" in err
    status, _, err = validate("--for=stdy")
    assert status == 2 and "validate.command: 'stdy' is unknown; allowed: demo, data" in err
    status, _, err = validate("--for=export", export__out="x")
    assert status == 2 and "export.checkpoint: empty, and `slick export` needs it" in err and "data.path" not in err


def test_a_mixture_that_is_missing_or_does_not_fit(validate, tiny, tmp_path):
    given = rows(tiny) | {"run_dir": tmp_path / "run", "train__variant": "mixed"}
    status, _, err = validate("--for=train", **given)
    assert status == 2 and "mixtures/mixed.jsonl" in err
    (tmp_path / "run/mixtures").mkdir(parents=True)
    row = {"id": "a", "question": "q?", "answer": "b", "prompt": "q?\n", "completion": "b", "category": "Unknown"}
    (tmp_path / "run/mixtures/mixed.jsonl").write_text(json.dumps(row | {"completion": "many words " * 30}) + "\n")
    status, _, err = validate("--for=train", **given)
    assert status == 2 and "raise train.max_target_tokens" in err
    (tmp_path / "run/mixtures/mixed.jsonl").write_text(json.dumps(row) + "\n")
    status, out, err = validate("--for=train", **given)
    assert status == 0, err
    assert "no problems found" in out and "for `slick train`" in out


def test_a_study_names_the_mixtures_that_there_are(validate, tiny, tmp_path):
    write(tmp_path / "run")
    given = rows(tiny) | {"run_dir": tmp_path / "run", "study__variants": "unknwon_50"}
    status, _, err = validate("--for=study", **given)
    assert status == 2 and "no mixture 'unknwon_50'; did you mean 'unknown_50'?" in err


def test_what_later_commands_lack_is_no_problem_yet(validate, tiny, tmp_path):
    given = rows(tiny) | {"run_dir": tmp_path / "run", "study__seeds": "0,1"} | FITTING
    status, out, err = validate(**given)
    assert status == 0, err
    assert "no problems found" in out and "but for `slick study`: " in out and "run `slick mix`" in out


def test_a_run_folder_that_cannot_be_written_and_a_full_disk(validate, tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    given = rows(tiny) | FITTING
    status, _, err = validate(**given, run_dir=tmp_path / "file/run")
    assert status == 2 and "is a file; choose another run_dir" in err
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda place, _: "closed" not in str(place))
    status, _, err = validate(**given, run_dir=tmp_path / "closed/run")
    assert status == 2 and "cannot be written" in err
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1 << 20))
    status, _, err = validate(**given, run_dir=tmp_path / "run")
    assert status == 2 and "its disk has 1 MiB left" in err


def test_checkpoints_are_found_by_name(validate, tiny, tmp_path):
    given = {"data__path": f"{tiny}/rows.jsonl", "data__test_path": f"{tiny}/dev.jsonl"}
    shutil.copytree(tiny / "model", tmp_path / "checkpoints", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "checkpoints/4").mkdir()
    status, _, err = validate("--for=evaluate", **given, evaluate__checkpoint=tmp_path / "checkpoints/9")
    assert status == 2 and "no checkpoint of step 9; there are 4" in err
    status, _, err = validate("--for=evaluate", **given, evaluate__checkpoint=tmp_path / "checkpoints/4")
    assert status == 0, err


@pytest.mark.parametrize("config", ["longform", "plan_8b_h100"])
def test_configs_of_other_commands_need_no_rows(config, root, capsys, monkeypatch):
    monkeypatch.chdir(root)
    status = main(["validate", f"--config=configs/{config}.py", "--config.mesh.fsdp=1"])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert f"for `slick {config.partition('_')[0]}`" in out


def test_finished_runs_of_a_study_need_no_more_room(monkeypatch):
    units, asked = [SimpleNamespace(finished=one) for one in (True, False, True, False)], []
    monkeypatch.setattr(validate_stages.study, "units", lambda config: units)
    monkeypatch.setattr(validate_stages, "room_for_checkpoints", lambda config, runs: asked.append(runs))
    for check in validate_stages.checks(Config(model=ModelConfig(path="model")), "study"):
        with contextlib.suppress(InputError):  # of what is not there
            check(Config(model=ModelConfig(path="model")))
    assert asked == [2]
