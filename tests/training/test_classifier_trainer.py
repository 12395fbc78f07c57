import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from fewshot_cxr.data import Augmentation, XrayDataset, cache_films, mark_unstated, split_by_patient
from fewshot_cxr.encoders import load_encoder, weights_name
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import classify_films, load_classifier
from fewshot_cxr.inference.embed import film_vectors
from fewshot_cxr.records import Record, Records
from fewshot_cxr.training import ClassifierTrainer
from fewshot_cxr.training.validation import classifier_scores

SMALL = {"encoder": "resnet9", "encoder_options": {"width": 4}, "image_spec": ImageSpec(size_px=32), "n_epochs": 3}
SMALL |= {"batch_size": 12, "precision": "32-true", "lr": 3e-3}


def draw_films(folder, counts, *, seed=0):
    """Films whose findings show: bright, dark, striped; a name with "+" shows several."""
    draw, films = np.random.default_rng(seed), []
    for name, n_films in counts.items():
        shown = tuple(part for part in name.split("+") if part != "none")
        for number in range(n_films):
            image = draw.normal(100, 15, (36, 36)) + 60 * ("bright" in shown) - 60 * ("dark" in shown)
            image[::6] += 80 * ("striped" in shown)
            path = f"{name}/{number}.png"
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / path)
            films.append(Record(path, shown, patient_id=f"{name}{number // 2}"))
    return Records(tuple(films), folder)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return draw_films(tmp_path_factory.mktemp("one"), {"bright": 24, "dark": 24, "striped": 12})


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    counts = {"bright": 16, "striped": 16, "bright+striped": 16, "none": 16}
    return draw_films(tmp_path_factory.mktemp("several"), counts)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "focal"])
