import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fewshot_cxr.data import cache_films
from fewshot_cxr.data.masks import lung_masks
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.explain import METHODS, heat_maps
from fewshot_cxr.explain.focus import film_frame_spec
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import RULES, Classifier, classify_films, embed_films, predict
from fewshot_cxr.objectives import LinearHead
from fewshot_cxr.report import Page, render_page
from fewshot_cxr.torch_seeding import seeded_torch
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.explaining import (
    EXPLAINED_RULES,
    QUESTIONS,
    Explainer,
    RunFilms,
    explain_films,
    heat_section,
)
from fewshot_cxr.workflows.explaining.erasing import AT_RANDOM, BY_HEAT, erase_films, score_text
from fewshot_cxr.workflows.explaining.folder import Explanation, focus_csv, safe_names, write_explanation
from fewshot_cxr.workflows.explaining.overlays import (
    SAMPLED,
    WORST,
    choices_text,
    choose_films,
    decision_text,
    overlays,
)
from fewshot_cxr.workflows.explaining.paired_runs import compare_runs
from fewshot_cxr.workflows.judging import Exemplars

pytestmark = pytest.mark.usefixtures("unpainted")
FINDINGS = ("effusion", "lobar_consolidation", "normal")
WEIGHTS = {"weights": torch.linspace(-0.2, 1, 8), "bias": 0.3}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return make_synthetic(tmp_path_factory.mktemp("drawn"), n_patients=5, findings=FINDINGS, size_px=48)


@pytest.fixture(scope="module")
def encoder():
    return make_encoder()


def make_encoder(**spec):
    with seeded_torch(0, "encoder"):
        spec = ImageSpec(size_px=64, **spec)
        return build_encoder("resnet9", image_spec=spec, width=4, embedding_dim=8).eval()


@pytest.fixture(scope="module")
def both(records, encoder):
    """Films to explain, and exemplars of other patients."""
    return tuple(cache_films(some, encoder.image_spec) for some in divided(records))


def divided(records):
    first = {film.finding: film.patient_id for film in reversed(records)}
    known = set(first.values())
    unknown = records.where(lambda film: film.patient_id not in known)
    return unknown, records.where(lambda film: film.patient_id in known)


@pytest.fixture(scope="module")
def classifier(encoder):
    with seeded_torch(1, "head"):
        return Classifier(encoder, LinearHead(8, 3), FINDINGS)


def by_rule(encoder, exemplars, rule="mean_distance", distance="euclidean", **asked):
    by = ExemplarRule(rule, distance, WEIGHTS if rule == "template" else {})
    known = Exemplars(exemplars, embed_films(encoder, exemplars, device="cpu"), by)
    return Explainer.of_exemplars(encoder, known, device="cpu", **asked)


@pytest.mark.parametrize("rule", sorted(EXPLAINED_RULES))
def test_decisions_and_targets_are_those_of_the_rule(encoder, both, rule):
    films, exemplars = both
    explainer = by_rule(encoder, exemplars, rule)
    decided = explainer.decide(films.rows(range(len(films))))
    vectors, known = embed_films(encoder, films, device="cpu").vectors, embed_films(encoder, exemplars, device="cpu")
    paths = [film.path for film in films.records]
    options = WEIGHTS if rule == "template" else {}
    expected = predict(vectors, paths, known, rule=rule, options=options)
    for row, one in enumerate(expected):
        assert explainer.findings[decided.class_ids[row]] == one.findings[0]
        assert decided.values[row].tolist() == pytest.approx([one.distances[name] for name in FINDINGS], rel=1e-4)
    contrast = explainer.target(decided)(decided.embeddings)
    nearest, others = decided.values.min(dim=1).values, decided.values.sum(dim=1)
    assert contrast.tolist() == pytest.approx(((others - nearest) / 2 - nearest).tolist(), abs=1e-4)
    scores = by_rule(encoder, exemplars, rule, question="decision").target(decided)(decided.embeddings)
    assert scores.tolist() == pytest.approx((-nearest).tolist(), rel=1e-4)
    why = by_rule(encoder, exemplars, rule, question="why").target(decided)(decided.embeddings)
    ordered = decided.values.sort(dim=1).values
    assert why.tolist() == pytest.approx((ordered[:, 1] - ordered[:, 0]).tolist(), abs=1e-4)


