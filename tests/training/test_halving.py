"""Where memory does not hold a batch it is embedded in parts, with the result of the whole batch."""

import pytest
import torch
from made_films import make_image_folder
from torch import nn

from fewshot_cxr import ImageSpec
from fewshot_cxr.data import read_dataset
from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.inference import embed
from fewshot_cxr.training import SiameseTrainer

SPEC = ImageSpec(size_px=32)
MOST = 5  # films that the memory of these tests holds
FULL = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


class Full(torch.autograd.Function):
    """Memory that is full in the backward pass, if not before."""

    @staticmethod
    def forward(context, rows):
        context.n_films = len(rows)
        return rows.clone()

    @staticmethod
    def backward(context, gradient):
        if context.n_films > MOST:
            raise RuntimeError(FULL)
        return gradient


class Small(nn.Module):
    """A memory that holds few films, in the forward or in the backward pass."""

    def __init__(self, when):
        super().__init__()
        self.when = when

    def forward(self, rows):
        if self.when == "forward" and len(rows) > MOST:
            raise RuntimeError(FULL)
        return Full.apply(rows) if self.when == "backward" and self.training else rows


def network(when):
    torch.manual_seed(0)
    first = nn.Conv2d(1, 8, 5, 4), nn.GroupNorm(2, 8), nn.ReLU(), Small(when), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*first, nn.Linear(32, 6, bias=False))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return read_dataset("image_folder", make_image_folder(tmp_path_factory.mktemp("films")))


def fit(films, when, **more):
    settings = {"n_epochs": 2, "batch_size": 12, "precision": "32-true", "device": "cpu", "loss": "triplet"} | more
    settings |= {"val_n_shot": 2, "val_n_query": 2, "val_n_episodes": 20, "memory": 20}
    return SiameseTrainer(encoder=network(when), image_spec=SPEC, **settings).fit(films, progress=None)


@pytest.mark.parametrize("when", ["forward", "backward"])
def test_a_batch_that_memory_does_not_hold_is_halved_with_the_same_result(films, when):
    whole = fit(films, "never")
    with pytest.warns(UserWarning, match="out of memory") as told:
        parted = fit(films, when)
    said = [str(one.message) for one in told]
    assert next(text for text in said if "from here on" in text).startswith(
        "out of memory: from here on batches of 12 films are embedded 6 at a time. The loss sees the whole batch"
    )
    assert sum("from here on" in text for text in said) == 2  # once for 6 at a time, once for 3
    assert len(parted.history) == len(whole.history) == 2
    for one, other in zip(whole.history, parted.history, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["step"] == one["step"]
    for name, value in whole.encoder.state_dict().items():
        torch.testing.assert_close(parted.encoder.state_dict()[name], value, rtol=0, atol=1e-5)


def test_a_step_that_no_part_makes_small_enough_ends_in_one_line(films, monkeypatch):
    monkeypatch.setitem(globals(), "MOST", 0)
    with pytest.warns(UserWarning, match="out of memory"), pytest.raises(MemoryError, match=r"smaller films \(--image"):
        fit(films, "backward")


def test_films_are_embedded_in_halves_where_memory_does_not_hold_them(films, monkeypatch, tmp_path):
    encoder = build_encoder("resnet9", image_spec=SPEC, width=4)
    whole = embed(encoder, films, batch_size=16, cache_folder=tmp_path / "whole", progress=None)
    plain = type(encoder).features

    def features(self, images):
        if len(images) > MOST:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 bytes.")
        return plain(self, images)

    monkeypatch.setattr(type(encoder), "features", features)
    with pytest.warns(UserWarning, match="out of memory") as told:
        parted = embed(encoder, films, batch_size=16, cache_folder=tmp_path / "parted", progress=None)
    assert str(told[0].message) == "out of memory: 16 films are embedded 8 at a time (--batch-size)"
    torch.testing.assert_close(torch.tensor(parted.vectors), torch.tensor(whole.vectors), rtol=0, atol=1e-6)
