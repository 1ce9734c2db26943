"""The categories can be told apart in grey and by colour-blind readers."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from slick_jax.analysis import palette
from slick_jax.categories import CATEGORIES

# Linear RGB seen with a cone missing (Machado, Oliveira and Fernandes 2009, severity 1).
SEEN = {
    "all cones": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(colour, seen=SEEN["all cones"]):
    """CIE L*a*b* of a colour as seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(seen @ linear, 0, 1) / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(CATEGORIES, 2)))
def test_categories_differ_in_lightness_and_in_every_way_of_seeing(one, other):
    first, second = palette.CATEGORY_COLOURS[one], palette.CATEGORY_COLOURS[other]
    assert abs(lab(first)[0] - lab(second)[0]) >= 13  # steps of grey
    for name, seen in SEEN.items():
        assert np.linalg.norm(lab(first, seen) - lab(second, seen)) >= 20, name


def on_a_dark_page(colour):
    """As the dark page's filter shows it: invert, turn the hue by half (W3C Filter Effects), then brighten."""
    css = (Path(palette.__file__).parent / "templates/page.css").read_text()
    inverted, bright = re.search(r"invert\((.*?)\) hue-rotate\(180deg\) brightness\((.*?)\)", css).groups()
    rgb = np.array(to_rgb(colour)) * (1 - 2 * float(inverted)) + float(inverted)
    weights = np.array([0.213, 0.715, 0.072])
    turned = 2 * weights @ rgb - rgb  # luminance kept, the rest turned to its opposite
    return np.clip(np.clip(turned, 0, 1) * float(bright), 0, 1)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(CATEGORIES, 2)))
def test_categories_differ_on_a_dark_page_too(one, other):
    first, second = (on_a_dark_page(palette.CATEGORY_COLOURS[name]) for name in (one, other))
    for name, seen in SEEN.items():
        assert np.linalg.norm(lab(first, seen) - lab(second, seen)) >= 20, name
    ground = lab(on_a_dark_page("#FFFFFF"))
    assert min(np.linalg.norm(lab(colour) - ground) for colour in (first, second)) >= 25


def test_known_and_unknown_differ_in_lightness():
    unknown = palette.CATEGORY_COLOURS["Unknown"]
    assert abs(lab(palette.KNOWN_COLOUR)[0] - lab(unknown)[0]) >= 13


def test_every_category_has_a_marker_of_its_own():
    markers = [palette.CURVE_STYLES[name]["marker"] for name in CATEGORIES]
    assert len(set(markers)) == len(CATEGORIES)
    assert {name: palette.CURVE_STYLES[name]["color"] for name in CATEGORIES} == palette.CATEGORY_COLOURS


@pytest.mark.parametrize("n", [0, 1, 3, 5])
def test_budgets_get_darker_with_training_time(n):
    styles = palette.budget_styles([str(10 * (i + 1)) for i in range(n)])
    lightness = [lab(style["color"])[0] for style in styles.values()]
    assert len(styles) == n and lightness == sorted(lightness, reverse=True)
