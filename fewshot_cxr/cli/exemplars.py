"""Films to classify and labelled films to compare with: the flags that name them, and that no patient is in both."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from fewshot_cxr._checks import MOST_JUDGED, check_few_findings, lookup
from fewshot_cxr.cli.console import say, say_notes, say_problems
from fewshot_cxr.cli.flags import ALL, Flag, as_one, count_or_all, name_in
from fewshot_cxr.cli.sources import Reading, choose_findings, read_each, reader_and_path
from fewshot_cxr.data import merge_records, patient_groups, support_films
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.inference import OWN_DISTANCE, RULES, sample_exemplars
from fewshot_cxr.inference.penalties import AUTO, PENALTIES
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule

SOURCE_HELP = "manifest CSV, image folder, or NAME:PATH (data read --help)"


def rule_flags(names: Iterable[str], *, measures_anyway: bool = False) -> Flag:
    """Return what adds --rule and --distance, as `rule`.

    Args:
        names: of the rules, for the help.
        measures_anyway: the command heeds the distance even where the rule does not.
    """

    def build(rule: str | None, distance: str | None, penalty: float | str | None = None) -> ExemplarRule:
        if penalty is not None and rule not in PENALTIES:
            named = rule or ExemplarRule().name
            raise click.UsageError(f"--penalty is of the rules {', '.join(PENALTIES)}, not of {named}: leave it out")
        if distance is not None and rule in OWN_DISTANCE and not measures_anyway:
            raise click.UsageError(f"--rule {rule} has its own geometry ({OWN_DISTANCE[rule]}): leave --distance out")
        return ExemplarRule(rule or "", distance or "", {} if penalty is None else {"penalty": penalty})

    names = list(names)
    known = [name.partition(" ")[0] for name in names]
    refused = set(RULES) - set(known)  # now: what a user adds to the table later is taken

    def take_rule(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is None:
            return None
        lookup(RULES, value, what="rule")
        if value in refused:
            raise click.UsageError(f"--rule {value}: {context.command_path} takes {', '.join(known)}")
        return value

    return as_one(
        "rule",
        build,
        click.option(
            "--rule",
            callback=take_rule,
            help=f"{', '.join(names)}.  [default: the encoder's, else {ExemplarRule().name}]",
        ),
        click.option(
            "--distance",
            callback=name_in(DISTANCES, "distance"),
            help=f"{', '.join(DISTANCES)}.  [default: as in training]",
        ),
        *(() if PENALTIES.keys() & refused else (_penalty_flag,)),
    )


def _read_penalty(context: click.Context, parameter: click.Parameter, value: str | None) -> float | str | None:
    if value is None or value == AUTO:
        return value
    try:
        penalty = float(value)
    except ValueError:
        penalty = math.nan
    if not 0 < penalty < math.inf:
        raise click.BadParameter(f"{value!r} is neither a number above 0 nor {AUTO!r}")
    return penalty


_penalty_flag = click.option(
    "--penalty",
    callback=_read_penalty,
    help="Of linear_probe and ridge; auto chooses it inside each support, each patient left out in turn.  [default: 1]",
)


@dataclass(frozen=True)
class SupportFlags:
    """Labelled films to compare with: where they lie, of which split, and how many of each finding (None: all)."""

    support: tuple[str, ...]
    support_split: str | None
    n_exemplars: int | None


split_flag = click.option(
    "--split", metavar="NAME|all", help="Judge the films of this split.  [default: test, where there is one]"
)
training_films_flag = click.option(
    "--allow-training-films", is_flag=True, help="Judge films that were trained on too; the result says so, in red."
)
support_split_flag = click.option(
    "--support-split",
    metavar="NAME|all",
    help="Take these of the support, and films that state no split.  [default: train, where there is one]",
)
support_flags = as_one(
    "support",
    SupportFlags,
    click.option(
        "--support", multiple=True, help=f"Labelled films to compare with: {SOURCE_HELP}; repeat it.  [default: --data]"
    ),
    support_split_flag,
    click.option("--n-exemplars", metavar="N|all", default=ALL, callback=count_or_all, help="Per finding, by seed."),
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
    sources = (source, *(support.support or (source,)))
    asked, *labelled = read_each(sources, reading, single_label=True)
    readers = [reader_and_path(one)[0] for one in sources]
    test = of_split(asked, split, "test", "--split")
    known = _of_support(labelled, support.support_split)
    others = None if calibration is None else asked.of_split(calibration)
    judged = {"test": test} | ({} if others is None else {"calibration": others})
    for part, reader in zip(known, readers[1:], strict=True):
        parts = {name: (films, readers[0]) for name, films in judged.items()}
        refuse_shared_patients({"support": (part, reader), **parts})
    exemplars = _drawn(_merged(known, readers[1:]), support.n_exemplars, seed)
    check_few_findings(exemplars.findings, MOST_JUDGED, "the support")
    return test, exemplars, others


def read_support(
    sources: Sequence[str], split: str | None, n_exemplars: int | None, reading: Reading, *, seed: int
) -> Records:
    """Return labelled films of one source or several: of a split, so many of each finding, and say what is left out.

    Args:
        sources: as a person wrote them.
        split: as for `support_films`.
        n_exemplars: of each finding; None: all.
        reading: the flags.
        seed: of the draw.
    """
    known = _of_support(read_each(sources, reading.of_all_findings()), split)
    merged = _merged(known, [reader_and_path(one)[0] for one in sources])
    # One source need not have every finding that is asked for.
    return _drawn(choose_findings(merged, reading, single_label=True), n_exemplars, seed)


def _of_support(parts: Sequence[Records], split: str | None) -> list[Records]:
    """Choose the support of each source; one that states no split at all counts whole beside one that does."""
    is_stated = any(film.split == split for part in parts for film in part)
    return [
        part if is_stated and not any(film.split for film in part) else support_films(part, split) for part in parts
    ]


def _merged(parts: Sequence[Records], readers: Sequence[str]) -> Records:
    if len(parts) == 1:
        return parts[0]
    names = [f"{number}. {reader}" for number, reader in enumerate(readers, 1)]
    named = dict(zip(names, parts, strict=True))
    return merge_records(named, patients=dict(zip(names, readers, strict=True)), name_sources=False)


def _drawn(known: Records, n_exemplars: int | None, seed: int) -> Records:
    say_notes(known.notes)
    return known if n_exemplars is None else sample_exemplars(known, n_exemplars, seed=seed)


def say_exemplars(asked: Records, read: Records) -> None:
    """Print which exemplars cannot be read, and how many are left of each finding.

    Args:
        asked: for.
        read: of these.
    """
    say_problems(read)
    counts = ", ".join(f"{name} {read.count_findings().get(name, 0)}" for name in asked.findings)
    say(f"{len(read)} exemplars: {counts}")
    if lost := [name for name in asked.findings if name not in read.findings]:
        say(f"warning: none of the exemplars of {', '.join(lost)} can be read: no film can be told to show it")


def of_split(records: Records, split: str | None, usual: str, flag: str) -> Records:
    """Return the films of a split, or `all`; where none is named, say so and take the usual one, if there is one."""
    if split == ALL and not any(film.split == ALL for film in records):
        return records
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
