import csv
import json

import pytest
from command_line import failure, run
from made_splits import lay_split, train_small

from fewshot_cxr.data import read_dataset
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import Classifier, classifier_head_card
from fewshot_cxr.objectives import LinearHead
from fewshot_cxr.torch_seeding import seeded_torch

FINDINGS = ("normal", "effusion", "cardiomegaly")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with films of two per patient at times, a split of them and a trained run."""
    folder = tmp_path_factory.mktemp("evaluate")
    lay_split(folder, FINDINGS, 16, "--fractions", "0.5,0.2,0.3")
    assert train_small(folder) == 0
    return folder


def judge(place, *more):
    return run("evaluate", "--checkpoint", place / "run", "--data", place / "split.csv", *more)


def rows_of(place):
    text = (place / "split.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in text if not line.startswith("# ")))


def test_a_split_is_judged_by_the_films_of_train(place, capsys, tmp_path):
    assert judge(place, "--split", "test", "--calibrate-split", "val", "--json", tmp_path / "result.json") == 0
    captured = capsys.readouterr()
    result = json.loads((tmp_path / "result.json").read_text())
    test = [row for row in rows_of(place) if row["split"] == "test"]
    assert sorted(film["path"] for film in result["films"]) == sorted(row["path"] for row in test)
    assert result["n_patients"] == len({row["patient_id"] for row in test})
    assert not any(row["patient_id"] == film["patient"] for row in test for film in result["films"])
    assert result["kind"] == "closed_set"
    assert result["rule"] == "mean_distance"
    assert result["floor"].keys() == result["above_floor"].keys()
    assert {"pixels", "border"} <= result["floor"].keys()
    assert result["calibration"]["after"]["temperature"] > 0
    assert f"{len(test)} films of {result['n_patients']} patients" in captured.out
    for words in (
        "95 % over patients",
        "balanced accuracy",
        "sensitivity",
        "as effusion",
        "baseline: accuracy on pixels",
    ):
        assert words in captured.out
    assert "note: exemplars: films of the split train (--support-split)" in captured.err


def test_the_result_on_standard_output_leaves_the_tables_to_the_other(place, capsys):
    assert judge(place, "--rule", "tim", "--n-exemplars", 2, "--json", "-") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["is_transductive"]
    assert "transductive" in captured.err
    assert "6 exemplars: cardiomegaly 2, effusion 2, normal 2" in captured.err
    assert "warning: the rule tim is transductive" in captured.err


def test_support_of_another_source_is_taken_whole(place, capsys, tmp_path):
    make_synthetic(tmp_path, n_patients=6, findings=FINDINGS, size_px=48, seed=5)
    assert judge(place, "--support", tmp_path / "films", "--json", tmp_path / "result.json") == 0
    assert json.loads((tmp_path / "result.json").read_text())["n_films"] > 0


def test_a_patient_on_both_sides_is_refused_by_films(place, capsys, tmp_path):
    rows = rows_of(place)
    test, train = (next(row for row in rows if row["split"] == split) for split in ("test", "train"))
    lines = (place / "split.csv").read_text().replace(f",{test['patient_id']},", f",{train['patient_id']},")
    (tmp_path / "leaky.csv").write_text(lines)
    arguments = ("evaluate", "--checkpoint", place / "run", "--data", tmp_path / "leaky.csv")
    failure(capsys, 2, arguments, ["of the support and film ", "of the test are of one patient", "fscxr data split"])
    capsys.readouterr()
    run(*arguments)
    assert f" {train['patient_id']} " not in capsys.readouterr().err
    same = ("evaluate", "--checkpoint", place / "run", "--data", place / "split.csv", "--support-split", "test")
    failure(capsys, 2, same, ["of the support and film ", "of the test are of one patient"])


def test_predictions_of_a_file_are_judged_without_an_encoder(place, capsys, tmp_path):
    text = "path,finding,patient_id,a,b\n" + "".join(
        f"{row}.png,{'ab'[row % 2]},{row // 2},0.6,0.4\n" for row in range(8)
    )
    (tmp_path / "predictions.csv").write_text(text)
    assert run("evaluate", "--predictions", tmp_path / "predictions.csv", "--json", tmp_path / "result.json") == 0
    assert "8 films of 4 patients, predictions of a file" in capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["accuracy"]["mean"], result["auroc"]["mean"]) == (0.5, 0.5)
    assert result["calibration"]["after"] is None
    (tmp_path / "predictions.csv").write_text(text.replace("0.6", "x", 1))
    failure(
        capsys, 2, ("evaluate", "--predictions", tmp_path / "predictions.csv"), ["predictions.csv, row 2: a is 'x'"]
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), ["name an encoder and films (--checkpoint, --data), a classifier and films (--classifier, --data), or"]),
        (("--rule", "tims"), ["unknown rule 'tims' (did you mean 'tim'?)"]),
        (("--split", "tset"), ["no film has the split 'tset'; there are"]),
        (("--calibrate-split", "test"), ["of the test and film", "of the calibration are of one patient"]),
        (("--n-exemplars", "0"), ["--n-exemplars", "'0' is neither a number of 1 or more nor 'all'"]),
        (("--version", "9A"), ["--version does not fit manifest"]),
        (("--findings", "normal,effusion", "--support-split", "val", "--split", "val"), ["are of one patient"]),
        (("--predictions", "split.csv"), ["--checkpoint, --data does not go with --predictions"]),
    ],
)
def test_wrong_use_is_one_line(place, capsys, monkeypatch, more, words):
    monkeypatch.chdir(place)
    named = ("--checkpoint", place / "run", "--data", place / "split.csv") if more else ()
    failure(capsys, 2, ("evaluate", *named, *more), words)


def test_two_rules_on_the_same_films_are_compared(place, capsys, tmp_path):
    for rule in ("mean_distance", "nearest"):
        assert judge(place, "--rule", rule, "--json", tmp_path / f"{rule}.json") == 0
    capsys.readouterr()
    pair = (tmp_path / "mean_distance.json", tmp_path / "nearest.json")
    assert run("compare", *pair, "--json", tmp_path / "comparison.json") == 0
    captured = capsys.readouterr()
    assert "mean_distance less nearest, on the same films" in captured.out
    assert "McNemar" in captured.out
    assert "p-values are not adjusted" in captured.err
    comparison = json.loads((tmp_path / "comparison.json").read_text())
    assert comparison["names"] == ["mean_distance", "nearest"]
    assert comparison["rows"][0]["number"] == "accuracy"


def test_results_on_other_films_and_files_of_another_kind_are_refused(place, capsys, tmp_path):
    assert judge(place, "--json", tmp_path / "test.json") == 0
    assert judge(place, "--split", "val", "--json", tmp_path / "val.json") == 0
    pair = ("compare", tmp_path / "test.json", tmp_path / "val.json")
    failure(capsys, 2, pair, ["compare: test was judged on other films, findings or patients than val"])
    (tmp_path / "bad.json").write_text("{")
    failure(capsys, 2, ("compare", tmp_path / "test.json", tmp_path / "bad.json"), ["bad.json is no JSON"])
    (tmp_path / "bad.json").write_text("[]")
    failure(capsys, 2, ("compare", tmp_path / "bad.json", tmp_path / "bad.json"), ["bad.json: this is no result of"])
    failure(capsys, 2, ("compare", tmp_path / "none.json", tmp_path / "test.json"), ["none.json", "does not exist"])


def save_classifier(place, name, findings=FINDINGS, *, activation="softmax", trained_on="train", **training):
    """Write a classifier that was never trained, with the card of one that was."""
    with seeded_torch(0):
        encoder = build_encoder("resnet9", width=4, image_spec=ImageSpec(size_px=32), output="pooled")
        classifier = Classifier(
            encoder, LinearHead(encoder.embedding_dim, len(findings), activation=activation), findings
        )
    films = read_dataset("manifest", place / "split.csv", allow_leak=True)
    hashes = {"train": films.of_split(trained_on).data_hash, "val": films.of_split("val").data_hash}
    card = {"head": classifier_head_card(classifier), "data_hash": hashes, "training": training}
    save_encoder(encoder, place / name, card=card, head=classifier.head.state_dict())
    return place / name


def judge_classifier(place, file, *more):
    return run("evaluate", "--classifier", file, "--data", place / "split.csv", *more)


@pytest.mark.parametrize(("activation", "training"), [("softmax", {}), ("sigmoid", {"is_multi_label": False})])
def test_a_classifier_of_one_finding_a_film_is_judged_as_a_closed_set(place, capsys, tmp_path, activation, training):
    file = save_classifier(place, "softmax.safetensors", activation=activation, **training)
    assert judge_classifier(place, file, "--calibrate-split", "val", "--json", tmp_path / "result.json") == 0
    captured = capsys.readouterr()
    result = json.loads((tmp_path / "result.json").read_text())
    test = [row for row in rows_of(place) if row["split"] == "test"]
    assert (result["kind"], result["rule"]) == ("closed_set", "classifier")
    assert sorted(film["path"] for film in result["films"]) == sorted(row["path"] for row in test)
    assert result["n_patients"] == len({row["patient_id"] for row in test})
    assert result["calibration"]["after"]["temperature"] > 0
    assert result["notes"] == []
    assert all("not shown to be above" in words for words in result["warnings"])
    assert "note: films of the split test (--split)" in captured.err
    assert "as effusion" in captured.out


def test_a_classifier_of_several_findings_is_judged_finding_by_finding(place, capsys, tmp_path):
    file = save_classifier(place, "sigmoid.safetensors", ("effusion", "cardiomegaly"), activation="sigmoid")
    assert judge_classifier(place, file, "--json", tmp_path / "result.json") == 0
    captured = capsys.readouterr()
    result = json.loads((tmp_path / "result.json").read_text())
    test = [row for row in rows_of(place) if row["split"] == "test"]
    assert result["kind"] == "multi_label"
    assert result["findings"] == ["cardiomegaly", "effusion"]
    effusions = sum(row["label"] == "effusion" for row in test)
    assert result["per_finding"]["effusion"]["n_positive"] == effusions
    assert f"{effusions} of {len(test)}" in captured.out
    assert "mean over findings" in captured.out
    assert "note: the classifier does not tell normal: films that show it count by the other findings" in captured.err
    other = save_classifier(place, "other.safetensors", ("effusion", "cardiomegaly"), activation="sigmoid")
    assert judge_classifier(place, other, "--json", tmp_path / "other.json") == 0
    capsys.readouterr()
    assert run("compare", tmp_path / "result.json", tmp_path / "other.json") == 0
    assert "AUROC of effusion" in capsys.readouterr().out
    one = save_classifier(place, "one.safetensors", ("effusion",), activation="sigmoid", is_multi_label=False)
    assert judge_classifier(place, one) == 0


def test_films_of_the_training_are_refused_as_far_as_the_card_tells(place, capsys, tmp_path):
    file = save_classifier(place, "softmax.safetensors")
    arguments = ("evaluate", "--classifier", file, "--data", place / "split.csv", "--split")
    failure(capsys, 2, (*arguments, "train"), ["these are the very films that the classifier was trained on"])
    assert run(*arguments, "val") == 0
    assert "warning: these films chose the epoch that was kept" in capsys.readouterr().err
    assert run(*arguments, "test", "--findings", "normal,effusion") == 0
    assert "note: the films of the training are not among those of --data" in capsys.readouterr().err
    rows = rows_of(place)
    test, train = (next(row for row in rows if row["split"] == split) for split in ("test", "train"))
    leaky = (place / "split.csv").read_text().replace(f",{test['patient_id']},", f",{train['patient_id']},")
    (place / "leaky").mkdir(exist_ok=True)
    (place / "leaky" / "split.csv").write_text(leaky)
    file = save_classifier(place / "leaky", "leaky.safetensors")
    arguments = ("evaluate", "--classifier", file, "--data", place / "leaky" / "split.csv")
    failure(capsys, 2, arguments, ["of the training and film ", "of the test are of one patient"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            ("--checkpoint", "run"),
            ["--checkpoint does not go with --classifier: a classifier compares with no exemplars"],
        ),
        (("--rule", "tim", "--n-exemplars", "3"), ["--n-exemplars, --rule does not go with --classifier"]),
        (("--support", "films", "--distance", "l1"), ["--support, --distance does not go with --classifier"]),
        (
            ("--predictions", "split.csv"),
            ["--classifier, --data does not go with --predictions: the decisions are made"],
        ),
        (("--classifier", "run"), ["run is an encoder without a classifier; judge it by labelled films"]),
        (("--classifier", "many.safetensors"), ["many.safetensors has 257 different findings, at most 256 are taken"]),
        (("--calibrate-split", "test"), ["of the test and film", "of the calibration are of one patient"]),
        (("--classifier", "two.safetensors"), ["the classifier does not know cardiomegaly, which films to judge show"]),
        (
            ("--classifier", "sigmoid.safetensors", "--calibrate-split", "val"),
            ["--calibrate-split does not go with this classifier: it tells each finding for itself"],
        ),
        (
            ("--classifier", "strange.safetensors"),
            ["no film shows a finding that the classifier tells (Effusion, Mass)"],
        ),
    ],
)
def test_wrong_use_of_a_classifier_is_one_line(place, capsys, monkeypatch, more, words):
    save_classifier(place, "softmax.safetensors")
    save_classifier(place, "two.safetensors", ("normal", "effusion"))
    save_classifier(place, "sigmoid.safetensors", activation="sigmoid")
    save_classifier(place, "many.safetensors", tuple(map(str, range(257))))
    save_classifier(place, "strange.safetensors", ("Effusion", "Mass"), activation="sigmoid")
    monkeypatch.chdir(place)
    failure(capsys, 2, ("evaluate", "--classifier", "softmax.safetensors", "--data", place / "split.csv", *more), words)


def test_a_classifier_needs_films(place, capsys):
    file = save_classifier(place, "softmax.safetensors")
    failure(capsys, 2, ("evaluate", "--classifier", file), ["name the films that the classifier is to judge (--data)"])


def test_a_support_of_too_many_findings_is_refused_before_a_film_is_embedded(place, tmp_path, capsys):
    film = next((place / "films").rglob("*.png"))
    for number in range(257):
        (tmp_path / "many" / str(number)).mkdir(parents=True)
        (tmp_path / "many" / str(number) / f"{number}.png").hardlink_to(film)
    asked = ("--checkpoint", place / "run", "--data", place / "split.csv", "--support", tmp_path / "many")
    failure(capsys, 2, ("evaluate", *asked), ["the support has 257 different findings, at most 256 are taken"])
