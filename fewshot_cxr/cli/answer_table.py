"""A table of answers that is written as they come, and goes on where a killed run ended."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import click

from fewshot_cxr._csv import csv_text, plain_cell, whole_rows
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr._told_paths import told_value
from fewshot_cxr.cli.outputs import keeps_paths
from fewshot_cxr.inference.bank.answer import COLUMNS, Answer
from fewshot_cxr.whole_files import file_to_replace, whole_file

_LEAD = "# "


@dataclass(frozen=True)
class AnswerTable:
    """Answers on their way into a CSV file.

    Args:
        file: open for the rows to come; None: nothing is written.
        n_there: rows that an earlier run has written.
        part: where these are.
    """

    file: IO[bytes] | None = None
    n_there: int = 0
    part: Path | None = None

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows that an earlier run has written, as texts of COLUMNS, one at a time."""
        if self.part is None:
            return
        with self.part.open(encoding="utf-8", newline="") as file:
            file.readline()
            for row in islice(csv.reader(file), 1, 1 + self.n_there):
                yield tuple(map(plain_cell, row))

    def passed(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        """Pass answers on, each after its row is in the file."""
        for answer in answers:
            if self.file is not None:
                row = answer.row() if keeps_paths() else told_value(answer.row())
                self.file.write(csv_text([row]).encode(errors="backslashreplace"))
                self.file.flush()  # a killed process loses what it alone knows
            yield answer


@contextmanager
def answer_table(path: Path | None, key: Mapping[str, Any], *, resume: bool) -> Iterator[AnswerTable]:
    """Open a table, which is `path` when the block ends well; until then, and when it is killed, it is `path`.part.

    Args:
        path: the CSV file; None: none is written.
        key: what decides the rows, plain JSON values; it stands in the first line of the part.
        resume: go on after the last whole row of the part.

    Raises:
        click.UsageError: there is a part and none was to be gone on with, or it is of other films, flags or banks.
        BlockingIOError: another process writes it.
    """
    if path is None:
        yield AnswerTable()
        return
    if file_to_replace(path) is None:  # a device keeps no part
        with whole_file(path) as part, part.open("wb") as file:
            file.write(csv_text([COLUMNS]).encode())
            yield AnswerTable(file=file)
        return
    with only_writer(path, is_folder=False):
        part, lead = path.with_name(f"{path.name}.part"), f"{_LEAD}{json.dumps(key, sort_keys=True)}\n"
        n_done = _n_whole_rows(part, key) if _is_to_go_on(part, resume=resume) else 0
        if not n_done:
            part.write_text(lead + csv_text([COLUMNS]), encoding="utf-8")
        try:
            with part.open("ab") as file:
                yield AnswerTable(file, max(0, n_done - 1), part)
        except BaseException:
            if not _holds_rows(part):
                part.unlink()
            raise
        _finish(part, path)


def films_key(files: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of a list of files, as of its JSON, which is never whole in memory."""
    digest = hashlib.sha256(b"[")
    for number, file in enumerate(files):
        digest.update(f"{', ' if number else ''}{json.dumps(file)}".encode())
    digest.update(b"]")
    return digest.hexdigest()


def _is_to_go_on(part: Path, *, resume: bool) -> bool:
    if not part.is_file():
        return False
    if not resume:
        raise click.UsageError(f"{part} is of a run that was ended early: add --resume, or delete it to begin anew")
    return True


def _n_whole_rows(part: Path, key: Mapping[str, Any]) -> int:
    """Return how many rows a part has, its head among them, and cut off what is no whole row."""
    with part.open("rb+") as file:
        lead = file.readline()
        _check_key(part, lead, key)
        n_rows, n_bytes = whole_rows(file)
        file.truncate(len(lead) + n_bytes)
    return n_rows


def _holds_rows(part: Path) -> bool:
    with part.open("rb") as file:
        file.readline()
        return whole_rows(file)[0] > 1


def _check_key(part: Path, lead: bytes, key: Mapping[str, Any]) -> None:
    """Refuse a part of another question."""
    try:
        known = json.loads(lead.decode().removeprefix(_LEAD))
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise click.UsageError(f"{part} is none of `fscxr predict --bank`: delete it, or name another file")
    other = [name for name, value in key.items() if known.get(name) != value]
    if other:
        raise click.UsageError(
            f"{part} was begun with another {' and '.join(other)}: ask as then, or delete it to begin anew"
        )


def _finish(part: Path, path: Path) -> None:
    with part.open("rb") as source, whole_file(path) as whole, whole.open("wb") as target:
        source.readline()
        shutil.copyfileobj(source, target)
    part.unlink()