@pytest.mark.parametrize("rule", ["mean_distance", "template"])
def test_the_nearest_exemplar_is_asked_about_and_mapped_too(encoder, both, rule):
    films, exemplars = both
    explainer = by_rule(encoder, exemplars, rule, question="nearest")
    images = films.rows([0, 4])
    decided = explainer.decide(images)
    exemplars_found, other_films, heat, distances = zip(*explainer.nearest_exemplars(decided), strict=True)
    scores = explainer.target(decided)(decided.embeddings)
    assert scores.tolist() == pytest.approx([-distance for distance in distances], rel=1e-4)
    known = embed_films(encoder, exemplars, device="cpu")
    nearest = predict(decided.embeddings.numpy(), ["a", "b"], known, n_nearest=1)
    if rule == "mean_distance":
        assert [film.path for film in exemplars_found] == [one.exemplars[0].path for one in nearest]
    # From the exemplar's side the film is the other one: the same distance.
    other = explainer.decide(np.stack(other_films))
    back = explainer.decider.likeness(decided.embeddings)(other.embeddings)
    assert back.tolist() == pytest.approx(scores.tolist(), rel=1e-4)
    assert np.stack(heat).shape == images.shape


def test_a_classifier_is_asked_about_its_logits(classifier, both):
    films, _ = both
    explainer = Explainer.of_classifier(classifier, device="cpu")
    decided = explainer.decide(films.rows(range(len(films))))
    logits = classify_films(classifier, films, device="cpu")
    assert decided.class_ids.tolist() == logits.argmax(axis=1).tolist()
    scores = replace(explainer, question="decision").target(decided)(decided.embeddings)
    assert scores.tolist() == pytest.approx(logits.max(axis=1).tolist(), rel=1e-4)
    assert explainer.question == "contrast"
    against = logits.max(axis=1) - (logits.sum(axis=1) - logits.max(axis=1)) / 2
    assert explainer.target(decided)(decided.embeddings).tolist() == pytest.approx(against.tolist(), rel=1e-4)


def test_cam_of_a_classifier_is_signed(both):
    films, _ = both
    with seeded_torch(2, "cam"):
        encoder = build_encoder("resnet18", image_spec=ImageSpec(size_px=64), embedding_dim=8, pretrained=False)
        classifier = Classifier(encoder.eval(), LinearHead(8, 3), FINDINGS)
    explainer = Explainer.of_classifier(classifier, device="cpu", method="cam")
    images = films.rows(range(8))
    heat = explainer.heat(explainer.decide(images))
    assert heat.shape == (8, 64, 64)
    assert heat.min() < 0 < heat.max()


def test_a_named_finding_and_the_truth_are_two_ways_to_ask_the_same(encoder, both):
    films, exemplars = both
    rows = [row for row, film in enumerate(films.records) if film.finding == "effusion"]
    images = films.rows(rows)
    named = by_rule(encoder, exemplars, question="finding:effusion")
    true = by_rule(encoder, exemplars, question="truth")
    heat = named.heat(named.decide(images))
    assert np.array_equal(heat, true.heat(true.decide(images, ["effusion"] * len(rows))))


def test_the_encoder_stays_as_it_was(encoder, both):
    films, exemplars = both
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.train()
    try:
        explain_films(RunFilms("run", by_rule(encoder, exemplars), films))
        assert encoder.training
    finally:
        encoder.eval()
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in encoder.parameters())


def test_batches_of_any_size_give_the_same_report_worst_film_first(encoder, both):
    films, exemplars = both
    explainer, calls = by_rule(encoder, exemplars), []
    whole = explain_films(RunFilms("run", explainer, films), progress=lambda *call: calls.append(call))
    assert calls == [(len(films), len(films))]
    parts = explain_films(RunFilms("run", explainer, films), batch_size=3)
    assert [film.path for film in parts.films] == [film.path for film in whole.films]
    for name, values in whole.shares.items():
        assert np.allclose(parts.shares[name], values, atol=1e-4, equal_nan=True)
    known = [film.shares["border"] for film in whole.films if film.shares["border"] is not None]
    assert known == pytest.approx(sorted(known, reverse=True), abs=1e-4)
    assert len(known) == len(films) or whole.films[-1].shares["border"] is None


