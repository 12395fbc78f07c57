"""Which films are for training, validation and test; and what an earlier run trained on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fewshot_cxr._kinds import SPLIT
from fewshot_cxr.data import assert_no_leak, fixed_counts, split_by_patient
from fewshot_cxr.data.readers.csv_table import parse_rows, read_text, split_lead
from fewshot_cxr.records import Record, Records
from fewshot_cxr.workflows.recipes.settings import SplitRules

KNOWN_AS = "known_as"  # the attribute by which a film of an unknown patient is known in another list
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Division:
    """The three parts of a recipe's films, none of a patient of another; `out` are films that are in no part."""

    train: Records
    val: Records
    test: Records
    out: Records

    def parts(self) -> dict[str, Records]:
        """Return train, val and test by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def together(self) -> Records:
        """Return all films; those that are in no part state no split."""
        left = tuple(replace(film, split=None) for film in self.out)
        return replace(self.train, films=(*self.train, *self.val, *self.test, *left))


def divide(
    records: Records,
    rules: SplitRules,
    *,
    own: Sequence[str],
    seed: int,
    before: Mapping[str, str] | None = None,
    keep_out: Iterable[str] = (),
) -> Division:
    """Divide films by patient: as they state it themselves, the others by shares or by counts.

    Args:
        records: films with their findings chosen.
        rules: of the recipe.
        own: the readers that the rules are for: what films of another one state is kept in any case.
        seed: of every draw.
        before: patient -> part of the run that this one starts from: its patients stay where they were, and those that
            it trained on may be in no other part.
        keep_out: patients that are in neither train nor val.

    Raises:
        ValueError: films state a split that puts a patient on two sides, a patient that the earlier run trained on is
            in val or test, or a part has no film.
    """
    before, shut_out = before or {}, set(keep_out)
    placed = records.each(lambda film: _placed(film, rules, own, before))
    stated, free = placed.where(lambda film: bool(film.split)), placed.where(lambda film: not film.split)
    assert_no_leak(stated)
    notes = list(records.notes)
    names = {name for film in placed for name in patient_names(film)}
    if before and names.isdisjoint(before):
        notes.append("no patient of the run to start from is among these films, as far as their names tell")
    if shut_out and names.isdisjoint(shut_out):
        notes.append("no patient to keep out is among these films, as far as their names tell")
    parts = [_carved(stated, rules, seed), *(_divided(free, rules, seed) if len(free) else ())]
    notes += [note for part in parts for note in part.notes[len(records.notes) :]]
    placed = _with_splits(placed, parts)

    def is_out(film: Record) -> bool:
        return film.split not in _PARTS or (film.split != "test" and not shut_out.isdisjoint(patient_names(film)))

    out, kept = placed.where(is_out), placed.where(lambda film: not is_out(film))
    if len(out):
        notes.append(f"{len(out)} films of patients to keep out, or of another split, are in no part")

    def part(name: str) -> Records:
        return replace(kept.where(lambda film: film.split == name), notes=tuple(dict.fromkeys(notes)))

    train, val, test = map(part, _PARTS)
    for name, films in zip(_PARTS, (train, val, test), strict=True):
        if not len(films):
            raise ValueError(
                f"no film is left for {name}: take more films, or other shares (--set split.fractions=...)"
            )
    assert_no_leak(train, val, test)
    _refuse_known(before, (val, test))
    return Division(train, val, test, out)


def reader_of(film: Record) -> str:
    """Return the reader of a film that `read_recipe_films` read: two sets of one reader are told apart by a number."""
    return film.attributes.get("dataset", "").partition("-")[0]


def patient_names(film: Record) -> frozenset[str]:
    """Return the names by which a film's patient is known in another list: patient and group, else its own path."""
    own = frozenset(filter(None, (film.patient_id, film.group_id)))
    return own or frozenset((film.attributes.get(KNOWN_AS) or film.path,))


def patients_by_part(path: Path) -> dict[str, str]:
    """Read which part each patient of a manifest is in, without looking for its films.

    Args:
        path: a manifest with the columns `path`, `split`, and `patient_id` or `group_id`; or a run folder, whose
            split.csv it is.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no CSV, or one without these columns.
    """
    path = path / SPLIT if path.is_dir() else path
    header, *rows = parse_rows(path, split_lead(read_text(path)[0])[1])
    place = {name.strip().lower(): at for at, name in enumerate(header)}
    if "path" not in place or "split" not in place:
        raise ValueError(f"{path} has no columns path and split; the split.csv of a recipe or `fscxr data split` has")
    columns = [place[name] for name in ("patient_id", "group_id") if name in place]
    lone = [place[name] for name in (KNOWN_AS, "path") if name in place]
    parts: dict[str, str] = {}
    for row in rows:
        if any(row) and row[place["split"]]:
            names = [row[at] for at in columns if row[at]] or [row[at] for at in lone if row[at]][:1]
            parts |= dict.fromkeys(names, row[place["split"]])
    return parts


def _placed(film: Record, rules: SplitRules, own: Sequence[str], before: Mapping[str, str]) -> Record:
    """Set the part that a film is to be in: what it states, and for patients of the earlier run what that run says."""
    is_own = reader_of(film) in own
    split = film.split if rules.official or not is_own else None
    there = {before[name] for name in patient_names(film) if name in before}
    if split is None:
        split = next((name for name in _PARTS if name in there), None)
    elif split == "train" and there == {"val"}:
        split = "val"  # else validation would be carved from patients that the run has trained on
    return replace(film, split=split)


def _carved(stated: Records, rules: SplitRules, seed: int) -> Records:
    """Return films that state their split, with validation films carved from train where they state none."""
    splits = {film.split for film in stated}
    if "train" not in splits or "val" in splits:
        return stated
    share = rules.fractions[1] / (rules.fractions[0] + rules.fractions[1])
    train = stated.of_split("train")
    parts = split_by_patient(train, (1 - share, share), seed=seed, names=("train", "val"))
    return replace(_with_splits(stated, parts), notes=parts[0].notes)


def _with_splits(records: Records, parts: Iterable[Records]) -> Records:
    """Return the films with the splits that they have in these parts, those of none with their own."""
    split_of = {film.path: film.split for part in parts for film in part}
    return records.each(lambda film: replace(film, split=split_of.get(film.path, film.split)))


def _divided(free: Records, rules: SplitRules, seed: int) -> tuple[Records, ...]:
    if rules.per_finding:
        n_val, n_test = rules.per_finding
        return fixed_counts(free, n_test, n_val, seed=seed)
    return split_by_patient(free, rules.fractions, seed=seed)


def _refuse_known(before: Mapping[str, str], others: tuple[Records, ...]) -> None:
    known = {name for part in others for film in part for name in patient_names(film) if before.get(name) == "train"}
    if known:
        raise ValueError(
            f"the run to start from was trained on {len(known)} of the patients that are now in validation or test: "
            f"run it again without them (--keep-out {SPLIT} of this split), or divide these films otherwise"
        )
