"""Small files that ask for much work or memory are refused, or read, at little cost."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

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


@pytest.fixture(scope="module")
def fresh():
    """Processes that read no film before: others' garbage and threads cost time, and memory once used hides more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fewshot_cxr.data", "fewshot_cxr.data.dicom_header", "torch", __name__])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        yield pool


def _header(path):
    return read_header(path, Record(path.name, ("x",)), salt=bytes(16))


def _cost(read, path):
    """Return what reading is refused with ("": it is not), and seconds and megabytes that it took."""
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read(path)
        found = ""
    except (OSError, ValueError) as error:
        found = str(error)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return found, time.process_time() - begun, more / 1024


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(fresh, tmp_path, name):
    (tmp_path / name).write_bytes(BOMBS[name]())
    found, seconds, megabytes = fresh.submit(_cost, read_gray, tmp_path / name).result()
    assert "\n" not in found
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
    if name in OF_MANY_PARTS:
        assert found == TOO_MANY_PARTS


@pytest.mark.parametrize("name", ["private.dcm", "deflated_bomb.dcm", "items.dcm"])
def test_a_header_costs_little(fresh, tmp_path, name):
    (tmp_path / name).write_bytes(BOMBS[name]())
    found, seconds, _ = fresh.submit(_cost, _header, tmp_path / name).result()
    assert found in ("", TOO_MANY_PARTS)
    assert seconds < SECONDS


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