@pytest.mark.parametrize("class_weights", [None, "inverse"])
@pytest.mark.slow
def test_a_run_leaves_a_classifier_that_knows_its_films(films, tmp_path, loss, class_weights):
    train, val = split_by_patient(films, (0.7, 0.3), seed=0, names=("train", "val"))
    trainer = ClassifierTrainer(**SMALL | {"n_epochs": 8}, loss=loss, class_weights=class_weights)
    trained = trainer.fit(train, val, out=tmp_path / "run")
    loaded = load_classifier(tmp_path / "run")
    assert loaded.findings == ("bright", "dark", "striped")
    decoded = cache_films(val, loaded.encoder.image_spec)
    logits = classify_films(loaded, decoded)
    np.testing.assert_array_equal(logits, classify_films(trained.classifier, decoded))
    truth = [loaded.findings.index(film.finding) for film in val]
    best = min(trained.history, key=lambda row: (row["val_loss"], row["epoch"]))
    assert trained.card["best_epoch"] == best["epoch"]
    assert best["val_accuracy"] == pytest.approx((logits.argmax(1) == truth).mean())
    assert best["val_accuracy"] > 0.8
    assert best["val_balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, logits.argmax(1)))
    aurocs = [roc_auc_score(np.equal(truth, column), logits[:, column]) for column in range(3)]
    assert best["val_auroc"] == pytest.approx(np.mean(aurocs))
    assert load_encoder(tmp_path / "run").card == json.loads((tmp_path / "run" / "card.json").read_text())
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"} <= rows[0].keys()


@pytest.mark.slow
def test_the_state_of_the_best_epoch_is_returned_not_the_last(films, tmp_path):
    # A rate that wrecks what was learnt: the best epoch is an early one.
    train, val = split_by_patient(films, (0.7, 0.3), seed=0, names=("train", "val"))
    trainer = ClassifierTrainer(**SMALL | {"n_epochs": 12, "lr": 0.3}, schedule="constant", clip_norm=None, patience=3)
    for out in (None, tmp_path):
        trained = trainer.fit(train, val, out=out)
        best = min(trained.history, key=lambda row: (row["val_loss"], row["epoch"]))
        assert len(trained.history) == min(12, best["epoch"] + 3)
        assert trained.card["best_epoch"] == best["epoch"]
        classifier, encoder = trained.classifier, trained.classifier.encoder
        dataset = XrayDataset(cache_films(val, encoder.image_spec), classifier.findings)
        vectors = film_vectors(encoder, dataset.films)
        again = classifier_scores(classifier.head, torch.nn.CrossEntropyLoss(), vectors, dataset.class_ids)
        assert again["val_loss"] == pytest.approx(best["val_loss"], rel=1e-5)
    assert trained.notes[-1] == "no better validation loss for 3 epochs"


@pytest.mark.slow
def test_several_findings_are_learnt_and_what_nobody_looked_for_is_left_out(several):
    train, val = split_by_patient(several, (0.7, 0.3), seed=0, names=("train", "val"))
    settings = SMALL | {"n_epochs": 12, "loss": "bce", "is_multi_label": True, "head_bias": False}
    trained = ClassifierTrainer(**settings, monitor="val_auroc").fit(train, val)
    assert trained.classifier.is_multi_label
    assert trained.classifier.head.bias is None
    best = max(trained.history, key=lambda row: row["val_auroc"])
    assert best["val_auroc"] > 0.9
    truth = np.array([[name in film.findings for name in ("bright", "striped")] for film in val])
    logits = classify_films(trained.classifier, cache_films(val, trained.classifier.encoder.image_spec))
    expected = np.mean([roc_auc_score(truth[:, column], logits[:, column]) for column in range(2)])
    assert best["val_auroc"] == pytest.approx(expected)
    assert best["val_accuracy"] == pytest.approx(((logits > 0) == truth).mean())

    # Where no film without stripes says so, there is nothing that teaches their absence.
    half = mark_unstated(train, ("striped",))
    assert any("striped" in film.unstated for film in half)
    other = ClassifierTrainer(**settings).fit(half, val)
    blind = classify_films(other.classifier, cache_films(val, other.classifier.encoder.image_spec))[:, 1]
    assert (blind > 0).mean() > (logits[:, 1] > 0).mean()


def test_scalar_and_pixel_statistics_come_from_the_training_films_alone(films, tmp_path):
    train, val = split_by_patient(films, (0.7, 0.3), seed=0, names=("train", "val"))
    pixels = cache_films(train, SMALL["image_spec"]).rows(np.arange(len(train))) / 255
    scalar = ClassifierTrainer(**SMALL | {"n_epochs": 1}, standardisation="scalar").fit(train, val).classifier.encoder
    assert scalar.image_spec.mean[0] == pytest.approx(pixels.mean(), abs=1e-6)
    assert scalar.image_spec.std[0] == pytest.approx(pixels.std(ddof=1), abs=1e-6)
    trainer = ClassifierTrainer(**SMALL | {"n_epochs": 1}, standardisation="per_pixel")
    trainer.fit(train, val, out=tmp_path)
    encoder = load_encoder(tmp_path)
    np.testing.assert_allclose(encoder.pixel_mean[0, 0].numpy(), pixels.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(encoder.pixel_std[0, 0].numpy(), pixels.std(axis=0, ddof=1), atol=1e-4)


def test_a_frozen_backbone_stays_as_it_was_statistics_too(films):
    trainer = ClassifierTrainer(**SMALL | {"freeze": "backbone"})
    one, two = (trainer.fit(films).classifier for _ in range(2))
    first = ClassifierTrainer(**SMALL | {"n_epochs": 1, "freeze": "backbone", "lr": 1e-9}).fit(films).classifier
    before, after = first.encoder.backbone.state_dict(), one.encoder.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(one.head.weight, two.head.weight)
    assert not torch.equal(one.head.weight, first.head.weight)


def test_the_next_stage_starts_from_the_file_of_the_first(films, several, tmp_path):
    ClassifierTrainer(**SMALL).fit(films, out=tmp_path / "first")
    weights = tmp_path / "first" / "encoder.safetensors"
    options = SMALL["encoder_options"] | {"weights": weights}
    second = ClassifierTrainer(
        **SMALL | {"n_epochs": 1, "lr": 1e-9, "encoder_options": options, "loss": "bce", "is_multi_label": True}
    ).fit(several)
    first = load_encoder(tmp_path / "first").backbone
    assert torch.allclose(first[0][0].weight, second.classifier.encoder.backbone[0][0].weight, atol=1e-6)
    assert second.card["training"]["encoder_options"]["weights"] == weights_name(weights)


def test_only_the_films_of_the_named_findings_are_augmented(films):
    strong = Augmentation(brightness=(0.2, 0.3))
    same = SMALL | {"n_epochs": 1, "augmentation": strong}
    some = ClassifierTrainer(**same, augment_findings=("bright",)).fit(films)
    every = ClassifierTrainer(**same).fit(films)
    none = ClassifierTrainer(**same | {"augmentation": None}).fit(films)
    losses = [trained.history[0]["loss"] for trained in (some, every, none)]
    assert len(set(losses)) == 3
    with pytest.raises(ValueError, match=r"unknown finding to augment 'brigt' \(did you mean 'bright'\?\)"):
        ClassifierTrainer(**same, augment_findings=("brigt",)).fit(films)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": "val_auc"}, r"unknown monitor 'val_auc' \(did you mean 'val_auroc'\?\)"),
        ({"balance": "inverted"}, r"unknown balance 'inverted'"),
        ({"is_multi_label": True}, r"loss 'cross_entropy' takes one finding a film: take bce or focal"),
        ({"is_multi_label": True, "loss": "bce", "balance": "inverse"}, r"balance 'inverse' draws films by their one"),
        ({"optimizer": "adm"}, r"unknown optimizer 'adm' \(did you mean 'adam'\?\)"),
        ({"freeze": "backbon"}, r"unknown freeze 'backbon'"),
        ({"layer_decay": 1.5}, r"layer_decay must be above 0 and at most 1, got 1.5"),
        ({"clip_value": -1.0}, r"clip_value must be above 0, got -1.0"),
        ({"standardisation": "image"}, r"unknown standardisation 'image'"),
        ({"averaging": 1.5}, r"averaging must be above 0 and below 1, got 1.5"),
        ({"val_fraction": 0.0}, r"val_fraction must be above 0 and below 1, got 0.0"),
        ({"augment_findings": ("bright",), "augmentation": None}, "augment_findings names films to augment"),
        ({"augment_findings": ()}, "augment_findings is empty"),
    ],
)
def test_wrong_settings_of_a_classifier_are_refused(films, settings, message):
    with pytest.raises(ValueError, match=message):
        ClassifierTrainer(**SMALL | settings).fit(films)


