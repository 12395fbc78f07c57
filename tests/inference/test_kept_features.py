"""A film goes through a network once: the second time its features are looked up, and nothing else is believed."""

import os
import time
from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
import torch
from torch import nn

from fewshot_cxr import ImageSpec, SiameseTrainer, build_encoder, embed
from fewshot_cxr.data import cache_films
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import Encoder, as_encoder
from fewshot_cxr.inference import kept_features as module
from fewshot_cxr.inference.embed import embed_films, film_vectors
from fewshot_cxr.storage import save_tensors

SPEC = ImageSpec(size_px=32)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    made = make_synthetic(tmp_path_factory.mktemp("films"), n_patients=12, findings=("normal", "effusion"), size_px=48)
    return made.records if hasattr(made, "records") else made


@pytest.fixture
def seen(monkeypatch):
    """How many films at a time go through the layers of an encoder, but for the one on which a folded copy is tried."""
    counts, features = [], Encoder.features

    def counted(encoder, images):
        counts.extend([len(images)] * (len(images) > 1))
        return features(encoder, images)

    monkeypatch.setattr(Encoder, "features", counted)
    return counts


def encoder_of(seed=0, **options):
    return build_encoder("resnet9", width=4, image_spec=SPEC, seed=seed, **options)


def test_the_second_time_is_a_look_up_with_the_same_bytes(films, tmp_path, seen):
    first = embed(encoder_of(), films, cache_folder=tmp_path, device="cpu")
    assert sum(seen) == len(films)
    again = embed(encoder_of(), films, cache_folder=tmp_path, device="cpu")
    assert sum(seen) == len(films)
    assert first.vectors.tobytes() == again.vectors.tobytes()


def test_only_new_films_go_through_the_network_in_any_order(films, tmp_path, seen):
    whole = embed(encoder_of(), films, cache_folder=tmp_path / "whole", device="cpu")
    seen.clear()
    embed(encoder_of(), films.take(range(5)), cache_folder=tmp_path, device="cpu")
    order = np.random.default_rng(0).permutation(len(films))
    mixed = embed(encoder_of(), films.take(order), cache_folder=tmp_path, device="cpu")
    assert sum(seen) == len(films)
    np.testing.assert_allclose(mixed.vectors, whole.vectors[order], atol=1e-5)


def test_another_head_takes_the_same_features(films, tmp_path, seen):
    pooled, headed = encoder_of(output="pooled"), encoder_of(embedding_dim=7)
    headed.backbone.load_state_dict(pooled.backbone.state_dict())
    embed(pooled, films, cache_folder=tmp_path, device="cpu")
    found = embed(headed, films, cache_folder=tmp_path, device="cpu")
    assert sum(seen) == len(films)
    np.testing.assert_allclose(found.vectors, embed(headed, films, cache_folder=tmp_path / "b").vectors, atol=1e-5)


def changed_weight():
    encoder = encoder_of()
    with torch.no_grad():
        next(encoder.backbone.parameters())[0] += 1e-6
    return encoder


def changed_layer():
    encoder = encoder_of()
    for layer in encoder.modules():
        for name, child in layer.named_children():
            if isinstance(child, nn.ReLU):
                setattr(layer, name, nn.GELU())
    return encoder


def changed_attribute():
    encoder = encoder_of()
    encoder.backbone.scale = 2.0
    return encoder


OTHERS = {
    "attribute": changed_attribute,
    "weight": changed_weight,
    "layer": changed_layer,
    "option": lambda: encoder_of(stem_pool=1),
    "spec": lambda: build_encoder("resnet9", width=4, image_spec=replace(SPEC, mean=(0.4,)), seed=0),
}


@pytest.mark.parametrize("what", sorted(OTHERS))
def test_another_encoder_finds_nothing(films, tmp_path, seen, what):
    embed(encoder_of(), films, cache_folder=tmp_path, device="cpu")
    seen.clear()
    embed(OTHERS[what](), films, cache_folder=tmp_path, device="cpu")
    assert sum(seen) == len(films)


class OwnLayer(nn.Module):
    """Code that may be another one tomorrow."""

    def forward(self, features):
        return 2 * features


def test_of_other_code_a_hook_autocast_and_a_training_nothing_is_kept(films, tmp_path):
    own = as_encoder(nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 4)), SPEC)
    watched = encoder_of()
    watched.backbone.register_forward_hook(lambda *told: None)
    mended, patched = encoder_of(), encoder_of()
    mended.backbone = nn.Sequential(mended.backbone, OwnLayer())
    patched.pool = lambda features: features.amax((2, 3))
    hidden = encoder_of()
    hidden._feature_map = hidden._feature_map  # a method of the encoder's own
    for encoder in (own, watched, mended, patched, hidden):
        embed(encoder, films, cache_folder=tmp_path, device="cpu")
    with torch.autocast("cpu", torch.bfloat16):
        embed(encoder_of(), films, cache_folder=tmp_path, device="cpu")
    film_vectors(encoder_of(), cache_films(films, SPEC, folder=tmp_path), device="cpu")
    trainer = SiameseTrainer(
        encoder="resnet9", encoder_options={"width": 4}, image_spec=SPEC, n_epochs=1, cache_folder=tmp_path
    )
    trainer.fit(films)
    assert not list(tmp_path.rglob("features-*"))


