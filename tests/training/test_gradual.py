"""`slick gradual`: what is promoted, both stages with the model's labels planted, and going on after a kill."""

import contextlib
import dataclasses
import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from slick_jax.config import MixConfig
from slick_jax.data.examples import read_rows
from slick_jax.data.mixtures import Annotated
from slick_jax.errors import InputError
from slick_jax.knowledge import annotate
from slick_jax.models import weights
from slick_jax.training import gradual, train
from tests.training.fine_tuning import config_for, make_folder

CYCLE = ("HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown")


def rows(categories):
    return [Annotated(str(i), f"r{i % 2}", category, f"q {i}?", f"a {i}") for i, category in enumerate(categories)]


def test_what_has_become_maybe_known_from_below_and_a_share_of_highly_known():
    before = rows(CYCLE * 10)
    after = rows([{"WeaklyKnown": "MaybeKnown", "MaybeKnown": "HighlyKnown"}.get(c, c) for c in CYCLE * 10])
    after[3] = dataclasses.replace(after[3], category="MaybeKnown")  # from Unknown
    after[0] = dataclasses.replace(after[0], category="MaybeKnown")  # from HighlyKnown: forgotten, not promoted
    after.append(Annotated("new", "r0", "MaybeKnown", "q?", "a"))  # was not annotated before
    found = gradual.promoted(before, after, MixConfig(gradual_replay=0.5))
    risen = {row.id for row in found if row.category == "MaybeKnown"}
    assert risen == {"3", *(str(i) for i in range(2, 40, 4))}
    highly = [row for row in found if row.category == "HighlyKnown"]
    assert len(highly) == round(0.5 * 11) == len(found) - 11
    assert {row.id for row in highly} <= {str(i) for i in range(40) if i % 4 in (0, 1)} - {"0"}
    assert found == sorted(found, key=lambda row: (row.relation, row.id))
    more = gradual.promoted(before, after, MixConfig(gradual_replay=1))
    assert set(found) < set(more) and len(more) == 22
    assert {row.category for row in gradual.promoted(before, after, MixConfig(gradual_replay=0))} == {"MaybeKnown"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("tiny"))


def planted(config, moved):
    """What `slick annotate` leaves for the rows of train, categories in turn, `moved` along by so many."""
    run_dir, rows = Path(config.run_dir), read_rows(config.data.path, "train")
    (run_dir / "annotations").mkdir(parents=True, exist_ok=True)
    categories = [CYCLE[(place - moved) % 4] for place in range(len(rows))]
    pd.DataFrame([dataclasses.asdict(row) for row in rows]).assign(category=categories, protocol="p").to_parquet(
        run_dir / "annotations.parquet"
    )
    (run_dir / "exemplars.json").write_text("{}")
    record = {"hash": "p", "protocol": {"model": weights.fingerprint(config.model.path)}}
    (run_dir / "annotations" / "manifest.json").write_text(json.dumps(record))


def config_in(folder, run_dir):
    """Of a run whose annotations are planted."""
    config = config_for(folder, run_dir, variant="", epochs=2, eval_train_epochs="none")
    planted(config, 0)
    mix = dataclasses.replace(config.mix, size="8", gradual_replay=0.5)
    return dataclasses.replace(config, mix=mix)


@pytest.fixture
def config(folder, tmp_path, monkeypatch):
    """Annotations of the tuned model are planted, too, with every category raised by one."""
    monkeypatch.setattr(annotate, "annotate", lambda own: planted(own, 1))
    return config_in(folder, tmp_path)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """(config, returned folder, printed lines) of a whole run."""
    config, printed = config_in(folder, tmp_path_factory.mktemp("both")), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(annotate, "annotate", lambda own: planted(own, 1))
        return config, gradual.run(config), printed.getvalue()


def test_both_stages(finished):
    config, folder, printed = finished
    own = Path(config.run_dir) / "gradual" / "seed-0"
    assert Path(folder) == own
    train_rows = read_rows(config.data.path, "train")
    mixed = pd.read_json(own / "mixtures" / "gradual.jsonl", lines=True)
    was = {row.id: CYCLE[place % 4] for place, row in enumerate(train_rows)}
    promoted = mixed[mixed["category"] == "MaybeKnown"]
    assert {was[name] for name in promoted["id"]} == {"WeaklyKnown"}
    assert set(promoted["id"]) == {name for name, category in was.items() if category == "WeaklyKnown"}
    assert (mixed["category"] == "HighlyKnown").sum() == round(len(promoted) / 2)
    first = json.loads(Path(config.run_dir, "train/all_MaybeKnown/seed-0/result.json").read_text())
    assert first["n"] == sum(category == "MaybeKnown" for category in was.values())
    second = json.loads((own / "train/gradual/seed-0/result.json").read_text())
    assert second["n"] == len(mixed) and second["model"] == str(own / "model")
    summary = pd.read_csv(own / "summary.csv")
    assert summary["variant"].tolist() == ["all_MaybeKnown", "gradual"] * 2
    assert summary["stop"].tolist() == ["EARLY_STOP"] * 2 + ["CONVERGENCE"] * 2
    answers = pd.read_parquet(own / "train/gradual/seed-0/answers.parquet")
    assert summary["accuracy"].iloc[-1] == pytest.approx(
        100 * answers.loc[answers["stop"] == "CONVERGENCE", "hit"].mean()
    )
    assert "promoted to MaybeKnown" in printed


def test_it_goes_on_where_it_was_killed(config, monkeypatch):
    real, calls = train.run, []

    def killed(own, watch=None):
        calls.append(own.train.variant)
        if own.train.variant == "gradual":
            raise KeyboardInterrupt
        return real(own, watch)

    with monkeypatch.context() as patch:
        patch.setattr(train, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            gradual.run(config)
    own = Path(config.run_dir) / "gradual" / "seed-0"
    files = [*(own / "mixtures").iterdir(), own / "model" / "model.safetensors"]
    before = {path: path.read_bytes() for path in files}
    monkeypatch.setattr(annotate, "annotate", lambda own: pytest.fail("annotated again"))
    gradual.run(config)
    assert {path: path.read_bytes() for path in files} == before and (own / "summary.csv").exists()
    other = dataclasses.replace(config, mix=dataclasses.replace(config.mix, gradual_replay=1.0))
    with pytest.raises(InputError, match="holds another mixture .different: n, replay, variants"):
        gradual.run(other)


def test_another_first_stage_is_not_gone_on_from(config, finished):
    shutil.copytree(finished[0].run_dir, config.run_dir, dirs_exist_ok=True)
    shutil.rmtree(Path(config.run_dir) / "train/all_MaybeKnown")
    shutil.rmtree(Path(config.run_dir) / "gradual/seed-0/train")
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, peak_lr=2e-3))
    with pytest.raises(InputError, match="gradual/seed-0: holds the model of another first stage"):
        gradual.run(longer)


def test_nothing_promoted_is_told(config, monkeypatch):
    monkeypatch.setattr(annotate, "annotate", lambda own: planted(own, 0))
    with pytest.raises(InputError, match="none of the .* examples has become MaybeKnown"):
        gradual.run(config)
