"""What results say of themselves: one short line in a console, an escaped table in a notebook."""

from dataclasses import replace

import numpy as np
import pytest
from made_results import RESULT, made_result

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes
from fewshot_cxr.evaluation import Answers, compare_results, evaluate_closed_set
from fewshot_cxr.inference.prediction import Exemplar, Prediction

EVIL = "<script>alert(1)</script>"
NAMES = (EVIL, *(f"finding {number}" for number in range(19)))


def made_answers(n_films=2_000, n_unknown=0):
    truth = np.arange(n_films) % len(NAMES)
    shares = np.full((n_films, len(NAMES)), 0.1 / (len(NAMES) - 1))
    shares[np.arange(n_films), truth] = 0.9
    ids = [None if film < n_unknown else film // 4 for film in range(n_films)]
    paths = [f"folder/of/films/{film:05d}.png" for film in range(n_films)]
    return Answers(findings=NAMES, truth=truth, probabilities=shares, patient_ids=ids, paths=paths)


def made_prediction():
    distances = {name: 0.1 * (1 + place) for place, name in enumerate(NAMES)}
    return Prediction("a.png", NAMES[:1], distances, tuple(Exemplar(f"{n}.png", EVIL, 0.1) for n in range(60)))


@pytest.fixture(scope="module")
def shown():
    answers = made_answers()
    closed = evaluate_closed_set(answers)
    return {
        "answers": answers,
        "closed set": closed,
        "comparison": compare_results(closed, closed, names=(EVIL, "second")),
        "episodes": made_result(*NAMES),
        "prediction": made_prediction(),
    }


@pytest.mark.parametrize("name", ["answers", "closed set", "comparison", "episodes", "prediction"])
def test_values_are_shown_short_and_escaped(shown, name):
    value = shown[name]
    assert len(repr(value)) < 1_500
    assert "\n" not in repr(value)
    html = value._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<table>") == html.count("</table>") >= 1
    assert len(html) < 60_000


def test_the_number_stands_with_its_interval_and_what_it_is_over(shown):
    assert "accuracy: 81.2 % (95 % over patients 70.1 to 88.9)" in repr(shown["episodes"])
    assert "accuracy by pixels: 62.5 % (95 % over patients 55.0 to 70.0)" in repr(RESULT)
    assert "decided rightly: 100.0 %" in repr(shown["answers"])
    assert "films: 2,000 films of 500 patients" in repr(shown["answers"])
    told = repr(made_answers(40, n_unknown=40))
    assert "patients unknown" in told
    unknown = replace(shown["episodes"], n_films_without_patient=1200)
    assert "95 % over films (patients unknown)" in repr(unknown)


def test_what_was_taken_for_what_is_a_table_with_shades(shown):
    html = shown["episodes"]._repr_html_()
    assert "rgba(0,114,178,0.54)" in html  # 90 of 100
    assert html.count("as finding 3<") == 1


def test_warnings_are_told():
    assert "warning: beware" in repr(replace(RESULT, warnings=("beware",)))


def test_episodes_are_told_in_a_line():
    films = Embeddings(np.zeros((3_000, 2)), np.arange(3_000) % 3, np.arange(3_000))
    told = repr(Episodes.draw(films, n_shot=2, n_query=3, n_episodes=1_000, seed=4))
    assert told == (
        "Episodes(episodes: 1,000; ways: 3; shots: 2; queries: 3; films: 3,000; seed: 4; prevalence: balanced)"
    )
