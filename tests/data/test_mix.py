"""`slick mix`: files that read back, nothing held out in train, a manifest that tells what is in them."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from slick_jax.data import mix
from slick_jax.data.corpus import FINE_TUNING_FORM
from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.errors import InputError
from slick_jax.main import main
from slick_jax.settings.config_file import load_config
from tests.data.annotated_run import PROTOCOL, categories, examples, make_run


def read(config, name: str) -> pd.DataFrame:
    lines = (Path(config.run_dir) / "mixtures" / f"{name}.jsonl").read_text().splitlines()
    return pd.DataFrame([json.loads(line) for line in lines])


def manifest(config) -> dict:
    return json.loads((Path(config.run_dir) / "mixtures" / "manifest.json").read_text())


def remix(config, **settings):
    config = dataclasses.replace(config, mix=dataclasses.replace(config.mix, **settings))
    mix.run(config)
    return config


def complaint(config, **settings) -> str:
    with pytest.raises(InputError) as caught:
        remix(config, **settings)
    return str(caught.value)


def test_files_and_manifest(tmp_path, capsys):
    config = make_run(tmp_path)
    mix.run(config)
    written = manifest(config)
    # born: 13 Known, 9 Unknown; made: 15 and 4; none has no Unknown
    assert written["relations"] == {"born": 9, "made": 4} and written["n"] == 13
    assert (written["seed"], written["size"], written["split"]) == (0, "known_unknown", "train")
    assert (written["protocol"], written["model"], written["excluded"]) == (PROTOCOL, "weights", {})
    assert list(written["variants"]) == [
        "unknown_0", "unknown_25", "unknown_50", "unknown_75", "unknown_100",
        "known_only_25", "known_only_50", "known_only_75", "natural", "idk_50",
    ]  # fmt: skip
    planted = dict(zip((e.id for e in examples()), categories(), strict=True))
    given = {e.id: e for e in examples()}
    for name, told in written["variants"].items():
        lines = read(config, name)
        stored = pd.read_parquet(Path(config.run_dir) / "mixtures" / f"{name}.parquet")
        assert stored.equals(lines.astype(stored.dtypes)), name
        assert list(lines) == ["id", "relation", "category", "question", "answer", "prompt", "completion"]
        for row in lines.itertuples():
            example = given[row.id]
            assert (row.relation, row.question, row.category) == (example.relation, example.question, planted[row.id])
            relabelled = name == "idk_50" and row.category == "Unknown"
            assert row.answer == row.completion == ("I don't know" if relabelled else example.answers[0])
            assert row.prompt + row.completion == FINE_TUNING_FORM.format(question=row.question, answer=row.answer)
        unknown = lines["category"] == "Unknown"
        assert told["n"] == len(lines) and told["n_unknown"] == unknown.sum() == len(lines) - told["n_known"]
        assert told["percent_unknown"] == pytest.approx(100 * unknown.mean())
        assert {k: v for k, v in told["categories"].items() if v} == lines["category"].value_counts().to_dict()
        counts = {(r, c): n for r, of in told["relations"].items() for c, n in of.items() if n}
        assert counts == lines.groupby(["relation", "category"]).size().to_dict()
        text = "".join(json.dumps([row.id, row.answer]) + "\n" for row in lines.itertuples())
        assert told["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert written["variants"]["idk_50"]["sha256"] != written["variants"]["unknown_50"]["sha256"]
    shown = capsys.readouterr().out
    assert "|D| = 13 (known_unknown) over 2 relations; relations that can give none: none" in shown


def test_same_files_in_any_row_order_and_when_run_again(tmp_path):
    first = make_run(tmp_path / "a")
    mix.run(first)
    files = {path.name: path.read_bytes() for path in (Path(first.run_dir) / "mixtures").iterdir()}
    mix.run(first)
    second = make_run(tmp_path / "b")
    path = Path(second.run_dir) / "annotations.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path)
    mix.run(second)
    for config in (first, second):
        assert {path.name: path.read_bytes() for path in (Path(config.run_dir) / "mixtures").iterdir()} == files
    # the hash is part of what a study is compared by: it must not move
    assert manifest(first)["variants"]["unknown_50"]["sha256"].startswith("a239efb9cd59ec57")


def test_nothing_held_out_is_trained_on(tmp_path, capsys):
    # an exemplar under another id, a dev question in other letters, a dev id with another question
    rows, dev = examples(), examples("dev")
    rows[0] = dataclasses.replace(rows[0], question=dev[0].question)
    rows[1] = dataclasses.replace(rows[1], question="what  is born DEV 7?")
    rows[2] = dataclasses.replace(rows[2], question=dev[-1].question)  # of another relation
    config = make_run(tmp_path, rows, dev, size="5")
    exemplars = {"born": {"0": [{"id": e.id, "question": e.question} for e in [dev[0], rows[13], rows[14]]]}}
    (Path(config.run_dir) / "exemplars.json").write_text(json.dumps(exemplars))
    remix(config, size="known_unknown")
    written = manifest(config)
    assert written["excluded"] == {"an exemplar set": 3, "dev": 2}
    assert written["relations"] == {"born": 7, "made": 4} and written["annotated"] == len(rows)
    used = {name for variant in written["variants"] for name in read(config, variant)["id"]}
    assert not used & {rows[i].id for i in (0, 1, 2, 13, 14)} and len(used) > 11
    assert "held out: 3 that are in an exemplar set, 2 that are in dev" in capsys.readouterr().out


def test_own_rows_as_exemplar_pool_are_kept_out(tmp_path):
    config = make_run(tmp_path)
    rows = examples()
    pool = [{"id": e.id, "question": e.question} for e in rows[:4]]
    (Path(config.run_dir) / "exemplars.json").write_text(json.dumps({"born": {"0": pool}}))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, dev_path=""))
    mix.run(config)
    assert manifest(config)["excluded"] == {"an exemplar set": 4}
    assert not set(read(config, "unknown_0")["id"]) & {e.id for e in rows[:4]}


def test_every_other_split_is_held_out():
    row = Example("x", "Who?", ("a",), "r")
    found = mix.annotations.Annotations((), "", None, (("e", "Which?"),))
    held = mix.held_out(found, {"train": [row], "dev": [], "test": [row], "ood_test": []}, "train")
    assert list(held) == ["an exemplar set", "dev", "test", "ood_test"]
    assert held["test"] == ({"x"}, {"who?"}) and held["an exemplar set"] == ({"e"}, {"which?"})


def test_strict_categories(tmp_path):
    config = make_run(tmp_path, rule="strict_")
    mix.run(config)
    table = pd.read_parquet(Path(config.run_dir) / "annotations.parquet").set_index("id")
    rows = read(config, "unknown_50")
    assert rows["category"].tolist() == table.loc[rows["id"], "strict_category"].tolist()
    assert set(rows["category"]) == {"HighlyKnown", "Unknown"} and manifest(config)["rule"] == "strict_"


def test_more_variants_join_and_changed_ones_are_refused(tmp_path):
    config = make_run(tmp_path, percents=(0, 50), natural=False, idk=False)
    mix.run(config)
    before = manifest(config)
    remix(config, percents=(25,), natural=True)
    after = manifest(config)
    names = ["unknown_0", "unknown_25", "unknown_50", "known_only_25", "known_only_50", "natural"]
    assert list(after["variants"]) == names
    assert all(after["variants"][name] == told for name, told in before["variants"].items())
    assert "holds other mixtures (different: seed, unknown_0" in complaint(config, seed=1)
    assert "different: size, n, relations" in complaint(config, size="5")
    assert manifest(config) == after


def test_the_command(tmp_path, root, capsys):
    config = make_run(tmp_path)
    settings = {"run_dir": config.run_dir, "data.path": config.data.path, "data.dev_path": config.data.dev_path}
    line = [f"--config={root}/configs/base.py", *(f"--config.{name}={value}" for name, value in settings.items())]
    assert load_config(line, "mix").data == config.data
    assert main(["mix", *line, "--config.mix.percents=0,100", "--config.mix.size=7"]) == 0
    assert len(read(config, "unknown_100")) == 7
    assert main(["mix", *line, "--config.mix.size=14"]) == 2
    assert "14 examples are asked for, 13 is the most" in capsys.readouterr().err


def test_prompt_is_the_fine_tuning_form_of_the_pretraining_corpus():
    assert fine_tuning_prompt("Who?") + "Me" == FINE_TUNING_FORM.format(question="Who?", answer="Me")


def test_recipes_write_what_their_rows_need_and_no_more(tmp_path):
    config = make_run(tmp_path, percents=(50,), known_only=False, natural=False, idk=False)
    unrelated = [{"text": f"Text {i}."} for i in range(30)] + [{"text": "what is born dev 7?\nborn 7"}]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in unrelated))
    mix.run(config)
    before = manifest(config)
    remix(
        config, recipes=("sure_50", "patch_50", "replay_50", "upweight_50"), replay_path=str(tmp_path / "more.jsonl"),
        patch_percent=20, upweight_percent=20,
    )  # fmt: skip
    after = manifest(config)
    plain, told = read(config, "unknown_50"), after["variants"]
    assert list(told) == ["unknown_50", "sure_50", "patch_50", "replay_50", "upweight_50"]
    assert {key: told["unknown_50"] for key in before["variants"]} == before["variants"]
    assert len({of["sha256"] for of in told.values()}) == 5
    assert all(of["n"] == 13 for of in told.values()) and told["replay_50"]["n_replay"] == 26
    columns = {"sure_50": ["ending"], "patch_50": ["role"], "replay_50": ["role"], "upweight_50": ["times"]}
    for name, further in columns.items():
        rows = read(config, name)
        assert list(rows) == [*plain, *further]
        stored = pd.read_parquet(Path(config.run_dir) / "mixtures" / f"{name}.parquet")
        assert stored.equals(rows.astype(stored.dtypes))
    sure = read(config, "sure_50")
    ends = [" I am unsure." if category == "Unknown" else " I am sure." for category in plain["category"]]
    assert sure["completion"].tolist() == [a + e for a, e in zip(plain["answer"], ends, strict=True)]
    assert sure["answer"].tolist() == plain["answer"].tolist()
    replayed = read(config, "replay_50").query("role == 'replay'")
    assert len(replayed) == 26 and set(replayed["category"]) == set(replayed["prompt"]) == {""}
    assert not replayed["completion"].str.contains("dev 7").any()
