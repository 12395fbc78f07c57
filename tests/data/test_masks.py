"""A mask lies on its film whatever its resolution; a bad one costs its row and is named."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.data import lung_masks, read_dataset, to_square, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Record, Records

SPEC = ImageSpec(size_px=64)
CROPPED = ImageSpec(size_px=48, border_crop=0.1, top_crop=0.08)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def lung_of(shape):
    """A lung between a quarter and three quarters of the height, a fifth and a half of the width: uint8, 0 and 255."""
    mask = np.zeros(shape, np.uint8)
    height, width = shape
    mask[height // 4 : 3 * height // 4, width // 5 : width // 2] = 255
    return mask


def films_in(root, *names, shape=(100, 80), **facts):
    for name in names:
        save(root / name, np.full(shape, 90, np.uint8))
    return Records(tuple(Record(name, ("normal",), **facts) for name in names), root)


@pytest.fixture
def films(tmp_path):
    return films_in(tmp_path, "films/a.png", "films/b.png")


def with_masks(films, *paths):
    return replace(films, films=tuple(replace(film, mask_path=path) for film, path in zip(films, paths, strict=True)))


@pytest.mark.parametrize("spec", [SPEC, CROPPED, replace(SPEC, crop="none"), replace(SPEC, equalise="clahe")])
def test_masks_lie_where_the_films_geometry_puts_them(tmp_path, spec):
    # The film itself is a mask, so that what becomes of it must become of the mask.
    save(tmp_path / "a.png", lung_of((200, 160)))
    save(tmp_path / "m.png", np.stack([lung_of((100, 80))] * 3, axis=2))
    masks = lung_masks(Records((Record("a.png", ("x",), mask_path="m.png"),), tmp_path), spec)
    film = to_square(lung_of((200, 160)), replace(spec, equalise="none")) > 127
    own = masks.rows([0])[0]
    assert masks.problems == ()
    assert own.dtype == bool
    assert (own ^ film).mean() < 0.01
    assert own.any()


def test_rows_come_in_the_order_that_is_asked_and_films_without_a_mask_are_no_problem(films):
    save(films.root / "m.png", lung_of((50, 40)))
    masks = lung_masks(with_masks(films, None, "m.png"), SPEC)
    assert masks.has_mask.tolist() == [False, True]
    assert masks.problems == ()
    assert len(masks) == 2
    rows = masks.rows([1, 0, 1])
    assert rows.shape == (3, 64, 64)
    assert not rows[1].any()
    np.testing.assert_array_equal(rows[0], rows[2])
    assert masks.rows([]).shape == (0, 64, 64)


@pytest.mark.parametrize("size_px", [8, 13, 64])
def test_every_side_survives_the_packing(films, size_px):
    save(films.root / "m.png", lung_of((100, 80)))
    spec = ImageSpec(size_px=size_px)
    masks = lung_masks(with_masks(films, "m.png", "m.png"), spec)
    np.testing.assert_array_equal(masks.rows([0, 1])[1], to_square(lung_of((100, 80)), spec) > 127)


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_masks_may_be_of_zero_and_one(films, white):
    kind = np.uint16 if white > 255 else np.uint8
    save(films.root / "m.png", (lung_of((100, 80)) > 0).astype(kind) * kind(white))
    masks = lung_masks(with_masks(films, "m.png", None), SPEC)
    np.testing.assert_array_equal(masks.rows([0])[0], to_square(lung_of((100, 80)), SPEC) > 127)


def labels_of(left, right):
    mask = np.zeros((100, 80), np.uint8)
    mask[25:75, 10:35], mask[25:75, 45:70] = left, right
    return mask


@pytest.mark.parametrize(("left", "right"), [(1, 3), (60, 255), (3, 1)])
def test_labels_of_which_one_would_be_lost_are_refused(films, left, right):
    save(films.root / "m.png", labels_of(left, right))
    masks = lung_masks(with_masks(films, "m.png", None), SPEC)
    assert not masks.has_mask.any()
    low, high = sorted((left, right))
    assert masks.problems[0].reason == f"it holds several labels ({low}, {high}); make it one mask, of 0 and 255"


@pytest.mark.parametrize(("left", "right"), [(1, 2), (200, 255)])
def test_labels_that_all_count_serve_as_one_mask(films, left, right):
    save(films.root / "m.png", labels_of(left, right))
    masks = lung_masks(with_masks(films, "m.png", None), SPEC)
    np.testing.assert_array_equal(masks.rows([0])[0], to_square(labels_of(255, 255), SPEC) > 127)


@pytest.mark.parametrize("form", ["jpg", "half", "double"])
def test_edges_that_are_neither_black_nor_white_are_no_labels(films, form):
    mask = Image.fromarray(labels_of(255, 255))
    size = {"jpg": (80, 100), "half": (40, 50), "double": (160, 200)}[form]
    mask.resize(size, Image.Resampling.BILINEAR).save(films.root / ("m.jpg" if form == "jpg" else "m.png"))
    masks = lung_masks(with_masks(films, "m.jpg" if form == "jpg" else "m.png", None), SPEC)
    assert masks.problems == ()
    assert (masks.rows([0])[0] ^ (to_square(labels_of(255, 255), SPEC) > 127)).mean() < 0.05


def gray_ramp(shape):
    return np.linspace(0, 255, shape[0] * shape[1]).reshape(shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("write", "kind", "reason"),
    [
        (lambda path: path.write_bytes(b"\x89PNG broken"), "other", "not a picture that can be read"),
        (lambda path: path.write_bytes(b""), "other", "the file is empty"),
        (lambda path: None, "missing", "the file cannot be opened: No such file"),
        (lambda path: save(path, np.zeros((100, 80), np.uint8)), "other", "the mask marks no lung in the part that is"),
        (lambda path: save(path, np.full((100, 80), 255, np.uint8)), "other", "the mask marks the whole film in"),
        (lambda path: save(path, gray_ramp((100, 80))), "other", "it is no mask: 50% of its pixels are neither black"),
        (
            lambda path: save(path, lung_of((64, 64))),
            "other",
            "the mask has 64 x 64 pixels, its film 80 x 100: with another ratio of the sides it does not lie on the "
            "film; make it from the whole film",
        ),
    ],
)
def test_a_bad_mask_costs_one_row_and_is_named(films, write, kind, reason):
    save(films.root / "good.png", lung_of((100, 80)))
    write(films.root / "bad.png")
    masks = lung_masks(with_masks(films, "bad.png", "good.png"), SPEC)
    assert masks.has_mask.tolist() == [False, True]
    (problem,) = masks.problems
    assert (problem.path, problem.kind) == ("bad.png", kind)
    assert problem.reason.startswith(reason)


def test_a_film_that_cannot_be_read_is_said_to_be_at_fault(films):
    save(films.root / "m.png", lung_of((100, 80)))
    (films.root / "films/a.png").write_bytes(b"")
    (problem,) = lung_masks(with_masks(films, "m.png", None), SPEC).problems
    assert problem.reason == "its film a.png: the file is empty"


@pytest.mark.parametrize("outside", ["../m.png", "films/../../m.png"])
def test_no_mask_is_read_from_outside_the_root(tmp_path, outside):
    save(tmp_path / "m.png", lung_of((100, 80)))
    films = films_in(tmp_path / "root", "films/a.png", mask_path=outside)
    masks = lung_masks(films, SPEC)
    assert not masks.has_mask.any()
    assert "leaves the data root" in masks.problems[0].reason


def test_no_link_leads_out_of_the_folder(tmp_path):
    save(tmp_path / "m.png", lung_of((100, 80)))
    films = films_in(tmp_path / "root", "a.png")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.png").symlink_to(tmp_path / "m.png")
    masks = lung_masks(films, SPEC, folder=tmp_path / "masks")
    assert not masks.has_mask.any()
    assert "leaves the data root" in masks.problems[0].reason


@pytest.mark.parametrize("name", ["a.png", "a.TIF", "films/a.png", "normal/a.tiff", "deep/films/a.png"])
def test_folder_finds_a_mask_by_the_films_name(tmp_path, name):
    films = films_in(tmp_path, "deep/films/a.png", "deep/films/b.png")
    save(tmp_path / "masks" / name, lung_of((100, 80)))
    masks = lung_masks(films, SPEC, folder=tmp_path / "masks")
    assert masks.has_mask.tolist() == [True, False]
    assert masks.problems == ()


def test_folder_takes_the_place_of_what_the_films_name(films):
    save(films.root / "m.png", lung_of((100, 80)))
    save(films.root / "masks/b.png", lung_of((100, 80)))
    masks = lung_masks(with_masks(films, "m.png", "m.png"), SPEC, folder=films.root / "masks")
    assert masks.has_mask.tolist() == [False, True]


def test_fuller_name_goes_first_and_a_mask_serves_one_film(tmp_path):
    films = films_in(tmp_path, "x/a.png", "y/a.png", "z/a.png")
    save(tmp_path / "masks/x/a.png", lung_of((100, 80)))
    save(tmp_path / "masks/a.png", lung_of((100, 80)))
    masks = lung_masks(films, SPEC, folder=tmp_path / "masks")
    assert masks.has_mask.tolist() == [True, False, False]
    (problem,) = masks.problems
    assert problem.path == "a.png"
    assert problem.reason == "y/a.png and z/a.png would share this mask; put each into a folder named as its film's"


@pytest.mark.parametrize("place", ["masks", "../masks"])
@pytest.mark.parametrize(("name", "other"), [("1.png", "COVID/1.png"), ("NORMAL/1.png", "b/NORMAL/1.tif")])
def test_a_film_that_is_not_asked_for_is_another_owner_of_a_mask(tmp_path, place, name, other):
    films = films_in(tmp_path / "root", "films/NORMAL/1.png", other)
    folder = films.root / place
    save(folder / name, lung_of((100, 80)))
    for one, another in ((0, 1), (1, 0)):
        masks = lung_masks(films.take([one]), SPEC, folder=folder)
        assert not masks.has_mask.any()
        (problem,) = masks.problems
        assert problem.path == name
        assert problem.reason == (
            f"it may be the mask of {films[one].path} or of {films[another].path}, a picture of that name below the "
            "films' root; put masks into folders named as the films'"
        )
    save(folder / "films/NORMAL/1.png", lung_of((100, 80)))
    assert lung_masks(films.take([0]), SPEC, folder=folder).has_mask.all()


def test_two_files_of_one_name_are_not_chosen_between(films):
    for name in ("a.png", "a.tif"):
        save(films.root / "masks" / name, lung_of((100, 80)))
    masks = lung_masks(films, SPEC, folder=films.root / "masks")
    assert not masks.has_mask.any()
    assert masks.problems[0].reason == "a.png and a.tif may both be the mask of films/a.png; remove one"


def test_wrong_folders_are_refused(films):
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder of masks; name the one that holds them"):
        lung_masks(films, SPEC, folder=films.root / "nowhere")
    (films.root / "empty").mkdir()
    message = r"empty holds the mask of none of 2 films: the first was looked for as films/a or normal/a or a, with any"
    with pytest.raises(FileNotFoundError, match=message):
        lung_masks(films, SPEC, folder=films.root / "empty")


def test_progress_counts_films_with_masks(films):
    save(films.root / "m.png", lung_of((100, 80)))
    calls = []
    lung_masks(with_masks(films, "m.png", "m.png"), SPEC, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(2, 2)]


def test_synthetic_masks_come_back_through_the_manifest_and_by_folder(tmp_path):
    records = make_synthetic(tmp_path, n_patients=1, findings=("normal", "effusion"), size_px=64)
    write_manifest(records, tmp_path / "films.csv")
    by_manifest = lung_masks(read_dataset("manifest", tmp_path / "films.csv"), SPEC)
    assert by_manifest.has_mask.all()
    bare = replace(records, films=tuple(replace(film, mask_path=None) for film in records))
    assert not lung_masks(bare, SPEC).has_mask.any()
    by_folder = lung_masks(bare, SPEC, folder=tmp_path / "masks")
    np.testing.assert_array_equal(by_folder.bits, by_manifest.bits)
    first = np.asarray(Image.open(tmp_path / records[0].mask_path)) > 0
    np.testing.assert_array_equal(by_manifest.rows([0])[0], first)


def test_masks_of_the_radiography_database_lie_on_its_films(fscxr_data):
    records = read_dataset("covid19_radiography", fscxr_data / "layouts" / "covid19_radiography")
    masks = lung_masks(records, SPEC)
    (problem,) = masks.problems  # the film that is cut short
    assert problem.path == "Lung_Opacity/masks/Lung_Opacity-9.png"
    assert masks.has_mask.sum() == len(records) - 1 == 47
    lungs = masks.rows(np.flatnonzero(masks.has_mask)).mean(axis=(1, 2))
    assert (lungs > 0.15).all()
    assert (lungs < 0.5).all()
