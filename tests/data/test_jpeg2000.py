"""Blocks of a JPEG 2000 are counted before anything is decoded."""

from io import BytesIO

import numpy as np
import pytest
from made_bombs import jpeg_2000
from made_hostile import textured
from PIL import Image

from fewshot_cxr.data import read_gray
from fewshot_cxr.data.jpeg2000 import check_blocks


@pytest.mark.parametrize(
    "options",
    [{}, {"precinct_size": (64, 64)}, {"tile_size": (128, 128)}, {"codeblock_size": (4, 4)}, {"no_jp2": True}],
)
def test_what_encoders_make_is_read(tmp_path, options):
    film = textured(300, 400)
    Image.fromarray(film).save(tmp_path / "film.jp2", "JPEG2000", irreversible=False, **options)
    assert np.array_equal(read_gray(tmp_path / "film.jp2"), film)


def test_blocks_are_those_of_the_standard():
    stream = BytesIO()
    Image.fromarray(textured(1000, 1200)).save(stream, "JPEG2000")
    check_blocks(stream.getvalue())
    with pytest.raises(OSError, match="cut into 134,909,475 blocks; a film has about 10,000"):
        check_blocks(jpeg_2000(9_000, 1))
    check_blocks(jpeg_2000(9_000, 15, code_block=3))
    with pytest.raises(OSError, match="cut into"):
        check_blocks(jpeg_2000(9_000, 15))
    with pytest.raises(OSError, match="its JPEG 2000 header is damaged"):
        check_blocks(jpeg_2000(0, 1)[:30])
