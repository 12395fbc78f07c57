import csv
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from made_hostile import whole_pictures
from PIL import Image

from fewshot_cxr.data import is_image_name, read_gray
from fewshot_cxr.data.quiet import _setters_of_libtiff


@pytest.fixture
def film():
    gray = np.random.default_rng(0).integers(0, 256, (20, 31), dtype=np.uint8)
    gray[0, 0] = 255
    return gray


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("factor", [257, 256, 64, 16, 4, 1])
def test_deep_file_gives_back_the_8_bit_film(tmp_path, film, suffix, factor):
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(film.astype(np.uint16) * factor).save(path)
    assert np.array_equal(read_gray(path), film)


def test_bit_depth_overrides_and_names_its_flag(tmp_path, film):
    path = tmp_path / "twelve.png"
    Image.fromarray(film.astype(np.uint16) * 16).save(path)
    assert np.array_equal(read_gray(path, bit_depth=16), film >> 4)
    with pytest.raises(ValueError, match=r"4080 needs more than 10 bits.*--bit-depth"):
        read_gray(path, bit_depth=10)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_gray_in_another_mode_is_the_same_film(tmp_path, film, mode):
    path = tmp_path / ("film.tif" if mode == "CMYK" else "film.png")
    Image.fromarray(film).convert("RGB" if mode == "CMYK" else mode).convert(mode).save(path)
    assert np.array_equal(read_gray(path), film)


def test_colour_is_pillows_luma(tmp_path):
    colours = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "c.png")
    assert np.array_equal(read_gray(tmp_path / "c.png"), np.asarray(Image.fromarray(colours).convert("L")))


def test_transparent_lies_on_black(tmp_path, film):
    alpha = np.full_like(film, 128)
    Image.merge("LA", [Image.fromarray(film), Image.fromarray(alpha)]).save(tmp_path / "half.png")
    assert np.abs(read_gray(tmp_path / "half.png").astype(float) - film * (128 / 255)).max() <= 1


def test_one_bit(tmp_path, film):
    Image.fromarray(film > 127).save(tmp_path / "bit.png")
    assert np.array_equal(read_gray(tmp_path / "bit.png"), (film > 127) * np.uint8(255))


def deep_tiff(pixels, orientation):
    """Write uint16 (H, W, 3) as an uncompressed TIFF, which Pillow does not."""
    height, width, _ = pixels.shape
    tags = {256: width, 257: height, 258: 0, 259: 1, 262: 2, 273: 0, 274: orientation, 277: 3, 278: height}
    tags[279] = pixels.nbytes
    depths = 8 + 2 + 12 * len(tags) + 4
    tags |= {258: depths, 273: depths + 6}
    entries = b"".join(
        struct.pack("<HHII", tag, 3 if tag == 258 else 4, 1 + 2 * (tag == 258), tags[tag]) for tag in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    return head + struct.pack("<3H", 16, 16, 16) + pixels.astype("<u2").tobytes()


UPRIGHT = {
    1: lambda film: film,
    2: lambda film: film[:, ::-1],
    3: lambda film: film[::-1, ::-1],
    4: lambda film: film[::-1],
    5: lambda film: film.T,
    6: lambda film: np.rot90(film, -1),
    7: lambda film: film[::-1, ::-1].T,
    8: lambda film: np.rot90(film),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_rotation_of_deep_colour_in_a_tiff_is_undone_once(tmp_path, film, orientation):
    (tmp_path / "turned.tif").write_bytes(
        deep_tiff(np.repeat(film[..., None].astype(np.uint16) * 257, 3, 2), orientation)
    )
    assert np.array_equal(read_gray(tmp_path / "turned.tif"), UPRIGHT[orientation](film))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("tif", {"compression": "tiff_lzw"})])
