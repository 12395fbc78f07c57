"""A report on run folders and JSON files: what each input is told by, and which films it shows."""

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from browser import check_page

from fewshot_cxr.data import cache_films, read_dataset, split_by_patient, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.evaluation import (
    audit_films,
    compare_results,
    decide_by_exemplars,
    evaluate_closed_set,
    evaluate_plan,
    plan_episodes,
)
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import Classifier, classifier_head_card, embed_films
from fewshot_cxr.objectives import LinearHead
from fewshot_cxr.records import Records
from fewshot_cxr.report import render_page
from fewshot_cxr.report.run_page import LEFT_OUT
from fewshot_cxr.torch_seeding import seeded_torch
from fewshot_cxr.whole_files import write_json, write_text
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.run_report import GivenFilms, film_sections, load_films, read_inputs, report_page

pytestmark = pytest.mark.usefixtures("undrawn")
FINDINGS = ("normal", "effusion", "cardiomegaly")
MAP, EXTREMES, HEAT = "The films on a map", "The best and the worst episode", "Where the network looks"


def made_run(folder, films, seed, *, is_classifier=False, part="split.csv"):
    """Write a run folder whose encoder was never trained, with what a recipe writes."""
    with seeded_torch(seed):
        encoder = build_encoder("resnet9", width=4, image_spec=ImageSpec(size_px=32))
        head = LinearHead(encoder.embedding_dim, len(FINDINGS), activation="softmax")
    card = {"encoder": encoder.recipe, "image_spec": encoder.image_spec.to_json(), "findings": sorted(FINDINGS)}
    card |= {"distance": "euclidean", "training": {"seed": seed}, "n_films": {"train": 9}, "n_patients": {"train": 5}}
    tensors = None
    if is_classifier:
        card["head"] = classifier_head_card(Classifier(encoder, head, tuple(sorted(FINDINGS))))
        tensors = head.state_dict()
    save_encoder(encoder, folder / "encoder.safetensors", card=card, head=tensors)
    write_json(folder / "card.json", card)
    write_text(folder / "history.csv", "epoch,loss,val_accuracy\n1,0.7,0.4\n2,0.5,\n")
    write_manifest(films, folder / part, header={"recipe": "made", "seed": seed})
    encoder.eval()
    sides = [films.of_split(split) for split in ("train", "test")]
    known, test = (embed_films(encoder, cache_films(side, encoder.image_spec)) for side in sides)
    closed = evaluate_closed_set(decide_by_exemplars(test, known, rule="prototype", distance="euclidean"))
    plan = plan_episodes(test, n_shot=2, n_query=3, n_episodes=40, seed=seed)
    episodes = evaluate_plan(test, plan, rule="prototype", patient_interval=False)
    write_json(folder / "result.json", closed.to_json())
    write_json(folder / "episodes.json", episodes.to_json() | {"made_by": {"command": "fscxr episode-eval"}})
    return SimpleNamespace(folder=folder, closed=closed, episodes=episodes)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    drawn = make_synthetic(folder, n_patients=12, findings=FINDINGS, size_px=48, seed=2)
    parts = split_by_patient(drawn, (0.4, 0.1, 0.5), seed=0)
    films = Records(tuple(film for part in parts for film in part), drawn.root)
    runs = [made_run(folder / name, films, seed) for seed, name in enumerate(("one", "two"))]
    classifier = made_run(folder / "classifier", films, 5, is_classifier=True)
    comparison = compare_results(runs[0].closed, runs[1].closed, names=("one", "two"))
    write_json(folder / "comparison.json", comparison.to_json())
    write_json(folder / "audit.json", audit_films(films).to_json())
    return SimpleNamespace(folder=folder, films=films, one=runs[0], two=runs[1], classifier=classifier)


def headings(page):
    """The heading of every section and of all that is folded in it."""
    return [part.heading for section in page.sections for part in section.parts()]


def section(page, heading):
    return next(part for whole in page.sections for part in whole.parts() if part.heading == heading)


@pytest.mark.slow
def test_every_input_is_told_by_what_it_holds(place):
    sources = [place.one.folder, place.folder / "comparison.json", place.folder / "audit.json", place.two.folder]
    parts, folders = read_inputs(sources)
    assert folders == (place.one.folder, place.two.folder)
    assert [run.name for run in parts.runs] == ["one", "two"]
    assert parts.runs[0].split["recipe"] == "made"
    assert parts.runs[0].history == (
        {"epoch": 1, "loss": 0.7, "val_accuracy": 0.4},
        {"epoch": 2, "loss": 0.5},
    )
    found = [(one.name, one.result) for one in parts.results]
    assert found == [
        ("one", place.one.episodes),
        ("one", place.one.closed),
        ("two", place.two.episodes),
        ("two", place.two.closed),
    ]
    assert parts.results[0].made_by == {"command": "fscxr episode-eval"}
    assert not parts.results[1].made_by
    assert [name for name, _ in parts.comparisons] == ["comparison"]
    assert [name for name, _ in parts.audits] == ["audit"]


