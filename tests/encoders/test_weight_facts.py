"""What a file says of the weights that it began with, and which findings they have seen before they are called new."""

import hashlib

import pytest
import torch

from fewshot_cxr.encoders import PUBLISHED, build_encoder, frozen_card, load_encoder, save_encoder
from fewshot_cxr.encoders.published import DATA_SETS, data_set_of, seen_in_training, weight_facts
from fewshot_cxr.encoders.published.lite0 import LITE0_SHA256
from fewshot_cxr.image_spec import ImageSpec

SMALL = ImageSpec(size_px=64)


def test_the_card_says_whose_weights_they_are(tmp_path):
    encoder = build_encoder("efficientnet_lite0", image_spec=SMALL, pretrained=True, output="pooled")
    told = frozen_card(encoder)["weights"]
    assert (told["licence"], told["access"], told["trained_on"]) == ("Apache-2.0", "open", [])
    assert told["sha256"] == LITE0_SHA256
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    loaded = load_encoder(tmp_path)
    assert loaded.card["weights"] == loaded.origin == told
    assert "weights" not in frozen_card(build_encoder("resnet9", image_spec=SMALL))


def test_a_run_that_goes_on_from_another_inherits_what_that_has_seen(tmp_path):
    first = build_encoder("resnet9", image_spec=SMALL, width=4)
    first.origin = {"name": "made", "licence": "MIT", "trained_on": ["CheXpert"]}
    save_encoder(first, tmp_path / "first.safetensors", card={})
    second = build_encoder("resnet9", image_spec=SMALL, width=4, weights=tmp_path / "first.safetensors")
    digest = hashlib.sha256((tmp_path / "first.safetensors").read_bytes()).hexdigest()
    assert second.origin == first.origin | {"file": "first.safetensors", "sha256": digest}


def test_a_foreign_file_is_known_by_the_encoders_name(tmp_path):
    torch.save(build_encoder("xrv:densenet121-res224-nih").backbone.state_dict(), tmp_path / "xrv.pth")
    encoder = build_encoder("xrv:densenet121-res224-nih", weights=tmp_path / "xrv.pth")
    assert encoder.origin["trained_on"] == ["ChestX-ray14"]
    assert encoder.origin["file"] == "xrv.pth"
    assert len(encoder.origin["sha256"]) == 64


@pytest.mark.parametrize("name", ["efficientnet_lite0", *PUBLISHED])
def test_each_published_name_has_its_facts(name):
    facts = weight_facts(name)
    assert "unknown" not in (facts.licence, facts.access)
    assert facts.source
    assert set(facts.trained_on) <= DATA_SETS.keys()


@pytest.mark.parametrize(
    ("source", "data_set"),
    [
        ("nih-chestxray14", "ChestX-ray14"),
        ("NIH", "ChestX-ray14"),
        ("rsna", "ChestX-ray14"),
        ("CheXpert-v1.0", "CheXpert"),
        ("MIMIC-CXR-JPG", "MIMIC-CXR"),
        ("padchest", "PadChest"),
        ("www.ncbi.nlm.nih.gov", "PMC-15M"),
        ("ieee8023", None),
        ("our hospital", None),
    ],
)
def test_sources_name_their_data_set(source, data_set):
    assert data_set_of(source) == data_set


def test_findings_of_films_that_were_seen_are_named():
    weights = weight_facts("rad_dino").to_json()
    sources = {"covid19": {"ieee8023"}, "pneumonia": {"nih-chestxray14", "here"}}
    told = seen_in_training(weights, sources)
    assert told == (
        "no new finding to the weights microsoft/rad-dino, which were trained on such films: pneumonia (films of "
        "ChestX-ray14)"
    )
    assert not seen_in_training(weights, {"covid19": {"ieee8023"}})
    assert not seen_in_training({}, sources)
