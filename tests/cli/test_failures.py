"""What nobody foresaw is one line too: the kind, the file at hand, and where the traceback was kept."""

import os
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import FSCXR, run

from fewshot_cxr._state import state_folder
from fewshot_cxr.cli import app, compare, failures


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two files to compare, and a state folder of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path / "a.json", tmp_path / "b.json"


def deep(n=0):
    return deep(n + 1)


NOTHING = None
UNFORESEEN = {
    "KeyError: 'films'": (lambda: {}["films"], 70),
    "IndexError: list index out of range": (lambda: [][1], 70),
    "AttributeError: 'NoneType' object has no attribute 'films'": (lambda: NOTHING.films, 70),
    "TypeError: 'NoneType' object is not subscriptable": (lambda: NOTHING["films"], 2),
    "ValueError: cannot reshape array of size 3": (lambda: np.arange(3).reshape(2, 2), 2),
    "RuntimeError: shape '[3]' is invalid": (lambda: torch.ones(2).reshape(3), 1),
    "RecursionError: maximum recursion depth exceeded": (deep, 1),
    "AssertionError (at ": (lambda: exec("assert False"), 70),
    "ZeroDivisionError: ": (lambda: 1 // 0, 1),
    "UnicodeEncodeError: ": (lambda: "\udcff".encode(), 2),
}


@pytest.mark.parametrize("said", UNFORESEEN)
def test_what_nobody_foresaw_is_one_line(files, monkeypatch, capsys, said):
    broken, code = UNFORESEEN[said]
    monkeypatch.setattr(compare, "read_result", lambda file: broken())
    assert run("compare", *files) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(f"fscxr: error: unforeseen {said}")
    assert f"(at {files[0]})" in err
    (kept,) = (state_folder() / "tracebacks").iterdir()
    assert str(kept) in err
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().startswith("Traceback")


@pytest.mark.parametrize("words", [("--traceback", "compare"), ("compare", "--traceback")])
def test_a_flag_shows_the_traceback(files, monkeypatch, capsys, words):
    monkeypatch.setattr(compare, "read_result", lambda file: {}["\x1b[2J"])
    assert run(*words, *files) == 70
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("fscxr: error: unforeseen KeyError")


FORESEEN = {
    "disk full": (OSError(28, "No space left on device", "run/last.ckpt"), 1, "run/last.ckpt"),
    "read-only": (OSError(30, "Read-only file system", "out.csv"), 1, "out.csv"),
    "no handles": (OSError(24, "Too many open files", "film.png"), 1, "film.png"),
    "not there": (FileNotFoundError(2, "No such file or directory", "film.png"), 4, "film.png"),
    "no memory": (MemoryError(), 1, "error: out of memory\n"),
    "no memory for an array": (np._core._exceptions._ArrayMemoryError((2**40,), np.dtype("f8")), 1, "8.00 TiB"),
    "no memory for a tensor": (torch.OutOfMemoryError("CUDA out of memory"), 1, "out of memory: "),
}


@pytest.mark.parametrize("what", FORESEEN)
def test_what_the_machine_says_keeps_no_traceback(files, monkeypatch, capsys, what):
    error, code, said = FORESEEN[what]

    def broken(file):
        raise error

    monkeypatch.setattr(compare, "read_result", broken)
    assert run("compare", *files) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err
    assert "unforeseen" not in err
    assert not (state_folder() / "tracebacks").exists()


def test_the_last_ten_tracebacks_are_kept(files, monkeypatch):
    monkeypatch.setattr(compare, "read_result", lambda file: {}["films"])
    for _ in range(12):
        assert run("compare", *files) == 70
    assert len(list((state_folder() / "tracebacks").iterdir())) == 10


def test_where_no_traceback_can_be_kept_the_line_is_said_all_the_same(files, monkeypatch, capsys):
    monkeypatch.setattr(compare, "read_result", lambda file: {}["films"])
    monkeypatch.setattr(failures, "state_folder", lambda: Path("/dev/null"))
    assert run("compare", *files) == 70
    assert "unforeseen KeyError: 'films'" in (err := capsys.readouterr().err)
    assert "--traceback shows where" in err


def test_a_line_of_a_megabyte_is_cut(capsys):
    with pytest.raises(SystemExit):
        app.fail("x" * 10**6, 1)
    assert len(capsys.readouterr().err) < 5_000


def test_a_command_that_cannot_be_loaded_is_one_line(monkeypatch, capsys):
    def broken(*_):
        raise ValueError("numpy.dtype size changed")

    monkeypatch.setattr(app, "importlib", SimpleNamespace(import_module=broken))
    assert run("compare", "a.json", "b.json") == 2
    err = capsys.readouterr().err
    assert err.startswith("fscxr: error: unforeseen ValueError: numpy.dtype size changed")
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output_is_said(unbuffered):
    with open("/dev/full", "w") as full:
        env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        answer = subprocess.run(
            [*FSCXR, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, env=env, check=False
        )
    assert answer.returncode == 1
    assert answer.stderr == "fscxr: error: [Errno 28] No space left on device: '<stdout>'\n"


def test_closed_streams_end_no_command():
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        assert subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *FSCXR, "--help"], check=False).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder that somebody is in")
def test_a_working_folder_that_was_removed_is_named(files, tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(compare, "read_result", lambda file: os.getcwd())
    assert run("compare", *files) == 1
    told = "fscxr: error: the folder that the command was called in was removed: change into one that is there\n"
    assert capsys.readouterr().err == told