def test_the_card_in_the_encoder_is_believed_and_no_copy_beside_it(place, tmp_path):
    shutil.copytree(place.one.folder, tmp_path / "one")
    shutil.copy(place.two.folder / "card.json", tmp_path / "one" / "card.json")
    seeds = [
        read_inputs([folder])[0].runs[0].card["training"]["seed"] for folder in (place.one.folder, tmp_path / "one")
    ]
    assert seeds[0] == seeds[1] != read_inputs([place.two.folder])[0].runs[0].card["training"]["seed"]
    (tmp_path / "one" / "encoder.safetensors").unlink()  # sent without its weights
    assert read_inputs([tmp_path / "one"])[0].runs[0].card["training"]["seed"] != seeds[0]


def test_files_of_one_name_are_told_apart_by_their_folder(place):
    files = [place.one.folder / "result.json", place.two.folder / "result.json"]
    assert [one.name for one in read_inputs(files)[0].results] == ["one/result", "two/result"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "x.json is no JSON"),
        ("[1]", r"x.json is nothing that a report shows \(it does not say its kind\)"),
        ('{"kind": "predictions"}', r"x.json is nothing that a report shows \(its kind is 'predictions'\)"),
        ('{"kind": "episodes"}', "x.json: this is no result of episode-eval of this version"),
        ('{"kind": "comparison"}', "x.json: this is no comparison of this version"),
        ('{"confounding": 1, "near_duplicates": []}', "x.json: this is no whole audit: "),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, text, words):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        read_inputs([tmp_path / "x.json"])
    assert "\n" not in str(caught.value)


