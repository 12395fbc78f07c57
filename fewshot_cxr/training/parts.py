"""Which films are trained on, and which are for validation."""

from dataclasses import replace

from fewshot_cxr.data import assert_no_leak, drop_lone_films, split_by_patient
from fewshot_cxr.records import Records


def training_parts(
    train: Records, val: Records | None, *, val_fraction: float, seed: int
) -> tuple[Records, Records, tuple[str, ...]]:
    """Leave out findings with one film, carve validation films where none are given, and check for leaks.

    Args:
        train: single-label films.
        val: films of other patients; None: `val_fraction` of the training films, by patient.
        val_fraction: 0..1.
        seed: of the carving.

    Returns:
        Films to train on, films to validate with, and what was done, in words.

    Raises:
        ValueError: fewer than two findings are left, or a patient is in both parts.
    """
    told = len(train.notes)
    train = drop_lone_films(train)
    notes = train.notes[told:]
    if len(train.findings) < 2:
        found = ", ".join(train.findings) or "none"
        way_out = "choose findings that more films have alone (--findings), or take --with-others"
        dropped = "".join(f"; {note}" for note in notes)
        raise ValueError(f"training needs two findings of two films or more each, there is {found}{dropped}; {way_out}")
    train, val, carved = _carved(train, val, val_fraction, seed)
    notes += carved
    unknown = sorted(set(val.findings) - set(train.findings))
    if unknown:
        val = val.where(lambda film: film.finding in train.findings)
        notes += (f"validation leaves out what training does not know: {', '.join(unknown)}",)
    _refuse_empty(val)
    assert_no_leak(train, val)
    return train, val, notes


def classifier_parts(
    train: Records, val: Records | None, *, val_fraction: float, seed: int
) -> tuple[Records, Records, tuple[str, ...]]:
    """Do the same for films of any number of findings: a film stays whatever it shows.

    Args:
        train: films with any number of findings each.
        val, val_fraction, seed: as for `training_parts`.

    Returns:
        As `training_parts`. What validation films show besides the findings of the training films is taken off them.

    Raises:
        ValueError: no training film shows a finding, or a patient is in both parts.
    """
    if not train.findings:
        raise ValueError("training needs films with findings, there is none; choose others (--findings)")
    train, val, notes = _carved(train, val, val_fraction, seed)
    known = train.findings
    unknown = sorted(set(val.findings) - set(known))
    if unknown:
        films = (replace(film, findings=tuple(name for name in film.findings if name in known)) for film in val)
        val = replace(val, films=tuple(films))
        notes += (f"validation leaves out what training does not know: {', '.join(unknown)}",)
    _refuse_empty(val)
    assert_no_leak(train, val)
    return train, val, notes


def _refuse_empty(val: Records) -> None:
    if not len(val):
        raise ValueError(
            "no film is left for validation: give films of the findings that are trained on, or none at all, and a "
            "part of the training films is carved out"
        )


def _carved(
    train: Records, val: Records | None, val_fraction: float, seed: int
) -> tuple[Records, Records, tuple[str, ...]]:
    if val is not None:
        return train, val, ()
    train, val = split_by_patient(train, (1 - val_fraction, val_fraction), seed=seed, names=("train", "val"))
    return train, val, (f"no validation films given: {len(val)} films carved from the training films, by patient",)
