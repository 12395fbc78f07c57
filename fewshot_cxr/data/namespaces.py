"""Whose patients are whose: which sets number the same patients, and which merely use the same numbers."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fewshot_cxr.data.split_names import split_named
from fewshot_cxr.records import Records
from fewshot_cxr.unknown_patients import is_unknown


def patient_namespaces(parts: Mapping[str, Records], paths: Sequence[Path]) -> dict[str, str]:
    """Return the set whose patients each set shares: its own name, or that of an earlier one.

    "1" of one hospital is not "1" of another. Two sets share their patients where their places differ in the name of a
    split alone (cxr_train.csv and cxr_test.csv, site/train and site/val), or where a film of both is of one patient.

    Args:
        parts: name of each set -> its films.
        paths: where each lies, in the same order.
    """
    families: dict[object, str] = {}
    whose: dict[str, str] = {}
    for (name, part), path in zip(parts.items(), paths, strict=True):
        root = part.root.resolve()
        stated = ((root / film.path, film.patient_id, film.group_id) for film in part if not is_unknown(film))
        keys = [_without_split(path), *stated]
        met = sorted({families[key] for key in keys if key in families}, key=list(parts).index)
        whose[name] = met[0] if met else name
        # A set that meets two others joins these, too.
        whose = {other: whose[name] if namespace in met else namespace for other, namespace in whose.items()}
        families = {key: whose.get(namespace, namespace) for key, namespace in families.items()}
        families |= dict.fromkeys(keys, whose[name])
    return whose


def namespace_notes(parts: Mapping[str, Records], whose: Mapping[str, str]) -> list[str]:
    """Return how many patient ids occur in several sets, and for how many patients they are taken."""
    sets_of: dict[str, list[str]] = {}
    for name, part in parts.items():
        for patient in {film.patient_id or film.group_id for film in part} - {None}:
            sets_of.setdefault(str(patient), []).append(name)
    notes = []
    for text, is_one in (("one patient", True), ("different patients; --same-patients takes them for one", False)):
        ids = sorted(
            one for one, names in sets_of.items() if len(names) > 1 and (len({whose[n] for n in names}) == 1) == is_one
        )
        if ids:
            names = ", ".join(name for name in parts if any(name in sets_of[one] for one in ids))
            notes.append(f"patient ids in several of {names}: {len(ids):,}, such as {ids[0]}; each is taken for {text}")
    return notes


def _without_split(path: Path) -> tuple[str, ...]:
    """Return a path's words without those that name a split; a path without such a word is of its own family."""
    words = re.split(r"[\W_]+", str(path.resolve()))
    kept = tuple(word for word in words if not split_named(word))
    return kept if len(kept) < len(words) else (str(path.resolve()),)
