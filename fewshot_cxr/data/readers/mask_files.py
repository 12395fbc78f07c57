"""Which pictures of a folder are masks, by the names of their folders or their own, and which film each belongs to."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fewshot_cxr._checks import first_of
from fewshot_cxr.data.readers.film_walk import walk_films
from fewshot_cxr.data.readers.folder_names import is_form, is_masks, is_of_lungs, masked_stem
from fewshot_cxr.records import Problem

_MOST_FOLDERS = 3


class FilmsAndMasks(NamedTuple):
    """Pictures apart.

    Args:
        films: paths of those that are no masks.
        mask_of: by film, the one mask of its lungs that bears its name.
        masks: paths of all masks.
        folders: names that say so, sorted.
    """

    films: list[str]
    mask_of: dict[str, str]
    masks: list[str]
    folders: list[str]

    @property
    def notes(self) -> tuple[str, ...]:
        """How many pictures are masks and what becomes of them; nothing where there is none."""
        if not self.masks:
            return ()
        where = f"in {first_of(self.folders, _MOST_FOLDERS)}" if self.folders else "beside their films"
        n_left = len(self.masks) - len(self.mask_of)
        return (
            f"masks and no films {where}: {len(self.masks)}, of which {len(self.mask_of)} as the lung mask of the film "
            f"of that name (mask_path), {n_left} left out",
        )


def part_masks(paths: Sequence[str]) -> FilmsAndMasks:
    """Tell masks from films.

    Args:
        paths: of pictures, below one folder.
    """
    above = [tuple(path.split("/")[:-1]) for path in paths]
    inside: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for folders in set(above):
        for place, name in enumerate(folders):
            inside[folders[:place]].add(name)
    places = {folders: _mask_folder(folders, inside) for folders in set(above)}
    stems = {_stem(path) for path in paths}
    films: list[str] = []
    claims: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path, folders in zip(paths, above, strict=True):
        place, named = places[folders], masked_stem(path)
        if place == len(folders) and named not in stems:
            films.append(path)
        elif all(map(is_of_lungs, folders[place:])):
            others = folders[:place] + folders[place + 1 :]
            claims[_key(others, named or _stem(path))].append(path)
    mask_of = {
        film: found[0]
        for film in films
        if len(found := claims.get(_key(tuple(film.split("/")[:-1]), _stem(film)), [])) == 1
    }
    masks = sorted({*paths} - {*films})
    told = {name for folders, place in places.items() for name in folders[place : place + 1]}
    return FilmsAndMasks(films, mask_of, masks, sorted(told))


def find_films(folder: str | Path) -> tuple[list[Path], tuple[str, ...], list[Problem]]:
    """Find the films below a folder, as a reader of folders does, whatever they show.

    Args:
        folder: to look in, at any depth; DICOM files are found by their content, too.

    Returns:
        The films, sorted; how many files are masks or passed over; what could not be looked into.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from fewshot_cxr.data.synthetic import make_synthetic
        >>> with TemporaryDirectory() as folder:
        ...     made = make_synthetic(folder, n_patients=2, findings=["normal"], size_px=32)
        ...     films, notes, problems = find_films(folder)  # beside each film lies a mask
        >>> len(films) == len(made)
        True
    """
    found = walk_films(Path(folder), any_name=True)
    parted = part_masks(found.paths)
    return [Path(folder, path) for path in parted.films], (*parted.notes, *found.notes), found.problems


def _mask_folder(folders: tuple[str, ...], inside: dict[tuple[str, ...], set[str]]) -> int:
    """Return which of these folders, one in the other, is the first that holds masks; their number where none does."""
    places = range(len(folders))
    holds = (place for place in places if is_masks(folders[place], inside[folders[:place]] - {folders[place]}))
    return next(holds, len(folders))


def _key(folders: tuple[str, ...], stem: str) -> tuple[str, ...]:
    """Return what a film and its mask have in common: the folders that mean something, and the name."""
    return (*(name for name in folders if not is_form(name)), stem.rpartition("/")[2])


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"