def test_rotation_is_undone(tmp_path, film, orientation, suffix, options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(film).save(tmp_path / f"turned.{suffix}", exif=exif, **options)
    assert np.array_equal(read_gray(tmp_path / f"turned.{suffix}"), UPRIGHT[orientation](film))


def test_content_decides_not_the_suffix(tmp_path, film):
    Image.fromarray(film).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(read_gray(tmp_path / "a.jpg"), film)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_damaged_files_are_one_plain_sentence(tmp_path, film, suffix):
    Image.fromarray(film).save(tmp_path / f"whole.{suffix}")
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    for name, content in (("cut", whole[: len(whole) * 45 // 100]), ("page", b"<html>404</html>")):
        (tmp_path / f"{name}.{suffix}").write_bytes(content)
        with pytest.raises(OSError, match=r"damaged or cut short|not a picture") as caught:
            read_gray(tmp_path / f"{name}.{suffix}")
        assert "<_io" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_empty_file(tmp_path):
    (tmp_path / "zero.png").touch()
    with pytest.raises(OSError, match=r"^the file is empty$"):
        read_gray(tmp_path / "zero.png")


@pytest.mark.parametrize("limit", [100, 619])
def test_a_bomb_is_an_os_error(tmp_path, film, monkeypatch, limit):
    Image.fromarray(film).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 620)
    assert read_gray(tmp_path / "big.png").shape == (20, 31)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(OSError, match=r"^the picture is too large to be a film$"):
        read_gray(tmp_path / "big.png")


def test_image_names():
    assert all(
        map(is_image_name, ["a.png", "UPPER.JPG", "b.jpeg", "c.TIFF", "space and é.tif", "d.dcm", "e.DICOM", "f.ima"])
    )
    assert not any(
        map(is_image_name, ["._a.png", ".hidden.png", "Thumbs.db", "notes.txt", "png", "DICOMDIR", "._a.dcm"])
    )


def test_awkward_real_files(fscxr_data):
    folder = fscxr_data / "layouts" / "mess"
    reference = read_gray(folder / "reference_gray.png").astype(int)
    with (folder / "EXPECTED.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    for row in rows:
        path = folder / row["file"]
        if row["expect"] == "ok":
            assert np.abs(read_gray(path).astype(int) - reference).mean() < 1.5, row["file"]
        elif row["expect"] == "unreadable":
            with pytest.raises(OSError, match="."):
                read_gray(path)
        elif row["expect"] == "skip":
            assert not is_image_name(row["file"])


def test_white_is_zero_in_16_bits_as_in_8(tmp_path, film):
    for name, pixels in (("8.tif", film), ("16.tif", film.astype(np.uint16) * 257)):
        Image.fromarray(pixels).save(tmp_path / name, tiffinfo={262: 0})
    # Pillow turns 8-bit values over when it writes them so, and again when it reads them; 16-bit ones never.
    assert np.array_equal(read_gray(tmp_path / "8.tif"), film)
    assert np.array_equal(read_gray(tmp_path / "16.tif"), 255 - film)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.array([[0.5, 1]], np.float32), "floating-point pixels have no stated range"),
        (np.array([[np.inf, 1]], np.float32), "floating-point pixels have no stated range"),
        (np.array([[np.nan, 1]], np.float32), "floating-point pixels have no stated range"),
        (np.array([[-5, 7]], np.int32), "pixel values from -5 to 7 do not fit 16 bits"),
        (np.array([[0, 65536]], np.int32), "pixel values from 0 to 65536 do not fit 16 bits"),
    ],
)
def test_values_that_no_film_has(tmp_path, pixels, message):
    Image.fromarray(pixels).save(tmp_path / "odd.tif")
    with pytest.raises(OSError, match=rf"^{message}$"):
        read_gray(tmp_path / "odd.tif")


def test_whole_numbers_in_floating_point_are_taken(tmp_path, film):
    Image.fromarray(film.astype(np.float32) * 16).save(tmp_path / "whole.tif")
    assert np.array_equal(read_gray(tmp_path / "whole.tif"), film)


@pytest.mark.parametrize("bit_depth", [0, 7, 17])
def test_impossible_bit_depths(tmp_path, film, bit_depth):
    Image.fromarray(film).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"^bit_depth must be in 8\.\.16, got {bit_depth}$"):
        read_gray(tmp_path / "a.png", bit_depth=bit_depth)


def test_absent_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^the file cannot be opened: No such file or directory$"):
        read_gray(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OSError, match=r"^the file cannot be opened: "):
        read_gray(tmp_path / "folder.png")


def test_a_postscript_file_under_a_films_name_starts_no_program(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n")
    with pytest.raises(OSError, match="not a picture that can be read"):
        read_gray(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_any_damage_is_an_os_error(tmp_path, film, suffix):
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(film).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 250), 4):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with suppress(OSError):  # some damage is beneath notice
            assert read_gray(path).dtype == np.uint8


def test_threads_leave_the_warning_filters_as_they_were(tmp_path, film):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(film).save(tmp_path / "a.jpg", exif=exif)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_gray, [tmp_path / "a.jpg"] * 200))
    assert warnings.filters == before


