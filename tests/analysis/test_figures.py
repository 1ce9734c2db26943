"""Figures judged by what is drawn on their axes."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from slick_jax.analysis import (
    annotation_figures,
    canvas,
    category_figures,
    curves,
    evidence,
    figures,
    fitting,
    measure_figures,
    palette,
    regression,
    runs,
    shift,
    single_categories,
    tables,
    unknown_tests,
)
from slick_jax.categories import CATEGORIES
from tests.analysis import planted, whole_study

DEMO_TEST = (*range(1, 13), 16, 20, 24, 28, 30)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    planted.write_study(folder, percents=(0, 50, 100), known_only=(50,), epochs=30, test=DEMO_TEST, seeds=(0, 1))
    return runs.read_study(folder, seeds=(0, 1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The evidence of a study with all variants."""
    return evidence.gather(runs.read_study(whole_study.write(tmp_path_factory.mktemp("whole"), seeds=(0,))))


@pytest.fixture(scope="module")
def bounds(study):
    """Intervals of F3 on test."""
    return evidence.gather(study).by_stop("test")


@pytest.fixture(scope="module")
def drawn(study, whole, bounds):
    """Every figure by name."""
    followed = curves.followed(study)
    stops = [run.early_stop for run in followed]
    one, _ = unknown_tests.tested(whole, "EARLY_STOP")
    shifts = shift.matrices(whole.study).query("split == 'test' and stop == 'CONVERGENCE'")
    fitted = curves.fitted_at_early_stop(study), fitting.fitted_shares(study.mixtures)
    return {
        "curves": figures.curves_figure(curves.by_epoch(followed), stops, fitting.Fitting(followed).curves()),
        "budgets": figures.budgets_figure(curves.by_budget(study, "test"), "test", 30, bounds),
        "ablation": figures.ablation_figure(curves.ablation(study, "test"), "test", bounds),
        "fitted": figures.fitted_figure(*fitted),
        "categories": category_figures.single_categories_figure(single_categories.table_two(whole)[0]),
        "unknown": measure_figures.unknown_tests_figure(unknown_tests.figure_five(one), 75.0),
        "shift": category_figures.shift_figure(shifts),
        "saturation": measure_figures.saturation_figure(study.saturation),
        "relations": annotation_figures.relations_figure(tables.shares_by_relation(study.annotations)),
        "certainty": annotation_figures.certainty_figure(
            tables.expected_labels(study.annotations), study.annotations
        ),
        "coefficients": figures.coefficients_figure(regression.table_one(study)[0]),
    }


def lines(axes):
    """Curves by their label in the legend."""
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_early_stop_is_marked_at_its_epoch(drawn):
    axes = drawn["curves"].axes[0]
    marks = [line for line in axes.get_lines() if line.get_gid() == "EARLY_STOP"]
    assert [list(mark.get_xdata()) for mark in marks] == [[6, 6]]
    assert any("EARLY_STOP (epoch 6)" in text.get_text() for text in axes.texts)


def test_seeds_that_stop_at_different_epochs_are_each_marked(study):
    table = curves.by_epoch(curves.followed(study))
    axes = figures.curves_figure(table, [9, 6, 9]).axes[0]
    assert sorted(line.get_xdata()[0] for line in axes.get_lines() if line.get_gid() == "EARLY_STOP") == [6, 9]
    assert any("epoch 6, 9" in text.get_text() for text in axes.texts)


def test_early_stop_and_convergence_are_lines_of_f3a(drawn):
    found = lines(drawn["budgets"].axes[0])
    assert "EARLY_STOP" in found and "epoch 30 (CONVERGENCE)" in found
    assert len(found) == curves.MOST_BUDGETS + 1
    assert list(found["EARLY_STOP"].get_xdata()) == [0, 50, 100]
    assert found["EARLY_STOP"].get_marker() not in {line.get_marker() for n, line in found.items() if n != "EARLY_STOP"}


def test_both_stopping_points_are_panels_of_f3b_on_one_scale(drawn):
    early, late = drawn["ablation"].axes
    assert [early.get_title(), late.get_title()] == ["EARLY_STOP", "CONVERGENCE"]
    assert early.get_ylim() == late.get_ylim()
    assert list(lines(late)[figures.LABELS["D_Known"]].get_xdata()) == [0, 50]


