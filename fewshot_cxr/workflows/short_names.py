"""Short names of files and folders: what tells them apart, and no more of where they lie."""

from collections.abc import Sequence
from pathlib import Path


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name each file or folder after itself, with as many folders before it as tell them apart.

    A file goes without its suffix, unless that alone tells it from another. One place named twice has one name.
    """
    places = [path.resolve() for path in paths]
    bare = [place.parts if place.is_dir() else (*place.parts[:-1], place.stem) for place in places]
    whole = [place.parts for place in places]
    for parts in (bare, whole):
        for length in range(1, max(map(len, parts), default=0) + 1):
            names = ["/".join(own[-length:]) for own in parts]
            if len(set(names)) == len(set(places)):
                return names
    return [place.name for place in places]