def test_with_masks_the_worst_film_has_the_least_heat_in_its_lungs(encoder, both):
    films, exemplars = both
    masks = lung_masks(films.records, encoder.image_spec)
    report = explain_films(RunFilms("run", by_rule(encoder, exemplars), films, masks))
    first = report.films[0]
    assert first.shares["lungs"] == pytest.approx(np.nanmin(report.shares["lungs"]), abs=1e-4)
    rows = {(row.measure, row.group_kind, row.group): row for row in report.summary}
    shown = [film.row for film in report.films if film.shares["lungs"] is not None]
    assert rows["lungs", "all", "all"].area == pytest.approx(masks.rows(shown).mean())
    assert rows["lungs", "all", "all"].share.mean == pytest.approx(np.nanmean(report.shares["lungs"]))
    assert {group for _, kind, group in rows if kind == "finding"} == set(FINDINGS)
    without = replace(masks, has_mask=np.arange(len(films)) != first.row)
    again = explain_films(RunFilms("run", by_rule(encoder, exemplars), films, without))
    assert next(film for film in again.films if film.row == first.row).shares["lungs"] is None
    assert "1 films have no lung mask: they count in no share of the lungs" in again.notes


def test_the_table_of_films_names_no_patient(encoder, both, records):
    films, exemplars = both
    text = focus_csv(explain_films(RunFilms("run", by_rule(encoder, exemplars), films)))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["path", "finding", "source", "patient", "decided", "distance", "border", "corners"]
    assert len(rows) == len(films)
    by_patient = {film.path: film.patient_id for film in records}
    assert not {row["patient"] for row in rows} & set(by_patient.values())
    assert len({row["patient"] for row in rows}) == len({by_patient[row["path"]] for row in rows})


def test_half_of_the_films_shown_are_the_worst_and_the_others_drawn(encoder, both):
    films, exemplars = both
    explainer = by_rule(encoder, exemplars)
    ordered = explain_films(RunFilms("run", explainer, films)).films
    chosen = choose_films(ordered, 5, seed=0)
    assert [why for _, why in chosen] == [WORST] * 3 + [SAMPLED] * 2
    assert [focus for focus, _ in chosen[:3]] == list(ordered[:3])
    assert chosen == choose_films(ordered, 5, seed=0)
    assert any(chosen != choose_films(ordered, 5, seed=seed) for seed in range(1, 6))
    assert len(choose_films(ordered, None, seed=0)) == len(ordered)
    assert "drawn with seed 3" in choices_text(explain_films(RunFilms("run", explainer, films)), chosen, 3)


@pytest.mark.slow
def test_no_film_is_labelled_where_none_is_drawn(encoder, both, monkeypatch, tmp_path):
    films, exemplars = both
    films = cache_films(films.records.where(lambda film: film.finding == "normal"), encoder.image_spec)
    explainer = by_rule(encoder, exemplars)
    report = explain_films(RunFilms("run", explainer, films))
    for n_shown in (None, len(report.films)):
        chosen = choose_films(report.films, n_shown, seed=0)
        assert {why for _, why in chosen} == {""}
        assert "All films are shown, worst first" in choices_text(report, chosen, 0)
        ((_, tile),) = next(overlays(RunFilms("run", explainer, films), chosen[:1]))
        assert len(tile.caption.split("\n")) == 4
    monkeypatch.setattr("fewshot_cxr.workflows.explaining.folder._MOST_TILES", 2)
    explanation = Explanation(RunFilms("run", explainer, films), report)
    text = write_explanation(tmp_path / "out", explanation, n_overlays=None).read_text()
    assert "the first 2 of" in text
    assert "drawn with seed" not in text


def test_findings_that_are_not_told_apart_are_neither_right_nor_wrong(encoder, both):
    films, exemplars = both
    few = exemplars.records.where(lambda film: film.finding != "effusion")
    explainer = by_rule(encoder, cache_films(few, encoder.image_spec))
    report = explain_films(RunFilms("run", explainer, films))
    n_films = sum(film.finding == "effusion" for film in films.records)
    (note,) = (note for note in report.notes if "told apart" in note)
    assert note.startswith("effusion: not among the findings")
    assert f"{n_films} films are neither right nor wrong" in note
    for film in report.films:
        text = decision_text(film, explainer)
        assert ("rightly" in text) == (film.decided == film.finding)
        assert ("taken for" in text) == (film.finding != "effusion" and film.decided != film.finding)
    assert any("not among" in text for text in heat_section(RunFilms("run", explainer, films), n_films=1).paragraphs)
    whole = explain_films(RunFilms("run", by_rule(encoder, exemplars), films))
    assert not any("told apart" in note for note in whole.notes)


