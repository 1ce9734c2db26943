"""Figures judged by what is drawn on their axes."""

import pytest
from matplotlib.colors import to_hex

from slick_jax.analysis import (
    canvas, category_figures, curves, evidence, figures, fitting, measure_figures, palette, runs, shift,
    single_categories, unknown_tests,
)  # fmt: skip
from tests.analysis import planted, whole_study

DEMO_TEST = (*range(1, 13), 16, 20, 24, 28, 30)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    planted.write_study(folder, percents=(0, 50, 100), known_only=(50,), epochs=30, test=DEMO_TEST, seeds=(0, 1))
    return runs.read_study(folder, seeds=(0, 1))


@pytest.fixture(scope="module")
def drawn(study):
    """Every figure by name."""
    followed = curves.followed(study)
    stops = [run.early_stop for run in followed]
    return {
        "curves": figures.curves_figure(curves.by_epoch(followed), stops),
        "budgets": figures.budgets_figure(curves.by_budget(study, "test"), "test", 30),
        "ablation": figures.ablation_figure(curves.ablation(study, "test"), "test"),
        "fitted": figures.fitted_figure(curves.fitted_at_early_stop(study)),
        "saturation": measure_figures.saturation_figure(study.saturation),
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
    for bar in drawn["fitted"].axes[0].patches:
        group = bar.get_gid().split()[1]
        found.setdefault(group, set()).add(to_hex(bar.get_edgecolor()).upper())
    assert {name: found[name] for name in palette.CATEGORY_COLOURS} == {
        name: {colour} for name, colour in palette.CATEGORY_COLOURS.items()
    }
    assert found["Known"] == {palette.KNOWN_COLOUR}
    # No other curve borrows the colour of a category.
    others = [*lines(drawn["budgets"].axes[0]).values(), *lines(drawn["ablation"].axes[0]).values()]
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
        assert figure.axes[0].get_ylabel(), name
        for axes in figure.axes:
            assert "(%)" in axes.get_xlabel() or axes.get_xlabel().startswith(("epoch", "number of"))
    assert drawn["curves"].axes[0].get_ylabel() == "exact match (%)"


def test_several_seeds_are_their_mean_within_their_range(study, drawn):
    table = curves.by_epoch(curves.followed(study))
    points = table[table["curve"] == "Unknown"].groupby("epoch")["accuracy"]
    axes = drawn["curves"].axes[0]
    assert list(lines(axes)["train, Unknown"].get_ydata()) == pytest.approx(points.mean().tolist())
    assert len(axes.collections) == len(planted.CATEGORIES) + 1  # a band for each curve


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
