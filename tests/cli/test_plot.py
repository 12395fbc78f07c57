import json
import shutil

import numpy as np
import pytest
from command_line import failure, run
from made_results import OPEN_RESULT, RESULT
from made_splits import lay_split
from PIL import Image

from fewshot_cxr.data import read_dataset
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.evaluation import (
    Answers,
    evaluate_closed_set,
    evaluate_multi_label,
    result_from_json,
)
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.torch_seeding import seeded_torch
from fewshot_cxr.whole_files import write_json
from fewshot_cxr.workflows.plots import PLOTS, PlotInputs, PlotOptions
from fewshot_cxr.workflows.plots.table import EMBEDDINGS, FILMS, HISTORY
from fewshot_cxr.workflows.plots.table import RESULT as OF_RESULT
from fewshot_cxr.workflows.run_files import read_history

FINDINGS = ("normal", "effusion", "cardiomegaly")
HISTORY_TEXT = "epoch,step,loss,val_accuracy\n1,16,0.5,0.6\n2,32,0.4,\n3,48,0.3,0.7\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with one source of each sort: films in splits, an encoder, embeddings, results, a training."""
    folder = tmp_path_factory.mktemp("plot")
    lay_split(folder, FINDINGS, 16, "--fractions", "0.5,0.2,0.3")
    records = read_dataset("manifest", folder / "split.csv")
    with seeded_torch(0):
        encoder = build_encoder("resnet9", width=4, image_spec=ImageSpec(size_px=32))
    save_encoder(encoder, folder / "encoder.safetensors", card={})
    embedded(records, 0).save(folder / "embeddings.safetensors")
    embedded(records, 1).save(folder / "before.safetensors")
    write_json(folder / "result.json", closed(records).to_json())
    write_json(folder / "episodes.json", OPEN_RESULT.to_json())
    (folder / "run").mkdir()
    (folder / "run" / "history.csv").write_text(HISTORY_TEXT)
    write_json(folder / "run" / "card.json", {"best_epoch": 3})
    return folder


def embedded(records, seed, order=slice(None)):
    vectors = np.random.default_rng(seed).normal(size=(len(records), 4))
    vectors[:, 0] += [3 * FINDINGS.index(film.finding) for film in records]
    films = list(records)[order]
    return Embeddings(
        vectors[order],
        [film.finding for film in films],
        [film.group for film in films],
        sources=[film.source or "a" for film in films],
        paths=[film.path for film in films],
    )


def closed(records):
    drawn = np.random.default_rng(0)
    true_ids = [sorted(FINDINGS).index(film.finding) for film in records]
    scores = drawn.random((len(records), 3)) + 0.7 * np.eye(3)[true_ids]
    return evaluate_closed_set(
        Answers(
            findings=tuple(sorted(FINDINGS)),
            truth=true_ids,
            probabilities=scores / scores.sum(axis=1, keepdims=True),
            paths=tuple(film.path for film in records),
            patient_ids=[film.group for film in records],
        )
    )


SOURCES = {
    OF_RESULT: ("result.json",),
    HISTORY: ("run",),
    FILMS: ("split.csv",),
    EMBEDDINGS: ("embeddings.safetensors", "--data", "split.csv"),
}


def draw(kind, **values):
    """The figure of a kind, from inputs and options by their names."""
    options = {name: values.pop(name) for name in ("colour", "method", "queries", "seed") if name in values}
    return PLOTS[kind].draw(PlotInputs(**values), PlotOptions(**options))


@pytest.mark.parametrize("kind", sorted(PLOTS))
@pytest.mark.slow
def test_every_kind_is_drawn_and_said(place, capsys, monkeypatch, tmp_path, kind):
    monkeypatch.chdir(place)
    source = SOURCES[PLOTS[kind].source]
    fast = ("--method", "pca") if kind == "projection" else ()
    out = tmp_path / "figure.png"
    assert run("plot", kind, *source, *fast, "--out", out, "--theme", "dark", "--title", "T") == 0
    assert f"written: {out}, {kind} of {source[0]}, " in capsys.readouterr().err
    with Image.open(out) as image:
        assert min(image.size) > 400
        assert np.asarray(image.convert("RGB"))[0, 0].tolist() == [0x16, 0x19, 0x1D]


