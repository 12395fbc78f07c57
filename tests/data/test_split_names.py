"""A split is known by what its name means, in a column and as a folder."""

import pytest

from fewshot_cxr.data import read_dataset
from fewshot_cxr.data.split_names import split_named

MEANT = {
    "train": ("train", "Training", "TRAIN", "train_set", "trn"),
    "val": ("val", "valid", "Validate", "validation", "dev", "Dev-Set", "validation set"),
    "test": ("test", "Testing", "test data", "eval", "hold-out", "hold_out", "Held out"),
}


@pytest.mark.parametrize(("split", "name"), [(split, name) for split, names in MEANT.items() for name in names])
def test_names_of_one_meaning(split, name):
    assert split_named(name) == split


@pytest.mark.parametrize("name", ["0", "1", "external", "set", "", "data", "latest", "contest", "trained"])
def test_other_names_mean_nothing(name):
    assert split_named(name) is None


def test_folders_and_columns_agree(tmp_path):
    for folder in ("Training", "validate", "testing"):
        (tmp_path / "films" / folder / "normal").mkdir(parents=True)
        (tmp_path / "films" / folder / "normal" / "a.png").write_bytes(b"film")
    folders = read_dataset("image_folder", tmp_path / "films")
    assert {film.path: film.split for film in folders} == {
        "Training/normal/a.png": "train",
        "testing/normal/a.png": "test",
        "validate/normal/a.png": "val",
    }
    assert folders.findings == ("normal",)
    rows = "".join(f"films/{film.path},normal,{film.path.split('/')[0]}\n" for film in folders)
    (tmp_path / "films.csv").write_text("path,label,split\n" + rows)
    assert [film.split for film in read_dataset("manifest", tmp_path / "films.csv")] == ["train", "test", "val"]
