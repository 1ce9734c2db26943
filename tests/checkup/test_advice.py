"""Every rule of advice speaks where its numbers say so, and is silent where they do not."""

import dataclasses
import shlex

import pytest

from slick_jax.checkup import page
from slick_jax.checkup.advice import advise, markdown
from slick_jax.checkup.intake import LeftOut
from tests.checkup.planted import planted, planted_rows

KNOWN = {"HighlyKnown": 120, "MaybeKnown": 60, "WeaklyKnown": 20}
MIXED = KNOWN | {"Unknown": 100}


def rules(tmp_path, rows, **settings):
    found, config = planted(tmp_path, rows, **settings)
    return {one.rule: one for one in advise(found, config)}


def test_what_to_do_about_unknown_rows(tmp_path):
    found = rules(tmp_path, planted_rows(MIXED))
    assert {"filter", "early_stop", "relabel", "maybe"} <= set(found) and "nothing" not in found
    assert "33.3 % (28.2 to 38.8)" in found["filter"].why and "100 Unknown rows" in found["filter"].title
    assert found["filter"].do[0].startswith(f"{tmp_path}/doctor/data/without_unknown.jsonl (200 rows)")
    stop = found["early_stop"].do[1]  # 300 rows in batches of 128
    assert "EARLY_STOP" in stop and f"{tmp_path}_tuned/train/all/seed-0/checkpoints/<3 x n> (3 steps an epoch)" in stop
    assert found["filter"].do[1].startswith("slick train --config=configs/base.py")
    assert "I don't know" in found["relabel"].title


def test_the_training_command_asks_and_computes_as_the_annotation_did(tmp_path):
    found, config = planted(tmp_path, planted_rows(MIXED))
    asked = dataclasses.replace(config.annotate, chat_options=("enable_thinking=false",), abstain_phrases=("No idea",))
    model, mesh = (
        dataclasses.replace(config.model, dtype="bfloat16"), dataclasses.replace(config.mesh, fsdp=8)
    )
    other = dataclasses.replace(config, annotate=asked, model=model, mesh=mesh)
    command = next(one for one in advise(found, other) if one.rule == "filter").do[1]
    flags = {token.partition("=")[0]: token.partition("=")[2] for token in shlex.split(command)}
    assert flags["--config.annotate.chat_options"] == "['enable_thinking=false']"
    assert flags["--config.annotate.abstain_phrases"] == "['No idea']"
    assert flags["--config.model.dtype"] == "bfloat16" and flags["--config.mesh.fsdp"] == "8"
    assert not {"--config.model.precision", "--config.annotate.match"} & set(flags)


def test_nothing_to_do_where_unknown_is_surely_small(tmp_path):
    found = rules(tmp_path, planted_rows(KNOWN | {"Unknown": 2}))
    assert "nothing" in found and not {"filter", "relabel", "early_stop"} & set(found)
    few = rules(tmp_path, planted_rows({"HighlyKnown": 30, "Unknown": 1}))  # 3 %, which 31 rows do not say
    assert "nothing" not in few and {"filter", "few_rows"} <= set(few)


def test_rows_and_relations(tmp_path):
    rows = planted_rows(MIXED)
    found, config = planted(tmp_path, rows)
    of_rows = {"left_out", "pooled", "few_rows", "repeated", "conflicting"}
    assert not of_rows & {one.rule for one in advise(found, config)}
    left_out = [LeftOut("rows.jsonl:7", "answer is empty; fill it in", {})]
    found = dataclasses.replace(found, intake=dataclasses.replace(found.intake, left_out=left_out, pooled=["all"]))
    told = {one.rule: one for one in advise(found, config)}
    assert "rows.jsonl:7: answer is empty" in told["left_out"].why and "300 rows in all" in told["pooled"].why


def test_repeated_and_conflicting_questions(tmp_path):
    rows = planted_rows(MIXED)
    rows[1] = rows[1] | {"question": rows[0]["question"].upper(), "answers": rows[0]["answers"]}
    assert rules(tmp_path, rows)["repeated"].title == "drop 1 repeated row"
    rows[1] = rows[1] | {"answers": ["someone else"]}
    found = rules(tmp_path, rows)
    assert "repeated" not in found and "'all.HighlyKnown.0', 'all.HighlyKnown.1'" in found["conflicting"].why


def test_near_misses_suggest_aliases(tmp_path):
    rows = planted_rows(MIXED)
    for row in rows[-30:]:
        row["greedy"] = f"it is {row['answers'][0]}"
    found = rules(tmp_path, rows)["aliases"]
    assert "30 'holds'" in found.why and "annotate.match=" in found.do[1]
    for row in rows[-20:]:
        row["greedy"] = "something else"
    assert "aliases" not in rules(tmp_path, rows)  # 10 of 300


def test_long_cut_empty_and_refusing_answers(tmp_path):
    assert not {"long", "cut", "empty", "abstains"} & set(rules(tmp_path, planted_rows(MIXED)))
    chatty = rules(tmp_path, planted_rows(MIXED, greedy="well let me think about this question for a while", cut=True))
    assert "'s 10" in chatty["long"].why.replace("model's 10", "'s 10") and "100 %" in chatty["cut"].why
    assert chatty["cut"].do[0].startswith("the same command with --config.annotate.max_answer_tokens=48")
    assert "empty" in rules(tmp_path, planted_rows(MIXED, greedy=" "))
    assert "abstains" in rules(tmp_path, planted_rows(MIXED, abstained_greedy=0.2))


