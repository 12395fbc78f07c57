"""The films of a recipe: read, their findings chosen."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from fewshot_cxr.data import (
    COMMON,
    NO_FINDING,
    PATIENTS_OF,
    keep_findings,
    mark_unstated,
    merge_records,
    read_dataset,
    rename_findings,
)
from fewshot_cxr.data import take_per_finding as take_films
from fewshot_cxr.records import Record, Records
from fewshot_cxr.unknown_patients import is_unknown
from fewshot_cxr.workflows.recipes.division import KNOWN_AS, reader_of
from fewshot_cxr.workflows.recipes.recipe import Recipe

Sources = Sequence[tuple[str, Path]]
"""(reader, path) of each data set."""

_MANIFEST, _OTHER = "manifest", "other"


def read_recipe_films(recipe: Recipe, sources: Sources) -> Records:
    """Read the films as one list; patient ids begin with the name of their reader, but for those of a manifest.

    So the same patient has the same id in two recipes, and in the split.csv of a run that is read again. A film without
    a patient is its own, by its path below its own set.

    Raises:
        ValueError: no source, or one of the recipe's own data sets is there and another is not.
    """
    readers, is_common = [reader for reader, _ in sources], recipe.findings.is_common
    own = [reader for reader in recipe.data if reader in readers]
    lacking = [reader for reader in recipe.data if reader not in readers]
    if not sources or (own and lacking and not is_common):
        wanted = " ".join(f"--data {reader}:PATH" for reader in lacking or recipe.data)
        raise ValueError(f"the recipe {recipe.name} is for {' and '.join(recipe.data)}: add {wanted}, or a manifest")
    parts: dict[str, Records] = {}
    patients: dict[str, str] = {}
    for reader, path in sources:
        count = readers[: len(parts)].count(reader)
        name = f"{reader}-{count + 1}" if count else reader
        read = read_dataset(reader, path, findings=COMMON if is_common else None, **recipe.reading(reader))
        parts[name], patients[name] = read.each(partial(_named_by_path, reader)), PATIENTS_OF.get(reader, reader)
    return merge_records(parts, patients=patients, name_sources=len(parts) > 1).each(_with_bare_ids)


def choose_recipe_findings(recipe: Recipe, records: Records, readers: Sequence[str], *, seed: int) -> Records:
    """Give the films the findings that the recipe tells apart.

    On data that are none of the recipe's own every finding is one of them, but for a `findings.keep` that was given.

    Args:
        recipe: the settings.
        records: of `read_recipe_films`. Their attribute `dataset` says which reader's rules hold.
        readers: of the sources.
        seed: of the draw of `findings.per_finding`.

    Returns:
        Films of one finding each; where the recipe is for several, of any number of them, also none.

    Raises:
        ValueError: no film is left.
    """
    rules = recipe.findings
    is_own = rules.is_common or set(readers) <= set(recipe.data)
    is_asked = recipe.is_given("rename")
    known = {old: new for old, new in rules.rename.items() if is_asked or old in records.findings}
    records = rename_findings(records, known)
    if not is_own and not recipe.is_given("keep"):
        note = f"these are no films of {' and '.join(recipe.data)}: all their findings are taken"
        records = replace(records, notes=(*records.notes, note))
        keep = tuple(name for name in records.findings if not (rules.is_multi_label and name == NO_FINDING))
    else:
        keep = rules.keep or records.findings
        if rules.others is not None:
            named, others = keep, (rules.others,)
            records = records.each(lambda film: replace(film, findings=_of(named, film) or others))
            keep = (*keep, *others)
    absent = [name for name in keep if name not in records.findings]
    if absent:
        records = replace(records, notes=(*records.notes, f"no film shows {', '.join(absent)}"))
        keep = tuple(name for name in keep if name not in absent)
    records = _several(recipe, records, keep, is_own=is_own) if rules.is_multi_label else keep_findings(records, keep)
    return _sample(records, rules.per_finding, seed) if rules.per_finding else records


def listed(records: Records) -> Records:
    """Return the films as a manifest can hold them: one that shows nothing has the finding "No Finding".

    One on which nobody looked for all of the findings may show others: "other".
    """

    def named(film: Record) -> Record:
        return film if film.findings else replace(film, findings=(_OTHER if film.unstated else NO_FINDING,))

    return records.each(named)


def _named_by_path(reader: str, film: Record) -> Record:
    """Keep by what a film of an unknown patient is known in any other list: its path below its own set."""
    path = film.path if reader == _MANIFEST else f"{reader}:{film.path}"
    known_as = film.attributes.get(KNOWN_AS) or path  # the split.csv of an earlier run keeps it
    return replace(film, attributes={**film.attributes, KNOWN_AS: known_as}) if is_unknown(film) else film


def _with_bare_ids(film: Record) -> Record:
    if reader_of(film) != _MANIFEST:
        return film
    patient, group = (name and name.removeprefix(f"{_MANIFEST}:") for name in (film.patient_id, film.group_id))
    return replace(film, patient_id=patient, group_id=group)


def _of(findings: Sequence[str], film: Record) -> tuple[str, ...]:
    return tuple(name for name in film.findings if name in findings)


def _several(recipe: Recipe, records: Records, keep: Sequence[str], *, is_own: bool) -> Records:
    rules = recipe.findings
    if is_own:
        unstated = {name: frozenset(keep) - frozenset(stated) for name, stated in rules.looked_for.items()}
        records = records.each(lambda film: _mark(film, unstated.get(reader_of(film), frozenset())))
    cut = records.each(lambda film: replace(film, findings=_of(keep, film)))
    kept = cut.where(lambda film: bool(film.findings or rules.without or film.unstated))
    n_left_out = len(records) - len(kept)
    notes = (f"{n_left_out} films left out, they show none of the findings",) if n_left_out else ()
    return replace(kept, notes=records.notes + notes)


def _mark(film: Record, unstated: frozenset[str]) -> Record:
    return mark_unstated(Records((film,), Path()), sorted(unstated))[0] if unstated else film


def _sample(records: Records, n_films: int, seed: int) -> Records:
    """Sample so many films of each finding; one that shows several counts for the rarest of them."""
    counts = records.count_findings()

    def as_one(film: Record) -> Record:
        return replace(film, findings=(min(film.findings, key=lambda name: (counts[name], name)),))

    sampled = take_films(records.where(lambda film: bool(film.findings)).each(as_one), n_films, seed=seed)
    paths = {film.path for film in sampled}
    return replace(records.where(lambda film: not film.findings or film.path in paths), notes=sampled.notes)
