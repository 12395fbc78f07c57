"""How frequent findings are among films, from the shell."""

import json

import numpy as np
import pytest
from command_line import run
from made_banks import KNOWN, laid_bank

from fewshot_cxr.inference.bank import ScoredFilms, estimate_prevalence
from fewshot_cxr.inference.bank.exemplar_table import hashed
from fewshot_cxr.inference.bank.film_prevalence import film_prevalence


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A bank in its file, and the paths of films that are no exemplars."""
    place = laid_bank(tmp_path_factory.mktemp("prevalence"))
    place.file = place.folder / "clinic.bank"
    place.bank.save(place.file)
    taken = set(place.bank.table.patients)
    place.other = [film for film in place.known if hashed(film.patient_id) not in taken]
    return place


def test_the_estimate_is_that_of_the_films_distances(place, tmp_path, capsys):
    files = [place.films.root / film.path for film in place.other]
    (tmp_path / "bad.png").write_bytes(b"junk")
    exemplar = place.films.root / place.bank.table.films[0]
    flags = ("--checkpoint", place.run, "--patient-pattern", r"(p\d+)_", "--json", tmp_path / "p.json")
    assert run("bank", "prevalence", place.file, *files, exemplar, tmp_path / "bad.png", *flags) == 0
    found = json.loads((tmp_path / "p.json").read_text())
    assert found["left_out"] == {"exemplar of the bank": 1, "unreadable": 1}
    assert set(found["prevalence"]) == set(KNOWN)
    assert sum(one["mean"] for one in found["prevalence"].values()) == pytest.approx(1)
    assert found["n_films"] + found["n_unknown_films"] == len(files)
    told = capsys.readouterr()
    assert "next: fscxr predict --prevalence normal=" in told.err

    answers = place.bank.predict(files)
    decider = place.bank.exemplars.decider
    rows, distances = decider.left_out()
    calibration = ScoredFilms(
        decider.findings, distances.numpy(), decider.support.patient_ids[rows], decider.labels[rows].numpy()
    )
    asked = np.array([[one.distances[name] for name in decider.findings] for one in answers])
    patients = np.unique([film.patient_id for film in place.other], return_inverse=True)[1]
    are_unknown = [one.reason == "unknown" and "farther" in one.details for one in answers]
    expected = estimate_prevalence(calibration, ScoredFilms(decider.findings, asked, patients, is_unknown=are_unknown))
    for name in KNOWN:
        assert found["prevalence"][name]["mean"] == pytest.approx(expected.prevalence[name].mean, abs=1e-4)


def test_nothing_to_count(place, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"junk")
    assert run("bank", "prevalence", place.file, tmp_path / "bad.png", "--checkpoint", place.run) == 4
    assert "no film takes part" in capsys.readouterr().err


def test_labelled_films_must_be_of_other_patients(place, capsys):
    flags = (
        "--data",
        place.films.root,
        "--patient-pattern",
        r"(p\d+)_",
        "--checkpoint",
        place.run,
        "--findings",
        "effusion,normal",
    )
    assert run("bank", "prevalence", place.file, place.films.root, *flags) == 2
    assert "have exemplars in the bank" in capsys.readouterr().err


def test_labelled_films_kept_apart_calibrate(place):
    patients = sorted({film.patient_id for film in place.other})
    held = set(patients[:2] + patients[-2:])
    films = {film.path for film in place.other}
    labelled = place.films.where(lambda film: film.path in films and film.patient_id not in held)
    asked = [[place.films.root / film.path for film in place.other if film.patient_id == one] for one in sorted(held)]
    found = film_prevalence(place.bank, asked, labelled=labelled)
    n_patients = {name: len({film.patient_id for film in labelled if film.finding == name}) for name in KNOWN}
    n_all = sum(n_patients.values())
    assert found.estimate.n_patients == 4
    assert found.estimate.prior == pytest.approx({name: n / n_all for name, n in n_patients.items()}, abs=0.02)
