"""Splits that hold something out whole: a source, or findings that training must not see."""

from collections.abc import Sequence

import numpy as np

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.splits.by_share import share_out
from fewshot_cxr.data.splits.groups import patient_groups, take_parts
from fewshot_cxr.records import Records


def leave_one_source_out(
    records: Records, *, val_fraction: float = 0.1, seed: int = 0
) -> dict[str, tuple[Records, Records, Records]]:
    """Test on each source in turn, after training on the others: does the encoder see findings, or hospitals?

    Test is the whole source and nothing else. A patient with films of that source and of others is in test alone: its
    films of other sources are left out, and a note says how many. Val is carved from the other sources by patient.

    Args:
        records: films that all state their source.
        val_fraction: share of the other sources' films, 0 or more and below 1.
        seed: of the validation films.

    Returns:
        (train, val, test) of each source, sorted by source.

    Raises:
        ValueError: fewer than 2 sources, a film without one, or a source whose patients leave no film to train on.
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction must be 0 or more and below 1, got {val_fraction:g}")
    unknown = [film.path for film in records if not film.source]
    if unknown:
        raise ValueError(
            f"films without a source: {len(unknown)}, such as {unknown[0]}; drop them, or fill in the column"
        )
    sources = sorted({film.source for film in records if film.source})
    if len(sources) < 2:
        raise ValueError(f"leaving a source out needs 2 sources or more, got {', '.join(sources) or 'none'}")
    groups = patient_groups(records)
    return {source: _leave_out(records, groups, source, val_fraction, seed=seed) for source in sources}


def _leave_out(
    records: Records, groups: np.ndarray, source: str, val_fraction: float, *, seed: int
) -> tuple[Records, Records, Records]:
    is_source = np.array([film.source == source for film in records])
    is_shared = np.isin(groups, groups[is_source]) & ~is_source
    rest = np.flatnonzero(~is_source & ~is_shared)
    if not len(rest):
        raise ValueError(f"every patient has films of the source {source}: no film is left to train on")
    notes = []
    if is_shared.any():
        n_patients = len(np.unique(groups[is_shared]))
        notes.append(f"{is_shared.sum()} films of {n_patients} patients who are also in {source} are left out")
    fit = records.take(rest)
    unseen = sorted(set(records.take(np.flatnonzero(is_source)).findings) - set(fit.findings))
    if unseen:
        notes.append(f"only {source} has {', '.join(unseen)}: training on the other sources cannot learn it")
    part_of_film = np.where(is_source, 2, -1)
    part_of_film[rest], balance = share_out(fit, (1 - val_fraction, val_fraction), ("train", "val"), seed=seed)
    notes += balance
    train, val, test = take_parts(records, part_of_film, notes=notes)
    return train, val, test


def novel_classes(
    records: Records,
    novel: Sequence[str] = ("COVID-19",),
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    *,
    seed: int = 0,
) -> tuple[Records, Records, Records]:
    """Hold findings out whole, so that few-shot episodes on test meet findings that training has never seen.

    Films of a novel finding are in test alone, and so are all other films of their patients. The patients without one
    are divided by `split_by_patient`.

    Args:
        records: films with patients or groups; a film without counts as its own patient.
        novel: the findings to hold out.
        fractions: share of train, val and test of the patients without a novel finding.
        seed: of the order in which patients are dealt out.

    Returns:
        (train, val, test), each in the order of `records`. A note counts the films of known findings that came to test
        with their patients.

    Raises:
        ValueError: no or an unknown novel finding, or no patient without one.
    """
    if not novel:
        raise ValueError(f"novel names no finding; choose from {', '.join(records.findings)}")
    for name in novel:
        lookup(dict.fromkeys(records.findings), name, what="finding")
    groups = patient_groups(records)
    is_novel = np.array([not set(film.findings).isdisjoint(novel) for film in records])
    is_held = np.isin(groups, groups[is_novel])
    rest = np.flatnonzero(~is_held)
    if not len(rest):
        raise ValueError(f"every patient has a film of {', '.join(novel)}: no film is left to train on")
    part_of_film = np.full(len(records), 2)
    part_of_film[rest], balance = share_out(records.take(rest), fractions, seed=seed)
    notes = list(balance)
    n_along = int((is_held & ~is_novel).sum())
    if n_along:
        notes.append(f"{n_along} films without a novel finding are in test, because their patients have one")
    train, val, test = take_parts(records, part_of_film, notes=notes)
    return train, val, test
