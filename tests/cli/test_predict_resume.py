"""Answers that go on where a killed run ended, and answers for patients."""

import csv
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from command_line import run
from made_banks import laid_bank

from fewshot_cxr.cli import bank_answers

KILLED = """
import os, signal, sys
from fewshot_cxr.cli import app, bank_answers
join, left = bank_answers.join_films, int(sys.argv[1])
def dies(answers):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return join(answers)
bank_answers.join_films = dies
sys.argv = ["fscxr", *sys.argv[2:]]
app.main()
"""
FILMS = 14
PATTERN = r"(p\d+)_"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A bank in its file, and the flags that ask it of some films, four at a time."""
    place = laid_bank(tmp_path_factory.mktemp("resumed"))
    place.file = place.folder / "clinic.bank"
    place.bank.save(place.file)
    films = [place.films.root / film.path for film in list(place.known)[:FILMS]]
    place.asked = ("predict", *films, "--bank", place.file, "--checkpoint", place.run, "--batch-size", 4)
    return place


def rows_of(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_killed_run_goes_on_to_the_same_bytes(place, tmp_path, capsys):
    assert run(*place.asked, "--csv", tmp_path / "whole.csv") == 0
    command = [*map(str, (*place.asked, "--csv", tmp_path / "answers.csv"))]
    child = subprocess.run([sys.executable, "-c", KILLED, "6", *command], env=dict(os.environ), check=False)
    assert child.returncode == -9
    part = tmp_path / "answers.csv.part"
    assert not (tmp_path / "answers.csv").exists()
    assert len(part.read_text().splitlines()) == 2 + 6
    with warnings.catch_warnings(action="default"):
        assert run(*command) == 2
    assert "which was killed" in capsys.readouterr().err
    with part.open("a") as file:
        file.write("half a ro")
    assert run(*command, "--resume") == 0
    assert (tmp_path / "answers.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not part.exists()
    assert len(rows_of(tmp_path / "answers.csv")) == FILMS


def interrupted(place, monkeypatch, *flags, after=5):
    """Ask until `after` answers are there."""
    join, left = bank_answers.join_films, iter(range(after))

    def stops(answers):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return join(answers)

    with monkeypatch.context() as patch:
        patch.setattr(bank_answers, "join_films", stops)
        assert run(*place.asked, *flags) == 130


def test_another_question_is_not_gone_on_with(place, tmp_path, monkeypatch, capsys):
    out = ("--csv", tmp_path / "a.csv")
    interrupted(place, monkeypatch, *out)
    capsys.readouterr()
    for flags, told in (
        (("--never-abstain",), "with another --never-abstain:"),
        (("--n-nearest", 2), "with another --n-nearest:"),
        ((place.films.root / "absent.png",), "with another list of films:"),
    ):
        assert run(*place.asked, *out, "--resume", *flags) == 2
        assert told in capsys.readouterr().err
    assert run(*place.asked, *out) == 2
    assert "is of a run that was ended early: add --resume, or delete it" in capsys.readouterr().err
    assert run(*place.asked, *out, "--resume") == 0
    assert f"5 of {FILMS} answers are there; going on" in capsys.readouterr().err


def test_a_run_that_fails_before_the_first_row_leaves_no_part(place, tmp_path, monkeypatch):
    interrupted(place, monkeypatch, "--csv", tmp_path / "a.csv", after=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--resume",), "--resume goes on with a table: name it (--csv FILE)"),
        (("--resume", "--csv", "a.csv", "--details"), "leave out --json, --html and --details"),
        (("--patient-pattern", "p"), "--patient-pattern joins films of one patient: add --per patient"),
    ],
)
def test_flags_that_do_not_go_together(place, capsys, tmp_path, monkeypatch, flags, told):
    monkeypatch.chdir(tmp_path)
    assert run(*place.asked, *flags) == 2
    assert told in capsys.readouterr().err


def test_a_file_of_somebody_else_is_no_part(place, tmp_path, capsys):
    (tmp_path / "a.csv.part").write_text("mine\n")
    assert run(*place.asked, "--csv", tmp_path / "a.csv", "--resume") == 2
    assert "is none of `fscxr predict --bank`" in capsys.readouterr().err
    assert (tmp_path / "a.csv.part").read_text() == "mine\n"


def test_json_of_too_many_films(place, monkeypatch, capsys):
    monkeypatch.setattr("fewshot_cxr.cli.bank_question._MOST_IN_JSON", 3)
    assert run(*place.asked, "--json", "-") == 2
    assert f"at most of 3 films, and these are {FILMS}: take --csv" in capsys.readouterr().err


def test_one_row_for_each_patient(place, tmp_path, monkeypatch):
    per = ("--per", "patient", "--patient-pattern", PATTERN)
    out, whole = tmp_path / "a.csv", tmp_path / "whole.csv"
    assert run(*place.asked, *per, "--csv", whole, "--json", tmp_path / "a.json") == 0
    answers = json.loads((tmp_path / "a.json").read_text())
    patients = {film.patient_id for film in list(place.known)[:FILMS]}
    assert len(answers) == len(rows_of(whole)) == len(patients) < FILMS
    assert sum(len(answer["films"]) for answer in answers) == FILMS
    named = [[Path(film).name for film in row["path"].split("; ")] for row in rows_of(whole)]
    assert named == [answer["films"] for answer in answers]
    interrupted(place, monkeypatch, *per, "--csv", out, after=2)
    assert run(*place.asked, *per, "--csv", out, "--resume") == 0
    assert out.read_bytes() == whole.read_bytes()


def test_a_patient_is_forced_after_films_are_joined(place, tmp_path):
    per = ("--per", "patient", "--patient-pattern", PATTERN, "--never-abstain", "--json", tmp_path / "a.json")
    assert run(*place.asked, *per) == 0
    for answer in json.loads((tmp_path / "a.json").read_text()):
        assert answer["answer"] == answer["finding"]
        assert bool(answer["reason"]) == any("--never-abstain" in note for note in answer["notes"])
