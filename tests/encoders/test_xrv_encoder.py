"""The networks of torchxrayvision: what they see, where their weights come from, what stays as it was."""

import random
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import densenet121, resnet50

from fewshot_cxr.data import standardise
from fewshot_cxr.encoders import build_encoder, load_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.torch_seeding import seeded_torch, torch_generator

DENSE, DEEP = "densenet121-res224-all", "resnet50-res512-all"
STANDS_IN = '''
"""Has the manners of torchxrayvision 1.5.7 and more of them, and a network that the test has made."""
import random, warnings
import numpy, torch
warnings.filterwarnings("ignore")
numpy.random.seed(0)
random.seed(0)
class models:
    @staticmethod
    def get_model(weights):
        print("Downloading weights...")
        torch.manual_seed(0)
        warnings.warn("input does not look normalised")
        if weights.endswith("nih"):
            raise ConnectionError("no route to host\\nand more")
        return torch.load({path!r}, weights_only=False)
'''


def their_network(weights):
    """One channel, 18 findings, under the names that their files have; torchxrayvision has copied it from there."""
    with seeded_torch(5, weights):
        network = densenet121(num_classes=18) if weights == DENSE else resnet50(num_classes=18)
        stem, name = (network.features, "conv0") if weights == DENSE else (network, "conv1")
        setattr(stem, name, nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False))
    return network.eval()


def their_features(network, images):
    if hasattr(network, "classifier"):
        return functional.relu(network.features(images)).mean((2, 3))
    head, network.fc = network.fc, nn.Identity()
    features = network(images)
    network.fc = head
    return features


def their_state(network):
    """What `torchxrayvision.models.get_model(...).state_dict()` gives."""
    prefix = "" if hasattr(network, "classifier") else "model."
    return {f"{prefix}{name}": value for name, value in network.state_dict().items()} | {"op_threshs": torch.ones(18)}


def films():
    return torch.randint(0, 256, (2, 1, 64, 64), generator=torch_generator(0)).float() / 255


@pytest.mark.parametrize(("weights", "size_px"), [(DENSE, 224), (DEEP, 512)])
@pytest.mark.slow
def test_films_land_on_the_range_that_the_weights_know(weights, size_px):
    spec = build_encoder(f"xrv:{weights}").image_spec
    assert (spec.size_px, spec.n_channels) == (size_px, 1)
    images = films()
    assert torch.equal(standardise(images, spec), (2 * images - 1) * 1024)
    assert standardise(torch.tensor([[[[0.0, 1.0]]]]), spec).flatten().tolist() == [-1024, 1024]
    assert build_encoder(f"xrv:{weights}", image_spec=ImageSpec(size_px=64)).image_spec.std == (1 / 2048,)
    own = ImageSpec(size_px=64, mean=(0.4,), std=(0.3,))
    assert build_encoder(f"xrv:{weights}", image_spec=own).image_spec == own


@pytest.mark.parametrize("is_bare", [True, False])
@pytest.mark.parametrize("weights", [DENSE, DEEP])
@pytest.mark.slow
def test_file_of_plain_weights_gives_their_features(weights, is_bare, tmp_path):
    network = their_network(weights)
    torch.save(network.state_dict() if is_bare else their_state(network), tmp_path / "weights.pth")
    encoder = build_encoder(
        f"xrv:{weights}", image_spec=ImageSpec(size_px=64), output="pooled", weights=tmp_path / "weights.pth"
    )
    images = standardise(films(), encoder.image_spec)
    torch.testing.assert_close(encoder.eval()(images), their_features(network, images), rtol=1e-5, atol=1e-5)


def test_their_own_files_are_not_unpickled(tmp_path):
    torch.save(their_network(DENSE), tmp_path / "whole_module.pt")
    with pytest.raises(OSError, match=r"whole_module.pt holds a whole model; save its state_dict\(\)"):
        build_encoder(f"xrv:{DENSE}", weights=tmp_path / "whole_module.pt")


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    torch.save(their_network(DENSE), tmp_path / "network.pt")
    (tmp_path / "torchxrayvision.py").write_text(STANDS_IN.format(path=str(tmp_path / "network.pt")))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchxrayvision", raising=False)
    yield
    sys.modules.pop("torchxrayvision", None)


def global_state():
    generators = random.getstate(), str(np.random.get_state()), torch.random.get_rng_state().tolist()
    return [list(warnings.filters), warnings.showwarning, *generators]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.slow
def test_published_weights_and_no_side_effects(capsys):
    random.random(), np.random.rand(), torch.rand(1)
    before = global_state()
    encoder = build_encoder(f"xrv:{DENSE}", image_spec=ImageSpec(size_px=64), output="pooled", pretrained=True)
    assert global_state() == before
    assert capsys.readouterr() == ("", "")
    images = standardise(films(), encoder.image_spec)
    expected = their_features(their_network(DENSE), images)
    torch.testing.assert_close(encoder.eval()(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("stand_in")
def test_weights_that_cannot_be_downloaded():
    before = global_state()
    message = (
        r"the weights of xrv:densenet121-res224-nih cannot be downloaded or read "
        r"\(ConnectionError: no route to host and more\); .*: --weights FILE$"
    )
    with pytest.raises(OSError, match=message) as caught:
        build_encoder("xrv:densenet121-res224-nih", pretrained=True)
    assert "\n" not in str(caught.value)
    assert global_state() == before


def test_without_the_extra_the_way_to_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(ImportError, match=r"not installed .*: pip install fewshot_cxr\[xrv\], or .*: --weights FILE$"):
        build_encoder(f"xrv:{DENSE}", pretrained=True)
    encoder = build_encoder(f"xrv:{DENSE}", image_spec=ImageSpec(size_px=64)).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    images = standardise(films(), encoder.image_spec)
    assert torch.equal(load_encoder(tmp_path)(images), encoder(images))


def test_misspelt_weights_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=rf"unknown weights of xrv 'densenet121-res224-al' \(did you mean '{DENSE}'"):
        build_encoder("xrv:densenet121-res224-al")


def test_torchxrayvision_itself_computes_the_same():
    before = list(warnings.filters)
    library = pytest.importorskip("torchxrayvision")
    warnings.filters[:] = before
    with seeded_torch(1, "theirs"):
        network = library.models.DenseNet(num_classes=18).eval()
    encoder = build_encoder(f"xrv:{DENSE}", image_spec=ImageSpec(size_px=64), output="pooled").eval()
    assert network.state_dict().keys() - encoder.backbone.state_dict().keys() == {
        "classifier.weight",
        "classifier.bias",
    }
    encoder.backbone.load_state_dict(network.features.state_dict(prefix="features."))
    images = standardise(films(), encoder.image_spec)
    torch.testing.assert_close(encoder(images), network.features2(images), rtol=1e-5, atol=1e-5)
    assert set(library.models.model_urls) >= {DENSE, DEEP}
