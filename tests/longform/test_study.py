"""The whole study with a tiny untrained model and scripted texts: what each table holds, and that nothing is lost."""

import dataclasses
import gc
import json
import shutil
import weakref
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from slick_jax.config import LoraConfig, MeshConfig
from slick_jax.errors import InputError
from slick_jax.longform import checkpoint, finetune, room_beliefs, rooms, study
from slick_jax.longform.arm_files import file_name
from slick_jax.longform.domains import make_domains
from slick_jax.longform.p_true import odds
from slick_jax.longform.reading import Reader
from slick_jax.mesh import make_mesh
from slick_jax.settings.longform import ClaimsConfig, OwnConfig
from slick_jax.training import loop
from tests.longform.scripted import config_of, make_model, own_config, script

DOMAINS, ARMS = ("plots", "leaflets"), ("GOLD", "GEN+SELF")
STAGES = (study.entities, study.texts, study.claims, study.beliefs, study.arms, study.train, study.answers)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


REAL = {"train": loop.train, "note_wanted": loop.note_wanted}, finetune.Run.load


def trained(job):
    """In place of `loop.train`, whose own tests are elsewhere; texts are scripted whatever the parameters are."""
    assert job.evaluator is None and len(job.rows) == len(job.ids)
    return [{"epoch": 1, "loss": float(len(job.rows))}]