def test_a_category_has_one_colour_in_all_figures(drawn):
    found = {}
    for label, line in lines(drawn["curves"].axes[0]).items():
        found.setdefault(label.removeprefix("train, "), set()).add(to_hex(line.get_color()).upper())
    for axes in drawn["saturation"].axes:
        for label, line in lines(axes).items():
            found[label].add(to_hex(line.get_color()).upper())
    for axes in drawn["categories"].axes:
        for label, line in lines(axes).items():
            if label in CATEGORIES:
                found[label].add(to_hex(line.get_color()).upper())
    for bar in drawn["fitted"].axes[0].patches:
        group = bar.get_gid().split()[1]
        found.setdefault(group, set()).add(to_hex(bar.get_edgecolor()).upper())
    assert {name: found[name] for name in palette.CATEGORY_COLOURS} == {
        name: {colour} for name, colour in palette.CATEGORY_COLOURS.items()
    }
    assert found["Known"] == {palette.KNOWN_COLOUR}
    # No other curve borrows the colour of a category.
    others = [line for name in ("budgets", "ablation", "unknown") for line in lines(drawn[name].axes[0]).values()]
    assert not {to_hex(line.get_color()).upper() for line in others} & set(palette.CATEGORY_COLOURS.values())


def test_bars_of_a_mixture_lie_end_to_end_over_all_of_d(drawn):
    by_row = {}
    for bar in drawn["fitted"].axes[0].patches:
        by_row.setdefault(bar.get_gid().split()[0], []).append((bar.get_x(), bar.get_x() + bar.get_width()))
    for spans in by_row.values():
        spans.sort()
        assert spans[0][0] == 0 and spans[-1][1] == pytest.approx(100)
        assert [end for _, end in spans[:-1]] == pytest.approx([start for start, _ in spans[1:]])


def test_both_panels_of_saturation_end_with_the_run_itself(study, drawn):
    table = study.saturation
    sets, samples = drawn["saturation"].axes
    assert (sets.get_title(), samples.get_title()) == (
        "with 6 samples behind each set (N_sample)", "with 5 exemplar sets (N_ex)"
    )  # fmt: skip
    assert sets.get_ylim() == samples.get_ylim()
    for name in planted.CATEGORIES:
        along_sets, along_samples = lines(sets)[name], lines(samples)[name]
        assert list(along_sets.get_xdata()) == [1, 2, 3, 4, 5] and list(along_samples.get_xdata()) == [*range(7)]
        assert along_sets.get_ydata()[-1] == along_samples.get_ydata()[-1] == table[name].iloc[-1]
        one_set = table[(table["n_exemplar_sets"] == 1) & (table["n_samples"] == 6)]
        assert along_sets.get_ydata()[0] == one_set[name].item()


def test_every_axis_says_what_it_shows_and_in_which_unit(drawn):
    for name, figure in drawn.items():
        if name in ("shift", "relations"):  # their panels share the names of axes
            continue
        assert figure.axes[0].get_ylabel() or name == "coefficients", name  # whose lines are named
        for axes in figure.axes:
            units = any(unit in axes.get_xlabel() for unit in ("(%)", "(points)", "(% of the row)"))
            assert units or axes.get_xlabel().startswith(("epoch", "number of", "data set"))
    assert "(%)" in drawn["relations"].axes[-1].get_xlabel() and drawn["relations"].get_supylabel() == "relation"
    assert "(% of the row)" in drawn["shift"].get_supxlabel() and "before" in drawn["shift"].get_supylabel()
    for name in ("unknown", "categories"):
        assert drawn[name].axes[0].get_ylabel().endswith("(%)")
    assert drawn["curves"].axes[0].get_ylabel() == "exact match (%)"


def heights(axes):
    """The lower and upper edge of every band by its x, in the order they were drawn."""
    found = []
    for band in axes.collections:
        edges = {}
        for x, y in band.get_paths()[0].vertices:
            edges.setdefault(float(x), []).append(float(y))
        found.append({x: (min(ys), max(ys)) for x, ys in edges.items()})
    return found


def test_several_seeds_are_their_mean_within_their_interval(study, drawn):
    table = curves.by_epoch(curves.followed(study))
    points = table[table["curve"] == "Unknown"].groupby("epoch")["accuracy"]
    axes = drawn["curves"].axes[0]
    assert list(lines(axes)["train, Unknown"].get_ydata()) == pytest.approx(points.mean().tolist())
    bands = heights(axes)
    assert len(bands) == len(planted.CATEGORIES) + 1  # of dev: the range of its seeds
    row = fitting.Fitting(curves.followed(study)).curves().query("curve == 'Unknown' and epoch == 6").iloc[0]
    assert bands[3][6.0] == pytest.approx((row["low"], row["high"]))


def test_bands_of_the_stopping_points_are_their_intervals(drawn, bounds):
    late, early = heights(drawn["budgets"].axes[0])  # and no others
    for band, stop in ((late, "CONVERGENCE"), (early, "EARLY_STOP")):
        rows = bounds[(bounds["data"] == "D") & (bounds["stop"] == stop)]
        assert band == {row.percent_unknown: pytest.approx((row.low, row.high)) for row in rows.itertuples()}
    assert [len(heights(axes)) for axes in drawn["ablation"].axes] == [2, 2]


