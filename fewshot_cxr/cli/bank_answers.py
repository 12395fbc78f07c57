"""What `fscxr predict --bank` asks, prints and writes: a row for each film or patient, some films at a time."""

from __future__ import annotations

import glob
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Union, cast

import click

from fewshot_cxr import engines, report
from fewshot_cxr._csv import csv_text
from fewshot_cxr._progress import tell
from fewshot_cxr.cli import console
from fewshot_cxr.cli.answer_table import answer_table
from fewshot_cxr.cli.bank_question import BankQuestion
from fewshot_cxr.cli.outputs import keeps_paths
from fewshot_cxr.data import find_films
from fewshot_cxr.data.film_patients import films_of_patients
from fewshot_cxr.inference.bank.answer import ABSTAINED, COLUMNS, Answer, join_films
from fewshot_cxr.whole_files import whole_file
from fewshot_cxr.workflows.compute import Compute

if TYPE_CHECKING:
    from fewshot_cxr.cli.shards import Sharding
    from fewshot_cxr.cli.sources import Reading
    from fewshot_cxr.inference import ExportedBank
    from fewshot_cxr.inference.bank import SupportBank

AnyBank = Union["SupportBank", "ExportedBank"]
Index = Callable[[], object]
_SHOWN = ("answer", "probability", "nearest exemplar", "distance")
_MOST_SHOWN = 40
_REASON, _ANSWER = COLUMNS.index("reason"), COLUMNS.index("answer")


@dataclass
class Tally:
    """What is kept of many answers, in constant memory unless all are.

    Args:
        keeps_all: for JSON.
        most_pictured: for a page so many are kept of those that abstain, and so many of the others.
        n_answers: so far.
        reasons: how often each was given; "" stands for an answer.
        rows: the first, as texts of COLUMNS.
        first: the same, as answers.
        kept: all, or those for a page.
    """

    keeps_all: bool = False
    most_pictured: int = 0
    n_answers: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    first: list[Answer] = field(default_factory=list)
    kept: list[Answer] = field(default_factory=list)
    _n_pictured: Counter[bool] = field(default_factory=Counter)

    def add_rows(self, rows: Iterable[Sequence[str]]) -> None:
        """Count rows that an earlier run has written."""
        for row in rows:
            self._count(tuple(row))

    def add(self, answer: Answer) -> None:
        """Count an answer, and keep it where it is to be shown."""
        if len(self.rows) < _MOST_SHOWN:
            self.first.append(answer)
        self._count(answer.row())
        is_pictured = self._n_pictured[answer.is_abstained] < self.most_pictured
        self._n_pictured[answer.is_abstained] += is_pictured
        if self.keeps_all or is_pictured:
            self.kept.append(answer)

    @property
    def abstained(self) -> dict[str, int]:
        """Reason -> answers that abstain for it."""
        return {reason: n for reason, n in sorted(self.reasons.items()) if reason}

    def words(self, per: str) -> str:
        """Return the counts in one line.

        Args:
            per: what an answer is for, "film" or "patient".
        """
        told = ", ".join(f"{reason} {n:,}" for reason, n in self.abstained.items())
        unit = per if self.n_answers == 1 else f"{per}s"
        return f"{self.n_answers:,} {unit}: {self.reasons['']:,} answered" + (f"; abstained: {told}" if told else "")

    def _count(self, row: tuple[str, ...]) -> None:
        self.n_answers += 1
        self.reasons[row[_REASON] if row[_ANSWER] == ABSTAINED else ""] += 1
        if len(self.rows) < _MOST_SHOWN:
            self.rows.append(row)


def answer_by_bank(
    bank: AnyBank, films: Sequence[str], question: BankQuestion, compute: Compute, *, index: Index = lambda: None
) -> int:
    """Answer for films, print a table and write files; return how many answers are of what could not be read.

    Args:
        bank: that is asked.
        films: files, folders, patterns; "-" reads a list from standard input.
        question: how, and where to.
        compute: on what.
        index: what finds the nearest exemplars; it is made when the first film is asked.

    Raises:
        FileNotFoundError: no film is readable.
    """
    files = named_files(films)
    question.check_number(len(files))
    units = [[file] for file in files]
    if question.per == "patient":
        units = films_of_patients(files, patient_pattern=question.patient_pattern)
    tally = Tally(
        keeps_all=question.json_file is not None,
        most_pictured=0 if question.html_file is None else report.MOST_PICTURED,
    )
    key = question.key(bank, files, compute)
    with answer_table(question.csv_file, key, resume=question.resume) as table, console.bars_for(compute) as compute:
        bar, n_there = compute.report("films"), table.n_there
        tally.add_rows(table.rows())
        if n_there:
            console.say(f"{n_there:,} of {len(units):,} answers are there; going on")
        n_done = sum(map(len, units[:n_there]))
        for answer in table.passed(_asked(bank, units, n_there, question, compute)):
            tally.add(answer)
            n_done += len(answer.films or (answer.path,))
            tell(bar, n_done, len(files))
    n_unreadable = tally.reasons["unreadable"]
    if n_unreadable == len(units):
        first = tally.first[0] if tally.first else None
        raise FileNotFoundError(
            f"no film is readable: {f'{first.path}: {first.details}' if first else 'there is none'}"
        )
    _show(tally, question)
    if (found := index()) is not None:
        console.say(f"the nearest exemplars: by {found}")
    console.say(tally.words(question.per))
    _write(bank, tally, question)
    return n_unreadable


