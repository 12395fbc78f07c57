import csv
import hashlib
import hmac
import logging
import struct
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from made_dicom import NAME, NUMBER, content_of, dataset, encapsulated, jpeg, lossless_jpeg
from PIL import Image
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sr import codes
from pydicom.sr._snomed_dict import mapping as SNOMED_RT
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from fewshot_cxr.data import dicom_kind, read_gray
from fewshot_cxr.data.dicom import decode_dicom, is_dicom
from fewshot_cxr.data.dicom_header import read_header
from fewshot_cxr.data.film import LATERAL
from fewshot_cxr.records import Record

SALT = bytes(range(16))
FILM = Record("film.dcm", ("x",))


def shown(pixels, **options):
    return decode_dicom(content_of(dataset(pixels, **options))).gray


def lut(entries, first, bits):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = [int(entry) for entry in entries]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item["LUTData"].VR = "US"
    return [item]


@pytest.fixture
def film():
    """8 bits, with black and white in it."""
    gray = np.random.default_rng(0).integers(0, 256, (33, 40), dtype=np.uint8)
    gray[0, :2] = 0, 255
    return gray


@pytest.fixture
def deep(film):
    """The same film in 12 bits."""
    return film.astype(np.uint16) * 16 + 7


# What is shown.


def test_8_bit_values_stay_as_they_are(film):
    dim = film // 8 + 30
    assert np.array_equal(shown(dim), dim)
    assert np.array_equal(shown(dim, PhotometricInterpretation="MONOCHROME1"), 255 - dim)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_same_film_as_dicom_and_as_16_bit_png(tmp_path, film, bits):
    stored = film.astype(np.uint16) << (bits - 8)
    Image.fromarray(stored).save(tmp_path / "film.png")
    difference = read_gray(tmp_path / "film.png").astype(int) - shown(stored, bits=bits)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("where", [0, 500, 60000])
def test_a_film_in_a_small_part_of_its_range_is_not_flat(film, where):
    assert np.array_equal(shown(film.astype(np.uint16) + where, bits=16), film)


def test_a_constant_film_is_shown():
    assert np.unique(shown(np.full((4, 5), 200, np.uint8))).tolist() == [200]
    assert np.unique(shown(np.full((4, 5), 3000, np.uint16), bits=12)).tolist() == [0]
    assert np.unique(shown(np.full((4, 5), -3, np.int16))).tolist() == [0]


def test_signed_values_with_rescale(deep, film):
    signed = deep.astype(np.int16) - 2048
    expected = np.rint((deep - 7.0) / (255 * 16) * 255)
    assert np.array_equal(shown(signed, bits=12), expected)  # from -2041 to 2039: from black to white
    moved = shown(signed, bits=12, RescaleSlope=1, RescaleIntercept=2048)
    assert np.abs(moved.astype(int) - film).max() <= 1


def test_a_negative_slope_turns_the_film_over(deep):
    plain, turned = shown(deep, bits=12), shown(deep, bits=12, RescaleSlope=-1, RescaleIntercept=4095)
    assert np.abs(255 - plain.astype(int) - turned).max() <= 1


