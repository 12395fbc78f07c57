"""Where the GPL decoder is left out, what it alone can read is named, and everything else is read."""

import subprocess
import sys

import numpy as np
import pytest
from made_dicom import content_of, dataset, encapsulated, jpeg, lossless_jpeg
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from fewshot_cxr.data.dicom import decode_dicom

# As if pylibjpeg-libjpeg had never been installed: neither its module nor its entry points are there.
READ = """
import importlib.metadata, sys
from pathlib import Path
sys.modules["libjpeg"] = None
found = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **asked: [one for one in found(**asked) if "libjpeg" not in one.value]
import numpy as np
from fewshot_cxr.data import read_gray
for file in sorted(Path(sys.argv[1]).glob("*.dcm")):
    try:
        np.save(file.with_suffix(".npy"), read_gray(file))
    except (OSError, ValueError) as error:
        print(file.stem, error)
"""


@pytest.fixture(scope="module")
def films():
    gray = np.sort(np.random.default_rng(0).integers(0, 256, (32, 40), dtype=np.uint8), axis=1)
    colour = np.stack([gray] * 3, -1)
    made = {
        "baseline": encapsulated(jpeg(gray), gray, JPEGBaseline8Bit),
        "baseline_colour": encapsulated(
            jpeg(colour), colour, JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"
        ),
        "extended": encapsulated(jpeg(gray), gray, JPEGExtended12Bit),
        "extended_12": encapsulated(jpeg(gray), gray.astype(np.uint16), JPEGExtended12Bit, bits=12),
        "lossless": encapsulated(lossless_jpeg(gray, 8), gray, JPEGLosslessSV1),
    }
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        header = dataset(gray)
        header.compress(syntax, generate_instance_uid=False)
        made[syntax.keyword] = content_of(header)
    plain = ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian
    made |= {syntax.keyword: content_of(dataset(gray, syntax=syntax)) for syntax in plain}
    return made


@pytest.mark.slow
def test_all_but_lossless_and_12_bit_jpeg_is_read_alike(films, tmp_path):
    for name, content in films.items():
        (tmp_path / f"{name}.dcm").write_bytes(content)
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=True)
    refused = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert sorted(refused) == ["extended_12", "lossless"]
    assert all(reason.endswith("has no decoder; save it uncompressed") for reason in refused.values())
    for name in films.keys() - refused:
        alike = np.abs(np.load(tmp_path / f"{name}.npy").astype(int) - decode_dicom(films[name]).gray)
        assert alike.max() <= (2 if name in ("baseline_colour", "extended") else 0), name  # another decoder rounds
