"""Every block of Python in the pages runs, page by page, on small files, and does what the page says."""

import ast
import importlib.util
import inspect
import json

import pandas as pd
import pytest

from slick_jax.categories import CATEGORIES
from slick_jax.data import recipes
from slick_jax.data.entity_questions.preparation import prepare
from slick_jax.data.examples import read_rows
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.data.tfds_rows import read_tfds
from slick_jax.knowledge import store
from slick_jax.settings.config_file import load_config
from slick_jax.settings.setting_docs import settings
from slick_jax.training.mixture_file import read_mixture
from tests.data.annotated_run import COUNTS
from tests.docs.grounds import GROUNDS, annotated, examples
from tests.docs.pages import PAGES, blocks

LANGUAGES = ("python", "sh", "bash", "json", "text", "math", "dockerfile")
# Their Python asks a model for minutes: `make verify` runs it, `make test` looks at names, arguments and settings.
ASKS_A_MODEL = ("docs/api.md",)
WITH_PYTHON = [page for page in PAGES if any(b.language == "python" for b in blocks(page)) and page not in ASKS_A_MODEL]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_of_a_page_runs(played, page):
    assert page in GROUNDS, "say in tests/docs/grounds.py what its Python stands on"
    played(page)


@pytest.mark.verify
@pytest.mark.parametrize("page", ASKS_A_MODEL)
def test_python_that_asks_a_model_runs(played, page):
    played(page)


@pytest.mark.parametrize("page", ASKS_A_MODEL)
def test_names_arguments_and_settings_of_python_that_asks_a_model_are_there(page):
    names = {}
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text, block.where)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("slick_jax"):
                module = importlib.import_module(node.module)
                names |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
            elif isinstance(node, ast.Dict):
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant) and "." in str(key.value)]
                wrong = {"annotate.temprature"}  # shown as a mistake
                assert set(keys) - wrong <= set(settings()), block.where
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                keywords = {one.arg: one.value for one in node.keywords}
                inspect.signature(names[node.func.id]).bind(*node.args, **keywords)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_their_language_and_json_is_json(page):
    for block in blocks(page):
        assert block.language in LANGUAGES, block
        if block.language == "json":
            for line in block.text.splitlines():
                json.loads(line)


def test_annotations_are_read_as_shown(played):
    names, _ = played("docs/annotations.md")
    assert names["hits"].shape == (10, 16) and set(names["unknown"]["category"]) == {"Unknown"}
    assert {*names["table"]} == {*store.OUTPUT_SCHEMA.names}


def test_answers_are_joined_row_by_row(played):
    names, _ = played("docs/answers.md")
    assert names["table"]["id"].is_unique and len(names["table"]) == len(names["samples"]) == len(examples())


def test_the_quickstart_keeps_what_is_not_unknown(played):
    names, _ = played("docs/quickstart.md")
    unknown = sum(numbers[CATEGORIES.index("Unknown")] for numbers in COUNTS.values())
    assert len(names["kept"]) == len(names["rows"]) - unknown == len(examples()) - unknown


def test_own_mixtures_hold_maybe_known_rows_twice(played):
    names, folder = played("docs/own_rules.md")
    rows = read_mixture(folder / "mixture.parquet")
    maybe = [row for row in rows if row.times == 2]
    assert {row.category for row in maybe} == {"MaybeKnown"} and len(maybe) == sum(n[1] for n in COUNTS.values())
    assert len(rows) == len(names["known"]) and "Unknown" not in {row.category for row in rows}


def test_the_judge_of_claims_judges(played):
    names, _ = played("docs/longform_texts.md")
    assert names["judge"]("It is.", ["It is. So."]) == 1.0 and names["judge"]("It is not.", ["It is. So."]) == 0.0


def test_recipes_of_the_page_are_recipes(played, tmp_path):
    names, _ = played("docs/study.md")
    (tmp_path / "unrelated.jsonl").write_text("{}\n")
    names["c"].mix.replay_path = str(tmp_path / "unrelated.jsonl")
    file = tmp_path / "shown.py"
    made = f"ml_collections.ConfigDict({names['c'].to_dict()})"
    file.write_text(f"import ml_collections\ndef get_config(): return {made}")
    assert not list(recipes.problems(load_config([f"--config={file}"]).mix))


def test_rows_in_either_form_are_the_same(played):
    _, folder = played("docs/data.md")
    rows = read_rows(str(folder / "my_rows.jsonl"), "train")
    assert rows == read_rows(str(folder / "my_rows.parquet"), "train") and len(rows) == 2
    assert read_tfds(folder / "runs/mine/data/tfds/slick_rows/1.0.0") == {"train": rows}


def test_entity_questions_is_the_same_by_command_by_builder_and_by_hand(played):
    names, folder = played("docs/data.md")
    expected = prepare(str(folder / "dataset.zip"))
    assert names["splits"] == expected
    for place in (names["folder"], names["builder"].data_dir, "runs/eq/data/tfds/slick_rows/1.0.0"):
        assert read_tfds(folder / place) == expected
    first = names["source"][0]
    assert (len(names["source"]), first["question"].decode()) == (36, expected["test"][0].question)


def test_grain_batches_hold_every_row_once_an_epoch_and_resume(played):
    names, folder = played("docs/data.md")
    epoch = [row for batch in names["batches"][:5] for row in batch]
    expected = [(fine_tuning_prompt(row.question), row.answers[0]) for row in names["examples"]]
    assert sorted((row["prompt"], row["completion"]) for row in epoch) == sorted(expected)
    assert names["first"] == names["batches"][0] and len(names["first"]) == 8
    later = next(names["iterator"])
    names["iterator"].set_state(names["state"])
    assert next(names["iterator"]) == later != names["first"]
    assert [(row.prompt, row.completion) for row in read_mixture(folder / "mixture.parquet")] == expected


def test_the_walk_makes_table_and_figure(root, tmp_path, capsys):
    table = annotated(tmp_path, examples())
    spec = importlib.util.spec_from_file_location("walk", root / "docs" / "walk.py")
    walk = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(walk)
    walk.main(str(tmp_path))
    shares = pd.read_csv(tmp_path / "walk" / "categories.csv", index_col="relation")
    for relation, counts in COUNTS.items():
        expected = [round(100 * n / sum(counts), 2) for n in counts]
        assert shares.loc[relation, list(CATEGORIES)].tolist() == expected
        low, high = shares.loc[relation, ["low", "high"]]
        assert low <= shares.loc[relation, "Unknown"] == shares.loc[relation, "afresh"] <= high
    assert shares["questions"].sum() == len(table)
    assert (tmp_path / "walk" / "categories.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="no rows of split 'test'; there are train"):
        walk.main(str(tmp_path), "test")