def slow_window(value, center, width, function="LINEAR"):
    """PS3.3, C.11.2.1.2 and C.11.2.1.3, word by word, from 0 to 255."""
    if function == "SIGMOID":
        return 127.5 * (1 + np.tanh(2 * (value - center) / width))
    if function == "LINEAR_EXACT":
        if value <= center - width / 2:
            return 0
        return 255 if value > center + width / 2 else ((value - center) / width + 0.5) * 255
    if value <= center - 0.5 - (width - 1) / 2:
        return 0
    return 255 if value > center - 0.5 + (width - 1) / 2 else ((value - (center - 0.5)) / (width - 1) + 0.5) * 255


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(900, 1000), (2048, 4096), (1000.5, 3), (1000, 1)])
def test_windows_are_those_of_the_standard(deep, function, center, width):
    found = shown(deep, bits=12, WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    expected = np.vectorize(slow_window, otypes=[float])(deep.astype(float), center, width, function or "LINEAR")
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


def test_the_first_of_several_windows_counts(deep):
    one = shown(deep, bits=12, WindowCenter=900, WindowWidth=1000)
    assert np.array_equal(shown(deep, bits=12, WindowCenter=[900, 2000], WindowWidth=[1000, 50]), one)


def test_the_window_is_in_rescaled_units(deep):
    one = shown(deep, bits=12, WindowCenter=900, WindowWidth=1000)
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    assert np.array_equal(shown(deep, bits=12, WindowCenter=775.5, WindowWidth=1999, **rescaled), one)


@pytest.mark.parametrize(("center", "width"), [(900, 0), (900, None), (None, 1000), (900, -5)])
def test_a_window_of_no_width_counts_as_none(deep, center, width):
    assert np.array_equal(shown(deep, bits=12, WindowCenter=center, WindowWidth=width), shown(deep, bits=12))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_voi_lut_goes_before_the_window(deep, syntax):
    entries = np.rint(4095 * (np.arange(3000) / 2999) ** 2).astype(int)
    found = shown(deep, bits=12, syntax=syntax, VOILUTSequence=lut(entries, 500, 12), WindowCenter=900, WindowWidth=10)
    expected = entries[np.clip(deep.astype(int) - 500, 0, 2999)] / 4095 * 255
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


def test_a_voi_lut_that_begins_below_0(deep):
    signed = deep.astype(np.int16) - 2048
    found = shown(signed, bits=12, VOILUTSequence=lut(range(4096), -2048, 12))
    assert np.abs(found - deep / 4095 * 255).max() <= 0.5 + 1e-6


def test_a_voi_lut_that_begins_below_0_by_a_rescale(deep):
    items = lut(range(4096), 2**16 - 1024, 12)  # -1024, as it is read where the header states no kind of number
    found = shown(deep, bits=12, VOILUTSequence=items, RescaleSlope=1, RescaleIntercept=-1024)
    assert np.abs(found - deep / 4095 * 255).max() <= 0.5 + 1e-6


def test_a_modality_lut_goes_before_the_window(deep):
    entries = np.arange(4096)[::-1]
    found = shown(deep, bits=12, ModalityLUTSequence=lut(entries, 0, 16), WindowCenter=900, WindowWidth=1000)
    assert np.array_equal(found, shown(4095 - deep, bits=12, WindowCenter=900, WindowWidth=1000))


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 900, "WindowWidth": 1000}])
@pytest.mark.parametrize(
    ("photometric", "shape", "is_turned"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),  # as the standard wants it: once, not twice
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_inversion_happens_once(deep, window, photometric, shape, is_turned):
    plain = shown(deep, bits=12, **window)
    found = shown(deep, bits=12, PhotometricInterpretation=photometric, PresentationLUTShape=shape, **window)
    assert np.array_equal(found, 255 - plain if is_turned else plain)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("padding", "limit", "last"), [(65535, None, 65535), (65535, 60000, 60000), (60000, 65535, 60000)]
)
def test_padding_is_black_and_no_part_of_the_range(film, photometric, padding, limit, last):
    padded = film.astype(np.uint16) + 1000
    plain = shown(padded, bits=16, PhotometricInterpretation=photometric)
    padded[5:7] = padding
    padded[7] = last
    found = shown(
        padded,
        bits=16,
        PhotometricInterpretation=photometric,
        PixelPaddingValue=padding,
        PixelPaddingRangeLimit=limit,
    )
    assert not found[5:8].any()
    assert np.array_equal(np.delete(found, range(5, 8), 0), np.delete(plain, range(5, 8), 0))


def test_padding_of_signed_values_is_in_stored_values(film):
    padded = film.astype(np.int16)
    padded[3] = -2000
    found = shown(padded, PixelPaddingValue=-2000, RescaleSlope=1, RescaleIntercept=-1024)
    assert not found[3].any()
    assert np.array_equal(np.delete(found, 3, 0), np.delete(film, 3, 0))


@pytest.mark.parametrize("limit", [None, 2**16 - 1990])
def test_padding_of_signed_values_may_be_written_without_a_sign(film, limit):
    padded = film.astype(np.int16)
    padded[3] = -2000
    header = dataset(padded)
    header.add_new("PixelPaddingValue", "US", 2**16 - 2000)
    if limit is not None:
        header.add_new("PixelPaddingRangeLimit", "US", limit)
    found = decode_dicom(content_of(header)).gray
    assert not found[3].any()
    assert np.array_equal(np.delete(found, 3, 0), np.delete(film, 3, 0))


def test_nothing_but_padding_is_black():
    assert not shown(np.full((4, 5), 9, np.uint16), PixelPaddingValue=9).any()


