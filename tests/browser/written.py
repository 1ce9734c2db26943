"""Run folders whose names, questions and answers are hostile, and their pages."""

import dataclasses
import json

import numpy as np
import pandas as pd

from slick_jax.analysis import report
from slick_jax.checkup import page as doctor
from slick_jax.checkup.advice import advise
from slick_jax.checkup.intake import LeftOut
from slick_jax.checkup.treated import treatments
from slick_jax.config import Config
from slick_jax.longform import report as longform
from tests.analysis import planted
from tests.checkup import planted as planted_rows
from tests.longform import planted_study

SCRIPT = "</td></template><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
FORMULA = '=HYPERLINK("http://evil.example","click")'
UNBROKEN = "long" * 75
TURNED = "\u202eesrever\u2066 \u200fx"  # direction marks, never closed
HOSTILE = (SCRIPT, FORMULA, UNBROKEN, TURNED, "", "$\\frac{1}{2}$ {{ 7 * 7 }}")
MANY = 100_000


class Reports(dict):
    """Paths of pages by name, each made when it is first asked for: of a study, of annotations alone, of more rows than
    a page takes ('many'), of a long-form study, and of the doctor."""

    def __init__(self, folder):
        super().__init__()
        self._folder = folder

    def __missing__(self, name):
        folder = self._folder / name
        folder.mkdir()
        if name in ("longform", "doctor"):
            self[name] = {"longform": _longform, "doctor": _doctor}[name](folder)
        else:
            {"study": _study, "annotations": _annotations, "many": _many}[name](folder)
            self[name] = report.run(Config(run_dir=str(folder)))
        return self[name]


def _study(folder):
    """Every seventh gold, sample and answer after fine-tuning is hostile."""
    planted.write_study(folder, percents=(0, 50, 100), known_only=(50,), epochs=8)
    path = folder / "annotations.parquet"
    table = pd.read_parquet(path)
    table["answers"] = [[_hostile(i, str(golds[0]))] for i, golds in enumerate(table["answers"])]
    table["question"] = [_hostile(i + 3, text) for i, text in enumerate(table["question"])]
    table.to_parquet(path)
    told = [[_hostile(i + j, f"said {j % 2}") for j in range(5)] for i in range(len(table))]
    (folder / "samples").mkdir()
    pd.DataFrame({"id": table["id"], "greedy": told}).to_parquet(folder / "samples/part-00000.parquet")
    for path in folder.glob("train/*/seed-*/answers.parquet"):
        answers = pd.read_parquet(path)
        answers["answer"] = [_hostile(i, text) for i, text in enumerate(answers["answer"])]
        answers.to_parquet(path)
    manifest = json.loads((folder / "mixtures/manifest.json").read_text())
    (folder / "mixtures/manifest.json").write_text(json.dumps(manifest | {"note": SCRIPT + UNBROKEN}))


def _annotations(folder):
    planted.write_annotations(folder, relations=(SCRIPT, UNBROKEN))


def _hostile(place, text):
    return HOSTILE[place // 7 % len(HOSTILE)] if place % 7 == 0 else text


def _many(folder):
    """More rows than the page takes."""
    rows = planted.write_annotations(folder, relations=("P17", "P19"))
    rows = rows.iloc[np.arange(MANY + 500) % len(rows)].reset_index(drop=True)
    rows["id"] = [f"row {i}" for i in range(len(rows))]
    rows["question"] = [f"What is asked as number {i}?" for i in range(len(rows))]
    rows.to_parquet(folder / "annotations.parquet")


def _longform(folder):
    domains = ("<script>taken()</script>", "=1+1")
    measures, bins = planted_study.belief(domains)
    return longform.write(folder, longform.Study(
        UNBROKEN, planted_study.scored(domains, n=24), planted_study.training(domains), measures, bins,
        method={"claims": TURNED + SCRIPT}, missing=(UNBROKEN,), config={"note": SCRIPT},
    ))  # fmt: skip


def _doctor(folder):
    """Two relations, with near misses and lines that were left out."""
    counts = {"HighlyKnown": 30, "MaybeKnown": 30, "WeaklyKnown": 10, "Unknown": 40}
    rows = [row for name in (SCRIPT, UNBROKEN) for row in planted_rows.planted_rows(counts, name)]
    for place, row in enumerate(rows):
        row["answers"] = [_hostile(place, row["answers"][0])]
        row["question"] = _hostile(place + 3, row["question"])
        row["greedy"] = [_hostile(place + draw, f"by {row['answers'][0]}") for draw in range(planted_rows.SETS)]
    settings = {"model.path": UNBROKEN[:200], "mix.idk_text": SCRIPT}
    found, config = planted_rows.planted(folder, rows, **settings)
    left_out = [LeftOut(f"{text}:{place}", f"answer {text!r} is empty", {}) for place, text in enumerate(HOSTILE)]
    found = dataclasses.replace(found, intake=dataclasses.replace(found.intake, left_out=left_out))
    return doctor.write(folder / "doctor", config, found, advise(found, config), treatments(found, config))