def deep_png(path, values, colour_type):
    """Write 16 bits in each channel: W3C PNG, 11.2."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize("factor", [1, 16, 257])
@pytest.mark.parametrize(("colour_type", "n_gray", "has_alpha"), [(2, 3, False), (6, 3, True), (4, 1, True)])
def test_16_bits_in_each_colour_are_read_whole(tmp_path, film, factor, colour_type, n_gray, has_alpha):
    deep = film.astype(np.uint16) * factor
    deep_png(tmp_path / "c.png", np.stack([deep] * n_gray + [np.full_like(deep, 65535)] * has_alpha, -1), colour_type)
    assert np.array_equal(read_gray(tmp_path / "c.png"), film)


def test_16_bit_colours_become_luma_and_lie_on_black(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (9, 7, 4), dtype=np.uint16)
    deep_png(tmp_path / "c.png", values, 6)
    expected = values[..., :3] @ [0.299, 0.587, 0.114] * values[..., 3] / 65535
    assert np.abs(read_gray(tmp_path / "c.png") - expected / 256).max() <= 1
    deep_png(tmp_path / "la.png", values[..., 2:], 4)
    expected = values[..., 2] * (values[..., 3] / 65535)
    assert np.abs(read_gray(tmp_path / "la.png") - expected / 256).max() <= 1


def tiff_16_bit_rgb(values, compression):
    """Write an uncompressed TIFF, little endian, of one strip: TIFF 6.0, section 6."""
    height, width = values.shape[:2]
    data = np.stack([values] * 3, -1).astype("<u2").tobytes()
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8), (259, 3, 1, compression), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 14), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data)), (284, 3, 1, 1)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 14 + len(data)) + struct.pack("<3H", 16, 16, 16) + data + directory


def test_a_tiff_of_16_bit_colours_is_read_whole_or_refused(tmp_path, film):
    (tmp_path / "c.tif").write_bytes(tiff_16_bit_rgb(film.astype(np.uint16) * 16, 1))
    assert np.array_equal(read_gray(tmp_path / "c.tif"), film)
    (tmp_path / "packed.tif").write_bytes(tiff_16_bit_rgb(film.astype(np.uint16) * 16, 8))
    with pytest.raises(
        OSError, match=r"^holds 16 bits in each colour, of which 8 can be read; save it as gray or as PNG$"
    ):
        read_gray(tmp_path / "packed.tif")


LOSSLESS = {"png": "PNG", "bmp": "BMP", "dib": "DIB", "gif": "GIF", "tiff": "TIFF", "jp2": "JPEG2000", "pgm": "PPM"}


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_every_format_gives_the_film(tmp_path, film, suffix):
    path = tmp_path / f"film.{suffix.upper()}"
    Image.fromarray(film).save(path, LOSSLESS[suffix])
    assert is_image_name(path.name)
    assert np.array_equal(read_gray(path), film)


@pytest.mark.parametrize(("suffix", "form"), [("webp", "WEBP"), ("jfif", "JPEG"), ("jpe", "JPEG"), ("jif", "JPEG")])
def test_every_lossy_format_gives_nearly_the_film(tmp_path, film, suffix, form):
    path = tmp_path / f"film.{suffix}"
    smooth = np.sort(film, axis=1)
    Image.fromarray(smooth).save(path, form, quality=98)
    assert is_image_name(path.name)
    assert np.abs(read_gray(path).astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png"])
def test_several_frames_are_no_film(tmp_path, film, suffix):
    frames = [Image.fromarray(film), Image.fromarray(255 - film)]
    frames[0].save(tmp_path / f"two.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(OSError, match=r"^holds 2 frames; a film is one: save each frame as its own file$"):
        read_gray(tmp_path / f"two.{suffix}")


def test_a_smaller_copy_in_a_tiff_is_no_second_film(tmp_path, film):
    small = Image.fromarray(film[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(film).save(tmp_path / "film.tif", save_all=True, append_images=[small])
    assert np.array_equal(read_gray(tmp_path / "film.tif"), film)


def test_libtiff_is_silent_and_speaks_again_after(tmp_path, capfd):
    whole = whole_pictures()["lzw.tif"]
    damaged = whole[:1000] + bytes(2000) + whole[3000:]
    (tmp_path / "film.tif").write_bytes(damaged)
    with pytest.raises(OSError, match="damaged or cut short"):
        read_gray(tmp_path / "film.tif")
    assert capfd.readouterr().err == ""
    with suppress(OSError), Image.open(BytesIO(damaged)) as picture:
        picture.load()
    if _setters_of_libtiff():
        assert "LZW" in capfd.readouterr().err
