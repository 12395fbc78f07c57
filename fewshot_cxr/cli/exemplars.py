"""Films to classify and labelled films to compare with: the flags that name them, and that no patient is in both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from fewshot_cxr.cli.console import say
from fewshot_cxr.cli.flags import ALL, Flag, as_one, count_or_all, name_in
from fewshot_cxr.cli.sources import Reading, read_each, reader_and_path
from fewshot_cxr.data import merge_records, patient_groups
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.inference import OWN_DISTANCE, RULES, sample_exemplars
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule

SOURCE_HELP = "manifest CSV, image folder, or NAME:PATH (data read --help)"


def rule_flags(names: Iterable[str], *, measures_anyway: bool = False) -> Flag:
    """Return what adds --rule and --distance, as `rule`.

    Args:
        names: of the rules, for the help.
        measures_anyway: the command heeds the distance even where the rule does not.
    """

    def build(rule: str, distance: str | None) -> ExemplarRule:
        if distance is not None and rule in OWN_DISTANCE and not measures_anyway:
            raise click.UsageError(f"--rule {rule} has its own geometry ({OWN_DISTANCE[rule]}): leave --distance out")
        return ExemplarRule(rule, distance or "")

    return as_one(
        "rule",
        build,
        click.option(
            "--rule",
            default=ExemplarRule().name,
            show_default=True,
            callback=name_in(RULES, "rule"),
            help=f"{', '.join(names)}.",
        ),
        click.option(
            "--distance",
            callback=name_in(DISTANCES, "distance"),
            help=f"{', '.join(DISTANCES)}.  [default: as in training]",
        ),
    )


@dataclass(frozen=True)
class SupportFlags:
    """Labelled films to compare with: where they lie, of which split, and how many of each finding (None: all)."""

    support: str | None
    support_split: str | None
    n_exemplars: int | None


support_split_flag = click.option(
    "--support-split", help="Take these of the support only.  [default: train, where there is one]"
)
support_flags = as_one(
    "support",
    SupportFlags,
    click.option("--support", help=f"Labelled films to compare with: {SOURCE_HELP}.  [default: --data]"),
    support_split_flag,
    click.option(
        "--n-exemplars",
        metavar="N|all",
        default=ALL,
        show_default=True,
        callback=count_or_all,
        help="Per finding, by seed.",
    ),
)
"""--support, --support-split and --n-exemplars, as `support`."""


def read_test_and_support(
    source: str,
    split: str | None,
    support: SupportFlags,
    reading: Reading,
    *,
    calibration: str | None = None,
    seed: int,
) -> tuple[Records, Records, Records | None]:
    """Return the films to classify, labelled ones of other patients, and those that a temperature is fitted on.

    Args:
        source: of the films to classify, as a person wrote it.
        split: of these; None: test, where there is one.
        support: the labelled ones.
        reading: the flags.
        calibration: split of `source` for the temperature; None: nothing is fitted.
        seed: of the draw of the labelled ones.
    """
    sources = (source, support.support or source)
    asked, labelled = read_each(sources, reading, single_label=True)
    test = of_split(asked, split, "test", "--split")
    known = of_split(labelled, support.support_split, "train", "--support-split")
    others = None if calibration is None else asked.of_split(calibration)
    own, other = (reader_and_path(one)[0] for one in sources)
    parts = {"support": (known, other), "test": (test, own)} | (
        {} if others is None else {"calibration": (others, own)}
    )
    refuse_shared_patients(parts)
    if support.n_exemplars is not None:
        known = sample_exemplars(known, support.n_exemplars, seed=seed)
    return test, known, others


def of_split(records: Records, split: str | None, usual: str, flag: str) -> Records:
    """Return the films of a split; where none is named, those of the usual one, if there are any, and say so."""
    if split is None and any(film.split == usual for film in records):
        say(f"note: films of the split {usual} ({flag})")
        split = usual
    return records if split is None else records.of_split(split)


def refuse_shared_patients(parts: Mapping[str, tuple[Records, str]]) -> None:
    """Refuse a film, or two films of one patient, in two parts; ids of one reader's data sets are taken as shared.

    Args:
        parts: name -> films, and the reader that read them.
    """
    films = {name: records for name, (records, _) in parts.items()}
    readers = {name: reader for name, (_, reader) in parts.items()}
    merged = merge_records(films, patients=readers, name_sources=False, keep_repeats=True)
    places = [(name, film.path) for name, records in films.items() for film in records]
    for keys in ([film.path for film in merged], patient_groups(merged).tolist()):
        seen: dict[Any, tuple[str, str]] = {}
        for key, (name, path) in zip(keys, places, strict=True):
            there, other = seen.setdefault(key, (name, path))
            if there != name:
                raise ValueError(
                    f"film {other} of the {there} and film {path} of the {name} are of one patient; split by patient "
                    "(fscxr data split) or name other splits (--split, --support-split)"
                )