def test_films_of_several_findings_need_the_flag(several):
    with pytest.raises(ValueError, match="a single-label film was expected"):
        ClassifierTrainer(**SMALL).fit(several)


def test_a_run_that_stopped_early_stays_as_it_is_when_resumed(films, tmp_path):
    trainer = ClassifierTrainer(**SMALL | {"n_epochs": 12, "lr": 0.3}, schedule="constant", clip_norm=None, patience=2)
    first = trainer.fit(films, out=tmp_path)
    assert len(first.history) < 12
    before = (tmp_path / "encoder.safetensors").read_bytes()
    again = trainer.fit(films, out=tmp_path, resume=True)
    assert again.history == first.history
    assert again.notes[-1] == first.notes[-1] == "no better validation loss for 2 epochs"
    assert (tmp_path / "encoder.safetensors").read_bytes() == before


def test_a_monitor_that_validation_leaves_undefined_is_an_error(films, several):
    val = films.where(lambda film: film.finding == "bright")
    train = films.where(lambda film: film.finding != "bright" or film.patient_id in ("bright0", "bright1"))
    val = val.where(lambda film: film.patient_id not in ("bright0", "bright1"))
    with pytest.raises(ValueError, match=r"leave val_auroc undefined.*another monitor \(--monitor\)"):
        ClassifierTrainer(**SMALL, monitor="val_auroc").fit(train, val)
    train, val = split_by_patient(several, (0.7, 0.3), seed=0, names=("train", "val"))
    blind = Records(tuple(replace(film, findings=()) for film in val), val.root)
    blind = mark_unstated(blind, ("bright", "striped"))
    with pytest.raises(ValueError, match="leave val_loss undefined"):
        ClassifierTrainer(**SMALL | {"loss": "bce", "is_multi_label": True}).fit(train, blind)


def test_the_order_of_the_rows_does_not_matter(films):
    turned = films.take(range(len(films) - 1, -1, -1))
    one, two = (ClassifierTrainer(**SMALL | {"n_epochs": 1}).fit(some).classifier for some in (films, turned))
    assert torch.equal(one.head.weight, two.head.weight)


def test_a_per_pixel_spec_is_fitted_whoever_asks(films, tmp_path):
    spec = replace(SMALL["image_spec"], per_pixel=True)
    settings = SMALL | {"n_epochs": 1, "image_spec": spec}
    encoder = ClassifierTrainer(**settings).fit(films, out=tmp_path).classifier.encoder
    assert encoder.pixel_mean.min() > 0.1
    with pytest.raises(ValueError, match="the image spec is per pixel, so that a scalar mean would not be used"):
        ClassifierTrainer(**settings, standardisation="scalar").fit(films)
    options = SMALL["encoder_options"] | {"weights": tmp_path / "encoder.safetensors"}
    second = ClassifierTrainer(**SMALL | {"n_epochs": 1, "encoder_options": options}).fit(films).classifier.encoder
    assert second.image_spec.mean[0] == pytest.approx(encoder.pixel_mean.mean().item())


def test_the_card_names_weights_without_their_place(films, tmp_path):
    ClassifierTrainer(**SMALL | {"n_epochs": 1}).fit(films, out=tmp_path / "first")
    options = SMALL["encoder_options"] | {"weights": str(tmp_path / "first" / "encoder.safetensors")}
    ClassifierTrainer(**SMALL | {"n_epochs": 1, "encoder_options": options}).fit(films, out=tmp_path / "second")
    assert str(tmp_path).encode() not in (tmp_path / "second" / "encoder.safetensors").read_bytes()
    assert str(tmp_path) not in (tmp_path / "second" / "card.json").read_text()