@pytest.fixture(scope="module")
def patched(model):
    """Patches of the whole module: the model of the built-in domains is there, and nothing is trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.pretrain, "run", lambda config, corpus: model)
        patch.setattr(loop, "train", trained)
        patch.setattr(loop, "note_wanted", lambda job, lines: None)
        patch.setattr(finetune.Run, "load", lambda run, network, model: {})
        yield patch


@pytest.fixture(scope="module")
def finished(patched, tmp_path_factory):
    """(config, what the probe was trained on, calls of the writer) of a study that has ended."""
    config, seen = config_of(tmp_path_factory.mktemp("study")), []
    calls = script(patched, config)

    def spied(reader, train, dev, *args, **settings):
        seen.append((train, dev))
        return real_train_probe(reader, train, dev, *args, **settings)

    real_train_probe = room_beliefs.train_probe
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room_beliefs, "train_probe", spied)
        study.run(config)
    return config, seen, list(calls)


def table(config, *parts):
    return pd.read_parquet(Path(config.run_dir, "longform", *parts).with_suffix(".parquet"))


def entities(config):
    return pd.concat([table(config, name, "entities") for name in DOMAINS]).set_index("id")


def contents(config):
    """Bytes of every file that says something about the study, but for pictures and what tells of the process."""
    folder = Path(config.run_dir, "longform")
    kinds = (".parquet", ".jsonl", ".json", ".safetensors", ".csv")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in kinds and path.name != "owner.json" and "checkpoints" not in path.parts
    }


def test_every_source_is_of_its_splits_and_no_exemplar(finished):
    config, seen, calls = finished
    split = entities(config)["split"]
    assert split.groupby([split.index.str.split(".").str[0], split]).size().tolist() == [5, 6, 5, 8] * 2
    for name in DOMAINS:
        wanted = {"gold": {"train", "test"}, "generated": {"probe", "train", "dev", "test"},
                  "resampled": {"train", "dev", "test"}}  # fmt: skip
        for source, splits in wanted.items():
            texts = table(config, name, source, "texts")
            assert set(texts["entity"].map(split)) == splits and set(texts["source"]) == {source}
        assert len(table(config, name, "generated", "texts")) == 24 - 1, "one entity is the example in prompts"
        labels = table(config, name, "generated", "labels")
        assert labels["supported"].notna().all() and 0.3 < labels["supported"].mean() < 0.8
        assert table(config, name, "gold", "labels")["supported"].all()
        assert table(config, name, "generated", "sentences")["parsed"].all()
    for (train, _), (dev, _) in seen:
        assert {split[claim.entity] for claim in train} == {"probe"}
        assert {split[claim.entity] for claim in dev} == {"dev"}
    assert len(seen) == len(DOMAINS)


def test_beliefs_are_of_all_scorers_and_not_of_the_probes_entities(finished):
    config, split = finished[0], entities(finished[0])["split"]
    for name in DOMAINS:
        for source, splits in (("gold", {"train", "test"}), ("generated", {"train", "dev", "test"})):
            beliefs, labels = table(config, name, source, "beliefs"), table(config, name, source, "labels")
            about = labels.set_index("id")["entity"].map(split)
            assert set(beliefs["claim_id"].map(about)) == splits
            assert beliefs.groupby("scorer")["claim_id"].apply(set).map(len).nunique() == 1
            assert set(beliefs["scorer"]) == set(config.longform.scorers) and beliefs["belief"].between(0, 1).all()


def test_arms_hold_train_entities_alone_and_the_same_prompts(finished):
    config, split = finished[0], entities(finished[0])["split"]
    for name in DOMAINS:
        folder, prompts = Path(config.run_dir, "longform", name, "arms"), []
        for arm in ARMS:
            rows = [json.loads(line) for line in (folder / f"{file_name(arm)}.jsonl").read_text().splitlines()]
            assert {split[row["entity"]] for row in rows} == {"train"}
            assert all(row["prompt"].endswith("\n") and row["completion"] for row in rows)
            prompts.append({row["prompt"] for row in rows})
        assert prompts[0] == prompts[1]


def test_every_model_answers_about_test_entities_of_every_domain(finished):
    config, _, calls = finished
    answers, split = table(config, "answers"), entities(finished[0])["split"]
    assert set(answers["entity"].map(split)) == {"test"}
    cells = answers.groupby(["arm", "trained_on", "domain"]).size()
    assert set(cells) == {5} and len(cells) == 2 * (1 + len(ARMS) * 2)
    for name in DOMAINS:
        place = f"gen_self.{name}.seed-0"
        assert len(table(config, name, "answers", place, "texts")) == 5
    labels = {label for source, label, _ in calls if source == "answer"}
    assert labels == {"BASE", *(f"{file_name(arm)}.{name}.seed-0" for arm in ARMS for name in DOMAINS)}
    page = Path(config.run_dir, "longform", "report", "index.html").read_text()
    assert "GEN+SELF" in page and "leaflets" in page
    transfer = pd.read_csv(Path(config.run_dir, "longform", "tables", "transfer.csv"))
    assert len(transfer)


def test_a_second_call_recomputes_nothing(finished, patched, monkeypatch):
    config, before = finished[0], contents(finished[0])
    for place, name in ((finetune.loop, "train"), (room_beliefs, "train_probe"), (room_beliefs, "raw_scores"),
                        (rooms.arms, "build"), (rooms.generate.Generator, "_texts"),
                        (study.Judge, "_method")):  # fmt: skip
        monkeypatch.setattr(place, name, None)
    for stage in STAGES:
        stage(config)
    study.run(config)
    assert contents(config) == before


@pytest.mark.verify
def test_killed_anywhere_the_files_are_the_same(finished, patched, tmp_path, monkeypatch):
    """Every third call of what takes long is killed behind its work, until the study ends."""
    config, calls = config_of(tmp_path), [0]

    def dying(function):
        def call(*args, **settings):
            calls[0] += 1
            made = function(*args, **settings)
            if calls[0] % 3 == 0:
                raise KeyboardInterrupt
            return made

        return call

    monkeypatch.setattr(rooms.generate.Generator, "_texts", dying(rooms.generate.Generator._texts))
    monkeypatch.setattr(room_beliefs, "train_probe", dying(room_beliefs.train_probe))
    monkeypatch.setattr(room_beliefs, "raw_scores", dying(room_beliefs.raw_scores))
    monkeypatch.setattr(finetune.loop, "train", dying(loop.train))
    monkeypatch.setattr(rooms.arm_files, "write", dying(rooms.arm_files.write))
    kills = 0
    while kills < 60:
        try:
            study.run(config)
            break
        except KeyboardInterrupt:
            kills += 1
    assert 5 < kills < 60
    assert contents(config) == contents(finished[0])


def test_a_users_file_with_sentences_and_a_function_of_theirs(patched, tmp_path, monkeypatch):
    config = own_config(tmp_path / "run", tmp_path, arms=("GEN+GOLD",), scorers=("probe", "logprob"))
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, lora=LoraConfig(rank=2)))
    script(monkeypatch, config)
    for name, function in REAL[0].items():
        monkeypatch.setattr(loop, name, function)
    monkeypatch.setattr(finetune.Run, "load", REAL[1])
    study.run(config)
    place = Path(config.run_dir, "longform", "towns", "train", "gen_gold", "seed-0")
    result = json.loads((place / "result.json").read_text())
    assert result["texts"] > 3 and len(result["losses"]) == 1 and not (place / "answers.parquet").exists()
    assert [path.name for path in (place / "checkpoints").iterdir() if path.name.isdecimal()] == [
        str(-(-result["texts"] // config.train.batch_size))
    ]
    assert not (place.parents[2] / "resampled").exists(), "which only consistency needs"
    labels = table(config, "towns", "generated", "labels")
    assert labels["relation"].isna().all() and 0.3 < labels["supported"].mean() < 0.9
    texts = table(config, "towns", "generated", "texts").set_index("id")["text"]
    assert all(row.claim in texts[row.text_id] for row in labels.itertuples())
    assert table(config, "answers")["domain"].eq("towns").all()
    page = Path(config.run_dir, "longform", "report", "index.html").read_text()
    assert "the fallback" in page and "judges:contained" in page


def test_a_model_that_says_nothing_is_told(patched, tmp_path, monkeypatch):
    config = own_config(tmp_path / "run", tmp_path)
    script(monkeypatch, config)
    scripted = rooms.generate.Generator._texts

    def silent(self, *args):
        made = scripted(self, *args)
        return [rooms.Text(**{**vars(text), "text": ""}) for text in made]

    monkeypatch.setattr(rooms.generate.Generator, "_texts", silent)
    with pytest.raises(InputError, match="towns: no claim was found .* split probe, train, dev, test .*: 23 empty,"):
        study.claims(config)


@pytest.fixture
def moved(finished, tmp_path):
    """The config of a copy of the finished study, elsewhere."""
    shutil.copytree(Path(finished[0].run_dir), tmp_path / "run")
    return dataclasses.replace(finished[0], run_dir=str(tmp_path / "run"))


def test_a_study_that_was_moved_goes_on_and_what_a_kill_left_is_removed(
    finished, moved, model, tmp_path, patched, monkeypatch
):
    shutil.copytree(model, tmp_path / "model")
    monkeypatch.setattr(study.pretrain, "run", lambda config, corpus: tmp_path / "model")
    monkeypatch.setattr(finetune.loop, "train", None)
    monkeypatch.setattr(room_beliefs, "raw_scores", None)
    left = Path(moved.run_dir, "longform", "plots", "probe", "states", "states.npy")
    left.parent.mkdir()
    left.write_bytes(b"x")
    Path(moved.run_dir, "longform", "plots", "arms", "gold.jsonl").unlink()
    study.run(moved)
    assert contents(moved) == contents(finished[0]) and not left.parent.exists()


def test_arms_of_an_entity_that_has_moved_to_test_are_refused(moved, patched, monkeypatch):
    def other_split(settings):
        domains = make_domains(settings)
        entities = domains["plots"].entities
        place = next(at for at, entity in enumerate(entities) if entity.split == "train")
        entities[place] = dataclasses.replace(entities[place], split="test")
        return domains

    monkeypatch.setattr(study, "make_domains", other_split)
    folder = Path(moved.run_dir, "longform", "plots")
    with pytest.raises(InputError, match="plots/entities of another protocol"):
        study.arms(moved)
    (folder / "entities.parquet").unlink()
    with pytest.raises(InputError, match="plots/gold/sentences of another protocol .entities was"):
        study.arms(moved)
    for path in [*folder.glob("*/*.parquet"), *folder.glob("probe/*")]:
        if path.stem != "texts":
            path.unlink()
    with pytest.raises(InputError, match="plots/arms: holds other arms .different: .*made_by"):
        study.arms(moved)


def test_domains_that_share_an_entity_are_refused_unless_none_is_asked_about_another(patched, tmp_path):
    config = own_config(tmp_path / "run", tmp_path, transfer=("all",))
    rows = [json.loads(line) for line in Path(config.longform.own.paths[0]).read_text().splitlines()]
    splits = ["probe", "train", "dev", "test"]
    for number, name in enumerate(("one", "two")):
        named = [row | {"split": splits[(place + number) % 4]} for place, row in enumerate(rows[: 8 + number])]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    paths = tuple(str(tmp_path / f"{name}.jsonl") for name in ("one", "two"))
    config = dataclasses.replace(config, longform=dataclasses.replace(config.longform, own=OwnConfig(paths)))
    with pytest.raises(InputError, match="(?s)longform.transfer=.*one name in two splits: one/Town A0 .probe., two/"):
        study.entities(config)
    apart = dataclasses.replace(config.longform, transfer=())
    study.entities(dataclasses.replace(config, run_dir=str(tmp_path / "apart"), longform=apart))


def test_references_that_training_cannot_hold_are_told_before_anything_is_written(patched, tmp_path, monkeypatch):
    config = config_of(tmp_path)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, max_target_tokens=50))
    calls = script(monkeypatch, config)
    with pytest.raises(InputError, match="plots: references: 8 texts have train.max_target_tokens=50 tokens or more"):
        study.texts(config)
    assert not calls


def test_no_weights_are_held_that_a_stage_does_not_use(patched, model, tmp_path, monkeypatch):
    """The model under study and the verifier are two copies of one: at any time at most one of them is there."""
    config = own_config(tmp_path / "run", tmp_path, arms=("GOLD", "GEN"), scorers=("logprob",), transfer=())
    longform = dataclasses.replace(
        config.longform, claims=ClaimsConfig(verifier="model", verifier_model=str(model)),
        filter=dataclasses.replace(config.longform.filter, scorer="logprob"),
    )  # fmt: skip
    config, read, seen = dataclasses.replace(config, longform=longform), [], []
    script(monkeypatch, config)
    load, read_rows = checkpoint.weights.load_hf, Reader.read

    def alive():
        gc.collect()
        return sum(any(one() is not None for one in arrays) for arrays in read)

    def loaded(*args):
        params = load(*args)
        read.append([weakref.ref(array) for array in jax.tree.leaves(params)])
        seen.append(alive())
        return params

    def judged(self, program, rows, *columns, progress=""):
        if program is not odds:
            return read_rows(self, program, rows, *columns, progress=progress)
        seen.append(alive())
        return [(np.arange(len(rows)), np.arange(len(rows)) % 2 - 0.5)]

    def fitted(job):
        assert alive() == 0
        return trained(job)

    monkeypatch.setattr(checkpoint.weights, "load_hf", loaded)
    monkeypatch.setattr(Reader, "read", judged)
    monkeypatch.setattr(loop, "train", fitted)
    study.answers(config)
    assert len(read) >= 4 and set(seen) == {1}, seen
    assert alive() == 0


def test_another_tokenizer_is_another_model(model, tmp_path):
    shutil.copytree(model, tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    file.write_bytes(file.read_bytes() + b"\n")
    config, mesh = config_of(tmp_path), make_mesh(MeshConfig(), jax.devices()[:1])
    one, other = (checkpoint.open_second(config, str(path), "x", mesh) for path in (model, tmp_path / "other"))
    assert {name for name in one.protocol if one.protocol[name] != other.protocol[name]} == {"tokenizer"}


def test_other_settings_are_refused_and_named(finished, patched):
    config = finished[0]
    changed = config_of(config.run_dir, samples=2)
    with pytest.raises(InputError, match="sampling.samples was 1, is 2"):
        study.texts(changed)
