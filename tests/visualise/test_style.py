from itertools import pairwise

import matplotlib
import pytest

from fewshot_cxr.visualise.style import THEMES, Figure, contrast_ratio, drawing, line_looks, percent, wrapped


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_text_and_marks_stand_out_from_the_paper(theme):
    colours = THEMES[theme]
    assert contrast_ratio(colours.ink, colours.paper) > 7
    assert contrast_ratio(colours.quiet, colours.paper) > 4.5
    assert contrast_ratio(colours.accent, colours.paper) > 3
    assert contrast_ratio(colours.contrast, colours.paper) > 3
    assert all(contrast_ratio(colour, colours.paper) > 3 for colour in colours.more)


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_lines_are_told_apart_without_colour(theme):
    looks = [(colour, str(dashes)) for colour, dashes in line_looks(THEMES[theme], 20)]
    assert len(set(looks)) == 20
    assert all(one[0] != other[0] and one[1] != other[1] for one, other in pairwise(looks))


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
