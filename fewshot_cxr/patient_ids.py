"""Which films are of one patient, by ids of any kind, and of which films nobody knows the patient."""

from collections.abc import Hashable
from typing import Any

import numpy as np


def patient_codes(ids: Any) -> np.ndarray:
    """Number patients by their first row, int64, shape (N,).

    Args:
        ids: N hashable values; each None, NaN or empty text is a patient of its own.

    Raises:
        TypeError: an id is not hashable.
    """
    codes: dict[Hashable, int] = {}
    try:
        numbers = [codes.setdefault(object() if is_unknown_id(item) else item, len(codes)) for item in items_of(ids)]
    except TypeError as error:
        raise TypeError(
            f"patient_ids must be one hashable value for each film ({error}); give texts or numbers"
        ) from error
    return np.array(numbers, dtype=np.int64)


def known_patients(n_rows: int, ids: Any, has_patient: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return `patient_codes`, and of which rows the patient is known, bool, shape (N,).

    Args:
        n_rows: where there are no ids.
        ids: of patients, as `patient_codes` takes them; None: none is known.
        has_patient: the answer where `ids` number all patients; None: those whose id is not None, NaN or empty.

    Raises:
        ValueError: the two have other lengths.
    """
    ids = [None] * n_rows if ids is None else ids
    known = [not is_unknown_id(item) for item in items_of(ids)] if has_patient is None else has_patient
    if len(known) != len(ids):
        raise ValueError(f"has_patient has {len(known)} entries for {len(ids)} patient_ids")
    return patient_codes(ids), np.asarray(known, dtype=bool)


def is_unknown_id(item: Hashable) -> bool:
    """Whether a patient's id says that nobody knows: None, NaN, NA or an empty text."""
    # By its text, since what is missing has several types: NaN of Python and numpy, NA and NaT of pandas.
    return not item.strip() if isinstance(item, str) else item is None or str(item) in ("nan", "<NA>", "NaT")


def items_of(values: Any) -> list[Hashable]:
    """Return values as plain ones in a list."""
    return list(values.tolist() if hasattr(values, "tolist") else values)