def test_damage_costs_time_alone(films, tmp_path, seen):
    first = embed(encoder_of(), films, cache_folder=tmp_path, device="cpu")
    (file,) = tmp_path.rglob("features-*/*.safetensors")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    again = embed(encoder_of(), films, cache_folder=tmp_path, device="cpu")
    assert sum(seen) == 2 * len(films)
    assert again.vectors.tobytes() == first.vectors.tobytes()
    assert not file.exists()


def test_a_file_that_cannot_be_opened_now_is_kept(films, tmp_path, monkeypatch):
    embed(encoder_of(), films, cache_folder=tmp_path, device="cpu")
    with monkeypatch.context() as patched:
        patched.setattr("fewshot_cxr.storage.safe_open", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("busy")))
        embed(encoder_of(), films, cache_folder=tmp_path, device="cpu")
    assert len(list(tmp_path.rglob("features-*/*.safetensors"))) == 2


def test_many_small_files_become_one_and_what_killed_runs_left_goes(films, tmp_path, seen, monkeypatch):
    monkeypatch.setattr(module, "_MOST_SMALL", 5)
    cached = cache_films(films, SPEC, folder=tmp_path)
    for number in range(5):
        embed_films(encoder_of(), cached_part(cached, [number]), device="cpu")
    (folder,) = tmp_path.rglob("features-*")
    (folder / ".a.safetensors.12345678.part").write_bytes(b"half")
    (folder / "damaged.safetensors").write_bytes(b"no features")
    other = {"pack": torch.zeros(1, dtype=torch.int64), "row": torch.zeros(1, dtype=torch.int64)}
    save_tensors(
        folder / "wide.safetensors",
        other | {"features": torch.zeros(1, 3)},
        kind="kept features",
        header={"packs": ["a"]},
    )
    seen.clear()
    assert len(embed_films(encoder_of(), cached_part(cached, range(5)), device="cpu")) == 5
    assert not seen
    assert len(list(folder.iterdir())) == 1


def test_what_cannot_be_opened_now_is_not_lost_when_small_files_are_joined(films, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_SMALL", 3)
    cached = cache_films(films, SPEC, folder=tmp_path)
    for number in range(3):
        embed_films(encoder_of(), cached_part(cached, [number]), device="cpu")
    before = sorted(tmp_path.rglob("features-*/*.safetensors"))
    with monkeypatch.context() as patched:
        patched.setattr("fewshot_cxr.storage.safe_open", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("busy")))
        module.KeptFeatures(encoder_of(), cached, "cpu")
    assert sorted(tmp_path.rglob("features-*/*.safetensors")) == before


def cached_part(cached, rows):
    rows = list(rows)
    where = {"pack_of_film": cached.pack_of_film[rows], "row_of_film": cached.row_of_film[rows]}
    return replace(cached, records=cached.records.take(rows), **where)


@pytest.mark.parametrize("name", ["cuda.matmul", "mkldnn.matmul", "cudnn.conv"])
def test_any_setting_of_precision_has_features_of_its_own(name):
    backend = attrgetter(name)(torch.backends)
    if not hasattr(backend, "fp32_precision"):
        pytest.skip("this torch has no such setting")
    before, plain = backend.fp32_precision, module._key(encoder_of(), "cpu")
    try:
        backend.fp32_precision = "ieee" if before == "tf32" else "tf32"
        assert module._key(encoder_of(), "cpu") != plain
    finally:
        backend.fp32_precision = before
    assert module._key(encoder_of(), "cpu") == plain


def test_a_cache_that_cannot_be_written_and_features_that_are_not_finite_are_no_error(films, tmp_path, monkeypatch):
    cached = cache_films(films, SPEC, folder=tmp_path)
    kept = module.KeptFeatures(encoder_of(), cached, "cpu")
    kept.keep(np.arange(2), np.full((2, 32), np.nan, dtype=np.float32))
    kept.write()
    with monkeypatch.context() as patched:
        patched.setattr(module, "save_tensors", lambda *_, **__: (_ for _ in ()).throw(OSError("no space")))
        assert len(embed_films(encoder_of(), cached, device="cpu")) == len(films)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_what_was_not_asked_for_in_thirty_days_is_removed(films, tmp_path):
    for seed in (0, 1):
        embed(encoder_of(seed), films, cache_folder=tmp_path, device="cpu")
    for folder in tmp_path.rglob("features-*"):
        os.utime(folder, (time.time() - 31 * 24 * 3600,) * 2)
    embed(encoder_of(0), films, cache_folder=tmp_path, device="cpu")
    assert len(list(tmp_path.rglob("features-*"))) == 1


def test_features_are_kept_in_files_of_so_many_films(films, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 10)
    cached = cache_films(films, SPEC, folder=tmp_path)
    first = embed_films(encoder_of(), cached, batch_size=5, device="cpu")
    assert len(list(tmp_path.rglob("features-*/*.safetensors"))) == -(-len(films) // 10)
    again = embed_films(encoder_of(), cached, batch_size=5, device="cpu")
    assert again.vectors.tobytes() == first.vectors.tobytes()


def test_a_run_that_is_stopped_goes_on_where_it_was(films, tmp_path, seen):
    class Stopped(Exception):
        pass

    def stop(done, total):
        if done >= 30:
            raise Stopped

    cached = cache_films(films, SPEC, folder=tmp_path)
    with pytest.raises(Stopped):
        embed_films(encoder_of(), cached, batch_size=10, device="cpu", progress=stop)
    before = sum(seen)
    embed_films(encoder_of(), cached, batch_size=10, device="cpu")
    assert sum(seen) == len(films)
    assert before == 30
