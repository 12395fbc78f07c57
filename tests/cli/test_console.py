"""Tables on narrow screens: a block for each row where the columns would break short words."""

import pytest

from fewshot_cxr.cli.console import show_table

COLUMNS = ("finding", "films", "sensitivity", "specificity", "PPV", "NPV", "taken for")
ROWS = [
    ("lobar_consolidation", "13", "53.8", "52.8", "29.2", "76.0", "normal (20.3 %)"),
    ("", "", "[16-88]", "[38-67]", "[11-58]", "[44-93]", ""),
    ("[red]", "0", "unknown", "100.0", "unknown", "100.0", ""),
]


def shown(capsys, monkeypatch, width, columns=COLUMNS, rows=ROWS):
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
    show_table("What the films of each finding were taken for, by exemplars", columns, rows)
    return capsys.readouterr().out.rstrip("\n").split("\n")


def test_a_row_is_a_block_where_there_is_no_room(capsys, monkeypatch):
    assert shown(capsys, monkeypatch, 40) == [
        "What the films of each finding were",
        "taken for, by exemplars",
        "lobar_consolidation",
        "  films: 13",
        "  sensitivity: 53.8 [16-88]",
        "  specificity: 52.8 [38-67]",
        "  PPV: 29.2 [11-58]",
        "  NPV: 76.0 [44-93]",
        "  taken for: normal (20.3 %)",
        "[red]",
        "  films: 0",
        "  sensitivity: unknown",
        "  specificity: 100.0",
        "  PPV: unknown",
        "  NPV: 100.0",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 110, 200])
def test_no_line_is_wider_than_the_screen_and_no_number_is_broken(capsys, monkeypatch, width):
    lines = shown(capsys, monkeypatch, width)
    assert max(map(len, lines)) <= width
    for cell in ("lobar_consolidation", "53.8", "[16-88]", "unknown", "100.0"):
        assert any(cell in line for line in lines)


def test_a_table_that_has_room_stays_a_table(capsys, monkeypatch):
    assert any("│" in line for line in shown(capsys, monkeypatch, None))
    assert any("│" in line for line in shown(capsys, monkeypatch, 60, ("split", "films"), [("train", "3")]))
