"""Draw one synthetic film, or a folder of them with their records."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.data.synthetic.anatomy import draw_patient, draw_pose, outline_chest, pose_patient
from fewshot_cxr.data.synthetic.scanners import SCANNERS, develop, draw_marker
from fewshot_cxr.data.synthetic.signs import SIGNS, enlarge_heart
from fewshot_cxr.data.synthetic.tissue import bones, soft_tissue, vessels
from fewshot_cxr.records import Record, Records
from fewshot_cxr.seeding import generator
from fewshot_cxr.whole_files import whole_file

SYNTHETIC_FINDINGS = tuple(SIGNS)


def draw_film(
    finding: str, *, seed: int, patient: int, film: int, source: str, size_px: int = 256
) -> NDArray[np.uint8]:
    """Draw one film; the same arguments give the same bytes, whatever was drawn before.

    A patient's number fixes the anatomy and nothing of the finding: the same patient can be drawn with another finding.

    Args:
        finding: one of SYNTHETIC_FINDINGS.
        seed: of the whole set.
        patient: number of the patient, from 0.
        film: number of the film of this patient, from 0.
        source: the hospital, one of SCANNERS; its machine gives the film its look.
        size_px: side of the square film.

    Returns:
        uint8, shape (size_px, size_px); air is dark.

    Raises:
        ValueError: unknown finding or source, or a film below 32 pixels.

    Examples:
        >>> film = draw_film("effusion", seed=0, patient=3, film=0, source=sorted(SCANNERS)[0], size_px=64)
        >>> film.shape, film.dtype
        ((64, 64), dtype('uint8'))
    """
    image, _ = draw_film_and_lungs(finding, seed=seed, patient=patient, film=film, source=source, size_px=size_px)
    return image


def draw_film_and_lungs(
    finding: str, *, seed: int, patient: int, film: int, source: str, size_px: int = 256
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw one film as `draw_film` does, and where its lungs are.

    Returns:
        The film, uint8, and its lungs, bool, each shape (size_px, size_px). A finding that fills a lung leaves it lung;
        the heart and what lies below the diaphragm are none.
    """
    fill = lookup(SIGNS, finding, what="finding")
    scanner = lookup(SCANNERS, source, what="source")
    check_at_least(size_px, 32, "size_px")
    pose = draw_pose(seed, patient, film, portable=scanner.is_portable)
    posed = pose_patient(enlarge_heart(finding, draw_patient(seed, patient), seed, patient), pose)
    chest = outline_chest(posed, pose, size_px)
    branches = vessels(seed, patient, pose, size_px)
    filled = fill(chest, branches, generator(seed, finding, patient), generator(seed, finding, patient, film))
    depth = 0.62 + 0.38 * np.clip(chest.wall * 4, 0, 1)
    air = 0.46 * chest.lungs * depth * (1 - 0.30 * branches) * (1 - np.clip(filled, 0, 1.4))
    attenuation = soft_tissue(posed, chest) - air + bones(posed, chest, pose)
    chance = generator(seed, "scanner", patient, film)
    return develop(attenuation, scanner, draw_marker(seed, patient, film), chance), chest.lungs > 0.5


def make_synthetic(
    folder: str | Path,
    *,
    n_patients: int | Mapping[str, int] = 40,
    findings: Sequence[str] = SYNTHETIC_FINDINGS,
    seed: int = 0,
    size_px: int = 192,
    progress: Bar | None = None,
) -> Records:
    """Draw a set of films and their lung masks into `folder` as 8-bit PNG files, each written whole.

    A file of the same name is replaced. A mask is 255 inside the lungs and 0 elsewhere.

    Every patient has one finding, 1 to 4 films and one hospital, drawn without regard to the finding. A film depends on
    seed, finding, patient and film alone: more patients, or other findings, leave it as it was.

    Args:
        folder: where the films go, as `films/<finding>/p0007_2.png`, and the masks, as `masks/<finding>/p0007_2.png`;
            made if absent.
        n_patients: patients of each finding, one number for all or one per finding.
        findings: which of SYNTHETIC_FINDINGS to draw.
        seed: of the whole set.
        size_px: side of the films.
        progress: called with (films done, films in all).

    Returns:
        The films with patient_id, source, view, mask_path and the attributes `marker` and `scanner`, rooted at
        `folder`.

    Raises:
        ValueError: an unknown finding, one without patients, counts for others than `findings`, a film below 32 pixels;
            nothing is written then.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> n_patients = {"normal": 2, "effusion": 1}
        >>> with TemporaryDirectory() as folder:
        ...     films = make_synthetic(folder, n_patients=n_patients, findings=list(n_patients), size_px=32)
        >>> films.findings, len({film.patient_id for film in films}), films[0].path
        (('effusion', 'normal'), 3, 'films/normal/p0000_0.png')
    """
    check_at_least(size_px, 32, "size_px")
    counts = _checked_counts(findings, n_patients)
    planned = [row for finding, count in counts.items() for row in _plan(finding, count, seed)]
    folder = Path(folder)
    for done, (record, patient, film) in enumerate(planned, start=1):
        image, lungs = draw_film_and_lungs(
            record.finding, seed=seed, patient=patient, film=film, source=str(record.source), size_px=size_px
        )
        # The mask first: who is stopped between the two has no film whose mask is missing.
        _write(folder / str(record.mask_path), lungs.astype(np.uint8) * 255)
        _write(folder / record.path, image)
        tell(progress, done, len(planned))
    return Records(films=tuple(record for record, _, _ in planned), root=folder)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    with whole_file(path) as part:
        Image.fromarray(image).save(part, format="PNG", compress_level=1)


def _checked_counts(findings: Sequence[str], n_patients: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(findings, str) or not findings or len(set(findings)) != len(findings):
        choices = ", ".join(SYNTHETIC_FINDINGS)
        raise ValueError(f"findings must be one or more different names of {choices}; got {findings!r}")
    for finding in findings:
        lookup(SIGNS, finding, what="finding")
    if not isinstance(n_patients, int) and set(n_patients) != set(findings):
        raise ValueError(f"n_patients must count exactly the findings {list(findings)}, got {list(n_patients)}")
    counts = {finding: n_patients if isinstance(n_patients, int) else n_patients[finding] for finding in findings}
    for finding, count in counts.items():
        check_at_least(count, 1, f"n_patients of {finding}")
    return counts


def _plan(finding: str, n_patients: int, seed: int) -> list[tuple[Record, int, int]]:
    """List (record, patient number, film number) of every film of one finding."""
    rows = []
    for place in range(n_patients):
        # Findings take turns in the numbers: no two share a patient, none depends on how many the others have.
        patient = place * len(SYNTHETIC_FINDINGS) + SYNTHETIC_FINDINGS.index(finding)
        rng = generator(seed, "visits", patient)
        source, n_films = str(rng.choice(sorted(SCANNERS))), int(rng.integers(1, 5))
        rows += [(_record(finding, seed, patient, film, source), patient, film) for film in range(n_films)]
    return rows


def _record(finding: str, seed: int, patient: int, film: int, source: str) -> Record:
    scanner, name = SCANNERS[source], f"{finding}/p{patient:04d}_{film}.png"
    return Record(
        path=f"films/{name}",
        findings=(finding,),
        patient_id=f"p{patient:04d}",
        source=source,
        view=draw_pose(seed, patient, film, portable=scanner.is_portable).view,
        mask_path=f"masks/{name}",
        attributes={"marker": draw_marker(seed, patient, film), "scanner": scanner.name},
    )
