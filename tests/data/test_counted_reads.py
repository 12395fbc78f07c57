"""Small files that ask for much work or memory are refused, or read, at little cost."""

import time

import numpy as np
import pytest
from made_bombs import BOMBS
from made_hostile import textured, whole_dicoms
from PIL import Image

from fewshot_cxr.data import read_gray
from fewshot_cxr.data.dicom_header import read_header
from fewshot_cxr.data.plain_file import MOST_READS, TOO_MANY_PARTS, CountedBytes
from fewshot_cxr.records import Record

resource = pytest.importorskip("resource", reason="POSIX only")
SECONDS, MEGABYTES = 2, 500  # the promise of docs/reliability.md
# Each of them is read to its end elsewhere: here the work ends after so many parts.
OF_MANY_PARTS = ("chunks.png", "comment.pgm", "directories.tif", "fragments.dcm", "private.dcm", "segments.jpg")


def _refusal(read, path):
    try:
        read(path)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(tmp_path, name):
    (tmp_path / name).write_bytes(BOMBS[name]())
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = _refusal(read_gray, tmp_path / name)
    assert "\n" not in found
    assert time.process_time() - begun < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES
    if name in OF_MANY_PARTS:
        assert found == TOO_MANY_PARTS


@pytest.mark.parametrize("name", ["private.dcm", "deflated_bomb.dcm", "items.dcm"])
def test_a_header_costs_little(tmp_path, name):
    (tmp_path / name).write_bytes(BOMBS[name]())
    begun = time.process_time()
    found = _refusal(lambda path: read_header(path, Record(name, ("x",)), salt=bytes(16)), tmp_path / name)
    assert found in ("", TOO_MANY_PARTS)
    assert time.process_time() - begun < SECONDS


def test_reads_are_counted():
    stream = CountedBytes(b"abc")
    for _ in range(MOST_READS):
        stream.seek(0)
        assert stream.read(1) == b"a"
    with pytest.raises(OSError, match=TOO_MANY_PARTS):
        stream.read(1)


def test_a_film_asks_for_few_reads(tmp_path, monkeypatch):
    monkeypatch.setattr("fewshot_cxr.data.plain_file.MOST_READS", 300)
    Image.fromarray(textured(900, 1000)).save(tmp_path / "film.png")
    assert read_gray(tmp_path / "film.png").shape == (900, 1000)
    for name, content in whole_dicoms().items():
        (tmp_path / name).write_bytes(content)
        assert np.ptp(read_gray(tmp_path / name)) > 100