def test_bits_above_those_stored_are_no_part_of_the_value(deep):
    overlay = deep | np.where(np.arange(40) % 2, 0x1000, 0).astype(np.uint16)
    assert np.array_equal(shown(overlay, bits=12), shown(deep, bits=12))


# In which forms it is found.


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_uncompressed_syntaxes(film, syntax, dtype):
    stored = film.astype(dtype) * (1 if dtype == np.uint8 else 16)
    assert np.abs(shown(stored, syntax=syntax, bits=None if dtype == np.uint8 else 13).astype(int) - film).max() <= 1


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("has_meta", [False, True])
def test_without_preamble(tmp_path, deep, syntax, has_meta):
    header = dataset(deep, bits=12, syntax=syntax)
    expected = decode_dicom(content_of(header)).gray
    (tmp_path / "film.bin").write_bytes(_bare(header, has_meta))
    assert np.array_equal(read_gray(tmp_path / "film.bin"), expected)


def _bare(header, has_meta):
    content = content_of(header)
    return content[132 if has_meta else 144 + struct.unpack("<I", content[140:144])[0] :]


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("kind", ["8", "12", "16", "signed", "rgb"])
def test_lossless_compression_gives_the_same_film(film, deep, syntax, kind):
    pixels, bits = {
        "8": (film, 8),
        "12": (deep, 12),
        "16": (film.astype(np.uint16) * 257, 16),
        "signed": (deep.astype(np.int16) - 2048, 12),
        "rgb": (np.stack([film, film.T.copy().reshape(film.shape), 255 - film], -1), 8),
    }[kind]
    header = dataset(pixels, bits=bits, PhotometricInterpretation="MONOCHROME1" if pixels.ndim == 2 else "RGB")
    expected = decode_dicom(content_of(header)).gray
    header.compress(syntax, generate_instance_uid=False)
    assert np.array_equal(decode_dicom(content_of(header)).gray, expected)


