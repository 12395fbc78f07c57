"""Heat over a film: by the bank's own rule, and refused where there is nothing to compare."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_banks import NEW
from made_server import files_of
from PIL import Image

from fewshot_cxr.data import read_gray, to_images, to_square
from fewshot_cxr.encoders.base import eval_mode
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.serve.films import picture_of
from fewshot_cxr.serve.why import _likeness, can_explain, why_picture


@pytest.mark.parametrize("rule", ["mean_distance", "prototype"])
def test_the_explained_number_is_the_rules_own(place, rule):
    bank = SupportBank.build(place.encoder, place.known, n_exemplars=6, rule=rule)
    film = read_gray(files_of(place.new, 1)[0])
    images = to_images(torch.from_numpy(to_square(film, place.encoder.image_spec)[None]), place.encoder.image_spec)
    with eval_mode(place.encoder), torch.no_grad():
        embedding = place.encoder(images)
    told = bank.predict(files_of(place.new, 1)[0]).distances
    for finding in bank.findings:
        assert -_likeness(bank, finding)(embedding).item() == pytest.approx(told[finding], rel=1e-4)


def test_what_cannot_be_explained(place):
    gray = np.zeros((40, 40), np.uint8)
    other = SupportBank.build(place.encoder, place.known, n_exemplars=6, rule="nearest")
    assert not can_explain(other)
    for bank, findings, told in (
        (other, ("normal", "effusion"), "the rule 'nearest' is not explained by heat"),
        (place.bank, ("normal", "normal"), "the two findings are one"),
        (place.bank, ("normal", NEW), f"the bank has no finding '{NEW}'"),
    ):
        with pytest.raises(ValueError, match=told):
            why_picture(bank, place.encoder, gray, findings)


def test_it_is_asked_over_http(place, server):
    film = picture_of(read_gray(files_of(place.new, 1)[0]), place.encoder.image_spec)
    texts = {"film": base64.b64encode(film).decode(), "name": "<b>.png", "one": "normal", "other": "effusion"}
    told = server.post("/why", texts=texts).json()
    kind, _, content = told["picture"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).width > 500
    page = server.post("/why", texts=texts, headers={"Accept": "text/html"}).body.decode()
    assert "&lt;b&gt;.png" in page
    refused = server.post("/why", texts={**texts, "other": "normal"})
    assert (refused.status, refused.detail) == (409, "the two findings are one: name another")
    assert server.post("/why", texts={**texts, "film": ""}).detail == "the form carries no film: ask again"
    assert server.post("/why", texts={**texts, "film": "%%"}).status == 422


@pytest.mark.parametrize("crop", ["square", "none", "pad"])
@pytest.mark.parametrize("changes", [{}, {"border_crop": 0.1}, {"top_crop": 0.1}])
def test_what_a_page_carries_is_seen_as_the_film_is(place, crop, changes):
    spec = replace(place.encoder.image_spec, crop=crop, **changes)
    gray = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    carried = np.asarray(Image.open(io.BytesIO(picture_of(gray, spec))))
    assert np.array_equal(to_square(carried, spec), to_square(gray, spec))
