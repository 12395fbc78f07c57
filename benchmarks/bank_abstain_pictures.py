"""The pictures of bank_abstain.py: films and what is none, by kind, with whose they are.

Each kind is divided by a hash of the patient (or of the picture): the weights of `FilmMarks.frontal` were fitted to the
halves that are named "fitted", and the tables show the others alone.
"""

import csv
import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sklearn.datasets
from PIL import Image, ImageDraw

from fewshot_cxr.data import read_gray

KAGGLE = "Coronahack-Chest-XRay-Dataset"
CHILD = ("IM-", "NORMAL2-", "person")  # of a children's hospital in Guangzhou; the others of that set are adults
# Of pydicom's test files, those that show different pictures; RG1 is a frontal film of the chest and left out.
RADIOLOGY = (
    *("693_UNCR", "JPEG-LL", "JPGLosslessP14SV1_1s_1f_8b", "MR-SIEMENS-DICOM-WithOverlays", "MR2_UNCR", "OBXXXX1A"),
    *("RG3_UNCR", "US1_UNCR", "bad_sequence", "color-pl", "explicit_VR-UN", "gdcm-US-ALOKA-16"),
    *("CT_small", "J2K_pixelrep_mismatch", "MR_small"),
)
N_DRAWN, N_CHARACTERS = 40, 80


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture as 8-bit gray, and whose it is."""

    name: str
    patient: str
    gray: np.ndarray


def is_fitted(patient: str) -> bool:
    """Return whether a patient's films are of the half to which weights were fitted."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 2 == 0


def read_kinds(root: Path) -> dict[str, list[Picture]]:
    """Return the pictures of each kind that are there; what is absent is no kind."""
    kinds: dict[str, Callable[[Path], Iterator[Picture]]] = {
        "adults, another source": lambda folder: _ieee(folder, is_lateral=False),
        "children": _children,
        "side views": lambda folder: _ieee(folder, is_lateral=True),
        "CT slices of the chest": _slices,
        "other radiology": _radiology,
        "photographs": _photographs,
        "screens, drawn": lambda _: _screens(None),
        "screens that show a film, drawn": lambda folder: _screens(folder),
        "characters of Omniglot": _characters,
    }
    found = {name: list(read(root)) for name, read in kinds.items()}
    return {name: pictures for name, pictures in found.items() if pictures}


def _ieee(root: Path, *, is_lateral: bool) -> Iterator[Picture]:
    folder = root / "cxr_ieee8023"
    with (folder / "metadata.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            if (row["view"] == "L") == is_lateral and (is_lateral or not is_fitted(row["patient_id"])):
                yield Picture(row["file"], row["patient_id"], read_gray(folder / row["file"]))


def _children(root: Path) -> Iterator[Picture]:
    for path in sorted((root / "layouts" / "coronahack" / KAGGLE / KAGGLE).rglob("*.jpeg")):
        parts = path.name.split("_")[0] if path.name.startswith("person") else path.name.rsplit("-", 1)[0]
        if path.name.startswith(CHILD) and not is_fitted(parts):
            try:
                yield Picture(path.name, parts, read_gray(path))
            except OSError:
                continue  # two of the layout are damaged on purpose


def _slices(root: Path) -> Iterator[Picture]:
    folder = root / "layouts" / "ieee8023"
    with (folder / "metadata.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            path = folder / "images" / row["filename"]
            if row["modality"] == "CT" and path.is_file():
                yield Picture(row["filename"], row["patientid"], read_gray(path))


def _radiology(_: Path) -> Iterator[Picture]:
    for module, below in (("data_store", "data"), ("pydicom", "data/test_files")):
        for folder in _folders(module, below):
            for path in sorted(folder.glob("*.dcm")):
                if path.stem in RADIOLOGY:
                    yield Picture(path.stem, path.stem, read_gray(path))


def _photographs(_: Path) -> Iterator[Picture]:
    for folder in (Path(sklearn.datasets.__file__).parent / "images", *_folders("skimage", "data")):
        for path in sorted(folder.glob("*.*g")):
            if path.suffix in (".jpg", ".png") and not is_fitted(path.name):
                yield Picture(path.name, path.name, read_gray(path))


def _folders(module: str, below: str) -> list[Path]:
    found = importlib.util.find_spec(module)
    places = [] if found is None else found.submodule_search_locations or []
    return [folder for folder in (Path(place) / below for place in places) if folder.is_dir()]


def _characters(root: Path) -> Iterator[Picture]:
    path = root / "omniglot" / "images_evaluation.rezipped.zip"
    if path.is_file():
        with zipfile.ZipFile(path) as packed:
            names = sorted(name for name in packed.namelist() if name.endswith(".png"))
            for name in sorted(np.random.default_rng(0).choice(names, N_CHARACTERS, replace=False)):
                gray = np.asarray(Image.open(io.BytesIO(packed.read(name))).convert("L"))
                yield Picture(name, name.rsplit("/", 1)[0], gray)


def _screens(root: Path | None) -> Iterator[Picture]:
    """Draw windows with text and bars; with a folder, of a viewer that shows one of its films."""
    numbers = np.random.default_rng(0 if root is None else 1)
    films = sorted((root / "cxr3" / "normal").glob("*.jpg")) if root else []
    for number in range(N_DRAWN):
        paper, ink = ((250, 10), (20, 230))[number % 2]
        width, height = (int(numbers.integers(low, 2 * low)) for low in (500, 400))
        screen = Image.new("L", (width, height), paper)
        pen = ImageDraw.Draw(screen)
        pen.rectangle((0, 0, width, 30), fill=(paper + ink) // 2)
        for line in range(int(numbers.integers(10, 40))):
            pen.text((int(numbers.integers(10, 60)), 40 + 14 * line), _words(numbers), fill=ink)
        if films:
            film = Image.fromarray(read_gray(films[int(numbers.integers(len(films)))]))
            side = int(height * numbers.uniform(0.7, 0.95))
            screen.paste(film.resize((side, side)), (width - side - 5, 32))
        yield Picture(f"screen {number}", f"screen {number}", np.asarray(screen))


def _words(numbers: np.random.Generator) -> str:
    return " ".join("x" * int(length) for length in numbers.integers(1, 10, int(numbers.integers(2, 12))))
