"""What a bank says of films: an answer or a reason, with probabilities where it is calibrated."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_banks import KNOWN, NEW, laid_bank
from PIL import Image

from fewshot_cxr.inference.bank import REASONS, SupportBank, operating_point
from fewshot_cxr.inference.bank.answer import ABSTAINED, COLUMNS
from fewshot_cxr.inference.bank.exemplar_table import hashed
from fewshot_cxr.metrics import margins

FORCED = "would abstain ({}), but was not allowed to (--never-abstain)"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return laid_bank(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def apart(place):
    """Films of the known findings of patients who have no exemplar."""
    return place.known.where(lambda film: hashed(film.patient_id) not in place.bank.table.patients)


@pytest.fixture(scope="module")
def files(place, apart):
    return [place.films.root / film.path for film in (*apart, *place.new)]


@pytest.fixture(scope="module")
def answers(place, files):
    return place.bank.predict(files)


def near(distance):
    return pytest.approx(distance, rel=1e-4)


def test_answers_come_in_the_order_of_the_films(place, files, answers):
    assert [one.path for one in answers] == [str(file) for file in files]
    assert place.bank.predict(str(files[3])) == place.bank.predict(files[3])
    assert place.bank.predict([]) == []
    for answer in answers:
        assert answer.finding == min(answer.distances, key=answer.distances.get)
        assert answer.answer in (answer.finding, ABSTAINED)
        assert bool(answer.reason) == answer.is_abstained
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.probability == answer.probabilities[answer.finding]
        assert len(answer.exemplars) >= 3
        assert dict(zip(COLUMNS, answer.row(), strict=True))["answer"] == answer.answer


def test_an_answer_does_not_depend_on_the_films_beside_it(place, files, answers):
    for batch_size in (1, 7):
        for one, other in zip(place.bank.answers(files[:14], batch_size=batch_size), answers, strict=False):
            assert (one.answer, one.reason, one.fitting) == (other.answer, other.reason, other.fitting)
            assert one.distances == {name: near(value) for name, value in other.distances.items()}


def test_a_film_of_several_findings_is_ambiguous(answers):
    unsure = [one for one in answers if one.reason == "ambiguous"]
    assert unsure
    for one in unsure:
        assert one.fitting == KNOWN
        assert one.details == "effusion and normal fit at 90%"
        assert f"ambiguous: {one.details}" in repr(one)
    assert {one.reason for one in answers} <= {*REASONS, ""}
    assert all(len(one.fitting) == 1 for one in answers if not one.is_abstained)


def test_a_film_far_from_all_is_unknown_and_so_is_one_that_fits_nothing(place, files):
    limits = replace(place.bank.fitted.thresholds, unknown_above=1e-6)
    strict = replace(place.bank, fitted=replace(place.bank.fitted, thresholds=limits))
    answer = strict.predict(files[0])
    assert (answer.answer, answer.reason) == (ABSTAINED, "unknown")
    assert answer.details == "it is farther from all exemplars than films of known findings are"
    narrow = place.bank.calibrate(level=0.3).predict(files)
    empty = [one for one in narrow if one.fitting == () and one.details.startswith("no finding")]
    assert empty
    assert {(one.reason, one.details) for one in empty} == {("unknown", "no finding fits at 30%")}


def test_files_that_are_no_films_cost_their_row_alone(place, files, answers, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.dcm").touch()
    cut = tmp_path / "cut.png"
    cut.write_bytes(files[0].read_bytes()[:200])
    asked = [tmp_path / "text.png", files[0], tmp_path / "empty.dcm", tmp_path / "nowhere.png", cut, tmp_path]
    found = place.bank.predict(asked)
    assert [one.reason == "unreadable" for one in found] == [True, False, True, True, True, True]
    assert found[1].distances == {name: near(value) for name, value in answers[0].distances.items()}
    for one in (found[0], found[3]):
        assert (one.finding, one.answer, one.probability, one.fitting) == ("", ABSTAINED, None, None)
        assert one.details
    assert "No such file or directory" in found[3].details
    forced = place.bank.predict(asked[0], never_abstain=True)
    assert forced.is_abstained, "there is nothing to name"


@pytest.mark.parametrize(("gray", "reason"), [(0, "negative space"), (255, "negative space")])
def test_a_film_with_nothing_on_it(place, tmp_path, gray, reason):
    Image.fromarray(np.full((48, 48), gray, dtype=np.uint8)).save(tmp_path / "plain.png")
    bank = replace(place.bank, table=replace(place.bank.table, is_frontal=np.ones(24, dtype=bool)))
    assert bank.predict(tmp_path / "plain.png").reason == reason


def test_never_abstain_names_the_nearest_and_says_so(place, files, answers):
    for plain, forced in zip(answers, place.bank.predict(files, never_abstain=True), strict=True):
        assert forced.answer == forced.finding == plain.finding
        assert forced.reason == plain.reason
        assert forced.notes == ((FORCED.format(plain.reason),) if plain.is_abstained else ())
        assert forced.to_json()["notes"] == list(forced.notes)


def test_the_film_itself_is_left_out_and_gets_no_probability(place, tmp_path):
    film = next(film for film in place.known if film.path in place.bank.table.films)
    copy = shutil.copy(place.films.root / film.path, tmp_path / "another name.png")
    for file in (place.films.root / film.path, copy):
        answer = place.bank.predict(file)
        assert answer.notes == ("the film itself is among the exemplars: left out",)
        assert (answer.probability, answer.fitting) == (None, None)
        assert film.path not in [one.path for one in answer.exemplars]
    alone = place.bank.remove(film=film.path).predict(copy)
    assert alone.notes == ()
    assert {name: near(value) for name, value in alone.distances.items()} == answer.distances


def test_a_prevalence_reweights_probabilities(place, files, answers):
    even = place.bank.predict(files, prevalence={"effusion": 0.5})
    rare = place.bank.predict(files, prevalence={"effusion": 0.02})
    for plain, same, less in zip(answers, even, rare, strict=True):
        assert same.probabilities == {name: pytest.approx(one, abs=1e-5) for name, one in plain.probabilities.items()}
        odds = [one.probabilities["effusion"] / one.probabilities["normal"] for one in (plain, less)]
        assert odds[1] == pytest.approx(odds[0] * 0.02 / 0.98, rel=1e-3)
        assert (less.fitting, less.distances) == (plain.fitting, plain.distances)
        assert set(less.values) == set(KNOWN)
        assert less.values["effusion"][0] < same.values["effusion"][0], "a PPV falls with the prevalence"
        assert "effusion at the prevalence: PPV 0." in repr(less)


def test_a_prevalence_of_what_is_not_there_is_refused(place, apart, files):
    with pytest.raises(ValueError, match="fever"):
        place.bank.predict(files[0], prevalence={"fever": 0.1})
    stale = place.bank.calibrate(apart).add(NEW, place.new.take([0]))
    told = "^a prevalence reweights probabilities, and the bank has none: calibrate it$"
    with pytest.raises(ValueError, match=told):
        stale.predict(files[0], prevalence={NEW: 0.1})


def test_operating_points_are_kept_applied_and_made_anew(place, apart, files, tmp_path):
    exemplars = place.bank.exemplars
    rows, distances = exemplars.decider.left_out()
    labels = exemplars.decider.labels[rows]
    people = exemplars.embeddings.patient_ids[rows]
    names = exemplars.decider.findings
    point = operating_point(margins(distances)[:, 0], labels, people, finding=names[0], findings=names, sensitivity=0.8)
    with_point = replace(place.bank, fitted=replace(place.bank.fitted, points=(point,)))
    with_point.save(tmp_path / "a.bank")
    again = SupportBank.load(tmp_path / "a.bank", place.encoder)
    assert again.fitted == with_point.fitted
    for answer in again.predict(files):
        scores = margins(torch.tensor([[answer.distances[name] for name in names]]))[0]
        assert answer.positive == ((names[0],) if scores[0] >= point.threshold else ())
        assert answer.to_json()["positive"] == list(answer.positive)
    assert with_point.calibrate().fitted.points == (point,)
    (other,) = with_point.calibrate(apart).fitted.points
    assert (other.finding, other.target, other.value, other.per) == (names[0], "sensitivity", 0.8, "patient")
    assert other.threshold != point.threshold
    stale = with_point.calibrate(apart).add(NEW, place.new.take([0]))
    assert all(one.positive == () for one in stale.predict(files[:9]))
    assert with_point.add(NEW, place.new.take([0])).remove(finding=NEW).fitted.points == (point,)


def with_points(place, **asked):
    """Return the bank with operating points: finding -> sensitivity."""
    return place.bank.calibrate(sensitivity=asked)


def test_a_point_that_patients_can_no_longer_carry_takes_no_other_with_it(place):
    """One patient fewer than a stated sensitivity needs, and the bank had no point and no probability at all."""
    first, second = place.bank.findings
    smaller = with_points(place, **{first: 0.92, second: 0.8}).remove(film=place.bank.table.films[0])
    assert place.bank.table.findings[0] == first
    assert [(one.finding, one.value) for one in smaller.fitted.points] == [(second, 0.8)]
    assert smaller.fitted.calibration is not None
    told = dict(smaller.fitted.words())["calibration"].splitlines()[-1]
    assert told == (
        f"the operating point of {first}, a sensitivity of 0.92, is gone: a sensitivity of 0.92 needs 12 calibration "
        f"patients with {first}, there are 11: add 1, or state 0.916 or less"
    )
    assert smaller.calibrate().fitted.why_not == ""
    assert smaller.calibrate().fitted.points == smaller.fitted.points
    with pytest.raises(ValueError, match="needs 12 calibration patients"):  # what is asked now is refused as before
        smaller.calibrate(sensitivity={first: 0.92})


def test_points_that_go_with_a_finding_or_with_the_calibration_are_named(place):
    first, second = place.bank.findings
    grown = place.bank.add(NEW, place.new).calibrate(sensitivity={NEW: 0.6, first: 0.8})
    smaller = grown.remove(finding=NEW)
    assert [one.finding for one in smaller.fitted.points] == [first]
    told = f"the operating point of {NEW}, a sensitivity of 0.6, is gone: the bank no longer has that finding"
    assert smaller.fitted.why_not == told
    chosen = with_points(place, **{second: 0.8})
    chosen = replace(chosen, terms=replace(chosen.terms, choice="herding")).remove(film=place.bank.table.films[0])
    assert chosen.fitted.calibration is None
    *_, told = dict(chosen.fitted.words())["calibration"].splitlines()
    assert told == f"the operating point of {second}, a sensitivity of 0.8, is gone: nothing is calibrated"


def test_a_bank_of_one_patient_of_each_finding_says_what_it_lacks(place):
    one_each = replace(place.bank, table=place.bank.table.take([0, 12])).add(NEW, place.new.take([0]))
    told = dict(one_each.fitted.words())["calibration"]
    assert told == "none: each finding has one patient, who cannot be asked of others: add exemplars of more"