@pytest.mark.parametrize("kind", ["confusion", "recall", "reliability", "risk-coverage"])
def test_results_of_episodes_are_drawn_too(place, capsys, tmp_path, kind):
    assert run("plot", kind, place / "episodes.json", "--out", tmp_path / "figure.png") == 0


def test_a_run_folder_stands_for_its_result(place, capsys, tmp_path):
    (tmp_path / "result.json").write_bytes((place / "result.json").read_bytes())
    assert run("plot", "confusion", tmp_path, "--out", tmp_path / "figure.png") == 0


@pytest.mark.parametrize("kind", ["ranks", "projection"])
@pytest.mark.slow
def test_an_encoder_and_films_stand_for_embeddings(place, capsys, tmp_path, kind):
    encoder = ("--checkpoint", place / "encoder.safetensors", "--data", place / "split.csv", "--split", "train")
    fast = ("--method", "pca") if kind == "projection" else ()
    assert run("plot", kind, *encoder, *fast, "--out", tmp_path / "figure.png", "--batch-size", 8) == 0


def test_one_seed_draws_one_picture(place, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(place)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run("plot", "samples", "split.csv", "--seed", seed, "--out", tmp_path / f"{name}.png") == 0
    first, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == again != other


@pytest.mark.filterwarnings("default:left out")
def test_a_sample_that_cannot_be_read_is_named_and_the_others_are_drawn(place, capsys, monkeypatch, tmp_path):
    shutil.copytree(place, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    records = read_dataset("manifest", "split.csv")
    for film in list(records)[::2]:
        records.file(film).write_bytes(b"no film")
    assert run("plot", "samples", "split.csv", "--out", "some.png") == 0
    assert "left out: film " in capsys.readouterr().err
    for film in records:
        records.file(film).write_bytes(b"no film")
    assert run("plot", "samples", "split.csv", "--out", "none.png") == 1
    assert "not one of the films that were drawn can be read" in capsys.readouterr().err


def test_pr_curves_have_the_area_that_the_result_states(place):
    result = result_from_json(json.loads((place / "result.json").read_text()))
    figure = draw("pr", result=result)
    for line, name in zip(figure.axes[0].lines, result.findings, strict=True):
        recalls, precisions = line.get_xydata().T
        area = (np.diff(recalls) * precisions[1:]).sum()
        assert area == pytest.approx(result.scores.per_class[name]["auprc"].mean)
        assert (recalls == 1).sum() == 1


def test_risk_over_all_films_is_the_share_of_errors(place):
    result = result_from_json(json.loads((place / "result.json").read_text()))
    risks = draw("risk-coverage", result=result).axes[0].lines[0].get_ydata()
    assert risks[-1] == pytest.approx(1 - result.accuracy.mean)


def multi_label():
    drawn = np.random.default_rng(0)
    truth = drawn.integers(0, 2, size=(20, 2)).astype(float)
    truth[0] = np.nan
    paths = [f"{row}.png" for row in range(20)]
    result = evaluate_multi_label(("mass", "hernia"), drawn.random((20, 2)), truth, np.arange(20), paths)
    assert result.kind == "multi_label"
    return result


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_findings_for_themselves_have_curves(kind):
    labels = [text.get_text() for text in draw(kind, result=multi_label()).legends[0].get_texts()]
    assert len(labels) == 2


@pytest.mark.parametrize(
    ("kind", "words"),
    [("confusion", "take roc"), ("recall", "take roc"), ("reliability", "evaluate"), ("risk-coverage", "evaluate")],
)
def test_what_findings_for_themselves_have_not_is_said(kind, words):
    with pytest.raises(ValueError, match=words):
        draw(kind, result=multi_label(), name="result.json")


def test_the_kept_epoch_of_a_run_is_marked(place, tmp_path):
    history, best_epoch = read_history(place / "run")
    assert best_epoch == 3
    assert history[1] == {"epoch": 2, "step": 32, "loss": 0.4}
    (tmp_path / "history.csv").write_text(HISTORY_TEXT)
    assert read_history(tmp_path / "history.csv")[1] is None


def test_neighbours_are_the_nearest_of_other_patients_in_train(place):
    records = read_dataset("manifest", place / "split.csv")
    films = embedded(records, 0)
    query = next(row for row, film in enumerate(records) if film.split == "test")
    figure = draw("neighbours", embeddings=films, films=records, queries=(records[query].path,))
    far = np.linalg.norm(films.vectors - films.vectors[query], axis=1)
    others = [
        row
        for row, film in enumerate(records)
        if film.split == "train" and films.patient_ids[row] != films.patient_ids[query]
    ]
    found = [axes.get_xlabel().split("\n")[-1] for axes in figure.axes[1:]]
    assert found == [f"{one:#.4g}" for one in sorted(far[others])[:5]]


def test_ranks_of_one_film_decide_by_mean_distance(place):
    records = read_dataset("manifest", place / "split.csv")
    figure = draw("ranks", embeddings=embedded(records, 0), films=records, seed=1)
    bars = [bar.get_width() for bar in figure.axes[-1].patches]
    assert bars == sorted(bars)
    assert len(bars) == len(FINDINGS)


def test_before_and_after_show_the_same_films_in_any_order(place):
    records = read_dataset("manifest", place / "split.csv")
    after = embedded(records, 0)
    panels = draw("projection", embeddings=after, before=embedded(records, 0, slice(None, None, -1)), method="pca").axes
    points = [np.concatenate([dots.get_offsets() for dots in axes.collections]) for axes in panels[:2]]
    np.testing.assert_allclose(points[0], points[1], atol=1e-4)


@pytest.mark.parametrize("colour", ["finding", "source", "patient", "split"])
def test_films_are_coloured_by_what_they_have_in_common(place, colour):
    records = read_dataset("manifest", place / "split.csv")
    figure = draw("projection", embeddings=embedded(records, 0), films=records, method="pca", colour=colour)
    words = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    words |= {text.get_text() for part in figure.subfigs for legend in part.legends for text in legend.get_texts()}
    expected = {"finding": "effusion", "source": "a", "patient": "patient 0", "split": "test"}[colour]
    assert any(expected in word for word in words)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("confusio", "result.json"), 2, ["unknown kind of figure 'confusio' (did you mean 'confusion'?)"]),
        (("roc", "episodes.json"), 2, ["a result of episode-eval, does not hold; `fscxr evaluate --json FILE`"]),
        (("confusion",), 2, ["confusion is drawn from a result: `fscxr evaluate --json FILE`", "got no sources"]),
        (("roc", "result.json", "episodes.json"), 2, ["got 2 sources"]),
        (("roc", "absent.json"), 4, ["absent.json: no such file or folder; roc is drawn from a result"]),
        (("roc", "run"), 4, ["run has no result.json; `fscxr evaluate --json FILE`"]),
        (("roc", "split.csv"), 2, ["split.csv is no JSON", "write it again, a result with `--json FILE`"]),
        (("roc", "run/card.json"), 2, ["run/card.json: this is no result of episode-eval or evaluate"]),
        (("learning", "split.csv"), 2, ["split.csv is no table of numbers; name a run folder of `fscxr train`"]),
        (("learning", "films"), 4, ["films has no history.csv; `fscxr train` writes it"]),
        (("som", "result.json"), 2, ["result.json: som is drawn from embeddings: `fscxr embed"]),
        (("som", "encoder.safetensors"), 2, ["holds encoder, embeddings was expected; som is drawn from embeddings"]),
        (("som", "--checkpoint", "encoder.safetensors"), 2, ["som: --checkpoint goes with --data"]),
        (("ranks", "embeddings.safetensors"), 2, ["ranks needs the films that were embedded: name them (--data)"]),
        (("projection", "embeddings.safetensors", "--colour", "split"), 2, ["--colour split needs the films"]),
        (
            ("projection", "embeddings.safetensors", "--colour", "splt"),
            2,
            ["(did you mean 'split'?)"],
        ),
        (("projection", "embeddings.safetensors", "--method", "tsn"), 2, ["unknown method 'tsn' (did you mean 'tsne'"]),
        (
            ("projection", "embeddings.safetensors", "--split", "test"),
            2,
            ["--split would change nothing in"],
        ),
        (("confusion", "result.json", "--method", "pca", "--seed", "1"), 2, ["--seed, --method would change nothing"]),
        (("samples", "split.csv", "--colour", "source"), 2, ["--colour would change nothing in samples of films"]),
        (
            ("projection", "embeddings.safetensors", "--method", "tsne-published", "--seed", "1"),
            2,
            ["--seed would change nothing in projection"],
        ),
        (("confusion", "result.json", "--theme", "drak"), 2, ["'drak' is not one of 'dark', 'light'"]),
    ],
)
def test_wrong_use_is_one_line(place, capsys, monkeypatch, tmp_path, arguments, code, words):
    monkeypatch.chdir(place)
    failure(capsys, code, ("plot", *arguments, "--out", tmp_path / "figure.png"), words)
    assert not (tmp_path / "figure.png").exists()


