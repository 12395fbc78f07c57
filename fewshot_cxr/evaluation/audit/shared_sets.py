"""Which data sets of a merged list share films or patients: such sets must not judge each other."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from fewshot_cxr.data import READERS
from fewshot_cxr.evaluation.audit.patients import films_of
from fewshot_cxr.evaluation.audit.result import ExactDuplicates, NearDuplicate
from fewshot_cxr.records import Records

# Reader of a set -> those of the sets whose films were taken into it, as their makers say: docs/datasets.md.
MADE_OF = {
    "coronahack": ("covid_chestxray",),
    "covid19_radiography": ("covid_chestxray", "coronahack", "padchest", "rsna_pneumonia", "chestxray14"),
    "covidx": ("covid_chestxray", "covid19_radiography", "padchest", "rsna_pneumonia", "chestxray14"),
    "rsna_pneumonia": ("chestxray14",),
    "siim_acr": ("chestxray14", "rsna_pneumonia"),
}


def shared_between_sets(records: Records, exact: Iterable[ExactDuplicates], near: Iterable[NearDuplicate]) -> list[str]:
    """Say which sets share films or patients, or were made of one another; nothing where there is one set.

    Args:
        records: of a merged list, whose films name their set as the attribute `dataset`.
        exact: copies that were found.
        near: pairs of films that show the same exposure.
    """
    set_of = {film.path: film.attributes["dataset"] for film in records if film.attributes.get("dataset")}
    alike = [*(group.paths for group in exact), *((pair.a, pair.b) for pair in near)]
    same_patient = [[film.path for film in own] for own in films_of(records, "patient_id").values()]
    notes = []
    for pair in combinations(sorted(set(set_of.values())), 2):
        copies, patients = (_met_by_both(pair, paths, set_of) for paths in (alike, same_patient))
        n_films = len({path for paths in copies for path in paths})
        told = [f"{n_films:,} films with a copy in the other, such as {' and '.join(copies[0][:2])}"] if copies else []
        told += [f"{len(patients):,} patients"] if patients else []
        if told:
            notes.append(f"{' and '.join(pair)} share {', and '.join(told)}: never train on one and judge on the other")
        elif _are_of_one_origin(*pair):
            notes.append(f"{' and '.join(pair)} hold films of one origin, though no copy was found: keep them together")
    return notes


def _met_by_both(pair: tuple[str, str], groups: Iterable[Sequence[str]], set_of: Mapping[str, str]) -> list[list[str]]:
    """Return the films of both sets in each group that holds some of either, first one of each."""
    found = []
    for paths in groups:
        first, second = ([path for path in paths if set_of.get(path) == name] for name in pair)
        if first and second:
            found.append([first[0], second[0], *first[1:], *second[1:]])
    return found


def _are_of_one_origin(a: str, b: str) -> bool:
    a, b = (re.sub(r"-\d+$", "", name) for name in (a, b))  # a second copy is called chexpert-2
    return (a == b and a in READERS) or b in MADE_OF.get(a, ()) or a in MADE_OF.get(b, ())