def test_what_is_no_run_folder_is_refused(tmp_path, place):
    with pytest.raises(ValueError, match=r"holds no card.json and is no run folder; fscxr train and recipes write"):
        read_inputs([tmp_path])
    with pytest.raises(ValueError, match="is no run folder; its folder classifier does;"):
        read_inputs([place.folder])
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        read_inputs([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="needs a run folder or a JSON file, got none"):
        read_inputs([])


def test_a_run_is_shown_with_the_films_of_its_split(place):
    page = report_page([place.one.folder, place.folder / "audit.json"], seed=3)
    found = headings(page)
    assert [name for name in found if name in (MAP, EXTREMES, HEAT)] == [EXTREMES, HEAT, MAP]
    assert LEFT_OUT not in found
    assert page.title == "Report: one"
    episodes = section(page, EXTREMES)
    assert "Of 40 episodes: best number" in episodes.paragraphs[0]
    assert [len(part.pictures) for part in episodes.parts()] == [1, 1, 0]
    assert len(page.sections) <= 10
    html = render_page(page)
    assert str(place.folder) not in html
    assert report_page([place.one.folder, place.folder / "audit.json"], seed=3) == page


@pytest.mark.slow
def test_the_whole_page_in_a_browser(place, browser, monkeypatch):
    monkeypatch.undo()
    sources = [place.one.folder, place.two.folder, place.folder / "comparison.json", place.folder / "audit.json"]
    html = render_page(report_page(sources))
    assert len(html) < 5_000_000
    check_page(browser, html)


def test_a_classifier_is_explained_by_its_logits(place):
    shown = load_films(place.classifier.folder, GivenFilms(place.films.of_split("test")))
    assert shown.classifier.findings == tuple(sorted(FINDINGS))
    found = {one.heading: one for one in film_sections(shown, result=None)}
    assert not found[HEAT].paragraphs[0].startswith("Left out")


def test_episodes_of_another_encoder_are_left_out(place):
    films = GivenFilms(place.films.of_split("test"))
    shown = load_films(place.one.folder, films, seed=0)
    other = replace(place.one.episodes, scores=place.two.episodes.scores)
    gap = place.one.episodes.accuracy.value - place.two.episodes.accuracy.value
    assert abs(gap) > 0.01
    found = {one.heading: one for one in film_sections(shown, result=other)}
    assert found[EXTREMES].paragraphs[0].startswith("Left out: in these episodes the run's encoder decides otherwise")
    moved = np.roll(np.array(place.one.episodes.confusion), 1, axis=0)  # as accurate, but not the same decisions
    other = replace(place.one.episodes, confusion=tuple(map(tuple, moved.tolist())))
    found = {one.heading: one for one in film_sections(shown, result=other)}
    assert "which is of another encoder or rule" in found[EXTREMES].paragraphs[0]
    assert HEAT not in found  # no labelled films
    elsewhere = replace(other, episodes=replace(other.asked, episodes_hash="0" * 64))
    found = {one.heading: one for one in film_sections(shown, result=elsewhere)}
    assert "the films are not those that the result was judged on" in found[EXTREMES].paragraphs[0]


def test_films_that_are_gone_are_told(place, tmp_path):
    shutil.copytree(place.one.folder, tmp_path / "moved")
    split = tmp_path / "moved" / "split.csv"
    split.write_text(re.sub(r'("root_key": )"[^"]*"', r'\1"of another machine"', split.read_text()))
    page = report_page([tmp_path / "moved"])
    assert MAP not in headings(page)
    told = section(page, LEFT_OUT).paragraphs
    assert "the films of split.csv are not found" in told[0]
    assert "--data SOURCE --split test" in told[0]
    split.unlink()
    assert "moved holds no split.csv" in section(report_page([tmp_path / "moved"]), LEFT_OUT).paragraphs[0]
    films = read_dataset("manifest", place.one.folder / "split.csv")
    page = report_page([tmp_path / "moved"], given=GivenFilms(films.of_split("test")))
    assert MAP in headings(page)
    assert section(page, LEFT_OUT).paragraphs[0].startswith("Heat maps need labelled films")


def test_only_json_files_have_no_films(place):
    page = report_page([place.one.folder / "result.json", place.two.folder / "result.json"], title="Two")
    assert page.title == "Two"
    assert "one/result against two/result, closed set" in headings(page)
    assert "There is no run folder" in section(page, LEFT_OUT).paragraphs[0]
    given = GivenFilms(place.films.of_split("test"))
    with pytest.raises(ValueError, match="films were named, but no run folder whose encoder could embed them"):
        report_page([place.one.folder / "result.json"], given=given)


def test_several_runs_show_the_films_of_the_first(place):
    page = report_page([place.one.folder, place.two.folder])
    assert "one against two, closed set" in headings(page)
    assert "Films, maps and heat maps are of the first run alone, one." in section(page, LEFT_OUT).paragraphs
    assert headings(page).count(MAP) == 1
    assert len(page.sections) <= 10
    assert not section(page, EXTREMES).paragraphs[0].startswith("Left out")
    refused = section(page, "Not compared")
    assert refused.facts[0][0] == "one and two"  # the episodes were drawn with other seeds


def test_a_source_named_twice_counts_once(place):
    once, _ = read_inputs([place.one.folder])
    twice, _ = read_inputs([place.one.folder, place.one.folder, place.one.folder / "episodes.json"])
    assert [run.name for run in twice.runs] == [run.name for run in once.runs]
    assert len(twice.results) == len(once.results)


def test_episodes_of_another_run_are_not_those_of_the_first(place, tmp_path):
    shutil.copytree(place.classifier.folder, tmp_path / "bare")
    (tmp_path / "bare" / "episodes.json").unlink()
    page = report_page([tmp_path / "bare", place.two.folder])
    assert EXTREMES not in headings(page)
    assert "Episodes of bare: name a result of them" in " ".join(section(page, LEFT_OUT).paragraphs)


def test_progress_names_what_is_done(place):
    told = {}

    def report(what, done, total):
        told[what] = (done, total)

    shown = load_films(place.one.folder, GivenFilms(*(place.films.of_split(name) for name in ("test", "train"))))
    film_sections(shown, result=place.one.episodes, compute=Compute(progress=report))
    assert {"mapping the embedding", "looking for the extreme episodes", "mapping heat"} <= told.keys()
    assert all(done == total for done, total in told.values())


def test_of_many_films_some_are_mapped(place, monkeypatch):
    monkeypatch.setattr("fewshot_cxr.workflows.run_report.films._MOST_HEATED", 20)
    shown = load_films(place.classifier.folder, GivenFilms(place.films.of_split("test")))
    told = {}
    found = film_sections(
        shown, result=None, compute=Compute(progress=lambda what, *counts: told.update({what: counts}))
    )
    assert told["mapping heat"] == (20, 20)
    (heat,) = (one for one in found if one.heading == HEAT)
    assert heat.paragraphs[-1] == f"Measured on 20 of {len(shown.test)} films, drawn with seed 0."


def test_collapsed_embeddings_leave_out_the_map_alone(place):
    shown = load_films(place.one.folder, GivenFilms(place.films.of_split("test")))
    flat = replace(shown.embeddings, vectors=np.ones((len(shown.test), 4)))
    found = film_sections(replace(shown, embeddings=flat), result=None)
    assert found[0].paragraphs[0].startswith("Left out: all")
    assert torch.is_grad_enabled()