def test_without_answers_lines_are_drawn_within_the_range_of_their_seeds(study):
    table = curves.by_budget(study, "test")
    table.loc[table["seed"] == 1, "accuracy"] += 2
    bands = heights(figures.budgets_figure(table, "test", 30).axes[0])
    assert len(bands) == curves.MOST_BUDGETS + 1
    assert all(high - low == pytest.approx(2, abs=0.8) for band in bands for low, high in band.values())


def test_points_of_f5_and_t2_are_those_of_the_tables(drawn, whole):
    table = unknown_tests.figure_five(unknown_tests.tested(whole, "EARLY_STOP")[0])
    slick = table[table["method"] == "SliCK"]
    line = lines(drawn["unknown"].axes[0])["SliCK, N_ex exemplar sets"]
    assert list(line.get_xdata()) == slick["share"].tolist() and list(line.get_ydata()) == slick["accuracy"].tolist()
    texts = {text.get_text() for text in drawn["unknown"].axes[0].texts}
    assert texts == {"N_ex = 1", f"N_ex = {planted.planted_answers.SETS}"}
    full = single_categories.table_two(whole)[0].query("subset == 'Full' and stop == 'CONVERGENCE'")
    late = drawn["categories"].axes[1]
    assert late.get_title() == "CONVERGENCE"
    assert list(lines(late)["all test questions"].get_ydata()) == full["accuracy"].tolist()


def test_numbers_of_the_shift_are_its_shares(drawn, whole):
    table = shift.matrices(whole.study).query("split == 'test' and stop == 'CONVERGENCE'")
    (axes,) = drawn["shift"].axes
    assert [text.get_text() for text in axes.texts] == [f"{share:.0f}" for share in table["share"]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Highly", "Maybe", "Weakly", "Unknown"]


def test_nothing_written_on_a_figure_overlaps_or_leaves_it(drawn):
    for name, figure in drawn.items():
        figure.canvas.draw()
        whole = figure.bbox
        for axes in figure.axes:
            texts = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
            boxes = [text.get_window_extent() for text in texts if text.get_text()]
            for index, box in enumerate(boxes):
                inside = whole.x0 - 1 <= box.x0 and box.x1 <= whole.x1 + 1 and box.y0 >= -1 and box.y1 <= whole.y1 + 1
                assert inside, (name, index)
                assert not any(box.overlaps(other) for other in boxes[:index]), (name, index)


def test_a_curve_of_a_single_epoch_can_be_seen(tmp_path):
    planted.write_run(tmp_path, "unknown_50", planted.mixture(40, 50), epochs=8, train=(4,), dev=(4,))
    table = curves.by_epoch(runs.read_study(tmp_path).runs)
    drawn = lines(figures.curves_figure(table, [4]).axes[0])
    assert len(drawn) == 5 and all(line.get_marker() not in ("", "None") for line in drawn.values())


def test_equal_figures_are_equal_bytes(study):
    table = curves.fitted_at_early_stop(study)
    first, second = (canvas.png(figures.fitted_figure(table)) for _ in range(2))
    assert first == second and first.startswith(b"\x89PNG")


def test_bars_of_relations_are_whole_and_their_whiskers_the_interval_of_unknown(study, drawn):
    table = tables.shares_by_relation(study.annotations)
    axes = drawn["relations"].axes[0]
    rows = table[table["split"] == "train"]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"{row.relation} ({row.n})" for row in rows.itertuples()]
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(100 * len(rows))
    ends = {(round(a[0], 6), round(b[0], 6)) for of in axes.collections for a, b in of.get_segments()}
    assert ends == {(round(100 - r.unknown_high, 6), round(100 - r.unknown_low, 6)) for r in rows.itertuples()}


def test_of_many_relations_the_largest_are_drawn_and_long_names_cut():
    names = {f"{'long ' * 20}{i}": 10 + i for i in range(60)}
    rows = [(name, "Unknown" if i % 2 else "HighlyKnown") for name, n in names.items() for i in range(n)]
    asked = pd.DataFrame(rows, columns=["relation", "category"]).assign(split="train")
    (axes,) = annotation_figures.relations_figure(tables.shares_by_relation(asked)).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == annotation_figures.MOST and all(len(label) < 40 and "…" in label for label in labels)
    assert {int(label.split("(")[1][:-1]) for label in labels} == set(range(30, 70))


def test_lines_of_certainty_are_shares_at_least_so_certain(study, drawn):
    right = drawn["certainty"].axes[1]
    own = tables.label_certainty(study.annotations)[study.annotations["category"] == "Unknown"]
    line = lines(right)["Unknown"]
    at = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert at[60] == pytest.approx(100 * (own >= 0.6).mean()) and at[0] == 100


def test_coefficients_stand_beside_the_published_ones(study, drawn):
    table = regression.table_one(study)[0]
    found = lines(drawn["coefficients"].axes[0])
    assert found["Unknown, here"].get_xdata()[0] == table["b_unk"].iloc[0]
    assert list(found["published"].get_xdata()) == [7.3, -8.3, 3.2, -3.0]
