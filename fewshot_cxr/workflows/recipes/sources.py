"""The films of a recipe: read, their findings chosen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fewshot_cxr.data import NO_FINDING, keep_findings, mark_unstated, merge_records, read_dataset, rename_findings
from fewshot_cxr.data import take_per_finding as take_films
from fewshot_cxr.records import Record, Records
from fewshot_cxr.workflows.recipes.division import reader_of
from fewshot_cxr.workflows.recipes.recipe import Recipe

Sources = Sequence[tuple[str, Path]]
"""(reader, path) of each data set."""

_MANIFEST, _OTHER = "manifest", "other"


def read_sources(recipe: Recipe, sources: Sources) -> Records:
    """Read the films as one list; patient ids begin with the name of their reader, but for those of a manifest.

    So the same patient has the same id in two recipes, and in the split.csv of a run that is read again. A film without
    a patient is its own, by its path below its own set.

    Raises:
        ValueError: no source, or one of the recipe's own data sets is there and another is not.
    """
    readers = [reader for reader, _ in sources]
    own = [reader for reader in recipe.data if reader in readers]
    lacking = [reader for reader in recipe.data if reader not in readers]
    if not sources or (own and lacking):
        wanted = " ".join(f"--data {reader}:PATH" for reader in lacking or recipe.data)
        raise ValueError(f"the recipe {recipe.name} is for {' and '.join(recipe.data)}: add {wanted}, or a manifest")
    parts: dict[str, Records] = {}
    patients: dict[str, str] = {}
    for reader, path in sources:
        count = readers[: len(parts)].count(reader)
        name = f"{reader}-{count + 1}" if count else reader
        read = read_dataset(reader, path, **recipe.reading(reader))
        films = (film if film.patient_id or film.group_id else replace(film, patient_id=film.path) for film in read)
        parts[name], patients[name] = replace(read, films=tuple(films)), reader
    merged = merge_records(parts, patients=patients, name_sources=len(parts) > 1)
    bare = (_with_bare_ids(film) if patients[film.attributes["dataset"]] == _MANIFEST else film for film in merged)
    return replace(merged, films=tuple(bare))


def choose_findings(recipe: Recipe, records: Records, readers: Sequence[str], *, seed: int) -> Records:
    """Give the films the findings that the recipe tells apart.

    On data that are none of the recipe's own every finding is one of them, but for a `findings.keep` that was given.

    Args:
        recipe: the settings.
        records: of `read_sources`. Their attribute `dataset` says which reader's rules hold.
        readers: of the sources.
        seed: of the draw of `findings.per_finding`.

    Returns:
        Films of one finding each; where the recipe is for several, of any number of them, also none.

    Raises:
        ValueError: no film is left.
    """
    rules, is_own = recipe.findings, set(readers) <= set(recipe.data)
    is_asked = any(key.rpartition(".")[2] == "rename" for key in recipe.given)
    known = {old: new for old, new in rules.rename.items() if is_asked or old in records.findings}
    records = rename_findings(records, known)
    is_given = any(key.rpartition(".")[2] == "keep" for key in recipe.given)
    if not is_own and not is_given:
        note = f"these are no films of {' and '.join(recipe.data)}: all their findings are taken"
        records = replace(records, notes=(*records.notes, note))
        keep = tuple(name for name in records.findings if not (rules.is_multi_label and name == NO_FINDING))
    else:
        keep = rules.keep or records.findings
        if rules.others is not None:
            records, keep = _name_others(records, keep, rules.others), (*keep, rules.others)
    absent = [name for name in keep if name not in records.findings]
    if absent:
        records = replace(records, notes=(*records.notes, f"no film shows {', '.join(absent)}"))
        keep = tuple(name for name in keep if name not in absent)
    records = _several(recipe, records, keep, is_own=is_own) if rules.is_multi_label else keep_findings(records, keep)
    return _draw(records, rules.per_finding, seed) if rules.per_finding else records


def listed(records: Records) -> Records:
    """Return the films as a manifest can hold them: one that shows nothing has the finding "No Finding".

    One on which nobody looked for all of the findings may show others: "other".
    """
    films = (
        film if film.findings else replace(film, findings=(_OTHER if film.unstated else NO_FINDING,))
        for film in records
    )
    return replace(records, films=tuple(films))


def _with_bare_ids(film: Record) -> Record:
    prefix = f"{_MANIFEST}:"
    patient, group = (name and name.removeprefix(prefix) for name in (film.patient_id, film.group_id))
    return replace(film, patient_id=patient, group_id=group)


def _name_others(records: Records, keep: Sequence[str], others: str) -> Records:
    def named(film: Record) -> Record:
        own = tuple(name for name in film.findings if name in keep)
        return replace(film, findings=own or (others,))

    return replace(records, films=tuple(named(film) for film in records))


def _several(recipe: Recipe, records: Records, keep: Sequence[str], *, is_own: bool) -> Records:
    rules = recipe.findings
    if is_own:
        parts = {name: frozenset(keep) - frozenset(stated) for name, stated in rules.looked_for.items()}
        films = (_mark(film, parts.get(reader_of(film), frozenset())) for film in records)
        records = replace(records, films=tuple(films))
    cut = (replace(film, findings=tuple(name for name in film.findings if name in keep)) for film in records)
    films_kept = tuple(film for film in cut if film.findings or rules.without or film.unstated)
    n_left_out = len(records) - len(films_kept)
    notes = (f"{n_left_out} films left out, they show none of the findings",) if n_left_out else ()
    return replace(records, films=films_kept, notes=records.notes + notes)


def _mark(film: Record, unstated: frozenset[str]) -> Record:
    return mark_unstated(Records((film,), Path()), sorted(unstated))[0] if unstated else film


def _draw(records: Records, n_films: int, seed: int) -> Records:
    """Draw so many films of each finding; one that shows several counts for the rarest of them."""
    counts = records.count_findings()
    free = [row for row, film in enumerate(records) if not film.findings]
    bound = [row for row, film in enumerate(records) if film.findings]
    as_one = tuple(
        replace(records[row], findings=(min(records[row].findings, key=lambda name: (counts[name], name)),))
        for row in bound
    )
    drawn = take_films(replace(records, films=as_one), n_films, seed=seed)
    paths = {film.path for film in drawn}
    kept = sorted([*free, *(row for row in bound if records[row].path in paths)])
    return replace(records.take(kept), notes=drawn.notes)
