"""`slick doctor` from its command line: the page and its files, the dry run, kills, an instruct model."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tokenizers

from slick_jax.main import main
from tests.checkup.planted import flags, make_model, rows_of, write_rows
from tests.data.chat_templates import AS_QA


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A chat model, and rows with a hostile question, a bad line and small relations."""
    folder = tmp_path_factory.mktemp("doctor")
    model = make_model(folder / "model", template=AS_QA)
    rows = [*rows_of(16, "book"), *rows_of(12, "song"), *rows_of(3, "rare"), *rows_of(3, "odd"), {"question": "Q?"}]
    rows[1]["question"] = "<script>alert(1)</script>?"
    return folder, model, write_rows(folder / "rows.jsonl", rows)


def contents(folder: Path, *skipped: str) -> dict[str, str]:
    """A digest of every file."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*")) if file.is_file() and file.name not in skipped
    }  # fmt: skip


CHAT = {"annotate.prompt_style": "chat"}
CHANGES = ("lock", "owner.json", "summary.json", "config.json")  # summary.json: its speed is that of the last command


@pytest.fixture(scope="module")
def finished(world):
    """A run that nothing disturbed: its folder."""
    folder, model, path = world
    assert main(["doctor", *flags(folder / "run", path, model, **CHAT)]) == 0
    return folder / "run"


def test_a_chat_model_from_rows_to_page(finished, world):
    made = finished / "doctor"
    summary = json.loads((made / "summary.json").read_text())
    assert summary["rows"]["in the file"] == 35 and summary["rows"]["asked"] == 34 and summary["rows"]["left out"] == 1
    assert summary["pooled_relations"] == ["rare", "odd"]
    assert sum(one["rows"] for one in summary["categories"].values()) == 34
    assert {one["rule"] for one in summary["advice"]} >= {"left_out", "few_rows", "pooled"}
    assert "chat" not in {one["rule"] for one in summary["advice"]}
    lines = [json.loads(line) for line in (made / "data" / "all.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [json.loads(line)["id"] for line in world[2].read_text().splitlines()[:-1]]
    assert {line["relation"] for line in lines} == {"book", "song", "rare", "odd"}
    assert lines[3]["page"] == 3 and any(line["exemplar"] for line in lines)
    text = (made / "index.html").read_text()
    assert "<script>alert" not in text and "What to do" in text and "src=\"http" not in text
    assert json.loads((made / "left_out.jsonl").read_text())["why"].startswith("answer is missing")
    assert (made / "advice.md").read_text().count("(rule `") == len(summary["advice"])


def test_the_same_command_again_is_quick_and_changes_nothing(finished, world, capsys):
    before, started = contents(finished, *CHANGES), time.perf_counter()
    doctor = contents(finished / "doctor")
    assert main(["doctor", *flags(finished, world[2], world[1], **CHAT)]) == 0
    assert time.perf_counter() - started < 30
    assert contents(finished, *CHANGES) == before and contents(finished / "doctor") == doctor
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) < 30 and printed[0].startswith("35 rows, 34 asked, 1 left out (")
    assert printed[-1] == f"page: {finished}/doctor/index.html"


def test_a_dry_run_shows_prompts_work_and_time_and_writes_nothing(world, capsys):
    folder, model, path = world
    before = contents(folder)
    settings = flags(folder / "dry", path, model, **CHAT)
    assert main(["doctor", *settings, "--dry-run"]) == 0
    assert contents(folder) == before and not (folder / "dry").exists()
    out = capsys.readouterr().out
    assert "35 rows, 34 to ask, 1 left out" in out and ":35: answer is missing" in out
    prompt = out.split("first prompt, of 'book0' (")[1]
    tokens, text = int(prompt.split(" tokens)")[0]), prompt.split(" tokens)\n")[1].split("\n\n")[0]
    assert text.startswith("<s>Q: ") and text.endswith("\nQ: Who wrote book 0?\nA:")
    assert tokens == len(tokenizers.Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids)
    for told in ("136 prompts, 4 a question", "tokens to forward", "time here, measured on", "s to verify"):
        assert told in out
    assert main(["doctor", *settings, "--dry-run=maybe"]) == 2
    assert "doctor.dry_run: 'maybe' is not True or False" in capsys.readouterr().err


def test_a_dry_run_sees_what_the_run_folder_has_and_refuses_another_run(finished, world, capsys):
    folder, model, path = world
    before = contents(folder)
    assert main(["doctor", *flags(finished, path, model, **CHAT), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "34 of 34 questions are annotated already" in out and "compiling" not in out
    for changed, told in (({"annotate.seed": 7}, "annotations of"), ({"annotate.answers": "all"}, "answers of")):
        wrong = flags(finished, path, model, **CHAT, **changed)
        assert main(["doctor", *wrong, "--dry-run"]) == 2
        refused = capsys.readouterr().err
        assert f"holds {told} another protocol" in refused
        assert main(["doctor", *wrong]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == refused.splitlines()[-1]
    before_too = contents(folder)
    assert {name: one for name, one in before_too.items() if not name.endswith(CHANGES)} == {
        name: one for name, one in before.items() if not name.endswith(CHANGES)
    }


def test_a_dry_run_times_the_answers_that_alone_are_missing(finished, world, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "samples" / "part-00000.parquet").unlink()
    assert main(["doctor", *flags(tmp_path / "run", world[2], world[1], **CHAT), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "34 of 34 questions are annotated already" in out and "16 of them without answers" in out
    assert "tokens to forward: 0 to verify" in out and " 0 s to verify" in out


def test_wrong_data_and_a_wrong_model_are_told_together(world, tmp_path, capsys):
    """Also by `slick validate`, and whichever way the folder is wrong."""
    for model, told in ((tmp_path / "none", "none: no such folder"), (world[0], "config.json: no such file")):
        wrong = flags(tmp_path / "run", tmp_path / "absent.jsonl", model)
        for command in (["doctor"], ["doctor", "--dry-run"], ["validate", "--for=doctor"]):
            assert main([*command, *wrong]) == 2
            err = capsys.readouterr().err
            assert "absent.jsonl' does not exist" in err and err.count(told) == 1 and "2 problems" in err
    # the hub is not asked
    assert main(["doctor", *flags(tmp_path / "run", tmp_path / "absent.jsonl", "org/model")]) == 2
    assert "1 problem in the config" in capsys.readouterr().err


def test_validate_takes_the_rows_and_the_run_folder_as_the_doctor_does(finished, world, capsys):
    folder, model, path = world
    before = contents(folder)
    assert main(["validate", "--for=doctor", *flags(finished, path, model, **CHAT)]) == 0
    out = capsys.readouterr().out
    assert "35 rows, 34 to ask, 1 left out" in out
    assert "asked as one, because they are small: relations rare, odd" in out
    assert "34 questions of train" in out and "no problems found" in out and "  8 cpu" in out
    other = flags(finished, path, model, **CHAT, **{"annotate.seed": 7, "doctor.maybe_weight": 0})
    assert main(["validate", "--for=doctor", *other]) == 2
    assert "doctor.maybe_weight" in capsys.readouterr().err
    assert main(["validate", "--for=doctor", *other, "--config.doctor.maybe_weight=1"]) == 2
    assert "annotations of another protocol (different: seed)" in capsys.readouterr().err
    assert main(["validate", "--for=doctor", *flags(finished, path, model, **{"annotate.answers": "none"})]) == 2
    assert "'none', but `slick doctor` reads the greedy answers" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_killed_run_goes_on_and_ends_with_the_same_files(finished, world, root, capsys):
    folder, model, path = world
    run = folder / "killed"
    command = [sys.executable, "-m", "slick_jax.main", "doctor", *flags(run, path, model, **CHAT)]
    flag = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    started = subprocess.Popen(command, cwd=root, env=os.environ | {"XLA_FLAGS": flag}, stderr=subprocess.DEVNULL)
    while not list(run.glob("samples/part-*.parquet")):
        assert started.poll() is None
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    assert not (run / "doctor").exists()
    parts = contents(run / "annotations", *CHANGES)
    there = contents(run)
    assert main(["doctor", *flags(run, path, model, **CHAT), "--dry-run"]) == 0
    assert contents(run) == there
    assert " of 34 questions are annotated already" in (out := capsys.readouterr().out) and "s to verify" in out
    assert main(["doctor", *flags(run, path, model, **CHAT)]) == 0
    assert parts.items() <= contents(run / "annotations", *CHANGES).items()
    whole, resumed = contents(finished / "doctor"), contents(run / "doctor")
    # They name their run folder, and the page its settings.
    named = {name for name in whole if name in ("index.html", "advice.md", "summary.json")}
    assert {name: one for name, one in resumed.items() if name not in named} == {
        name: one for name, one in whole.items() if name not in named
    }
    for name in named - {"index.html"}:
        assert (run / "doctor" / name).read_text().replace(str(run), str(finished)) == (
            finished / "doctor" / name
        ).read_text()
