import numpy as np
import pytest
import torch

from fewshot_cxr.data import cache_films, to_images
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import ENCODER_FILE, build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import Classifier, classifier_head_card, classify_films, embed, load_classifier
from fewshot_cxr.objectives import LinearHead, WeightedL1Head

FINDINGS = ("normal", "effusion", "nodule")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    records = make_synthetic(tmp_path_factory.mktemp("films"), n_patients=3, findings=FINDINGS[:2], size_px=48)
    return cache_films(records, ImageSpec(size_px=32))


def make_classifier(findings=FINDINGS, **options):
    encoder = build_encoder("resnet9", width=4, image_spec=ImageSpec(size_px=32), output="pooled")
    return Classifier(encoder, LinearHead(encoder.embedding_dim, len(findings), **options), findings)


def save(classifier, folder, **changes):
    card = {"head": classifier_head_card(classifier) | changes}
    save_encoder(classifier.encoder, folder / ENCODER_FILE, card=card, head=classifier.head.state_dict())
    return folder / ENCODER_FILE


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_classifier_comes_back_from_its_run_folder(films, tmp_path, activation, bias):
    classifier = make_classifier(bias=bias, activation=activation)
    file = save(classifier, tmp_path)
    logits = classify_films(classifier, films)
    for path in (tmp_path, file):
        again = load_classifier(path)
        assert again.findings == FINDINGS
        assert (again.activation, again.head.bias is not None) == (activation, bias)
        assert again.is_multi_label == (activation == "sigmoid")
        assert not again.head.training
        np.testing.assert_array_equal(classify_films(again, films), logits)
    assert classifier_head_card(again) == classifier_head_card(classifier)


def test_logits_equal_one_film_at_a_time_and_the_modes_return(films):
    classifier = make_classifier()
    classifier.encoder.train()
    calls = []
    logits = classify_films(classifier, films, batch_size=4, device="cpu", progress=lambda *done: calls.append(done))
    assert classifier.encoder.training
    assert classifier.head.training
    assert calls[-1] == (len(films), len(films))
    assert (logits.shape, logits.dtype) == ((len(films), 3), np.float32)
    classifier.encoder.eval()
    for row in range(len(films)):
        image = to_images(torch.from_numpy(films.rows([row])), classifier.encoder.image_spec)
        weight, bias = classifier.head.weight.double(), classifier.head.bias.double()
        slow = weight @ classifier.encoder(image)[0].double() + bias
        np.testing.assert_allclose(logits[row], slow.detach().numpy(), atol=1e-5)


def test_the_logits_are_those_of_the_embeddings(films):
    classifier = make_classifier()
    vectors = embed(classifier.encoder, films.records).vectors
    slow = vectors @ classifier.head.weight.detach().numpy().T + classifier.head.bias.detach().numpy()
    np.testing.assert_allclose(classify_films(classifier, films), slow, atol=1e-5)


def test_one_finding_told_alone_is_not_multi_label():
    assert not make_classifier(("covid19",), activation="sigmoid").is_multi_label


def test_what_is_no_classifier_is_refused(films, tmp_path):
    encoder = build_encoder("resnet9", width=4, image_spec=ImageSpec(size_px=32))
    save_encoder(encoder, tmp_path / "plain.safetensors", card={})
    with pytest.raises(ValueError, match=r"plain.safetensors is an encoder without a classifier; judge it by labelled"):
        load_classifier(tmp_path / "plain.safetensors")
    head = WeightedL1Head(encoder.embedding_dim)
    card = {"head": {"kind": "weighted_l1", "is_nonnegative": False}}
    save_encoder(encoder, tmp_path / "pair.safetensors", card=card, head=head.state_dict())
    with pytest.raises(ValueError, match=r"pair.safetensors has a head that compares two films, no classifier; judge"):
        load_classifier(tmp_path / "pair.safetensors")
    with pytest.raises(FileNotFoundError):
        load_classifier(tmp_path / "none.safetensors")


@pytest.mark.parametrize("changes", [{"findings": ["a", "b"]}, {"bias": False}, {"activation": "tanh"}, {"bias": None}])
def test_a_head_that_does_not_fit_its_card_is_refused_in_one_line(tmp_path, changes):
    save(make_classifier(), tmp_path, **changes)
    with pytest.raises(ValueError, match="its (classifier cannot be rebuilt by this version: |card.head)") as caught:
        load_classifier(tmp_path)
    assert "\n" not in str(caught.value)


def test_parts_that_do_not_fit_are_refused(films):
    classifier = make_classifier()
    with pytest.raises(ValueError, match=r"the head tells 3 findings, got 2"):
        Classifier(classifier.encoder, classifier.head, ("a", "b"))
    with pytest.raises(ValueError, match=r"the head tells 3 findings, got 3: \('a', 'a', 'b'\)"):
        Classifier(classifier.encoder, classifier.head, ("a", "a", "b"))
    with pytest.raises(ValueError, match=r"the head takes embeddings of dim 5, the encoder gives \d+"):
        Classifier(classifier.encoder, LinearHead(5, 3), FINDINGS)
    wide = cache_films(films.records, ImageSpec(size_px=48))
    with pytest.raises(ValueError, match="the films are decoded at 48 px, the classifier takes 32"):
        classify_films(classifier, wide)