def test_lossy_jpeg_2000(film):
    smooth = np.sort(film, axis=1)
    header = dataset(smooth)
    header.compress(JPEG2000, j2k_cr=[4], generate_instance_uid=False)
    assert np.corrcoef(decode_dicom(content_of(header)).gray.ravel(), smooth.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_jpeg_baseline(film, photometric):
    smooth = np.sort(film, axis=1)
    content = encapsulated(jpeg(smooth), smooth, JPEGBaseline8Bit, PhotometricInterpretation=photometric)
    sign = 1 if photometric == "MONOCHROME2" else -1
    assert sign * np.corrcoef(decode_dicom(content).gray.ravel(), smooth.ravel())[0, 1] > 0.99


def test_jpeg_baseline_in_colour(film):
    smooth = np.stack([np.sort(film, axis=1)] * 3, -1)
    content = encapsulated(jpeg(smooth), smooth, JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422")
    assert np.abs(decode_dicom(content).gray.astype(int) - smooth[..., 0]).max() < 40


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg(film, bits):
    pixels = film.astype(np.uint8 if bits == 8 else np.uint16) << (bits - 8)
    content = encapsulated(lossless_jpeg(pixels, bits), pixels, JPEGLosslessSV1, bits=bits)
    assert np.array_equal(decode_dicom(content).gray, shown(pixels, bits=bits))


def test_colour_is_pillows_luma(film):
    colours = np.stack([film, film[::-1], film[:, ::-1]], -1)
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    assert np.array_equal(shown(colours), expected)
    planes = dataset(colours, PlanarConfiguration=1, PixelData=colours.transpose(2, 0, 1).tobytes())
    assert np.array_equal(decode_dicom(content_of(planes)).gray, expected)
    ybr = np.asarray(Image.fromarray(colours).convert("YCbCr"))
    assert np.abs(shown(ybr, PhotometricInterpretation="YBR_FULL").astype(int) - expected).max() <= 2


@pytest.mark.parametrize("depth", [8, 16])
def test_a_palette_is_looked_up(film, depth):
    palette = np.random.default_rng(1).permutation(256).astype(np.uint8)
    entries = palette if depth == 8 else palette.astype("<u2") * 257
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, depth]
        elements[f"{colour}PaletteColorLookupTableData"] = entries.tobytes()
    assert np.array_equal(shown(film, **elements), palette[film])


def test_real_files(fscxr_data):
    folder = fscxr_data / "layouts" / "dicom"
    with (folder / "EXPECTED.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    for row in rows:
        if row["expect"] in ("clear-error", "skip"):
            with pytest.raises(OSError, match="."):
                read_gray(folder / row["file"])
            continue
        gray, reference = Image.fromarray(read_gray(folder / row["file"])), Image.open(folder / row["reference"])
        pixels = np.asarray(gray if gray.size == reference.size else gray.resize(reference.size, Image.Resampling.BOX))
        correlation = np.corrcoef(pixels.ravel(), np.asarray(reference).ravel())[0, 1]
        least = 0.99 if "JPEG Baseline" in row["transfer_syntax"] else 0.999
        assert correlation * (-1 if row["expect"] == "ok-other" else 1) >= least, row["file"]


def raw(header, tag, vr, value):
    """Put in an element as some machine wrote it, past pydicom's own checks."""
    value += b" " * (len(value) % 2)
    header._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    return header


TAGS = {
    "WindowCenter": 0x00281050,
    "WindowWidth": 0x00281051,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "NumberOfFrames": 0x00280008,
}


@pytest.mark.parametrize("name", TAGS)
@pytest.mark.parametrize("value", [b"", b"NaN", b"n/a", b"DOE^JANE", b"1;5", b"\xff\xfe"])
def test_an_odd_element_counts_as_absent_and_is_named(deep, name, value):
    window = {"WindowCenter": "2048", "WindowWidth": "4096"} if name.startswith("Window") else {}
    header = raw(dataset(deep, bits=12, **window), TAGS[name], "IS" if name == "NumberOfFrames" else "DS", value)
    film = decode_dicom(content_of(header))
    assert np.array_equal(film.gray, shown(deep, bits=12))
    told = f"{name} is no number and counts as absent"
    assert film.facts.notes == (() if value == b"" or name == "NumberOfFrames" else (told,))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_decimal_comma_is_a_point(deep, syntax):
    header = raw(dataset(deep, bits=12, syntax=syntax, WindowWidth="1000"), TAGS["WindowCenter"], "DS", b"900,5\\7,5")
    film = decode_dicom(content_of(raw(header, TAGS["RescaleSlope"], "DS", b"1,0")))
    assert np.array_equal(film.gray, shown(deep, bits=12, WindowCenter=900.5, WindowWidth=1000))
    assert film.facts.notes == tuple(
        f"{name} has a decimal comma, which is read as a point" for name in ("RescaleSlope", "WindowCenter")
    )


@pytest.mark.parametrize(
    ("elements", "note"),
    [
        ({"RescaleSlope": 0}, "RescaleSlope is 0"),
        ({"WindowCenter": 900, "WindowWidth": 0}, "WindowWidth is too small for a window"),
        ({"VOILUTSequence": [Dataset()]}, "VOILUTSequence holds no table"),
        ({"ModalityLUTSequence": [Dataset()]}, "ModalityLUTSequence holds no table"),
    ],
)
def test_elements_that_cannot_be(deep, elements, note):
    film = decode_dicom(content_of(dataset(deep, bits=12, **elements)))
    assert np.array_equal(film.gray, shown(deep, bits=12))
    assert film.facts.notes == (f"{note} and counts as absent",)


def test_an_unknown_voi_function_is_linear(deep):
    window = {"WindowCenter": 900, "WindowWidth": 1000}
    film = decode_dicom(content_of(dataset(deep, bits=12, VOILUTFunction="CUBIC", **window)))
    assert np.array_equal(film.gray, shown(deep, bits=12, **window))
    assert film.facts.notes == ("VOILUTFunction is none of the standard's and counts as absent",)


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(
    ("entries", "bits", "white"),
    [
        (np.arange(4096), 12, 4095),
        (np.arange(4096), 16, 4095),  # as Agfa writes it
        (np.arange(4096) * 10, 16, 65535),
        (np.arange(4096) // 16, 8, 255),
        (np.arange(4096), 8, 4095),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_range_of_a_lut_is_that_of_its_table(deep, sequence, entries, bits, white, photometric):
    dim = deep // 4
    marked = dim.copy()
    marked[0, 0] = 4095
    options = {"bits": 12, sequence: lut(entries, 0, bits), "PhotometricInterpretation": photometric}
    expected = entries[dim] / white * 255
    for stored in (dim, marked):
        found = shown(stored, **options).astype(int)
        found = 255 - found if photometric == "MONOCHROME1" else found
        assert np.abs(found - expected)[1:].max() <= 0.5 + 1e-6


@pytest.mark.parametrize("n_bytes", [1, 2, 126, 2640, 9999])
def test_padding_after_the_pixels(deep, n_bytes):
    data = deep.astype("<u2").tobytes() + b"\7" * (n_bytes + n_bytes % 2)
    assert np.array_equal(shown(deep, bits=12, PixelData=data), shown(deep, bits=12))


def test_a_named_depth_holds_for_a_deep_film_that_states_no_range(tmp_path, deep):
    (tmp_path / "film.dcm").write_bytes(content_of(dataset(deep // 8, bits=12)))
    assert np.array_equal(read_gray(tmp_path / "film.dcm", bit_depth=12), np.rint((deep // 8) / 4095 * 255))
    with pytest.raises(OSError, match=r"its maximum 510 needs more than 8 bits; name a larger --bit-depth"):
        read_gray(tmp_path / "film.dcm", bit_depth=8)
    content = content_of(dataset(deep, bits=12, WindowCenter=900, WindowWidth=1000))
    assert np.array_equal(decode_dicom(content, bit_depth=16).gray, decode_dicom(content).gray)


# What is refused.


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"Modality": "CT"}, "its modality is CT, computed tomography"),
        ({"Modality": "op"}, "its modality is OP, a photograph of the eye"),
        ({"Modality": "SEG", "BodyPartExamined": "CHEST"}, "its modality is SEG, a segmentation"),
        ({"Modality": "DX", "BodyPartExamined": "HAND"}, "its body part is HAND"),
        ({"BodyPartExamined": "skull"}, "its body part is SKULL"),
        ({"Modality": "CR", "BodyPartExamined": "CHEST"}, ""),
        ({"Modality": "DX", "BodyPartExamined": "CHEST ABDOMEN"}, ""),
        ({"Modality": "RF", "BodyPartExamined": "THORAX"}, ""),
        ({"Modality": "OT"}, ""),
        ({"Modality": "", "BodyPartExamined": NAME}, ""),
        ({}, ""),
    ],
)
def test_what_is_no_chest_film(write, elements, told):
    path = write(**elements)
    facts = decode_dicom(path.read_bytes()).facts
    assert facts.stranger == (told and f"no chest X-ray: {told}")
    if not told:
        assert "any_modality" not in read_header(path, FILM, salt=SALT).attributes
        return
    with pytest.raises(OSError, match=f"^no chest X-ray: {told}; --any-modality takes it$"):
        read_header(path, FILM, salt=SALT)
    assert read_header(path, FILM, salt=SALT, any_modality=True).attributes == {"any_modality": facts.stranger}


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"Modality": "ZZ"}, ["the modality in the header is none that is known"]),
        (
            {"Modality": "DX", "BodyPartExamined": "SHOULDER"},
            ["no word of the body part in the header means the chest"],
        ),
        ({"Modality": "CR", "BodyPartExamined": "TORAX PA"}, []),
        ({"Modality": "CT"}, []),
        ({}, []),
    ],
)
def test_what_may_be_no_chest_film_is_noted(write, elements, told):
    notes = decode_dicom(write(**elements).read_bytes()).facts.notes
    assert [note.partition(";")[0] for note in notes] == told


VIEWS = dict.fromkeys(("LL", "lateral", "LLAT", "LEFT LATERAL", "Lateral left"), True)
VIEWS |= dict.fromkeys(("PA", "LLD", "LEFT LATERAL DECUBITUS", "AP LORDOTIC"), False)


@pytest.mark.parametrize(("view", "is_lateral"), VIEWS.items())
def test_a_lateral_view_is_noted(write, view, is_lateral):
    facts = decode_dicom(write(ViewPosition=view).read_bytes()).facts
    assert facts.notes == ((LATERAL,) if is_lateral else ())


def refusal(content):
    with pytest.raises(OSError, match=".") as caught:
        decode_dicom(content)
    message = str(caught.value)
    assert NAME not in message
    assert NUMBER not in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


def test_two_frames(deep):
    message = refusal(content_of(dataset(np.stack([deep, deep]), bits=12, NumberOfFrames=2)))
    assert message == "holds 2 frames; a film is one: save each frame as its own file"


def test_no_pixels(deep):
    header = dataset(deep, bits=12)
    del header.PixelData
    assert refusal(content_of(header)) == "holds no pixel data, or is cut short"
    del header.Rows
    assert "its header has no Rows and Columns" in refusal(content_of(header))


def test_not_a_dicom(tmp_path, film):
    assert refusal(b"nothing of the kind" * 20) == "not a DICOM"
    Image.fromarray(film).save(tmp_path / "film.dcm", format="PNG")
    with pytest.raises(OSError, match=r"^not a DICOM, though its name says so$"):
        read_gray(tmp_path / "film.dcm")


def test_cut_short(deep):
    whole = content_of(dataset(deep, bits=12))
    assert "cut short" in refusal(whole[:-100])
    for share in (0.1, 0.2, 0.25, 0.5, 0.9):
        refusal(whole[: int(len(whole) * share)])
    compressed = dataset(deep, bits=12)
    compressed.compress(RLELossless, generate_instance_uid=False)
    assert "cut short" in refusal(content_of(compressed)[:-100])


@pytest.mark.parametrize(("n_bytes", "state"), [(2638, "cut short"), (2, "cut short")])
def test_pixel_data_of_another_length_than_the_size_says(deep, n_bytes, state):
    message = refusal(content_of(dataset(deep, bits=12, PixelData=b"\1" * n_bytes)))
    assert message == f"{state}: 40 x 33 pixels need 2640 bytes of pixel data, there are {n_bytes}"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGBaseline8Bit])
def test_a_bomb_is_refused_before_it_goes_off(film, syntax):
    if syntax.is_encapsulated:
        content = encapsulated(jpeg(film), film, syntax, Rows=65535, Columns=65535)
    else:
        content = content_of(dataset(film, Rows=65535, Columns=65535))
    decode_dicom(content_of(dataset(film)))  # plug-ins are loaded
    tracemalloc.start()
    message = refusal(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message == "the picture, 65535 x 65535 pixels, is too large to be a film"
    assert peak < 2e6


def test_the_limit_is_that_of_pictures(film, monkeypatch):
    content = content_of(dataset(np.stack([film] * 3, -1)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", film.size * 3)
    decode_dicom(content)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", film.size * 3 - 1)
    assert "too large to be a film" in refusal(content)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_of_another_size_than_the_header_says(film, syntax):
    header = dataset(np.zeros((500, 400), np.uint8))
    if syntax == JPEGBaseline8Bit:
        content = encapsulated(jpeg(np.zeros((500, 400), np.uint8)), film, syntax)
    else:
        header.compress(syntax, generate_instance_uid=False)
        header.Rows, header.Columns = film.shape
        content = content_of(header)
    assert refusal(content) == "damaged: its compressed picture is not of the size that its header states"


def test_broken_boxes_of_a_jp2_file_are_refused(film):
    endless = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40)  # on which pydicom 3.0 never ends
    message = "damaged: its compressed picture does not begin as its transfer syntax says"
    assert refusal(encapsulated(endless, film, JPEG2000Lossless)) == message
    assert refusal(encapsulated(endless, film, JPEGBaseline8Bit)) == message


def test_a_codestream_in_the_boxes_of_a_jp2_file_is_read(film):
    stream = BytesIO()
    Image.fromarray(film).save(stream, "JPEG2000", irreversible=False)
    assert stream.getvalue()[4:8] == b"jP  "
    assert np.array_equal(decode_dicom(encapsulated(stream.getvalue(), film, JPEG2000Lossless)).gray, film)


def test_no_decoder(film):
    content = encapsulated(b"1234", film, MPEG2MPML)
    assert refusal(content) == (
        "its transfer syntax, MPEG2 Main Profile / Main Level, has no decoder; save it uncompressed"
    )
    unknown = dataset(film)
    unknown.file_meta.TransferSyntaxUID = "1.2.3.4711"
    assert refusal(content_of(unknown, implicit_vr=False, little_endian=True)) == (
        "its transfer syntax, an unknown one, has no decoder; save it uncompressed"
    )


def test_a_deflated_film(tmp_path, deep):
    (tmp_path / "film.dcm").write_bytes(content_of(dataset(deep, bits=12, syntax=DeflatedExplicitVRLittleEndian)))
    assert np.array_equal(read_gray(tmp_path / "film.dcm"), shown(deep, bits=12))
    assert read_header(tmp_path / "film.dcm", FILM, salt=SALT, keep_ids=True).patient_id == NUMBER


def test_a_deflated_bomb_does_not_go_off(film, monkeypatch):
    content = content_of(dataset(film, syntax=DeflatedExplicitVRLittleEndian, PixelData=bytes(10**8)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**5)
    tracemalloc.start()
    assert np.array_equal(decode_dicom(content).gray, np.zeros_like(film))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e7


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"BitsStored": None, "HighBit": None}, "damaged: its header lacks BitsStored"),
        ({"BitsStored": 13, "HighBit": 12}, "contradicts itself: BitsStored is more than BitsAllocated"),
    ],
)
def test_headers_that_make_no_sense(film, elements, message):
    assert refusal(content_of(dataset(film, **elements))).endswith(message)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("high", "shift"), [(3, 0), (15, 0), (15, 4)])
