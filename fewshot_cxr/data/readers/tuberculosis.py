"""The tuberculosis sets of Montgomery County and of Shenzhen: the label in the name, age and sex in a text file.

Source: Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary diseases", 2014,
doi:10.3978/j.issn.2223-4292.2014.11.20.
"""

import re
from collections.abc import Callable
from pathlib import Path

from fewshot_cxr.data.readers.chexpert_labels import sex_of
from fewshot_cxr.data.readers.drawn_masks import FOLDER, lost_note, union_of, write_mask
from fewshot_cxr.data.readers.gathering import Gathering, wrong_root
from fewshot_cxr.records import Record, Records

FINDINGS = {"0": "normal", "1": "tuberculosis"}
_FILMS, _READINGS = "CXR_png", "ClinicalReadings"
_SIDES = ("ManualMask/leftMask", "ManualMask/rightMask")
_SEX = re.compile(r"\b(female|male|f|m)\b", re.IGNORECASE)
_AGE = re.compile(r"\b(\d{1,3})\s*-?\s*(y|m|w|d)", re.IGNORECASE)  # 027Y, 45yrs, 3month
_PER_YEAR = {"y": 1.0, "m": 12.0, "w": 365.25 / 7, "d": 365.25}
_MaskOf = Callable[[Path, str], str | None]


def read_montgomery(root: str | Path, *, write_masks: bool = False) -> Records:
    """Read the Montgomery County set: 138 films, each with a mask of the left and of the right lung.

    Args:
        root: MontgomerySet, or the folder above it.
        write_masks: write both lungs of a film as one PNG file, into the folder fscxr-masks.

    Returns:
        Films by name, normal or tuberculosis; `mask_path` is set where masks are written.

    Raises:
        FileNotFoundError: no such folder, or no film.
        OSError: a mask cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("CXR_png", "ClinicalReadings"):
        ...         Path(folder, name).mkdir()
        ...     n_bytes = Path(folder, "CXR_png/MCUCXR_0007_1.png").write_bytes(b"a film")
        ...     n_letters = Path(folder, "ClinicalReadings/MCUCXR_0007_1.txt").write_text("Sex: F, Age: 027Y")
        ...     [(film.findings, film.patient_id, film.sex, film.age_years) for film in read_montgomery(folder)]
        [(('tuberculosis',), '0007', 'F', 27.0)]
    """
    told = f"masks of both lungs are in {FOLDER}" if write_masks else "masks are not written (--write-masks)"
    return _read(Path(root), "MCUCXR", "Montgomery", _both_lungs if write_masks else _no_mask, told)


def read_shenzhen(root: str | Path) -> Records:
    """Read the Shenzhen set: 662 films, of which 566 have a mask in a release of its own, in the folder mask/.

    Args:
        root: ChinaSet_AllFiles, or the folder above it.

    Returns:
        Films by name, normal or tuberculosis, with their masks where these are there.

    Raises:
        FileNotFoundError: no such folder, or no film.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Path(folder, "CXR_png").mkdir()
        ...     n_bytes = Path(folder, "CXR_png/CHNCXR_0007_0.png").write_bytes(b"a film")
        ...     [(film.findings, film.patient_id, film.source) for film in read_shenzhen(folder)]
        [(('normal',), '0007', 'Shenzhen')]
    """
    return _read(Path(root), "CHNCXR", "Shenzhen", _own_mask, "masks are those of mask/, where they are there")


def _read(root: Path, begin: str, source: str, mask_of: _MaskOf, told: str) -> Records:
    tops = [root, *sorted(root.iterdir())] if root.is_dir() else []
    top = next((top for top in tops if (top / _FILMS).is_dir()), None)
    named = re.compile(rf"{begin}_(\d+)_([01])\.png", re.IGNORECASE)
    films = sorted(path.name for path in (top / _FILMS).iterdir() if named.fullmatch(path.name)) if top else []
    if top is None or not films:
        raise wrong_root(root, f"{_FILMS}/{begin}_0001_0.png and the like")
    gathering, lost = Gathering(top), list[str]()
    for name in films:
        number, label = named.fullmatch(name).groups()  # type: ignore[union-attr]  # those that match alone are here
        sex, years = _about(top / _READINGS / f"{name[:-4]}.txt")
        try:
            mask = mask_of(top, name[:-4])
        except ValueError:
            mask, lost = None, [*lost, name]
        about = {"patient_id": number, "source": source, "age_years": years, "sex": sex, "mask_path": mask}
        gathering.add(top / _FILMS, None, Record(f"{_FILMS}/{name}", (FINDINGS[label],), **about))  # type: ignore[arg-type]  # each of its own type
    return gathering.records((told, *lost_note(lost), f"{source} has one film of each patient"))


def _about(path: Path) -> tuple[str | None, float | None]:
    """Return sex and age as a reading tells them; None of what it does not."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return None, None
    sex, age = _SEX.search(text), _AGE.search(text)
    return sex and sex_of(sex[1]), age and float(age[1]) / _PER_YEAR[age[2].lower()]


def _no_mask(top: Path, name: str) -> None:
    return None


def _own_mask(top: Path, name: str) -> str | None:
    path = f"mask/{name}_mask.png"
    return path if (top / path).is_file() else None


def _both_lungs(top: Path, name: str) -> str | None:
    sides = [top / side / f"{name}.png" for side in _SIDES]
    return write_mask(top, name, union_of(sides)) if all(side.is_file() for side in sides) else None
