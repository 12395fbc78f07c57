"""Pages of a bank and of its answers, and operating points, from the shell."""

import json
import re

import pytest
from command_line import run
from made_banks import laid_bank


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A bank with thumbnails in its file."""
    place = laid_bank(tmp_path_factory.mktemp("pages"))
    place.file = place.folder / "clinic.bank"
    place.bank.save(place.file)
    return place


def test_a_page_of_answers(place, tmp_path, capsys):
    films = [place.films.root / film.path for film in list(place.known)[:3]]
    (tmp_path / "<b>.png").write_bytes(b"junk")
    asked = ("predict", *films, tmp_path / "<b>.png", "--bank", place.file, "--checkpoint", place.run)
    assert run(*asked, "--html", tmp_path / "a.html", "--prevalence", "effusion=0.1") == 0
    assert "written: " in capsys.readouterr().err
    page = (tmp_path / "a.html").read_text()
    assert "&lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert page.count('<article class="card') == 4
    assert "At the stated prevalence" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert str(tmp_path) not in page


def test_a_page_of_a_bank(place, tmp_path):
    assert run("bank", "show", place.file, "--html", tmp_path / "b.html") == 0
    page = (tmp_path / "b.html").read_text()
    assert "A support bank" in page
    assert place.bank.content_hash in page
    assert page.count("data:image/jpeg") == 2  # a sheet of each finding


def calibrated(place, tmp_path, *flags):
    out = ("--out", tmp_path / "new.bank", "--json", tmp_path / "b.json")
    return run("bank", "calibrate", place.file, "--checkpoint", place.run, *flags, *out)


def test_operating_points_are_stated_kept_and_shown(place, tmp_path, capsys):
    assert calibrated(place, tmp_path, "--sensitivity", "effusion=0.8", "--specificity", "normal=0.7") == 0
    told = json.loads((tmp_path / "b.json").read_text())["told"]["operating points"]
    assert "effusion at a sensitivity of 0.8: from a margin of " in told
    assert "normal at a specificity of 0.7: from a margin of " in told
    capsys.readouterr()
    assert run("bank", "show", tmp_path / "new.bank") == 0
    assert "operating points: effusion at a sensitivity of 0.8" in capsys.readouterr().err
    assert run("bank", "calibrate", tmp_path / "new.bank", "--checkpoint", place.run, "--level", "0.8") == 0
    assert "operating points: normal at a specificity of 0.7" in capsys.readouterr().err
    one = ("--specificity", "normal=0.7")
    assert run("bank", "calibrate", tmp_path / "new.bank", "--checkpoint", place.run, *one) == 0
    assert "effusion at a sensitivity" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (("--sensitivity", "effusion"), 2, "--sensitivity is NAME=SHARE, such as covid19=0.9, got 'effusion'"),
        (("--sensitivity", "effusion=2"), 2, "got 'effusion=2'"),
        (("--sensitivity", "normal=0.8", "--sensitivity", "normal=0.7"), 2, "of normal is stated twice"),
        (("--sensitivity", "efusion=0.8"), 2, "no finding of the bank is 'efusion'"),
        (("--sensitivity", "normal=0.8", "--specificity", "normal=0.8"), 2, "the other follows"),
        (("--sensitivity", "effusion=0.999"), 2, "needs 999 calibration patients with effusion"),
    ],
)
def test_operating_points_that_cannot_be(place, tmp_path, capsys, flags, code, told):
    assert calibrated(place, tmp_path, *flags) == code
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new.bank").exists()