def test_other_forms_than_png_are_refused_before_any_work(place, capsys, tmp_path):
    words = ["no .pdf is written here, but .png or .html"]
    failure(capsys, 2, ("plot", "roc", "absent.json", "--out", tmp_path / "roc.pdf"), words)


def test_a_projection_becomes_a_page_to_explore(place, capsys, tmp_path):
    out = tmp_path / "map.html"
    source = (place / "embeddings.safetensors", "--data", place / "split.csv")
    assert run("plot", "projection", *source, "--method", "pca", "--colour", "split", "--out", out) == 0
    assert "to explore in a browser" in capsys.readouterr().err
    page = out.read_text()
    for word in ("data:image/jpeg", '"split"', '"finding"', "Trustworthiness", "effusion"):
        assert word in page
    failure(capsys, 2, ("plot", "som", source[0], "--out", out), ["som is saved as .png; a page to explore is made of"])
    words = ["--theme would change nothing in projection"]
    failure(capsys, 2, ("plot", "projection", source[0], "--theme", "dark", "--out", out), words)


def test_too_few_films_for_the_published_settings_name_the_other_method(place, capsys, tmp_path):
    few = tmp_path / "few.safetensors"
    embedded = Embeddings.load(place / "embeddings.safetensors")
    few_of_each = [row for name in range(3) for row in np.flatnonzero(embedded.class_ids == name)[:4].tolist()]
    embedded.take(few_of_each).save(few)
    arguments = ("plot", "projection", few, "--method", "tsne-published", "--out", tmp_path / "map.png")
    failure(capsys, 2, arguments, ["needs more than 25; take --method tsne"])


