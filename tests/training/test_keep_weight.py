from pathlib import Path

import pytest
import torch
from made_runs import make_films

from fewshot_cxr.encoders.joined import USUAL_KEEP
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.records import Record, Records
from fewshot_cxr.training import SiameseTrainer, keeping
from fewshot_cxr.training.keeping import KEEPS, choose_keep
from fewshot_cxr.training.validation import plan_validation


def films_of(findings, n_patients=24, films_each=2):
    return Records(
        tuple(
            Record(f"{finding}/{patient}_{film}.png", (finding,), patient_id=f"{finding}{patient}")
            for finding in findings
            for patient in range(n_patients)
            for film in range(films_each)
        ),
        Path(),
    )


def vectors_of(films, shift, dim=40, seed=0):
    """Rows of noise, in which finding k is shifted along coordinate k."""
    rows = torch.randn(len(films), dim, generator=torch.Generator().manual_seed(seed))
    for row, film in enumerate(films):
        rows[row, films.findings.index(film.finding)] += shift[film.finding]
    return rows


def test_of_two_findings_none_can_play_the_new_one():
    films = films_of(["a", "b"])
    choice = choose_keep(vectors_of(films, {"a": 1, "b": 1}), films, (40,), seed=0)
    assert choice.weight == USUAL_KEEP
    assert choice.how == "the usual one: of two known findings none can play the new one"


def test_too_few_patients_leave_the_usual_weight():
    films = films_of(["a", "b", "c"], n_patients=2)
    choice = choose_keep(vectors_of(films, dict.fromkeys("abc", 1.0)), films, (40,), seed=0)
    assert choice.weight == USUAL_KEEP
    assert "too few patients" in choice.how


def test_what_is_taught_counts_where_it_tells():
    films = films_of(["a", "b", "c", "d"])
    telling = choose_keep(vectors_of(films, dict.fromkeys("abcd", 2.5)), films, (40,), seed=0)
    assert 0 < telling.weight <= max(KEEPS)
    assert "where a, b, c, d played the new finding in turn, on training films of other patients: mean" in telling.how
    again = choose_keep(vectors_of(films, dict.fromkeys("abcd", 2.5)), films, (40,), seed=0)
    assert again == telling


def test_a_head_meets_neither_the_finding_nor_the_patients_that_it_is_asked_on(monkeypatch):
    films, asked, fitted = films_of(["a", "b", "c"]), [], []
    vectors = torch.arange(float(len(films)))[:, None].repeat(1, 4) + 0.1 * torch.rand(len(films), 4)

    def fit(rows, class_ids, widths):
        fitted.append([films[row] for row in rows[:, 0].int().tolist()])
        return "head"

    def scores(head, rows, some, plan, new_id):
        asked.append((some.class_names[new_id], [films[row] for row in rows[:, 0].int().tolist()]))
        return [float(keep == 1.5) for keep in KEEPS]

    monkeypatch.setattr(keeping, "fit_joined_head", fit)
    monkeypatch.setattr(keeping, "_scores", scores)
    assert choose_keep(vectors, films, (4,), seed=0).weight == 1.5
    assert sorted(new for new, _ in asked) == ["a", "a", "a", "b", "b", "b", "c", "c", "c"]
    for (new, third), others in zip(asked, fitted, strict=True):
        assert new not in {film.finding for film in others}
        assert {film.finding for film in third} == {"a", "b", "c"}
        assert not {film.patient_id for film in third} & {film.patient_id for film in others}
    everyone = {film.path for new, third in asked if new == "a" for film in third}
    assert len(everyone) == len(films)


def test_scores_weigh_the_new_finding_as_much_as_all_others():
    films = films_of(["a", "b", "c", "d"])
    shift = {"a": 0.0, "b": 0.0, "c": 30.0, "d": 30.0}  # none tells a from b
    vectors, others = vectors_of(films, shift), vectors_of(films, shift, seed=1)
    class_ids = torch.tensor([films.findings.index(film.finding) for film in films])
    head = keeping.fit_joined_head(others[class_ids > 0], class_ids[class_ids > 0], (40,))
    labelled = with_facts(vectors.numpy(), films)
    plan = plan_validation(labelled, n_shot=5, n_query=10, n_episodes=200)
    score = keeping._scores(head, vectors, labelled, plan, films.findings.index("a"))[-1]
    assert score == pytest.approx((0.5 + (0.5 + 1 + 1) / 3) / 2, abs=0.04)  # accuracy would be 0.75


def test_the_card_tells_how_it_was_chosen(tmp_path_factory):
    films = make_films(tmp_path_factory.mktemp("films"), n_patients=12)
    settings = {"encoder": "resnet9", "encoder_options": {"width": 4}, "image_spec": ImageSpec(size_px=32)}
    trained = SiameseTrainer(**settings, keep="auto", val_n_shot=1, val_n_query=1).fit(films, progress=None)
    assert trained.card["keep"]["weight"] == trained.encoder.head.keep.item() in KEEPS
    assert "where bright, dark, striped played the new finding in turn" in trained.card["keep"]["how"]
    two = films.where(lambda film: film.finding != "striped")
    card = SiameseTrainer(**settings, keep="auto", val_n_shot=1, val_n_query=1).fit(two, progress=None).card
    assert card["keep"]["how"] == "the usual one: of two known findings none can play the new one"