def answer_shards(
    bank: SupportBank,
    films: Sequence[str],
    question: BankQuestion,
    sharding: Sharding,
    *,
    compute: Compute,
    reading: Reading,
) -> None:
    """Answer for the films of a table of any size, a shard at a time, and print and write as `answer_by_bank` does.

    Raises:
        click.UsageError: it is no table alone, or a flag needs all answers in memory.
    """
    if question.per != "film" or question.resume or question.details or question.html_file or question.json_file:
        raise click.UsageError(
            "--shards goes on by itself, film by film, and writes --csv: leave out the other outputs"
        )
    if len(films) != 1:
        raise click.UsageError("--shards takes one table of films, CSV or Parquet, in place of files")
    from fewshot_cxr.cli.shards import make_shards, say_shards  # it loads torch, which an exported bank does without

    how = {"never_abstain": question.never_abstain, "n_nearest": question.n_nearest, "prevalence": question.prevalence}
    work = engines.Answering(bank, **how, keeps_paths=keeps_paths())  # type: ignore[arg-type]  # of their own types
    plan, tally = make_shards(work, films[0], sharding, compute, reading), Tally()
    say_shards(plan, lambda shard: tally.add_rows(shard.told["answers"]))
    _show(tally, question)
    console.say(tally.words("film"))
    if question.csv_file is not None:
        with whole_file(question.csv_file) as part, part.open("wb") as file:
            for row in chain([COLUMNS], engines.answer_rows(plan)):
                file.write(csv_text([row]).encode(errors="backslashreplace"))
        console.say_written(question.csv_file)


def _write(bank: AnyBank, tally: Tally, question: BankQuestion) -> None:
    if question.html_file is not None:
        shown = report.AnswersShown(
            tally.kept,
            n_answers=tally.n_answers,
            abstained=tally.abstained,
            per=question.per,
            prevalence=question.prevalence,
            is_forced=question.never_abstain,
        )
        page = report.answers_page(cast("SupportBank", bank), shown)  # no flag asks an exported one for it
        console.write_page(question.html_file, report.render_answers(page))
    console.say_written(question.csv_file, question.html_file)
    if question.json_file is not None:
        console.write_result([one.to_json() for one in tally.kept], question.json_file)


def named_files(films: Sequence[str]) -> list[str]:
    """Return the files that are named, each once: also those in folders, of patterns, and in a list on standard input.

    Texts, since a hundred thousand paths take 40 MB.

    Args:
        films: as a person wrote them.

    Raises:
        FileNotFoundError: a name is of nothing.
    """
    files: dict[str, None] = {}
    for name in _names(films):
        path = Path(name)
        if path.is_dir():
            inside, notes, problems = find_films(path)
            console.say_notes(f"{path}: {note}" for note in notes)
            console.say_notes(f"left out {path / problem.path}: {problem.reason}" for problem in problems)
            files |= dict.fromkeys(map(str, inside))
        elif not path.exists() and (found := sorted(glob.glob(name, recursive=True))):
            files |= dict.fromkeys(str(Path(one)) for one in found)
        else:
            files[str(path)] = None
    return list(files)


def _names(films: Sequence[str]) -> Iterator[str]:
    for name in films:
        if name == "-":
            yield from filter(None, (line.strip() for line in sys.stdin))
        else:
            yield name


def _asked(
    bank: AnyBank, units: Sequence[Sequence[str]], n_done: int, question: BankQuestion, compute: Compute
) -> Iterator[Answer]:
    """Yield an answer for each film or patient but the first, which are there.

    Films go through the network in the same batches, wherever a run begins: a number may hang on its batch.
    """
    files = [file for unit in units for file in unit]
    first = sum(map(len, units[:n_done]))
    start = first // compute.batch_size * compute.batch_size
    answers = bank.answers(
        files[start:],
        n_nearest=question.n_nearest,
        prevalence=question.prevalence,
        any_modality=question.any_modality,
        batch_size=compute.batch_size,
        device=compute.device,
    )
    answers = islice(answers, first - start, None)
    for unit in units[n_done:]:
        joined = join_films(list(islice(answers, len(unit))))
        yield joined.forced() if question.never_abstain else joined


def _show(tally: Tally, question: BankQuestion) -> None:
    rows = []
    for path, finding, answer, reason, probability, _, nearest, distance in tally.rows:
        if answer == ABSTAINED:
            answer = f"{answer} ({reason}; nearest: {finding})" if finding else reason
        rows.append((path, answer, probability, nearest, distance))
    console.show_table("Answers", (question.per, *_SHOWN), rows)
    if tally.n_answers > len(rows):
        console.say(f"and {tally.n_answers - len(rows):,} more; --csv FILE holds all")
    for one in tally.first if question.details else ():
        console.print_line(repr(one))
