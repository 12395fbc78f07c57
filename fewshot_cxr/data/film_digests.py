"""What a decoded film holds, in 64 bits: how a film is known again."""

import hashlib

from fewshot_cxr.data.cache import CachedFilms

TRAINING_FILMS = "training_films.json"  # of a run: the digests of its films
_AT_ONCE = 512


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
