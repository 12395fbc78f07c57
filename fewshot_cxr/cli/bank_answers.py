"""What `fscxr predict --bank` asks, prints and writes: a row for each film, some films at a time."""

import glob
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fewshot_cxr._csv import csv_text
from fewshot_cxr._told_paths import told_value
from fewshot_cxr.cli.console import bars_for, print_line, say, say_notes, show_table, write_result
from fewshot_cxr.cli.outputs import keeps_paths
from fewshot_cxr.data import find_films
from fewshot_cxr.inference.bank import Answer, SupportBank
from fewshot_cxr.inference.bank.answer import COLUMNS
from fewshot_cxr.storage import whole_file
from fewshot_cxr.workflows.compute import Compute

_MOST_SHOWN = 40
_SHOWN = ("film", "answer", "probability", "nearest exemplar", "distance")


@dataclass(frozen=True, kw_only=True)
class BankQuestion:
    """How films are asked, and where the answers go."""

    never_abstain: bool
    n_nearest: int
    prevalence: Mapping[str, float] | None
    any_modality: bool
    details: bool
    csv_file: Path | None
    json_file: str | None


def answer_by_bank(bank: SupportBank, films: Sequence[str], question: BankQuestion, compute: Compute) -> int:
    """Answer for films, print a table and write files; return how many could not be read.

    Args:
        bank: that is asked.
        films: files, folders, patterns; "-" reads a list from standard input.
        question: how, and where to.
        compute: on what.

    Raises:
        FileNotFoundError: no film is readable.
    """
    files, shown = named_files(films), list[Answer]()
    reasons: Counter[str] = Counter()
    kept = shown if question.json_file is None else list[Answer]()
    with bars_for(compute) as compute:
        report = compute.report("films")
        for n_done, answer in enumerate(_written(_asked(bank, files, question, compute), question.csv_file), 1):
            reasons[answer.reason] += 1
            if len(shown) < _MOST_SHOWN:
                shown.append(answer)
            if kept is not shown:
                kept.append(answer)
            if report is not None:
                report(n_done, len(files))
    n_unreadable = reasons["unreadable"]
    if n_unreadable == len(files):
        first = shown[0] if shown else None
        raise FileNotFoundError(
            f"no film is readable: {f'{first.path}: {first.details}' if first else 'there is none'}"
        )
    _show(shown, len(files), question)
    answered, told = reasons.pop("", 0), ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items()))
    say(f"{len(files):,} films: {answered:,} answered" + (f"; abstained: {told}" if told else ""))
    if question.csv_file is not None:
        say(f"written: {question.csv_file}")
    write_result([one.to_json() for one in kept], question.json_file)
    return n_unreadable


def named_files(films: Sequence[str]) -> list[Path]:
    """Return the files that are named, each once: also those in folders, of patterns, and in a list on standard input.

    Args:
        films: as a person wrote them.

    Raises:
        FileNotFoundError: a name is of nothing.
    """
    files: list[Path] = []
    for name in _names(films):
        path = Path(name)
        if path.is_dir():
            inside, notes, problems = find_films(path)
            say_notes(f"{path}: {note}" for note in notes)
            say_notes(f"left out {path / problem.path}: {problem.reason}" for problem in problems)
            files += inside
        elif not path.exists() and (found := sorted(glob.glob(name, recursive=True))):
            files += map(Path, found)
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def _names(films: Sequence[str]) -> Iterator[str]:
    for name in films:
        if name == "-":
            yield from filter(None, (line.strip() for line in sys.stdin))
        else:
            yield name


def _asked(bank: SupportBank, files: list[Path], question: BankQuestion, compute: Compute) -> Iterator[Answer]:
    return bank.answers(
        files,
        never_abstain=question.never_abstain,
        n_nearest=question.n_nearest,
        prevalence=question.prevalence,
        any_modality=question.any_modality,
        batch_size=compute.batch_size,
        device=compute.device,
    )


def _written(answers: Iterator[Answer], file: Path | None) -> Iterator[Answer]:
    """Pass answers on, and write each into a table that appears when the last one is in it."""
    if file is None:
        yield from answers
        return
    with whole_file(file) as part, part.open("w", encoding="utf-8", newline="") as out:
        out.write(csv_text([COLUMNS]))
        for answer in answers:
            row = answer.row()
            out.write(csv_text([row if keeps_paths() else told_value(row)]))
            yield answer


def _show(shown: Sequence[Answer], n_films: int, question: BankQuestion) -> None:
    to_stderr = question.json_file == "-"
    rows = []
    for one in shown:
        path, finding, answer, reason, probability, _, nearest, distance = one.row()
        told = f"{answer} ({reason}; nearest: {finding})" if one.is_abstained and finding else reason or answer
        rows.append((path, told, probability, nearest, distance))
    show_table("Answers", _SHOWN, rows, to_stderr=to_stderr)
    if n_films > len(shown):
        say(f"and {n_films - len(shown):,} more films; --csv FILE holds all")
    for one in islice(shown, None if question.details else 0):
        print_line(repr(one), to_stderr=to_stderr)
