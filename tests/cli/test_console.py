"""What a person sees: tables on narrow screens, and names that would act on a terminal."""

import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from fewshot_cxr.cli import app
from fewshot_cxr.cli.console import progress_bars, say, show_table, write_result
from fewshot_cxr.cli.flags import json_flag
from fewshot_cxr.cli.results import show_prediction, show_warnings

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


@pytest.mark.parametrize("columns", ["0", "", "-1", "many", "9" * 30])
def test_a_width_that_is_none_is_passed_over(capsys, monkeypatch, columns):
    assert any("│" in line for line in shown(capsys, monkeypatch, columns))


HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b31mb\r\b\u202ec\u2066\udcff\nfscxr: error: forged"
SHOWN = r"a\x1b]0;owned\x07\x1b[2J\u009b31mb\r\x08\u202ec\u2066\udcff\nfscxr: error: forged"
HARMLESS = "Lungenentzündung 肺炎 \N{FAMILY} \U0001f469\u200d\u2695\ufe0f می\u200cکند"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def watched(monkeypatch):
    """One terminal for both streams, as a person sees them."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


DOORS = {
    "a notice": say,
    "a warning of a result": lambda name: show_warnings([name]),
    "a prediction": lambda name: show_prediction([SimpleNamespace(path=name, findings=[name], **PREDICTED)]),
    "a table": lambda name: show_table(name, [name, name], [[name, "1.0\n[0-2]"]]),
    "a table without room": lambda name: show_table(name, [name, name], [[name, "1.0\n[0-2]"] for _ in range(2)]),
    "an error": lambda name: error(name),
    "a warning": lambda name: app._show_warning(UserWarning(name), UserWarning),
    "a bar": lambda name: bar(name),
}
PREDICTED = {"distances": {HOSTILE: 1.0}, "exemplars": (), "notes": [HOSTILE]}


def error(name):
    with pytest.raises(SystemExit):
        app.fail(name, 1)


def bar(name):
    with progress_bars() as report:
        report(name, 1, 2)


@pytest.mark.parametrize("door", DOORS)
def test_no_name_acts_on_a_terminal(monkeypatch, door):
    terminal = watched(monkeypatch)
    monkeypatch.setenv("COLUMNS", "30" if "without" in door else "500")
    DOORS[door](HOSTILE)
    own = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())  # colours, and the moves of a bar
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", own.replace("\r", ""))
    assert "\x1b[2J" not in terminal.getvalue()
    assert r"\x1b]0;owned\x07" in own
    assert "\nfscxr: error: forged" not in own


def test_one_name_is_shown_as_it_is_spelt(monkeypatch):
    terminal = watched(monkeypatch)
    say(HOSTILE)
    say(HARMLESS)
    say("[red]x[/red] :smile: [link=file:///etc]y[/link]")
    assert terminal.getvalue().splitlines() == [SHOWN, HARMLESS, "[red]x[/red] :smile: [link=file:///etc]y[/link]"]


def test_what_another_library_prints_acts_on_no_terminal_either(monkeypatch):
    terminal = watched(monkeypatch)
    stream = app._Stream(terminal)
    own = f"{HARMLESS}\x1b[1;31mbold\x1b[0m\x1b[2K\x1b[1A\x1b[?25l"
    stream.write(own + "\x1b[2J\x1b[6n\x1b]0;title\x07\x9b2J\u202e\n")
    assert terminal.getvalue() == own + r"\x1b[2J\x1b[6n\x1b]0;title\x07\u009b2J\u202e" + "\n"


def test_json_on_the_screen_stays_json(monkeypatch):
    terminal = watched(monkeypatch)
    monkeypatch.setattr(sys, "stdout", app._Stream(terminal))
    value = {"name": HOSTILE, HARMLESS: "\x7f"}
    write_result(value, "-")
    assert json.loads(terminal.getvalue()) == value
    assert HARMLESS in terminal.getvalue()
    assert "\x9b" not in terminal.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_few_letters_ends_no_command(monkeypatch, encoding):
    paper = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", paper)
    monkeypatch.setattr(sys, "argv", ["fscxr", "--help"])
    with pytest.raises(SystemExit):
        app.main()
    paper.seek(0)
    paper.truncate()
    write_result({"name": HARMLESS}, "-")
    paper.flush()
    assert json.loads(paper.buffer.getvalue().decode(encoding)) == {"name": HARMLESS}
    show_table("films", ["finding", "films"], [[HARMLESS, "1"]])


def test_lines_leave_by_these_doors_alone():
    rooms = Path(app.__file__).parent.glob("*.py")
    assert {room.stem for room in rooms if re.search(r"\bclick\.s?echo\(|\bprint\(", room.read_text())} == {
        "app",
        "console",
        "failures",
        "recipes",
    }


@pytest.mark.parametrize(("words", "is_json_alone"), [(["--json", "-"], True), ([], False)])
def test_a_table_leaves_standard_output_to_json(words, is_json_alone):
    @click.command()
    @json_flag
    def command(json_file):
        show_table("Films", COLUMNS, ROWS)
        write_result({"n": 3}, json_file)

    said = CliRunner().invoke(command, words)
    assert ("lobar_consolidation" in said.stderr) == is_json_alone
    assert ("lobar_consolidation" in said.stdout) != is_json_alone
    assert not is_json_alone or json.loads(said.stdout) == {"n": 3}
