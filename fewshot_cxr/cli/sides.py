"""Films to judge and films to judge them by: of which split, and that no patient is on two sides."""

from typing import Any

from fewshot_cxr.cli.console import say
from fewshot_cxr.cli.sources import check_fit, fits, read_films, reader_and_path
from fewshot_cxr.data import merge_records, patient_groups
from fewshot_cxr.records import Records

_OF_NO_READER = ("findings", "with_others")


def read_sides(sources: dict[str, str], reading: dict[str, Any]) -> tuple[dict[str, Records], dict[str, str]]:
    """Read the films of each side, and say by which reader; a reading flag goes to the sides whose reader has it.

    Args:
        sources: side -> as a person wrote it.
        reading: of `take_reading`.
    """
    readers = {side: reader_and_path(source)[0] for side, source in sources.items()}
    flags = [name for name, value in reading.items() if value is not None and name not in _OF_NO_READER]
    check_fit(flags, tuple(readers.values()))
    data = {}
    for side, source in sources.items():
        own = {name: value for name, value in reading.items() if name in _OF_NO_READER or fits(name, readers[side])}
        data[side] = read_films(source, own, single_label=True, allow_leak=True)
    return data, readers


def of_split(records: Records, split: str | None, usual: str, flag: str) -> Records:
    """Return the films of a split; where none is named, those of the usual one, if there are any, and say so."""
    if split is None and any(film.split == usual for film in records):
        say(f"note: films of the split {usual} ({flag})")
        split = usual
    return records if split is None else records.of_split(split)


def refuse_shared_patients(sides: dict[str, Records], readers: dict[str, str]) -> None:
    """Refuse a film, or two films of one patient, on two sides; ids of one reader's data sets are taken as shared."""
    named = {side: readers[side] for side in sides}
    merged = merge_records(sides, patients=named, name_sources=False, keep_repeats=True)
    places = [(side, film.path) for side, records in sides.items() for film in records]
    for keys in ([film.path for film in merged], patient_groups(merged).tolist()):
        seen: dict[Any, tuple[str, str]] = {}
        for key, (side, path) in zip(keys, places, strict=True):
            there, other = seen.setdefault(key, (side, path))
            if there != side:
                raise ValueError(
                    f"film {other} of the {there} and film {path} of the {side} are of one patient; split by patient "
                    "(fscxr data split) or name other splits (--split, --support-split)"
                )