def test_a_run_folder_is_no_folder_of_films(place, capsys, tmp_path):
    (tmp_path / "split.csv").write_bytes((place / "split.csv").read_bytes())
    failure(
        capsys, 2, ("plot", "samples", tmp_path, "--out", tmp_path / "a.png"), ["is a run folder; its films are in"]
    )


def test_embeddings_of_other_films_are_refused(place, capsys, tmp_path):
    records = read_dataset("manifest", place / "split.csv")
    embedded(records, 0, slice(4)).save(tmp_path / "few.safetensors")
    films = ("plot", "projection", place / "embeddings.safetensors", "--out", tmp_path / "a.png", "--method", "pca")
    failure(capsys, 2, (*films, "--before", tmp_path / "few.safetensors"), ["--before: ", "embed the very same films"])
    ranks = ("plot", "ranks", place / "embeddings.safetensors", "--out", tmp_path / "a.png")
    failure(capsys, 2, (*ranks, "--data", place / "split.csv", "--film", "absent.png"), ["no embedded film is called"])
    (tmp_path / "films" / "normal").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "films" / "normal" / "a.png")
    failure(capsys, 2, (*ranks, "--data", tmp_path / "films"), ["embedded films are not among those of --data"])


def test_a_result_without_probabilities_names_what_makes_them(capsys, tmp_path):
    decisions = Answers(
        findings=("a", "b"),
        truth=[0, 1],
        probabilities=np.eye(2),
        paths=("1.png", "2.png"),
        has_probabilities=False,
    )
    write_json(tmp_path / "result.json", evaluate_closed_set(decisions).to_json())
    for kind in ("roc", "pr", "reliability", "risk-coverage"):
        arguments = ("plot", kind, tmp_path / "result.json", "--out", tmp_path / "a.png")
        failure(capsys, 2, arguments, [kind, "`fscxr evaluate --json FILE`"])


def test_episodes_without_strangers_have_no_risks():
    with pytest.raises(ValueError, match="was judged without films of unknown findings"):
        draw("risk-coverage", result=RESULT)
