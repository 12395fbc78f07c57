"""What a person sees: bars while it lasts, notices, tables; and results written where asked."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import table as rich_table
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fewshot_cxr._kinds import ENCODER_FILE, LAST, PROVENANCE_FILE, begins
from fewshot_cxr._sole_writer import is_written, only_writer
from fewshot_cxr._told_paths import told_text, told_value
from fewshot_cxr._visible import visible
from fewshot_cxr.cli.outputs import check_folder, keeps_paths, leaves_stdout
from fewshot_cxr.cli.words import spoken
from fewshot_cxr.records import Records, count_reasons
from fewshot_cxr.unknown_patients import records_text
from fewshot_cxr.whole_files import write_json, write_text
from fewshot_cxr.workflows.run_names import RUN_FILES, provenance

if TYPE_CHECKING:  # what neither decodes films nor has a result starts without them
    from fewshot_cxr.report import Table
    from fewshot_cxr.workflows.compute import Compute

_PAPER_WIDTH = 110
_LONGEST_KEPT = 12  # of a word in a table that need not be broken


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (what, done, total) that draws one bar for each `what`, on standard error, while it lasts."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = shown.add_task(visible(what), total=total)
            shown.update(bars[what], completed=done, total=total)

        yield report


@contextmanager
def bars_for(compute: Compute) -> Iterator[Compute]:
    """Yield how films are decoded and embedded, with a bar for each kind of work while it lasts."""
    with progress_bars() as progress:
        yield replace(compute, progress=progress)


def print_line(text: str, *, to_stderr: bool = False, colour: str | None = None) -> None:
    """Print one line; what a name in it would make a terminal do is shown as an escape.

    Args:
        text: the line.
        to_stderr: on standard error in any case; else there only where it would be in the way of JSON.
        colour: in which it stands in bold on a terminal.
    """
    line = click.style(visible(text), fg=colour, bold=True) if colour else visible(text)
    click.echo(line, file=sys.stderr if to_stderr or leaves_stdout() else sys.stdout)


def say(text: str) -> None:
    """Print a notice on standard error."""
    print_line(spoken(text), to_stderr=True)


def say_notes(notes: Iterable[str]) -> None:
    """Print what a reader should know."""
    for note in notes:
        say(f"note: {note}")


def say_written(*files: Path | None) -> None:
    """Print which files were written; None: that one was not asked for."""
    for file in files:
        if file is not None:
            say(f"written: {file}")


def say_records(records: Records) -> None:
    """Print what was read, how, and what was left out."""
    counts = ", ".join(f"{name} {count}" for name, count in records.count_findings().items())
    say(f"{records_text(records)}: {counts}")
    say_notes(records.notes)
    say_problems(records)


def say_problems(records: Records) -> None:
    """Print why rows were left out, the commonest reason first, with its number of rows and the first of them."""
    for reason in count_reasons(records.problems):
        say(f"left out: {reason}")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right; where it has no room, a block a row."""
    to_stderr = leaves_stdout()
    title, columns = visible(title), [visible(column) for column in columns]
    rows = [[visible(row[0]), *map(_visible_lines, row[1:])] for row in rows]
    # Into a pipe or a file there is a width of our own, unless the user says one.
    asked, is_watched = os.environ.get("COLUMNS"), (sys.stderr if to_stderr else sys.stdout).isatty()
    width = shutil.get_terminal_size((_PAPER_WIDTH, 0)).columns if asked else None if is_watched else _PAPER_WIDTH
    # Names are data: [red] is a name too.
    console = Console(stderr=to_stderr, width=width, markup=False, emoji=False, highlight=False)
    if _least_width([columns, *rows]) > console.width:
        console.print("\n".join(_blocks(title, columns, rows, console.width)), soft_wrap=True)
        return
    table = rich_table.Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        # A name is never cut: the first column keeps its width, the heads of the others fold.
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _visible_lines(cell: str) -> str:
    """Return a cell, which may show a number over its interval, with nothing in it that acts on a terminal."""
    return "\n".join(map(visible, cell.split("\n")))