def test_deletion_compares_the_heat_with_chance(encoder, both):
    films, exemplars = both
    erasure = erase_films(RunFilms("run", by_rule(encoder, exemplars), films), n_films=4, n_steps=3)
    n_warm = 4 - erasure.n_without_heat
    assert len(erasure.paths) == len(erasure.patients) == n_warm > 1
    told = {row["mode"]: row for row in erasure.to_json()["gain_over_random"]}
    assert set(told) == {"deletion", "insertion"}
    assert told["deletion"]["n_films"] == n_warm
    assert told["deletion"]["ci95"][0] < told["deletion"]["mean"] < told["deletion"]["ci95"][1]
    for orders in erasure.curves.values():
        assert set(orders) == {BY_HEAT, AT_RANDOM}
        assert all(scores.shape == (n_warm, 4) for scores in orders.values())
    deletion, insertion = erasure.curves["deletion"][BY_HEAT], erasure.curves["insertion"][AT_RANDOM]
    assert deletion[:, 0] == pytest.approx(insertion[:, -1], rel=1e-4)
    with pytest.raises(ValueError, match="attention maps explain no number"):
        erase_films(RunFilms("run", replace(by_rule(encoder, exemplars), method="attention"), films))


@pytest.mark.slow
def test_films_without_heat_count_in_no_gain(encoder, both, monkeypatch, tmp_path):
    films, exemplars = both
    explainer = by_rule(encoder, exemplars)
    drawn = np.random.default_rng(0).random((6, 64, 64), dtype=np.float32)
    drawn[::2] = 0
    monkeypatch.setattr(Explainer, "heat", lambda self, decided: drawn[: len(decided.films)])
    erasure = erase_films(RunFilms("run", explainer, films), n_films=6, n_steps=2)
    assert (len(erasure.paths), erasure.n_without_heat) == (3, 3)
    assert all(len(scores) == 3 for orders in erasure.curves.values() for scores in orders.values())
    assert all(row.n_films == 3 and row.n_without_heat == 3 for row in erasure.gains())
    monkeypatch.setattr(Explainer, "heat", lambda self, decided: np.zeros(decided.films.shape, dtype=np.float32))
    none = erase_films(RunFilms("run", explainer, films), n_films=2, n_steps=2)
    json.dumps(none.to_json(), allow_nan=False)
    run = RunFilms("run", explainer, films)
    page = write_explanation(tmp_path / "out", Explanation(run, explain_films(run), none), n_overlays=1)
    assert "no film has heat" in page.read_text()
    assert not (tmp_path / "out" / "deletion.png").exists()


def test_the_score_is_called_what_it_is(encoder, classifier, both):
    def told(**asked):
        return score_text(by_rule(encoder, both[1], **asked))

    assert told() == "how much nearer than the others"
    assert told(question="why") == "how much nearer than the next"
    assert told(question="decision") == "similarity (minus the distance)"
    assert told(question="nearest", distance="cosine") == "similarity (1 - distance)"
    assert told(rule="template", question="decision", distance="cosine") == "logit of 'same'"
    assert told(rule="template") == "logit of 'same' less the others'"
    by_classifier = Explainer.of_classifier(classifier, device="cpu")
    assert score_text(by_classifier) == "logit less the others'"
    assert score_text(replace(by_classifier, question="decision")) == "logit"
    assert score_text(replace(by_classifier, question="why")) == "logit less the next one's"


@pytest.mark.slow
def test_the_folder_holds_tables_overlays_sheets_and_a_page(encoder, both, tmp_path):
    films, exemplars = both
    films = cache_films(films.records.where(lambda film: film.finding == "normal"), encoder.image_spec)
    explainer = by_rule(encoder, exemplars)
    run = RunFilms("a run", explainer, films)
    page = write_explanation(tmp_path / "out", Explanation(run, explain_films(run)), n_overlays=1)
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    overlay = next(name for name in names if name.startswith("overlays/normal/001_p"))
    charts = {"focus_border.png", "focus_corners.png", "sheets/normal.png", overlay}
    assert names == charts | {"focus.csv", "focus_summary.csv", "focus_summary.json", "explain.html"}
    assert "a run" in page.read_text()