def test_a_high_bit_that_contradicts_is_mended_by_the_values(deep, syntax, high, shift):
    header = dataset(deep << shift, bits=12, syntax=syntax, HighBit=high)
    film = decode_dicom(content_of(header))
    assert np.array_equal(film.gray, shown(deep << shift, bits=16))
    assert film.facts.notes == ("HighBit contradicts BitsStored and counts as absent",)


def test_any_damage_is_an_os_error(deep):
    rng = np.random.default_rng(0)
    packed = dataset(deep, bits=12)
    packed.compress(JPEG2000Lossless, generate_instance_uid=False)
    for whole, last in ((content_of(dataset(deep, bits=12)), 800), (content_of(packed), 3000)):
        for _ in range(100):
            damaged = bytearray(whole)
            for place in rng.integers(132, min(last, len(whole)), 4):
                damaged[place] = rng.integers(0, 256)
            with suppress(OSError):  # some damage is beneath notice
                assert decode_dicom(bytes(damaged)).gray.dtype == np.uint8


def test_what_looks_like_a_dicom(film):
    assert is_dicom(content_of(dataset(film))[:132])
    assert is_dicom(b"\x08\0\x05\0CS\x0a\0")
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0\x10JFIF", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert not is_dicom(head.ljust(132, b"\0"))