def _least_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the width below which a table would break short words and numbers; its first column is never broken."""
    names, *others = zip(*rows, strict=True)
    words = [max((len(word) for cell in column for word in cell.split()), default=0) for column in others]
    return max(map(len, names)) + sum(min(word, _LONGEST_KEPT) for word in words) + 3 * len(rows[0]) + 1


def _blocks(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the lines of a table whose rows are blocks: the name, then each column with its value."""
    joined: list[list[str]] = []
    for row in rows:
        if joined and not row[0]:  # it goes on with the row above, as an interval below its number does
            joined[-1] = [f"{above} {cell}".strip() for above, cell in zip(joined[-1], row, strict=True)]
        else:
            joined.append(list(row))
    yield from textwrap.wrap(title, width)
    for name, *cells in joined:
        yield from textwrap.wrap(name, width, subsequent_indent="  ")
        for column, cell in zip(columns[1:], cells, strict=True):
            if cell:
                text = f"{column}: {cell}" if column else cell
                yield from textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ")


def show_tables(tables: Iterable[Table]) -> None:
    """Print tables, then what their rows leave open, each reason once."""
    reasons: dict[tuple[str, str], None] = {}
    for table in tables:
        show_table(table.caption, table.columns, table.rows)
        reasons |= dict.fromkeys(table.below)
    for name, why in reasons:
        say(f"{name}: {why}")


def write_result(value: Any, target: str | None) -> None:
    """Write JSON to a file, or to standard output for "-"; a result that says its kind says how it was made, too."""
    value = value if keeps_paths() else told_value(value)
    if isinstance(value, dict) and "kind" in value:
        value = {**value, "made_by": provenance(_typed())}
    if target == "-":
        ascii_only = "utf" not in sys.stdout.encoding.lower()
        click.echo(json.dumps(value, indent=2, ensure_ascii=ascii_only, allow_nan=False), file=sys.stdout)
    elif target is not None:
        write_json(target, value)


def write_page(file: Path, page: str) -> None:
    """Write a page, which names no folder of this machine unless it is to (--keep-paths)."""
    write_text(file, page if keeps_paths() else told_text(page))


@contextmanager
def run_folder(folder: Path, *, resume: bool = False, more: Iterable[str] = ()) -> Iterator[None]:
    """Write into a run folder how it was made; a run that fails before its first checkpoint leaves nothing there.

    Nobody else writes there meanwhile.

    Args:
        folder: of the run.
        resume: a run that goes on keeps what it began with.
        more: names in the folder that are written beside those of any training.

    Raises:
        click.UsageError: a file of that name is there which no run has written, or a run, and none is to go on.
        BlockingIOError: another run writes there.
    """
    written, is_new = (*RUN_FILES, *more), not folder.exists()
    if not (resume and (folder / LAST).exists()):
        check_folder(folder, written, mark=PROVENANCE_FILE, is_ours=begins(b'{\n  "command": "fscxr'))
    with only_writer(folder) as was_killed:
        check_no_run(folder, resume=resume, was_killed=was_killed)  # another may have begun and ended since
        before = {name for name in written if (folder / name).exists()}
        if not (resume and PROVENANCE_FILE in before):
            write_json(folder / PROVENANCE_FILE, provenance(_typed()))
        try:
            yield
        except BaseException:
            if not (folder / LAST).exists():
                _remove([folder] if is_new else [folder / name for name in {*written} - before])
            raise


def check_no_run(folder: Path, *, resume: bool, was_killed: bool | None = None) -> None:
    """Refuse a folder that holds a run already, where none is to go on.

    Args:
        folder: of the run.
        resume: a run is to go on.
        was_killed: whether the one before was killed, which before its first `last.ckpt` has left no run but pieces;
            None: as the lock in the folder says, whose owner may still be at work.

    Raises:
        click.UsageError: it does.
    """
    if was_killed is None:
        was_killed = is_written(folder)
    kept = (LAST,) if was_killed else (LAST, ENCODER_FILE)
    if not resume and any((folder / name).exists() for name in kept):
        raise click.UsageError(f"--out {folder} holds a run already: add --resume, or name another folder")


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _typed() -> str:
    """Return the command as it was typed, but for where things lie on this machine."""
    return shlex.join(["fscxr", *(word if keeps_paths() else told_text(word) for word in sys.argv[1:])])