@pytest.mark.slow
def test_the_folder_of_pairs_masks_and_deletion(encoder, both, tmp_path):
    films, exemplars = both
    explainer = by_rule(encoder, exemplars, question="nearest")
    masks = lung_masks(films.records, encoder.image_spec)
    run = RunFilms("a run", explainer, films, masks)
    explanation = Explanation(run, explain_films(run), erase_films(run, n_films=8, n_steps=2))
    page = write_explanation(tmp_path / "out", explanation, n_overlays=1)
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    charts = {f"focus_{name}.png" for name in ("lungs", "border", "corners")} | {"deletion.png", "insertion.png"}
    assert charts | {"focus.csv", "focus_summary.csv", "focus_summary.json", "explain.html"} <= names
    assert {f"sheets/{name}.png" for name in FINDINGS} <= names
    assert sum(name.startswith("overlays/") for name in names) == 3 * 2
    assert "Deletion" in page.read_text()
    summary = json.loads((tmp_path / "out" / "focus_summary.json").read_text())
    wanted = {"question": "nearest", "method": "grad_cam", "layer": encoder.heat_layer, "seed": 0}
    assert wanted.items() <= summary.items()
    assert summary["data_hash"] == films.records.data_hash
    assert not [name for name in names if name.endswith(".part")]


def test_a_section_for_a_larger_page(encoder, both):
    films, exemplars = both
    section = heat_section(RunFilms("run", by_rule(encoder, exemplars), films), n_films=2)
    assert len(section.pictures) == 1
    assert "2 films with their heat" in section.pictures[0].alt
    assert "Where the network looks" in render_page(Page("a page", sections=(section,)))


def test_a_run_beside_itself_does_not_differ(encoder, both):
    films, exemplars = both
    explainer = by_rule(encoder, exemplars)
    paired = compare_runs(RunFilms("a", explainer, films), RunFilms("b", explainer, films), n_films=2)
    for row in paired.rows:
        assert (row.difference, row.p_value) == (0, 1)
    assert not paired.inner_rows
    assert [tile.caption.split("\n")[0] for tile in paired.tiles] == ["a", "b"] * 2


def test_a_cropped_run_is_measured_in_the_square_of_the_whole_film(encoder, both):
    films, exemplars = both
    cropped = make_encoder(border_crop=0.125)
    other_films, other_exemplars = (cache_films(some.records, cropped.image_spec) for some in (films, exemplars))
    masks = lung_masks(films.records, film_frame_spec(cropped.image_spec))
    paired = compare_runs(
        RunFilms("whole", by_rule(encoder, exemplars), films, masks),
        RunFilms("cropped", by_rule(cropped, other_exemplars), other_films, masks),
        n_films=1,
    )
    border = next(row for row in paired.rows if row.measure == "border")
    assert border.mean_second == 0
    assert border.mean_first > 0.1
    assert {row.measure for row in paired.inner_rows} == {"lungs", "corners"}
    lungs = next(row for row in paired.inner_rows if row.measure == "lungs")
    assert lungs.mean_second == pytest.approx(next(row for row in paired.rows if row.measure == "lungs").mean_second)
    assert {row.measure for row in paired.rows} == {"lungs", "border", "corners"}
    assert all(tile.film.shape == (64, 64) for tile in paired.tiles)
    assert paired.tiles[1].heat[:8].max() == 0
    json.dumps(paired.to_json(), allow_nan=False)


def test_heat_that_only_a_crop_has_moved_does_not_differ_inside(encoder, both, monkeypatch):
    films, exemplars = both
    cropped = make_encoder(border_crop=0.0625)
    drawn = np.random.default_rng(0).random((len(films), 64, 64)).astype(np.float32)
    monkeypatch.setattr(Explainer, "heat", lambda self, decided: drawn[: len(decided.films)])
    inside = np.zeros((64, 64), dtype=bool)
    inside[4:-4, 4:-4] = True
    monkeypatch.setattr(
        "fewshot_cxr.workflows.explaining.focus_report.in_film_frame",
        lambda heat, spec: heat * inside if spec.border_crop else heat,
    )
    other = tuple(cache_films(some.records, cropped.image_spec) for some in both)
    runs = RunFilms("whole", by_rule(encoder, exemplars), films), RunFilms("cut", by_rule(cropped, other[1]), other[0])
    paired = compare_runs(*runs, n_films=1)
    assert {row.measure for row in paired.inner_rows} == {"border", "corners"}
    for row in paired.inner_rows:
        assert (row.difference, row.p_value) == (0, 1)
    assert next(row for row in paired.rows if row.measure == "border").difference < -0.1


