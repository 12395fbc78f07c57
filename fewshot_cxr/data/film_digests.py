"""What a decoded film holds, in 64 bits: how a film is known again."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fewshot_cxr._checks import check_form
from fewshot_cxr._json import read_json
from fewshot_cxr._kinds import TRAINING_FILMS
from fewshot_cxr.data.cache import CachedFilms
from fewshot_cxr.whole_files import write_json

_AT_ONCE = 512
_FORM = {"digests": [str], "sha256?": str}


def film_digests(films: CachedFilms) -> list[str]:
    """Return BLAKE2b (hex, 64 bits) over the pixels of each film: the same wherever it lies and whatever it is called.

    Args:
        films: decoded; two sets of films can be compared that were decoded by the same image_spec.
    """
    digests = []
    for first in range(0, len(films), _AT_ONCE):
        for pixels in films.rows(range(first, min(first + _AT_ONCE, len(films)))):
            digests.append(hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest())
    return digests


def write_training_films(folder: Path, digests: Iterable[str]) -> None:
    """Write into a run folder which films it was trained on, so that a later evaluation knows them again."""
    listed = sorted(digests)
    write_json(folder / TRAINING_FILMS, {"digests": listed, "sha256": _hash(listed)})


def read_training_films(file: Path) -> set[str]:
    """Return the digests that `write_training_films` wrote.

    Raises:
        ValueError: the file is damaged (one of before had no hash), or holds something else.
    """
    held = read_json(file)
    check_form(held, _FORM, f"{file}: it")
    if held.get("sha256", _hash(held["digests"])) != _hash(held["digests"]):
        raise ValueError(f"{file} is damaged: its digests do not match their hash; restore it, or train anew")
    return set(held["digests"])


def _hash(digests: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
