from dataclasses import replace

import numpy as np
import pytest

from fewshot_cxr.explain.deletion import FILLS, GainRow
from fewshot_cxr.explain.focus_summary import FocusDifference, FocusRow
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report import Page, render_page
from fewshot_cxr.report.heat_sections import (
    FILL_WORDS,
    deletion_section,
    focus_difference_table,
    focus_section,
    focus_table,
    gain_text,
    sheets_section,
    versus_section,
)
from fewshot_cxr.visualise.heat import HeatTile

ROWS = (
    FocusRow("border", "all", "all", 12, 9, Estimate(0.512, ci95_patients=(0.4, 0.62)), 0.4375),
    FocusRow("border", "finding", "<b>", 1, 1, Estimate(0.25, reason="it rests on one patient: no interval"), 0.4375),
    FocusRow("border", "source", "not stated", 0, 0, Estimate(None, reason="no film has a value"), None),
)
LESS = FocusDifference("border", 12, 9, 0.5, 0.2, -0.3, (-0.35, -0.25), 0.00002, None)
NOTHING = FocusDifference("lungs", 0, 0, None, None, None, None, None, "no film has a value in both runs", 3)


def tile(words):
    grid = np.linspace(0, 1, 64).reshape(8, 8)
    return HeatTile((255 * grid).astype(np.uint8), grid.astype(np.float32), words)


def test_the_table_stands_each_share_beside_that_of_a_flat_map():
    table = focus_table(ROWS)
    assert table.rows == (
        ("border, all films", "12", "9", "51.2 %", "40.0 to 62.0 %", "43.8 %"),
        ("  finding <b>", "1", "1", "25.0 %", "unknown", "43.8 %"),
        ("  source not stated", "0", "0", "unknown", "unknown", "unknown"),
    )
    assert table.below == (
        ("finding <b>, border", "it rests on one patient: no interval"),
        ("source not stated, border", "no film has a value"),
    )


def test_differences_are_told_in_points():
    table = focus_difference_table((LESS, NOTHING), ("whole", "cropped"))
    assert "cropped less whole" in table.caption
    assert table.rows[0] == ("border", "12", "9", "50.0 %", "20.0 %", "-30.0", "-35.0 to -25.0", "< 0.0001")
    assert table.rows[1][3:] == ("unknown",) * 5
    assert table.below == (("lungs", "no film has a value in both runs"),)
    inner = focus_difference_table((LESS,), ("whole", "cropped"), is_inner=True)
    assert "in the part that both see" in inner.caption


@pytest.mark.slow
def test_without_masks_the_section_says_so_and_escapes_names():
    section = focus_section(ROWS[:2], notes=("3 of 12 films have no positive heat",))
    assert any("no lung masks" in text for text in section.paragraphs)
    assert "51.2 %" in section.pictures[0].alt
    page = render_page(Page("a page", sections=(section,)))
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    with_masks = focus_section((FocusRow("lungs", "all", "all", 2, 2, Estimate(0.3, ci95_patients=(0.1, 0.5)), 0.3),))
    assert not any("no lung masks" in text for text in with_masks.paragraphs)


def test_sheets_and_pairs_are_single_pictures_with_words():
    section = sheets_section({"covid19": [tile("covid19\ndistance 0.2")]}, paragraphs=("drawn",))
    assert section.pictures[0].dark_image is None
    assert section.pictures[0].image.startswith(b"\xff\xd8\xff")
    assert "covid19 distance 0.2" in section.pictures[0].alt
    versus = versus_section((LESS,), (LESS,), ("whole", "cropped"), [tile("whole"), tile("cropped")])
    assert len(versus.pictures) == 1
    assert versus.table is not None
    assert len(versus.tables) == 1
    assert not versus_section((LESS,), (LESS,), ("whole", "cropped"), []).pictures


def test_deletion_tells_the_gain_over_random_its_interval_and_what_covers_a_film():
    curves = {"deletion": {"by heat": np.array([[1.0, 0.0, 0.0]]), "at random": np.array([[1.0, 0.5, 0.0]])}}
    gain = GainRow("deletion", 16, 12, 3, Estimate(2.77, ci95_patients=(-0.4, 5.94)), 0.4375)
    section = deletion_section(curves, [gain], score="logit", fill="mean")
    assert section.tables[0].rows == (("deletion", "16", "12", "3", "+2.77", "-0.4 to +5.94", "43.8 %"),)
    assert "2.77" in section.pictures[0].alt
    assert "replaced by its own mean grey" in section.paragraphs[0]
    assert "blur" not in " ".join(section.paragraphs)
    assert gain_text(gain) == (
        "the order by heat gains +2.77 over a random one (95 % -0.4 to +5.94 over 12 patients), mean of 16 films, of "
        "which 43.8 % gain; left out, as they have no heat: 3"
    )


def test_films_without_heat_alone_have_no_gain_and_no_chart():
    curves = {"deletion": {"by heat": np.empty((0, 3)), "at random": np.empty((0, 3))}}
    gain = GainRow("deletion", 0, 0, 2, Estimate(None, reason="no film has heat"), None)
    section = deletion_section(curves, [gain], score="logit", fill="mean")
    assert not section.pictures
    assert section.tables[0].rows == (("deletion", "0", "0", "2", "unknown", "unknown", "unknown"),)
    assert gain_text(gain) == "no gain is known: no film has heat; left out, as they have no heat: 2"


def test_every_fill_has_words():
    assert FILL_WORDS.keys() == FILLS.keys()


def test_a_long_finding_leaves_the_numbers_their_room():
    row = replace(ROWS[1], group="very " * 20 + "long")
    table = focus_table((row,))
    assert len(table.rows[0][0]) == len("  ") + 32
    assert table.rows[0][0].startswith("  finding very")
    assert table.rows[0][0].endswith("very long")
    assert len(table.below[0][0]) < 45


@pytest.mark.parametrize("value", [None, 0.0])
def test_nothing_is_told_as_unknown_and_zero_as_zero(value):
    row = FocusRow("corners", "all", "all", 4, 4, Estimate(value, reason="so"), None)
    assert focus_table((row,)).rows[0][3] == ("unknown" if value is None else "0.0 %")