def test_no_warning_and_no_filter_is_left(deep, tmp_path, capfd, caplog):
    # pydicom warns of these and writes them to its log, word by word.
    header = dataset(deep, bits=12, StudyDate="the day before yesterday", PatientAge=f"{NAME} 58", WindowCenter=900)
    caplog.clear()
    (tmp_path / "film.dcm").write_bytes(content_of(header))
    before, level = list(warnings.filters), logging.getLogger("pydicom").level
    assert read_header(tmp_path / "film.dcm", FILM, salt=SALT).age_years is None
    with ThreadPoolExecutor(8) as pool:
        films = list(pool.map(read_gray, [tmp_path / "film.dcm"] * 40))
    assert all(np.array_equal(gray, films[0]) for gray in films)
    assert warnings.filters == before
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert logging.getLogger("pydicom").level == level


# What the header says.


@pytest.fixture
def write(tmp_path, film):
    def write_film(**elements):
        (tmp_path / "film.dcm").write_bytes(content_of(dataset(film, **elements)))
        return tmp_path / "film.dcm"

    return write_film


def test_header(write):
    path = write(
        ViewPosition="AP",
        PatientAge="058Y",
        PatientSex="F",
        Manufacturer="ACME",
        Laterality="L",
        InstitutionName="General",
        PatientBirthDate="19600101",
    )
    hidden = hmac.new(SALT, NUMBER.encode(), hashlib.sha256).hexdigest()[:16]
    assert read_header(path, FILM, salt=SALT) == replace(
        FILM,
        view="AP",
        patient_id=hidden,
        source="ACME",
        sex="F",
        age_years=58.0,
        attributes={"laterality": "L"},
    )
    assert read_header(path, FILM, salt=SALT, keep_ids=True).patient_id == NUMBER
    assert read_header(path, FILM, salt=bytes(16)).patient_id != hidden


