import pytest

from fewshot_cxr.encoders import ENCODERS, build_encoder, encoder_options
from fewshot_cxr.image_spec import ImageSpec

OF_ALL = {"embedding_dim", "output", "dropout", "weights"}


@pytest.mark.parametrize("name", [*ENCODERS, "timm:resnet10t", "timm:hf-hub:a/b", "timm:local-dir:a", "xrv:all"])
def test_every_encoder_names_its_options(name):
    options = encoder_options(name)
    assert set(options) >= OF_ALL
    assert "image_spec" not in options
    assert len(set(options)) == len(options)


def test_they_are_those_that_an_encoder_was_built_with():
    built = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4)
    assert set(built.recipe["options"]) == set(encoder_options("resnet9"))


@pytest.mark.parametrize("name", ["resnet9", "covidnet"])
def test_an_encoder_without_published_weights_says_so(name):
    with pytest.raises(
        ValueError, match=f"^{name} has no published weights: leave pretrained out, or take efficientnet"
    ):
        build_encoder(name, pretrained=True)


def test_an_unknown_encoder_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'resnet9'"):
        encoder_options("resnet99")
