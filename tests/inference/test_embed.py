import shutil
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import torch

from fewshot_cxr import data
from fewshot_cxr.data import cache_films, to_images
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import choose_device, embed, embed_files, embed_films, embed_pixels, native_precision
from fewshot_cxr.inference.bank import answering
from fewshot_cxr.inference.bank.comparing import measure_by
from fewshot_cxr.inference.batches import embed_and_pool
from fewshot_cxr.records import Records


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_synthetic(tmp_path_factory.mktemp("films"), n_patients=3, findings=("normal", "effusion"), size_px=48)


@pytest.fixture
def encoder():
    return build_encoder("resnet9", width=4, image_spec=ImageSpec(size_px=32), dropout=0.5)


def test_embeddings_equal_one_film_at_a_time_and_the_mode_returns(films, encoder):
    encoder.train()
    whole = embed(encoder, films, batch_size=5)
    assert encoder.training
    cached = cache_films(films, encoder.image_spec)
    encoder.eval()
    for row in range(len(films)):
        image = to_images(torch.from_numpy(cached.rows([row])), encoder.image_spec)
        np.testing.assert_allclose(whole.vectors[row], encoder(image)[0].detach().numpy(), atol=1e-5)
    assert whole.paths == tuple(film.path for film in films)
    assert [whole.class_names[index] for index in whole.class_ids] == [film.finding for film in films]
    assert len(np.unique(whole.patient_ids)) == len({film.patient_id for film in films})


def test_pooled_features_come_beside_the_embeddings_that_follow_from_them(films, encoder):
    encoder.train()
    cached = cache_films(films, encoder.image_spec)
    rows = np.array_split(np.arange(len(films)), 2)
    parts = list(embed_and_pool(encoder, map(cached.rows, rows), torch.device("cpu")))
    assert encoder.training
    pooled, vectors = (np.concatenate(part) for part in zip(*parts, strict=True))
    np.testing.assert_allclose(vectors, embed(encoder, films).vectors, atol=1e-5)
    assert pooled.shape == (len(films), encoder.n_features)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(encoder.head(torch.from_numpy(pooled)).detach().numpy(), vectors, atol=1e-5)


def test_between_two_batches_gradients_are_as_before(films, encoder):
    batches = np.zeros((2, 3, 32, 32), np.uint8)
    one, other = (embed_and_pool(encoder, batches, torch.device("cpu")) for _ in range(2))
    for embedding in (one, other, one, other):
        next(embedding)
        assert not torch.is_inference_mode_enabled()
    assert list(one) == list(other) == []


def test_a_processor_embeds_large_films_in_portions_that_change_nothing(films, encoder, monkeypatch):
    whole = embed(encoder, films)
    seen = []
    encoder.backbone.register_forward_hook(lambda _, images, __: seen.append(len(images[0])))
    monkeypatch.setitem(embed_and_pool.__globals__, "_PIXELS_AT_ONCE", 3 * 32 * 32)
    np.testing.assert_allclose(embed(encoder, films, device="cpu").vectors, whole.vectors, atol=1e-5)
    assert max(seen) == 3
    assert sum(seen) == len(films)


def test_many_films_are_embedded_with_folded_batch_norms(films, encoder, monkeypatch, tmp_path):
    seen, forward = [], torch.nn.BatchNorm2d.forward
    monkeypatch.setattr(
        torch.nn.BatchNorm2d, "forward", lambda norm, map_: seen.append(len(map_)) or forward(norm, map_)
    )
    embed(encoder, films, cache_folder=tmp_path, device="cpu")
    assert set(seen) == {1}  # the film that both are tried on


def test_every_layer_gets_its_own_mode_back(films, encoder):
    encoder.train()
    held = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in held:
        module.eval()
    embed(encoder, films)
    assert encoder.training
    assert not any(module.training for module in held)


def test_files_without_the_cache_give_the_same(films, encoder):
    vectors, read, problems = embed_files(encoder, [films.file(film) for film in films], batch_size=4)
    np.testing.assert_allclose(vectors, embed(encoder, films).vectors, atol=1e-5)
    assert len(read) == len(films)
    assert problems == []


def test_paths_may_be_texts(films, encoder, tmp_path):
    whole = embed(encoder, films[:3]).vectors
    paths = [str(films.file(film)) for film in films[:3]]
    np.testing.assert_allclose(embed_files(encoder, paths)[0], whole, atol=1e-5)
    cached = embed(encoder, replace(films[:3], root=str(films.root)), cache_folder=str(tmp_path / "cache"))
    np.testing.assert_array_equal(cached.vectors, whole)
    assert (tmp_path / "cache").is_dir()