def test_an_empty_header(write):
    assert read_header(write(PatientID=None), FILM, salt=SALT) == FILM
    assert read_header(write(PatientID=" ", ViewPosition="", PatientAge="", PatientSex="?"), FILM, salt=SALT) == FILM


@pytest.mark.parametrize(
    ("age", "years"),
    [
        *[("006M", 0.5), ("058Y", 58), ("002W", 0.038), ("010D", 0.027), ("18M", 1.5), ("3W", 0.057), ("10D", 0.027)],
        *[("58", 58), ("7", 7), ("45Y", 45), ("5y", 5), ("058 Y", 58), ("58 years", 58), ("6.5", 6.5), ("6,5", 6.5)],
        *[("0Y", 0), ("045J", 45), ("045A", 45), ("999Y", None), ("058X", None), ("old", None), ("-5", None)],
    ],
)
def test_ages(write, age, years):
    assert read_header(write(PatientAge=age), FILM, salt=SALT).age_years == years


def test_an_age_that_cannot_be_read_is_kept_unless_it_may_be_a_name(write):
    assert read_header(write(PatientAge="058X"), FILM, salt=SALT).attributes == {"age_text": "058X"}
    assert read_header(write(PatientAge=NAME), FILM, salt=SALT).attributes == {"age_text": "unreadable"}


