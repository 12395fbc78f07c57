"""Films that another process asks for: the same answer as one by one, whatever lies there, and whoever ends it."""

import os
import signal
import sys
from pathlib import Path

import pytest

from fewshot_cxr.data.readers import plain_ahead as module
from fewshot_cxr.data.readers.gathering import Gathering, Row, file_states
from fewshot_cxr.data.readers.plain_ahead import plain_ahead
from fewshot_cxr.records import Record

N_ROWS = 12_001  # two blocks and a rest
GOOD = ("1.png", "deep/er/2.png", "a b.png", "tail\u00e9.png", "..odd.png")
ODD = (
    *("", ".", "missing.png", "deep", "deep/er", "empty.png", "link.png", "lost.png", "loop.png", "linked/2.png"),
    *("deep//er/2.png", "./1.png", "deep/../1.png", " 1.png", "1.png ", "deep\\er\\2.png", "1.png/2.png", "a\0b"),
    *("\udc80.png", "\ud800.png", "x" * 300 + ".png", "deep/" * 1_000 + "2.png", "new\nline.png"),
)


def laid(root: Path) -> Path:
    for name in GOOD:
        film = root / name
        film.parent.mkdir(parents=True, exist_ok=True)
        film.write_bytes(b"x")
    (root / "empty.png").touch()
    for name, to in {"link.png": "1.png", "lost.png": "nowhere", "loop.png": "loop.png", "linked": "deep/er"}.items():
        (root / name).symlink_to(to)
    return root


def many(names):
    return [Row(row, Record(names[row % len(names)], ("normal",))) for row in range(N_ROWS)]


def gathered(root, rows):
    gathering = Gathering(root)
    gathering.take_all(Path("table.csv"), rows)
    return gathering.records()


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(module, "n_processors", lambda: 2)


def test_what_is_said_to_be_there_is_there_and_nothing_is_said_of_the_rest(tmp_path):
    root = laid(tmp_path)
    found = list(plain_ahead(root, [*GOOD, *ODD] * 500, str))
    assert [name for name, _ in found] == [*GOOD, *ODD] * 500
    told = dict(found)
    assert [name for name, is_there in told.items() if is_there] == [name for name in GOOD if name != "..odd.png"]
    state_of = file_states(root)
    assert all(state_of(name, root, 1) == (name, "", "") for name, is_there in found if is_there)


def test_a_large_table_is_read_as_its_rows_one_by_one(tmp_path, monkeypatch):
    root, rows = laid(tmp_path), many([*GOOD, *ODD])
    ahead = gathered(root, rows)
    monkeypatch.setattr(module, "n_processors", lambda: 1)
    assert ahead == gathered(root, rows)
    assert {problem.kind for problem in ahead.problems} == {"missing", "unreadable", "duplicate"}


def test_few_rows_and_a_program_that_is_no_python_start_no_process(tmp_path, monkeypatch):
    root = laid(tmp_path)
    monkeypatch.setattr(module, "_Beside", None)
    assert list(plain_ahead(root, ["1.png"] * 100, str)) == [("1.png", False)] * 100
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not any(is_there for _, is_there in plain_ahead(root, ["1.png"] * N_ROWS, str))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_process_that_is_killed_midway_costs_nothing(tmp_path, monkeypatch):
    started = []

    class Remembered(module._Beside):
        def __init__(self, root):
            super().__init__(root)
            started.append(self._process)

    monkeypatch.setattr(module, "_Beside", Remembered)
    root, rows = laid(tmp_path), many([*GOOD, *ODD])

    def killing():
        for row in rows:
            if row.number == 7_000:
                os.kill(started[0].pid, signal.SIGKILL)
            yield row

    broken = gathered(root, killing())
    monkeypatch.undo()
    assert broken == gathered(root, rows)
    assert started[0].poll() is not None


def test_the_process_ends_where_the_reader_is_left_midway(tmp_path, monkeypatch):
    started = []
    start = module._Beside.__init__
    monkeypatch.setattr(module._Beside, "__init__", lambda self, root: start(self, root) or started.append(self))
    ahead = plain_ahead(laid(tmp_path), ["1.png"] * N_ROWS, str)
    assert next(ahead) == ("1.png", True)
    ahead.close()
    assert started[0]._process.returncode is not None


def test_a_path_that_leaves_the_root_is_an_error_in_a_large_table_too(tmp_path):
    root = laid(tmp_path / "root")
    (tmp_path / "beside.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"table.csv, row 3: \.\./beside.png leaves the data root"):
        gathered(root, many(["1.png", "deep/er/2.png", "a b.png", "../beside.png"]))