def test_guessable_relations(tmp_path):
    rows = planted_rows(MIXED, "book") + planted_rows({"MaybeKnown": 20}, "language", greedy="English")
    assert "guessable" not in rules(tmp_path, rows)
    for row in rows[-8:]:
        row["answers"] = ["English"]
    why = rules(tmp_path, rows)["guessable"].why
    assert "40 % of the 20 rows of 'language'" in why and "100 % of the model's greedy answers" in why


def test_worst_relations(tmp_path):
    rows = planted_rows(KNOWN | {"Unknown": 10}, "book") + planted_rows({"Unknown": 30}, "song")
    found = rules(tmp_path, rows)["worst"]
    assert found.title.endswith("relation 'song' (100 %)")
    assert "worst" not in rules(tmp_path, planted_rows(MIXED, "book") + planted_rows({"Unknown": 5}, "song"))


@pytest.mark.parametrize(
    ("model", "template", "style", "title"),
    [
        ("m", "a template", "qa", "ask the model in its chat template, too, and compare"),
        ("Tiny-Instruct", None, "qa", "add the chat template to the model folder"),
        ("tiny-2b-it", None, "qa", "add the chat template to the model folder"),
        ("my-iteration-3", None, "qa", None),
        ("m", None, "qa", None),
        ("m", "a template", "chat", None),
    ],
)
def test_chat_models(tmp_path, model, template, style, title):
    settings = {"model.path": model, "annotate.prompt_style": style}
    found = rules(tmp_path, planted_rows(MIXED), template=template, **settings).get("chat")
    assert (found.title if found else None) == title


def test_a_model_that_knows_nothing_is_suspected_to_be_asked_wrongly(tmp_path):
    found, config = planted(tmp_path, planted_rows({"Unknown": 100}))
    told = advise(found, config)
    assert told[0].rule == "nothing_known"
    assert not any("without_unknown" in line for one in told for line in one.do)  # there is no such file then


def test_relations_that_are_all_small_are_clustered(tmp_path):
    """None can be ranked by itself, but kinds of questions can."""
    rows = [
        row | {"id": f"{kind}{place}", "relation": f"{kind} {place % 12}", "question": f"{kind} number {place}?"}
        for kind, counts in (("Who wrote the novel", {"Unknown": 40}), ("What is the capital of land", KNOWN))
        for place, row in enumerate(planted_rows(counts)[:60])
    ]
    found, config = planted(tmp_path, rows)
    assert found.grouped == "cluster" and len(found.table) >= 2
    assert found.table["against"].iloc[0] == "more" and "novel" in found.table["group"].iloc[0]
    assert page.grouping(found, 10).startswith("None of the 24 relations has 10 rows (doctor.least_rows), so that")
    found, config = planted(tmp_path, [row | {"relation": "x"} if "novel" in row["id"] else row for row in rows])
    assert found.grouped == "relation" and found.table["group"].tolist() == ["x"]
    assert "12 relations of fewer than 10 rows (doctor.least_rows) cannot be." in page.grouping(found, 10)
    few, _ = planted(tmp_path, planted_rows({"Unknown": 3}, "a") + planted_rows({"Unknown": 3}, "b"))
    assert few.grouped == "" and few.table.empty


def test_labels_that_more_draws_would_change(tmp_path):
    steady = rules(tmp_path, planted_rows({"HighlyKnown": 100, "Unknown": 50}))
    assert "draws" not in steady
    unsure = rules(tmp_path, planted_rows({"HighlyKnown": 100, "Unknown": 50}, certainty=0.3))
    assert "100 % of the Unknown labels" in unsure["draws"].why
    assert "--config.annotate.n_exemplar_sets=8" in unsure["draws"].do[0]


def test_the_numbers_of_a_diagnosis(tmp_path):
    found, _ = planted(tmp_path, planted_rows({"MaybeKnown": 30, "WeaklyKnown": 10, "Unknown": 60}))
    record = found.record()
    assert record["rows"] == {
        "in the file": 100, "asked": 100, "left out": 0, "behind data.limit": 0, "exemplars among those asked": 0,
    }  # fmt: skip
    assert record["categories"]["Unknown"]["percent"] == pytest.approx(60)
    assert record["Known"]["rows"] == 40
    assert record["afresh"]["Unknown"] == pytest.approx(60 * 0.7 + 40 * 0.1)
    # WeaklyKnown rows hit with their first sample behind their first set, MaybeKnown ones behind the first two sets.
    assert record["saturation_last_steps"] == {"exemplar set": 0.0, "sample": 0.0}
    assert {one["category"]: one["certainty"] for one in record["label_certainty"]}["Unknown"] == pytest.approx(70)


def test_advice_as_text(tmp_path):
    found, config = planted(tmp_path, planted_rows(MIXED))
    text = markdown(advise(found, config))
    assert text.startswith("# What to do\n\n1. **") and "(rule `filter`)" in text
