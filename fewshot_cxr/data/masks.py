"""Where the lungs are on each film: masks read through the geometry that the film itself went through."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from fewshot_cxr._progress import Bar
from fewshot_cxr.data.images import read_gray
from fewshot_cxr.data.readers.film_walk import walk_films
from fewshot_cxr.data.reading import read_all
from fewshot_cxr.data.square import to_square
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Problem, Record, Records, resolve_below

_ASPECT_TOLERANCE = 0.02  # of the ratio of the sides: far above rounding to whole pixels
_MOST_GRAY = 1 / 5  # of a mask's pixels, between black and white; nearly every film has twice as many
_MOST_LABELS = 8  # gray values above the background; edges resampled or packed as JPEG have more, or few pixels
_LEAST_LABEL = 1 / 10  # of the pixels above the background: a part of the lungs, and no edge


@dataclass(frozen=True, eq=False)
class LungMasks:
    """The lungs of N films, a bit for each pixel: 20,000 films of 224 px take 125 MB.

    Args:
        bits: uint8, shape (N, ceil(size_px^2 / 8)), as np.packbits makes them; 0 where there is no mask.
        has_mask: bool, shape (N,).
        size_px: side of the masks.
        problems: masks that are named and cannot be used; `path` is the mask's, below the films'
            root or the folder of masks.

    Examples:
        >>> lungs = np.zeros((8, 8), dtype=bool)
        >>> lungs[2:6, 1:3] = True
        >>> masks = LungMasks(np.packbits(lungs)[None], np.array([True]), size_px=8)
        >>> masks.bits.shape, int(masks.rows([0]).sum())
        ((1, 8), 8)
    """

    bits: np.ndarray
    has_mask: np.ndarray
    size_px: int
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.has_mask)

    def rows(self, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the masks of these films: bool, shape (len(indices), S, S); all False where there is none."""
        packed = self.bits[np.asarray(indices, dtype=np.int64)]
        masks = np.unpackbits(packed, axis=1, count=self.size_px**2)
        return masks.view(bool).reshape(-1, self.size_px, self.size_px)