@pytest.mark.parametrize(
    ("position", "description", "view"),
    [
        ("pa", "CHEST LATERAL", "PA"),
        (None, "view: PA", "PA"),
        (None, "Thorax p.a.", "PA"),
        (None, "CHEST LAT", "LAT"),
        (None, "W Chest Lat.", "LAT"),
        (None, "CHEST PA & LAT", None),
        (None, "Thorax p.a. und lat.", None),
        (None, "CHEST FRONTAL AND LATERAL", None),
        (None, "Chest lateral", "LATERAL"),
        (None, "W Chest PA/AP", None),
        (None, "PARAVERTEBRAL MAP", None),
        (None, None, None),
    ],
)
def test_views(write, position, description, view):
    assert read_header(write(ViewPosition=position, SeriesDescription=description), FILM, salt=SALT).view == view


@pytest.mark.parametrize(
    ("code", "view"),
    [
        *[("272479007", "PA"), ("399348003", "AP"), ("399173006", "LL"), ("399198007", "RL"), ("399067008", "LATERAL")],
        *[("R-10206", "AP"), ("R-40888", "PA"), ("R-10232", "RL"), ("399110001", None)],
    ],
)
def test_views_that_a_header_codes(write, code, view):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "a view"
    coded = write(ViewPosition=None, ViewCodeSequence=[item])
    assert read_header(coded, FILM, salt=SALT).view == view
    assert read_header(write(ViewPosition="AP", ViewCodeSequence=[item]), FILM, salt=SALT).view == "AP"
    assert read_header(write(ViewPosition=None, ViewCodeSequence=[]), FILM, salt=SALT).view is None


def test_codes_of_views_are_those_of_the_standard():
    ours = {code: view for code, view in dicom_kind._VIEW_OF_CODE.items() if code.isdigit()}
    standard = {codes.cid4010.PosteroAnterior: "PA", codes.cid4010.AnteroPosterior: "AP"}
    standard |= {
        codes.cid4010.LeftLateral: "LL",
        codes.cid4010.RightLateral: "RL",
        codes.cid4010.LateralProjection: "LATERAL",
    }
    assert ours == {code.value: view for code, view in standard.items()}
    for code, view in ours.items():
        assert dicom_kind._VIEW_OF_CODE[SNOMED_RT["SCT"][code]] == view


def test_a_header_needs_no_pixels_and_says_why_it_is_none(write, tmp_path):
    path = write()
    whole = path.read_bytes()
    path.write_bytes(whole[:-500])
    assert read_header(path, FILM, salt=SALT).patient_id
    for content, message in (
        (b"", "the file is empty"),
        (b"\x89PNG", "not a DICOM"),
        (whole[:140], "a DICOM without a picture: its header has no Rows and Columns, or is cut short"),
        (content_of(dataset(np.zeros((2, 4, 4), np.uint8), NumberOfFrames=2)), "holds 2 frames"),
    ):
        path.write_bytes(content)
        with pytest.raises(OSError, match=f"^{message}") as caught:
            read_header(path, FILM, salt=SALT)
        assert NUMBER not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"^the file cannot be opened: No such file"):
        read_header(tmp_path / "gone.dcm", FILM, salt=SALT)


@pytest.mark.parametrize("patient", ["Anonymous", "UNKNOWN", "n/a", "-"])
def test_nobody_is_no_patient(write, patient):
    for keep_ids in (False, True):
        assert read_header(write(PatientID=patient), FILM, salt=SALT, keep_ids=keep_ids).patient_id is None
