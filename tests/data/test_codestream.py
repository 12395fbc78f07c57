"""A picture that is cut short is never taken for a whole one."""

from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from made_dicom import encapsulated, jpeg
from made_hostile import cuts, textured, whole_dicoms, whole_frames, whole_pictures, zero_tails
from PIL import Image

from fewshot_cxr.data import read_gray
from fewshot_cxr.data.dicom import decode_dicom

FRAMES, DICOMS, PICTURES = whole_frames(), whole_dicoms(), whole_pictures()
JPEGS = [codec for codec, (frame, *_) in FRAMES.items() if frame[:2] == b"\xff\xd8" and "LS" not in codec]
# They have neither an end nor a checksum, and every value means some gray.
BARE = {"plain.tif", "gray.bmp", "gray.pgm", "plain.dcm"}


def _n_believed(read, whole, damaged):
    good, n_believed = read(whole), 0
    for content in damaged:
        with suppress(OSError):
            n_believed += not np.array_equal(read(content), good)
    return n_believed


@pytest.mark.parametrize("codec", FRAMES)
def test_a_cut_frame_in_a_whole_dicom(codec):
    frame, pixels, syntax, elements = FRAMES[codec]

    def read(packed):
        return decode_dicom(encapsulated(packed, pixels, syntax, **elements)).gray

    assert _n_believed(read, frame, cuts(frame)) == 0
    if codec != "RLE":  # of which every byte means some gray
        assert _n_believed(read, frame, zero_tails(frame)) == 0
    assert np.array_equal(read(frame + b"\0\0"), read(frame))
    assert np.array_equal(read(frame + bytes(1000)), read(frame))


@pytest.mark.parametrize("codec", JPEGS)
def test_a_cut_frame_with_an_end_marker(codec):
    frame, pixels, syntax, elements = FRAMES[codec]

    def read(packed):
        return _without_last_block(decode_dicom(encapsulated(packed, pixels, syntax, **elements)).gray)

    assert _n_believed(read, frame, (cut + b"\xff\xd9" for cut in cuts(frame))) == 0


@pytest.mark.parametrize("name", DICOMS)
def test_a_cut_dicom(name):
    def read(content):
        return decode_dicom(content).gray

    assert _n_believed(read, DICOMS[name], cuts(DICOMS[name])) == 0
    if name not in BARE:
        assert _n_believed(read, DICOMS[name], zero_tails(DICOMS[name])) == 0


@pytest.mark.parametrize("name", PICTURES)
def test_a_cut_picture(tmp_path, name):
    def read(content):
        (tmp_path / name).write_bytes(content)
        return read_gray(tmp_path / name)

    assert _n_believed(read, PICTURES[name], cuts(PICTURES[name])) == 0
    if name not in BARE:
        assert _n_believed(read, PICTURES[name], zero_tails(PICTURES[name])) == 0


@pytest.mark.parametrize("is_lossless", [False, True])
@pytest.mark.parametrize("n_flat", [1, 7, 30, 50])
def test_a_webp_with_a_flat_end_is_read_and_refused_without_it(tmp_path, n_flat, is_lossless):
    film, stream = textured(), BytesIO()
    film[-n_flat:] = 128
    Image.fromarray(film).save(stream, "WEBP", lossless=is_lossless, quality=90, method=0)
    whole = stream.getvalue()
    (tmp_path / "film.webp").write_bytes(whole)
    assert np.abs(read_gray(tmp_path / "film.webp").astype(int) - film).mean() <= 4
    (tmp_path / "film.webp").write_bytes(whole[: len(whole) // 3] + bytes(len(whole) - len(whole) // 3))
    with pytest.raises(OSError, match="its data ends before its picture does"):
        read_gray(tmp_path / "film.webp")


@pytest.mark.parametrize("name", ["plain.jpg", "progressive.jpg", "restarts.jpg"])
def test_a_cut_jpeg_with_an_end_marker(tmp_path, name):
    def read(content):
        (tmp_path / name).write_bytes(content)
        return _without_last_block(read_gray(tmp_path / name))

    damaged = (cut + b"\xff\xd9" for cut in cuts(PICTURES[name]))
    assert _n_believed(read, PICTURES[name], damaged) == 0


@pytest.mark.parametrize("flat", [0, 128, 255])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}])
def test_a_whole_film_with_a_flat_end_is_read(tmp_path, flat, options):
    film = textured()
    film[20:] = flat
    (tmp_path / "film.jpg").write_bytes(jpeg(film, **options))
    assert np.abs(read_gray(tmp_path / "film.jpg").astype(int) - film)[28:].max() <= 3
    assert decode_dicom(encapsulated(jpeg(film), film, FRAMES["baseline"][2])).gray.shape == film.shape


def _without_last_block(gray):
    """Of which the last bits may be lost in the last byte."""
    gray = gray.copy()
    gray[-(gray.shape[0] % 8 or 8) :, -(gray.shape[1] % 8 or 8) :] = 0
    return gray