def test_runs_that_cannot_be_paired_are_refused(encoder, classifier, both):
    films, exemplars = both
    whole = RunFilms("a", by_rule(encoder, exemplars), films)
    topless = make_encoder(top_crop=0.1)
    cut = [cache_films(some.records, topless.image_spec) for some in both]
    with pytest.raises(ValueError, match=r"a and b see different parts of a film \(top_crop 0.0 and 0.1\)"):
        compare_runs(whole, RunFilms("b", by_rule(topless, cut[1]), cut[0]))
    with pytest.raises(ValueError, match="a and b are not asked about the same films"):
        compare_runs(whole, RunFilms("b", whole.explainer, exemplars))
    with pytest.raises(ValueError, match="must answer one question in one way, got contrast by distance and .* logit"):
        compare_runs(whole, RunFilms("b", Explainer.of_classifier(classifier, device="cpu"), films))


@pytest.mark.parametrize("rule", sorted(RULES.keys() - EXPLAINED_RULES.keys()))
def test_a_rule_without_a_target_is_refused(encoder, both, rule):
    with pytest.raises(ValueError, match=f"rule '{rule}' has no value .* one of mean_distance, prototype, nearest"):
        by_rule(encoder, both[1], rule)


def test_questions_that_have_no_answer_are_refused(encoder, classifier, both):
    films, exemplars = both
    for asked, words in (
        ({"question": "decison"}, r"decison"),
        ({"question": "finding:normel"}, r"no finding is called 'normel'.*normal.*\(--question\)"),
        ({"method": "cam"}, r"method 'cam' maps one logit of a classifier"),
        ({"method": "lime"}, "lime"),
    ):
        with pytest.raises(ValueError, match=words):
            by_rule(encoder, exemplars, **asked)
    with pytest.raises(ValueError, match="a classifier has no exemplars"):
        Explainer.of_classifier(classifier, device="cpu", question="nearest")
    with pytest.raises(ValueError, match="pairs are mapped for the question 'nearest' alone"):
        by_rule(encoder, exemplars).nearest_exemplars(by_rule(encoder, exemplars).decide(films.rows([0])))
    few = exemplars.records.where(lambda film: film.finding != "effusion")
    explainer = by_rule(encoder, cache_films(few, encoder.image_spec), question="truth")
    with pytest.raises(ValueError, match="films show effusion, which is not told apart here"):
        explain_films(RunFilms("run", explainer, films))
    with pytest.raises(ValueError, match="films are decoded at 64 px, the encoder takes 48"):
        explain_films(RunFilms("run", by_rule(replace_spec(48), cache_films(few, ImageSpec(size_px=48))), films))


def replace_spec(size_px):
    return build_encoder("resnet9", image_spec=ImageSpec(size_px=size_px), width=4, embedding_dim=8)


def test_attention_maps_have_no_question(both):
    with seeded_torch(0, "attention"):
        encoder = build_encoder("efficientnet_attention", image_spec=ImageSpec(size_px=64), embedding_dim=8).eval()
    films, exemplars = both
    explainer = by_rule(encoder, exemplars, method="attention")
    images = films.rows([0, 1])
    heat = explainer.heat(explainer.decide(images))
    assert np.array_equal(heat, heat_maps(encoder, explainer.images(images), None, method="attention"))
    assert any("the question plays no part" in note for note in explain_films(RunFilms("run", explainer, films)).notes)


def test_every_question_and_method_has_words(encoder, both):
    assert all(by_rule(encoder, both[1], question=name).asked_text() == text for name, text in QUESTIONS.items())
    assert (
        by_rule(encoder, both[1], question="finding:normal").asked_text()
        == "what speaks for normal, whatever was decided"
    )
    assert set(METHODS) == {"grad_cam", "cam", "attention"}


def test_names_of_folders_are_plain_and_differ():
    names = safe_names(["No Finding", "a/b", "a b", "A b", "../..", "", "Ödem"])
    assert names["No Finding"] == "No_Finding"
    assert len({name.lower() for name in names.values()}) == len(names)
    assert all(name and "/" not in name and not name.startswith(".") for name in names.values())
