from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fewshot_cxr.data import DatasetFilms, XrayDataset, cache_films, findings_table, keep_batch, mark_unstated
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Record, Records


@pytest.fixture
def films(tmp_path):
    rows = []
    for number in range(12):
        Image.fromarray(np.full((16, 16), number * 20, dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(Record(f"{number}.png", ("ab"[number % 2],), patient_id=f"p{number // 3}"))
    return cache_films(Records(tuple(rows), tmp_path), ImageSpec(size_px=16), folder=tmp_path / "cache", n_workers=1)


def test_batches_and_single_films_agree(films):
    dataset = XrayDataset(films)
    images, class_ids = dataset.__getitems__([4, 1])
    assert (images.dtype, class_ids.dtype) == (torch.uint8, torch.int64)
    assert images[:, 0, 0].tolist() == [80, 20]
    assert class_ids.tolist() == [0, 1]
    assert torch.equal(dataset[4][0], images[0])
    assert len(dataset) == 12


def test_ids(films):
    dataset = XrayDataset(films, ["b", "c", "a"])
    assert dataset.class_ids.tolist() == [2, 0] * 6
    assert dataset.class_ids.dtype == dataset.group_ids.dtype == np.int64
    assert len(set(dataset.group_ids.tolist())) == 4
    assert dataset.class_names == ("b", "c", "a")


def test_a_finding_outside_the_classes_is_named(films):
    with pytest.raises(ValueError, match=r"1\.png has the finding 'b', none of a"):
        XrayDataset(films, ["a"])


@pytest.mark.parametrize(
    "n_workers", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["in this process", "in a spawned one"]
)
def test_in_a_loader(films, n_workers):
    options = {"num_workers": n_workers, "multiprocessing_context": "spawn" if n_workers else None}
    batches = list(DataLoader(XrayDataset(films), batch_size=5, collate_fn=keep_batch, **options))
    assert [len(images) for images, _ in batches] == [5, 5, 2]
    assert torch.cat([images for images, _ in batches])[:, 0, 0].tolist() == [number * 20 for number in range(12)]


def test_a_class_named_twice(films):
    with pytest.raises(ValueError, match="class_names must name each class once, got a, b, a"):
        XrayDataset(films, ["a", "b", "a"])


def test_films_of_several_findings_are_refused(films, tmp_path):
    several = replace(films.records[0], findings=("a", "b"))
    films = replace(films, records=replace(films.records, films=(several, *films.records.films[1:])))
    with pytest.raises(ValueError, match="a single-label film was expected"):
        XrayDataset(films)


def test_a_dataset_ends(films):
    assert len(list(XrayDataset(films))) == 12
    assert XrayDataset(films).__getitems__([])[0].shape == (0, 16, 16)


def relabelled(films, *findings):
    kept = films.records.take(range(len(findings)))
    renamed = tuple(replace(film, findings=names) for film, names in zip(kept, findings, strict=True))
    return replace(films, records=replace(kept, films=renamed))


def test_multi_label_films_have_a_row_of_findings(films):
    several = relabelled(films, ("mass", "edema"), (), ("No Finding",), ("edema",))
    dataset = XrayDataset(several, ["edema", "mass", "hernia"], is_multi_label=True)
    assert dataset.class_ids.dtype == np.float32
    assert dataset.class_ids.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]]
    images, class_ids = dataset.__getitems__([3, 0])
    assert (images.shape, class_ids.dtype) == ((2, 16, 16), torch.float32)
    assert class_ids.tolist() == [[1, 0, 0], [1, 1, 0]]
    assert dataset[1][1].shape == (3,)
    assert XrayDataset(several, is_multi_label=True).class_names == ("No Finding", "edema", "mass")


def test_a_finding_that_nobody_looked_for_is_neither_there_nor_absent(films):
    several = relabelled(films, ("mass", "edema"), ("edema",))
    marked = replace(several, records=mark_unstated(several.records, ["mass", "hernia"]))
    dataset = XrayDataset(marked, ["edema", "mass", "hernia"], is_multi_label=True)
    np.testing.assert_array_equal(dataset.class_ids, [[1, 1, np.nan], [1, np.nan, np.nan]])
    assert torch.isnan(dataset.__getitems__([1])[1]).tolist() == [[False, True, True]]
    assert XrayDataset(marked, ["edema", "mass", "hernia"], is_multi_label=True).group_ids.dtype == np.int64


def test_the_table_is_that_of_a_slow_loop():
    drawn, names = np.random.default_rng(0), ("a", "b", "c", "d")
    states = drawn.choice([0.0, 1.0, np.nan], (30, 4))
    films = tuple(
        Record(
            f"{row}.png",
            tuple(name for name, state in zip(names, line, strict=True) if state == 1),
            unstated=tuple(name for name, state in zip(names, line, strict=True) if np.isnan(state)),
        )
        for row, line in enumerate(states)
    )
    np.testing.assert_array_equal(findings_table(Records(films, "."), names), states)
    np.testing.assert_array_equal(findings_table(Records(films, Path()), names[::-1]), states[:, ::-1])
    assert findings_table(Records((), Path()), names).shape == (0, 4)


def test_multi_label_classes_are_named_once_too(films):
    with pytest.raises(ValueError, match="class_names must name each class once, got a, a"):
        XrayDataset(films, ["a", "a"], is_multi_label=True)


def test_labels_and_patients_that_are_tensors_are_named_by_their_values():
    films = torch.utils.data.TensorDataset(torch.zeros(3, 1, 16, 16), torch.tensor([0, 1, 1]))
    films.patient_ids = torch.tensor([7, 8, 8])
    records = DatasetFilms(films, ImageSpec(size_px=16)).records
    assert [film.finding for film in records] == ["0", "1", "1"]
    assert [film.patient_id for film in records] == ["7", "8", "8"]


def test_gray_and_channels_beside_each_other_become_one_form():
    gray, colour = np.full((8, 8), 51, dtype=np.uint8), np.zeros((3, 8, 8), dtype=np.float32)
    films = DatasetFilms([(gray, "normal"), (colour, "covid19")], ImageSpec(size_px=8, n_channels=3))
    both = films.rows([0, 1])
    assert (both.shape, both.dtype) == ((2, 3, 8, 8), np.float32)
    np.testing.assert_allclose(both[0], 0.2)
    np.testing.assert_array_equal(both[1], colour)


def test_images_without_labels_are_no_dataset():
    with pytest.raises(TypeError, match="item 0 of the dataset is Tensor: a pair of image and label was expected"):
        DatasetFilms(torch.zeros(3, 3, 8, 8), ImageSpec(size_px=8))