def test_unreadable_films_are_left_out_with_a_warning(films, encoder, tmp_path):
    records = make_synthetic(tmp_path, n_patients=3, findings=("normal", "effusion"), size_px=48)
    records.file(records[1]).write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=f"1 of {len(records)} films are unreadable.*{records[1].path}"):
        embeddings = embed(encoder, records)
    assert len(embeddings) == len(records) - 1
    with pytest.raises(FileNotFoundError, match="no film is readable"):
        embed_files(encoder, [records.file(records[1])])


def test_films_of_a_ward_are_decoded_side_by_side(films, encoder, monkeypatch):
    files, both, decode_film = [films.file(film) for film in films][:4], Barrier(2, timeout=60), data.decode_film

    def decode(file, **how):
        both.wait()  # for a second thread
        return decode_film(file, **how)

    monkeypatch.setattr("fewshot_cxr.data.reading.n_processors", lambda: 2)
    for module in (data, answering):
        monkeypatch.setattr(module, "decode_film", decode)
    vectors, read, problems = embed_files(encoder, files)
    (asked,) = answering.asked_films(encoder.image_spec, files, measure_by(encoder, "cpu"))
    assert read == files
    assert not problems
    assert [film.path for film in asked] == [str(file) for file in files]
    np.testing.assert_array_equal(vectors, np.stack([film.vector for film in asked]))


def test_pixels_are_block_means(films, encoder):
    cached = cache_films(films, encoder.image_spec)
    pixels = embed_pixels(cached, side_px=8)
    blocks = cached.rows([0])[0].reshape(8, 4, 8, 4).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(pixels.vectors[0].reshape(8, 8), blocks, atol=1e-6)


def test_a_patient_in_two_groups_is_one_patient(films, encoder):
    first, second = films[0], next(film for film in films if film.patient_id != films[0].patient_id)
    rows = (
        replace(first, patient_id="p", group_id="g1"),
        replace(second, patient_id="p", group_id="g2"),
        *(film for film in films if film.patient_id not in (first.patient_id, second.patient_id)),
    )
    ids = embed(encoder, Records(rows, films.root)).patient_ids
    assert ids[0] == ids[1]
    assert ids[0] not in ids[2:]


@pytest.mark.parametrize(("precision", "atol"), [(torch.float64, 1e-5), (torch.bfloat16, 0.05)])
def test_an_encoder_of_another_precision_embeds_the_same(films, encoder, precision, atol):
    expected = embed(encoder, films).vectors
    found = embed(encoder.to(precision), films).vectors
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=atol)


def test_what_cannot_be_embedded_is_said(films, encoder):
    with pytest.raises(ValueError, match="there is no film to embed"):
        embed(encoder, [])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        embed(encoder, films, batch_size=0)
    with pytest.raises(TypeError, match="batch_size must be a whole number, got 1.5"):
        embed_files(encoder, [films.file(films[0])], batch_size=1.5)


def test_progress_counts_films(films, encoder):
    calls = []
    embed_films(encoder, cache_films(films, encoder.image_spec), batch_size=3, progress=lambda *c: calls.append(c))
    assert calls[-1] == (len(films), len(films))


def test_devices():
    assert choose_device("cpu").type == "cpu"
    assert native_precision(torch.device("cpu")) in ("bf16-mixed", "32-true")
    with pytest.raises(ValueError, match="device 'gpu' is not one of auto, cpu, cuda, cuda:N"):
        choose_device("gpu")
    with pytest.raises(ValueError, match=r"device 'cuda:99' is absent: torch sees \d+ CUDA GPU"):
        choose_device("cuda:99")


def test_one_vector_for_unlike_films_is_warned_of(films, encoder, tmp_path):
    with torch.no_grad():
        encoder.head.weight.zero_()
    with pytest.warns(UserWarning, match=f"embedding: the vectors of all {len(films)} films are the same"):
        embed(encoder, films)
    for name in ("a.png", "b.png"):
        shutil.copy(films.file(films[0]), tmp_path / name)
    twice = tuple(replace(films[0], path=name) for name in ("a.png", "b.png"))
    copies = embed(encoder, Records(twice, tmp_path), cache_folder=tmp_path / "cache")
    assert len(copies) == 2  # which have one vector by right
