"""Films of a patient, joined into one answer."""

import math
from dataclasses import replace

import pytest

from fewshot_cxr.inference.bank.answer import ABSTAINED, Answer, join_films
from fewshot_cxr.inference.prediction import Exemplar

FIRST = Answer(
    path="a.png",
    finding="normal",
    answer="normal",
    probabilities={"effusion": 0.2, "normal": 0.8},
    fitting=("normal",),
    distances={"effusion": 3.0, "normal": 1.0},
    exemplars=(Exemplar("x.png", "normal", 0.5), Exemplar("y.png", "effusion", 0.7)),
)
SECOND = replace(
    FIRST,
    path="b.png",
    probabilities={"effusion": 0.45, "normal": 0.55},
    fitting=("effusion", "normal"),
    distances={"effusion": 2.0, "normal": 1.5},
    exemplars=(Exemplar("x.png", "normal", 0.4), Exemplar("z.png", "normal", 0.9)),
    answer=ABSTAINED,
    reason="ambiguous",
    positive=("effusion",),
)
BLANK = Answer(path="c.png", finding="normal", answer=ABSTAINED, reason="negative space", distances={"normal": 0.0})
LOST = Answer(path="d.png", finding="", answer=ABSTAINED, reason="unreadable", details="cut short")


def test_one_film_stays_as_it_is():
    assert join_films([FIRST]) is FIRST
    with pytest.raises(ValueError, match="one film or more"):
        join_films([])


def test_distances_are_averaged_and_what_fits_every_film_fits():
    joined = join_films([FIRST, SECOND])
    assert joined.films == ("a.png", "b.png")
    assert joined.path == "a.png; b.png"
    assert joined.distances == {"effusion": 2.5, "normal": 1.25}
    assert (joined.answer, joined.reason, joined.fitting) == ("normal", "", ("normal",))
    odds = math.sqrt(0.8 / 0.2 * 0.55 / 0.45)
    assert joined.probabilities["normal"] == pytest.approx(odds / (1 + odds))
    assert [(one.path, one.distance) for one in joined.exemplars] == [("x.png", 0.4), ("y.png", 0.7)]
    assert joined.positive == ("effusion",)


def test_the_order_of_films_changes_no_number():
    there, back = join_films([FIRST, SECOND]), join_films([SECOND, FIRST])
    for name in ("finding", "answer", "probabilities", "fitting", "distances", "exemplars"):
        assert getattr(there, name) == getattr(back, name)


def test_probabilities_are_those_of_the_mean_distance():
    temperature = 0.7

    def answered(path, distances):
        shares = {name: math.exp(-distance / temperature) for name, distance in distances.items()}
        probabilities = {name: share / sum(shares.values()) for name, share in shares.items()}
        return Answer(path, "normal", "normal", distances=distances, probabilities=probabilities)

    films = [answered("a", {"normal": 1.0, "effusion": 1.2}), answered("b", {"normal": 0.3, "effusion": 2.0})]
    joined = join_films(films)
    expected = answered("c", joined.distances).probabilities
    assert joined.probabilities == pytest.approx(expected)


def test_films_that_are_none_are_left_out_while_others_are_left():
    joined = join_films([BLANK, FIRST, LOST])
    assert joined.distances == FIRST.distances
    assert joined.answer == "normal"
    assert joined.notes == ("left out c.png: negative space", "left out d.png: unreadable")
    assert joined.films == ("c.png", "a.png", "d.png")
    nothing = join_films([LOST, BLANK])
    assert (nothing.answer, nothing.reason) == (ABSTAINED, "negative space")
    assert join_films([LOST, LOST]).reason == "unreadable"


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        ({"reason": "unknown", "answer": ABSTAINED, "details": "far"}, "unknown", "of 1 of 2 films: far"),
        ({"fitting": ("effusion",)}, "unknown", "no finding fits all films"),
        ({"fitting": ()}, "unknown", "no finding fits all films"),
    ],
)
def test_why_a_patient_has_no_answer(change, reason, told):
    joined = join_films([FIRST, replace(SECOND, **{"reason": "", **change})])
    assert (joined.answer, joined.reason, joined.details) == (ABSTAINED, reason, told)


def test_what_fits_must_be_nearest_too():
    both = replace(FIRST, fitting=("effusion", "normal"))
    assert join_films([both, SECOND]).details == "effusion and normal fit all films"
    other = replace(SECOND, fitting=("effusion",))
    assert join_films([both, other]).details == "effusion fits all films, normal is nearer on average"


def test_without_calibration_the_mean_distance_decides():
    plain = [replace(one, probabilities={}, fitting=None, reason="", answer="normal") for one in (FIRST, SECOND)]
    joined = join_films(plain)
    assert (joined.answer, joined.probabilities, joined.fitting) == ("normal", {}, None)
    tied = [replace(one, distances={"effusion": 1.0, "normal": 1.0}) for one in plain]
    assert join_films(tied).details == "effusion and normal are equally near"
