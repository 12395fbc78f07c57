from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from fewshot_cxr.visualise.style import DASHES, THEMES, Figure, contrast_ratio, drawing, looks_of
from fewshot_cxr.visualise.text import percent, wrapped


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_text_and_marks_stand_out_from_the_paper(theme):
    colours = THEMES[theme]
    assert contrast_ratio(colours.ink, colours.paper) > 7
    assert contrast_ratio(colours.quiet, colours.paper) > 4.5
    assert contrast_ratio(colours.accent, colours.paper) > 3
    assert contrast_ratio(colours.contrast, colours.paper) > 3
    assert all(contrast_ratio(colour, colours.paper) > 3 for colour in colours.more)


# Source: Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009.
CONES = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
LEAST_APART = {"all": 0.14, "no red": 0.09, "no green": 0.09}  # 0.02 is just seen


def oklab(linear):
    """Source: Ottosson, "A perceptual color space for image processing", 2020."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    opponents = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(linear @ np.array(cones).T) @ np.array(opponents).T


@pytest.mark.parametrize("cones", sorted(CONES))
@pytest.mark.parametrize("theme", sorted(THEMES))
def test_twelve_hues_are_told_apart_by_every_reader(theme, cones):
    hues = np.array([to_rgb(hue) for hue in THEMES[theme].hues])
    linear = np.where(hues <= 0.04045, hues / 12.92, ((hues + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ np.array(CONES[cones]).T, 0, 1))
    apart = np.linalg.norm(seen[:, None] - seen, axis=2) + np.eye(len(seen))
    assert len(hues) == 12
    assert apart.min() > LEAST_APART[cones]


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_lines_are_told_apart_without_colour(theme):
    pairs = [(colour, str(dashes)) for colour, dashes in looks_of(THEMES[theme], DASHES, 60)]
    assert len(set(pairs)) == 60
    assert all(one[0] != other[0] and one[1] != other[1] for one, other in pairwise(pairs))


def test_contrast_ratio_has_the_published_ends():
    assert contrast_ratio("black", "white") == pytest.approx(21)
    assert contrast_ratio("white", "black") == pytest.approx(21)
    assert contrast_ratio("#123456", "#123456") == 1
    assert contrast_ratio("#777777", "white") == pytest.approx(4.48, abs=0.005)  # known: just below 4.5


def test_settings_hold_inside_the_block_only():
    before = dict(matplotlib.rcParams)
    with drawing("dark", 2, width_inches=3) as (figure, colours):
        assert matplotlib.rcParams["text.color"] == colours.ink
        assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before


def test_the_users_settings_play_no_part():
    def inked(theme="light"):
        with drawing(theme, 2, width_inches=3) as (figure, _):
            figure.add_subplot().plot([0, 1], [0, 1])
        return figure.axes[0].get_xticklabels()[0].get_color(), figure.axes[0].xaxis.label.get_fontsize()

    expected = inked()
    with matplotlib.rc_context({"xtick.labelcolor": "red", "font.size": 30}):
        assert inked() == expected


def test_an_unknown_theme_is_refused():
    with (
        pytest.raises(ValueError, match=r"unknown theme 'drak' \(did you mean 'dark'\?\); choose from dark, light"),
        drawing("drak", 2),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("", ""),
        ("normal", "normal"),
        ("peripheral_ground_glass", "peripheral_\nground_glass"),
        ("COVID-19 pneumonia", "COVID-19 \npneumonia"),
        ("two\nlines", "two lines"),
        ("x" * 20, "x" * 15 + "\n" + "x" * 5),
        ("a" * 100, "\n".join(["a" * 15] * 4) + "…"),
        ("_", "_"),
    ],
)
def test_names_are_broken_at_their_joints(name, lines):
    assert wrapped(name) == lines


@pytest.mark.parametrize("name", ["a_b-c d" * 9, "__--  __", "x" * 40 + "_y", "  led by spaces"])
def test_no_letter_is_lost_and_no_line_is_too_long(name):
    broken = wrapped(name, width=10, n_lines=99)
    assert broken.replace("\n", "") == " ".join(name.split())
    assert max(len(line.rstrip()) for line in broken.split("\n")) <= 10


def test_percent():
    assert [percent(share) for share in (0, 0.8123, 1)] == ["0.0 %", "81.2 %", "100.0 %"]
