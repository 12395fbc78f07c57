"""What is no plain file is never waited for, and nothing is read into the memory that is too large to be a film."""

import os
import socket
from dataclasses import replace

import pytest
from made_encoders import settled_encoder
from made_hostile import textured
from PIL import Image

from fewshot_cxr.data import cache_films, lung_masks, read_dataset, read_gray, verify_films
from fewshot_cxr.data.dicom_header import read_header
from fewshot_cxr.data.plain_file import MOST_FILE_BYTES
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.embed import embed_files
from fewshot_cxr.records import Record, Records

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes among its files")


def _sparse(path):
    with path.open("wb") as opened:
        opened.truncate(MOST_FILE_BYTES + 1)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # its whole path may be too long


ODD = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a socket": _socket,
    "too many for a film": _sparse,
}


@pytest.fixture(params=ODD)
def odd(request, tmp_path, monkeypatch):
    """A folder of one film and a file that is none, and what is said of it."""
    folder = tmp_path / "films"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Image.fromarray(textured()).save(folder / "good.png")
    for name in ("odd.png", "odd.dcm"):
        ODD[request.param](folder / name)
    return folder, request.param


def test_every_door_refuses_it_in_the_same_words(odd, tmp_path):
    folder, told = odd
    with pytest.raises(OSError, match=f"^the file cannot be opened: it.*{told}") as caught:
        read_gray(folder / "odd.png")
    with pytest.raises(OSError, match=told):
        read_header(folder / "odd.dcm", Record("odd.dcm", ("x",)), salt=bytes(16))
    reason = str(caught.value)
    films = Records((Record("good.png", ("x",)), Record("odd.png", ("x",))), folder)
    for found in (verify_films(films), cache_films(films, ImageSpec(size_px=32), folder=tmp_path / "cache").records):
        assert [problem.path for problem in found.problems] == ["odd.png"]
        assert found.problems[0].reason == reason or "leaves the data root" in found.problems[0].reason
        assert [film.path for film in found] == ["good.png"]
    named = Records((replace(films[0], mask_path="odd.png"),), folder)
    assert lung_masks(named, ImageSpec(size_px=32)).problems[0].reason.startswith((reason, "odd.png leaves"))
    files = [folder / "good.png", folder / "odd.png"]
    vectors, read, problems = embed_files(settled_encoder("resnet9", size_px=32), files)
    assert (len(vectors), read, [problem.reason for problem in problems]) == (1, files[:1], [reason])


def test_a_reader_of_folders_names_it(odd):
    folder, told = odd
    if told == "a folder":
        return  # one more to look into
    films = read_dataset("image_folder", folder, finding="x")
    reasons = {problem.path: problem.reason for problem in films.problems}
    assert [film.path for film in films] == ["good.png"]
    expected = "link that leaves" if told == "a device" else told
    assert all(expected in reasons[name] for name in ("odd.png", "odd.dcm"))