def lung_masks(
    films: Records,
    spec: ImageSpec,
    *,
    folder: str | Path | None = None,
    n_workers: int | None = None,
    progress: Bar | None = None,
) -> LungMasks:
    """Read the lung mask of every film that has one, cut and resized as the film is.

    A mask may have another resolution than its film (those of the COVID-19 Radiography Database have 256 px, their
    films 299), but not another ratio of its sides: the crops are shares of the sides, and would cut other places out.
    What is at least half as bright as a mask's brightest pixel is lung: masks of 0 and 1 serve as those of 0 and 255.
    A mask of several labels is refused where a label would be lost so (left 1, right 3).

    Args:
        films: N films.
        spec: what the films are cut and resized by; its equaliser changes no mask.
        folder: of masks, in any picture format, as `<path of the film>`, also without its first folders, or
            `<finding>/<name of the film>`; the suffix may differ. None: each film's own `mask_path`. A name without
            the first folders serves where no other picture below the films' root, asked for or not, ends in it.
        n_workers: threads that decode; None: one for each processor.
        progress: called with (films done, films in all).

    Returns:
        Row i belongs to film i. A film without a mask has `has_mask` False and is no problem; a mask that is missing
        though named, damaged, of another shape, no mask, of several labels, claimed by several films or outside its
        folder is one.

    Raises:
        FileNotFoundError: `folder` is absent, or holds the mask of no film.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from fewshot_cxr.data.synthetic import make_synthetic
        >>> with TemporaryDirectory() as folder:
        ...     films = make_synthetic(folder, n_patients=1, findings=["normal"], size_px=32)
        ...     masks = lung_masks(films, ImageSpec(size_px=32))
        >>> len(masks) == len(films), bool(masks.has_mask.all())
        (True, True)
    """
    base = (films.root if folder is None else Path(folder)).resolve()
    files, problems = _named_files(films) if folder is None else _folder_files(films, Path(folder))
    plain = replace(spec, equalise="none")
    bits = np.zeros((len(films), -(-(spec.size_px**2) // 8)), dtype=np.uint8)
    has_mask = np.zeros(len(films), dtype=bool)

    def read(row: int) -> np.ndarray:
        return _read_mask(files[row], films.file(films[row]), plain)

    found = read_all(read, list(files), n_workers=n_workers, progress=progress)
    for (row, file), mask in zip(files.items(), found, strict=True):
        if isinstance(mask, str):
            kind = "other" if file.is_file() else "missing"
            problems.append(Problem(None, file.relative_to(base).as_posix(), mask, kind))
        else:
            bits[row], has_mask[row] = np.packbits(mask), True
    return LungMasks(bits, has_mask, spec.size_px, tuple(problems))


def _read_mask(file: Path, film: Path, spec: ImageSpec) -> np.ndarray:
    """Return the mask in the frame of the decoded film, bool (S, S)."""
    gray = read_gray(file)
    brightest = int(gray.max())
    _check_labels(gray)
    share_gray = float(((gray > 0.25 * brightest) & (gray < 0.75 * brightest)).mean())
    if share_gray > _MOST_GRAY:
        raise ValueError(f"it is no mask: {share_gray:.0%} of its pixels are neither black nor white")
    try:
        height, width = read_gray(film, bit_depth=spec.bit_depth).shape
    except OSError as error:
        raise OSError(f"its film {film.name}: {error}") from error
    ratio = (gray.shape[1] / gray.shape[0]) / (width / height)
    if abs(ratio - 1) > _ASPECT_TOLERANCE:
        shape = f"{gray.shape[1]} x {gray.shape[0]}"
        raise ValueError(
            f"the mask has {shape} pixels, its film {width} x {height}: with another ratio of the sides it does not "
            "lie on the film; make it from the whole film"
        )
    is_lung = gray >= max(1.0, brightest / 2)
    mask: np.ndarray = to_square(is_lung.astype(np.uint8) * 255, spec) > 127
    if not mask.any() or mask.all():
        raise ValueError(f"the mask marks {'the whole film' if mask.any() else 'no lung'} in the part that is kept")
    return mask


def _check_labels(gray: np.ndarray) -> None:
    """Refuse a mask of several labels of which the threshold would drop one."""
    counts = np.bincount(gray.ravel())
    labels = np.flatnonzero(counts)[1:]
    if len(labels) > _MOST_LABELS:
        return
    large = labels[counts[labels] >= _LEAST_LABEL * counts[labels].sum()]
    if (large < gray.max() / 2).any():
        held = ", ".join(map(str, sorted({*large.tolist(), int(gray.max())})))
        raise ValueError(f"it holds several labels ({held}); make it one mask, of 0 and 255")


def _named_files(films: Records) -> tuple[dict[int, Path], list[Problem]]:
    """Return by row where the mask lies that a film names, and those that leave the root."""
    files: dict[int, Path] = {}
    problems: list[Problem] = []
    for row, film in enumerate(films):
        if film.mask_path is not None:
            try:
                files[row] = resolve_below(films.root, film.mask_path)
            except (OSError, ValueError) as error:
                problems.append(Problem(None, film.mask_path, str(error)))
    return files, problems


def _folder_files(films: Records, folder: Path) -> tuple[dict[int, Path], list[Problem]]:
    """Return by row the one file of the folder that is named as the film is, and what cannot be told apart."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of masks; name the one that holds them (--masks)")
    paths, problems, _ = walk_films(folder, any_name=False)
    listed: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        listed[_stem(path)].append(path)
    claims: dict[str, list[int]] = defaultdict(list)
    for row, film in enumerate(films):
        if found := next((name for name in _names(film) if name in listed), None):
            claims[found].append(row)
    if not claims:
        raise FileNotFoundError(
            f"{folder} holds the mask of none of {len(films)} films: the first was looked for as "
            f"{' or '.join(_names(films[0])) if films else 'nothing'}, with any suffix; name another folder (--masks)"
        )
    namesakes = _namesakes(films, folder, claims)
    files: dict[int, Path] = {}
    for name, rows in claims.items():
        try:
            mask = _only(listed[name], [films[row].path for row in rows], namesakes.get(name))
            files |= {row: resolve_below(folder, mask) for row in rows}
        except (OSError, ValueError) as error:
            problems.append(Problem(None, listed[name][0], str(error)))
    return dict(sorted(files.items())), problems


def _namesakes(films: Records, folder: Path, claims: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Return by name, where a film is found by the end of its path alone, another picture that ends so too.

    The films asked for may be some of those below their root, as of one split; all are looked at, once.
    """
    ends = {name: _stem(films[rows[0]].path) for name, rows in claims.items()}
    ends = {name: stem for name, stem in ends.items() if stem.endswith(f"/{name}")}
    if not ends:
        return {}
    root, folder = films.root.resolve(), folder.resolve()
    masks = {film.mask_path for film in films}
    others: dict[str, list[str]] = defaultdict(list)
    for path in walk_films(root, any_name=False).paths:
        if path not in masks and not (root / path).is_relative_to(folder):
            others[PurePosixPath(_stem(path)).name].append(path)
    found: dict[str, str] = {}
    for name, stem in ends.items():
        for path in others[PurePosixPath(name).name]:
            if _stem(path) != stem and f"/{_stem(path)}".endswith(f"/{name}"):
                found.setdefault(name, path)
    return found


def _only(paths: list[str], films: list[str], namesake: str | None) -> str:
    """Return the file that is one film's mask."""
    if len(paths) > 1:
        raise ValueError(f"{' and '.join(paths)} may both be the mask of {films[0]}; remove one")
    if len(films) > 1:
        raise ValueError(f"{films[0]} and {films[1]} would share this mask; put each into a folder named as its film's")
    if namesake is not None:
        raise ValueError(
            f"it may be the mask of {films[0]} or of {namesake}, a picture of that name below the films' root; put "
            "masks into folders named as the films'"
        )
    return paths[0]


def _names(film: Record) -> list[str]:
    """Return how a film's mask may be called, without suffix: the fullest name first, then with the finding."""
    parts = PurePosixPath(_stem(film.path)).parts
    tails = ["/".join(parts[first:]) for first in range(len(parts))]
    return list(dict.fromkeys([*tails[:-1], *(f"{finding}/{parts[-1]}" for finding in film.findings), parts[-1]]))


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)
