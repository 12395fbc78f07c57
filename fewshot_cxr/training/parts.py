"""Which films are trained on, and which are for validation."""

from dataclasses import replace

from fewshot_cxr.data import assert_no_leak, drop_lone_films, split_by_patient
from fewshot_cxr.records import Records


def training_parts(
    train: Records, val: Records | None, *, is_multi_label: bool = False, val_fraction: float, seed: int
) -> tuple[Records, Records, tuple[str, ...]]:
    """Leave out findings with one film, carve validation films where none are given, and check for leaks.

    Args:
        train: films of one finding each.
        val: films of other patients; None: `val_fraction` of the training films, by patient.
        is_multi_label: films show any number of findings. A film then stays whatever it shows, and what validation
            films show besides the findings of the training films is taken off them.
        val_fraction: 0..1.
        seed: of the carving.

    Returns:
        Films to train on, films to validate with, and what was done, in words.

    Raises:
        ValueError: fewer than two findings are left (multi-label: none), or a patient is in both parts.
    """
    told = len(train.notes)
    if not is_multi_label:
        train = drop_lone_films(train)
    notes = train.notes[told:]
    _check_findings(train, notes, is_multi_label=is_multi_label)
    if val is None:
        train, val = split_by_patient(train, (1 - val_fraction, val_fraction), seed=seed, names=("train", "val"))
        notes += (f"no validation films given: {len(val)} films carved from the training films, by patient",)
    known = train.findings
    unknown = sorted(set(val.findings) - set(known))
    if unknown:
        if is_multi_label:
            films = (replace(film, findings=tuple(name for name in film.findings if name in known)) for film in val)
            val = replace(val, films=tuple(films))
        else:
            val = val.where(lambda film: film.finding in known)
        notes += (f"validation leaves out what training does not know: {', '.join(unknown)}",)
    if not len(val):
        raise ValueError(
            "no film is left for validation: give films of the findings that are trained on, or none at all, and a "
            "part of the training films is carved out"
        )
    assert_no_leak(train, val)
    return train, val, notes


def _check_findings(train: Records, notes: tuple[str, ...], *, is_multi_label: bool) -> None:
    if is_multi_label and not train.findings:
        raise ValueError("training needs films with findings, there is none; choose others (--findings)")
    if not is_multi_label and len(train.findings) < 2:
        found = ", ".join(train.findings) or "none"
        way_out = "choose findings that more films have alone (--findings), or take --with-others"
        dropped = "".join(f"; {note}" for note in notes)
        raise ValueError(f"training needs two findings of two films or more each, there is {found}{dropped}; {way_out}")
