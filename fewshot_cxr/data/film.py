"""What decoding one film gives: its gray, and what should be said of it; and the same said of many films."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot_cxr.records import Record

LATERAL = "a lateral view, by the header: beside frontal films it is another picture of the same finding"
_DEEPEST = 16


@dataclass(frozen=True)
class DecodingFacts:
    """What should be said of a film that was decoded.

    Args:
        notes: what of it counts as absent, or was read in an unusual way; nothing that its header says.
        guessed_bits: how many bits its values were taken to have, by its own maximum; None: it states them.
        stranger: why it is no chest X-ray; "" where nothing speaks against it.

    Examples:
        >>> DecodingFacts(stranger="no chest X-ray: its body part is KNEE").refusal
        'no chest X-ray: its body part is KNEE; --any-modality takes it'
    """

    notes: tuple[str, ...] = ()
    guessed_bits: int | None = None
    stranger: str = ""

    @property
    def refusal(self) -> str:
        """Why it is left out as no chest X-ray, and how to take it; "" for a film."""
        return f"{self.stranger}; --any-modality takes it" if self.stranger else ""

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "DecodingFacts":
        """Return what `dataclasses.asdict` has made plain."""
        return cls(**value | {"notes": tuple(value["notes"])})


@dataclass(frozen=True, eq=False)
class DecodedFilm:
    """A film as 8-bit gray, uint8 (H, W), with what should be said of it.

    Examples:
        >>> film = DecodedFilm(np.zeros((1024, 840), dtype=np.uint8))
        >>> film.gray.shape, film.facts
        ((1024, 840), DecodingFacts(notes=(), guessed_bits=None, stranger=''))
    """

    gray: np.ndarray
    facts: DecodingFacts = DecodingFacts()


def takes_any_modality(film: Record) -> bool:
    """Return whether a film was asked for, though it may be no chest X-ray (`--any-modality`).

    Examples:
        >>> film = Record("knee.dcm", ("normal",))
        >>> asked_for = Record("knee.dcm", ("normal",), attributes={"any_modality": "yes"})
        >>> takes_any_modality(film), takes_any_modality(asked_for)
        (False, True)
    """
    return bool(film.attributes.get("any_modality"))


def notes_of_films(films: Iterable[tuple[Record, DecodingFacts]]) -> tuple[str, ...]:
    """Say what should be known of films that were decoded: each thing once, with the number of films.

    Examples:
        >>> doubtful = DecodingFacts(notes=("no word of the body part in the header means the chest",))
        >>> notes_of_films([(Record("1.dcm", ("normal",)), doubtful), (Record("2.dcm", ("pneumonia",)), doubtful)])
        ('2 films: no word of the body part in the header means the chest (the first: 1.dcm)',)
    """
    counts: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    depths: Counter[int] = Counter()
    for film, facts in films:
        for note in facts.notes:
            if not (note == LATERAL and film.view):  # the reader has said so
                counts[note] += 1
                firsts.setdefault(note, film.path)
        depths.update([facts.guessed_bits] if facts.guessed_bits else [])
    notes = [
        f"{count} {'film' if count == 1 else 'films'}: {note} (the first: {firsts[note]})"
        for note, count in sorted(counts.items())
    ]
    if any(bits < _DEEPEST for bits in depths):
        told = ", ".join(f"{bits} bits {count}" for bits, count in sorted(depths.items()))
        notes.append(
            f"films of more than 8 bits without a stated range or window are read by their own maximum: {told}; if all "
            f"come from one kind of detector, train with its depth, such as --bit-depth {max(depths)}, so that equal "
            "values are equally bright"
        )
    return tuple(notes)
