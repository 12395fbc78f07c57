"""Tables, results and cards with wrong types and hostile cells: refused in one line, or read with one row less."""

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import torch
from made_layouts import lay_covid19_radiography

from fault_kinds.attack import CRASH, HARMLESS, LOST, REFUSED, Attack, Finished, call, command_outcome
from fewshot_cxr import Embeddings, load_encoder
from fewshot_cxr.data import read_dataset
from fewshot_cxr.encoders import load_head
from fewshot_cxr.episodes import SavedEpisodes
from fewshot_cxr.inference import load_classifier
from fewshot_cxr.storage import load_tensors, save_tensors

WRONG = {
    "null": None,
    "list": [],
    "dict": {},
    "text": "x",
    "negative": -1,
    "fraction": 0.5,
    "huge": 1e308,
    "whole": 10**12,
    "true": True,
    "lists": [[[1, "x"], None]],
    "long": "x" * 100_000,
}
RAW = {
    "nan": "NaN",
    "infinity": "-Infinity",
    "1e400": "1e400",
    "digits": "9" * 5_000,
    "deep": "[" * 4_000 + "]" * 4_000,
}
MISSING = "missing"
N_RESULTS, N_CARDS, N_TABLES = 250, 600, 300
# File that is spoilt -> the commands that read it.
READERS = {
    "closed.json": (("plot", "confusion", "closed.json"), ("compare", "closed.json", "closed.json")),
    "run.json": (("compare", "run.json", "other.json"), ("report", "run.json")),
    "audit.json": (("data", "split", "films.csv", "--audit", "audit.json"), ("report", "audit.json")),
    "compare.json": (("report", "compare.json"),),
    "run/card.json": (("plot", "learning", "run"),),
}
OUT = {"plot": "p.png", "report": "p.html", "data": "s.csv"}
CELLS = ("", " ", "nan", "=1+1", "../../etc/passwd", "/etc/passwd", "a\x00b", "\x1b]0;x\x07", "x" * 70_000, '"', "a\nb")
CELLS += ("1e999", "-1", "é" * 300, "\u202etxt", "\ufeff", "|", "a|b", "None", "NULL", "true")
CELLS += (".", "..", "~", "con", "%s{0}")


def results(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Spoil one value of a JSON file, and let each command read it that takes such a file."""
    todo = [(name, command) for name, commands in READERS.items() for command in commands]
    for _ in range(max(1, round(N_RESULTS * share / len(todo)))):
        for name, command in todo:
            value = json.loads((made / name).read_text(encoding="utf-8"))
            path = _draw_path(value, draw)
            what, text = _spoilt(value, path, draw)
            yield (
                f"{' '.join(command)}: {'.'.join(map(str, path))} is {what}",
                partial(_command, made, name, text, command),
            )


def cards(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Spoil one value of a header, with a hash that fits, and load the file."""
    films = Embeddings.load(made / "test.safetensors")
    readers: dict[str, tuple[str, Callable[[Path], Any]]] = {
        "run/encoder.safetensors": ("encoder", _use_encoder),
        "classifier/encoder.safetensors": ("encoder", _use_classifier),
        "all.safetensors": ("embeddings", Embeddings.load),
        "test.episodes": ("episodes", partial(_use_episodes, films)),
    }
    for name, (kind, read) in readers.items():
        tensors, header = load_tensors(made / name, kind=kind)
        for _ in range(max(1, round(N_CARDS * share / len(readers)))):
            path = _draw_path(header, draw)
            what = [*WRONG, MISSING][draw.integers(len(WRONG) + 1)]
            spoilt = _with(header, path, WRONG.get(what, MISSING))
            save = partial(save_tensors, tensors=tensors, kind=kind, header=spoilt)
            yield f"{name}: {'.'.join(map(str, path))} is {what}", partial(_load, made, name, save, read)


def tables(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Spoil one cell, the head, the encoding or the end of a manifest, and read it."""
    _, text = (made / "films.csv").read_text(encoding="utf-8").split("\n", 1)
    rows = [line.split(",") for line in text.splitlines()]
    root = made / "films"
    for number in range(max(4, round(N_TABLES * share))):
        spoil = (_one_cell, _head, _encoding, _bytes)[number % 4]
        what, content, n_spoilt = spoil(rows, draw)
        yield what, partial(_read_table, made, root, content, n_spoilt, len(rows) - 1)
    for what, content in islice(_sheets(), None if share == 1 else 2):
        yield f"sheet: {what}", partial(_read_sheet, made, content)


def _draw_path(value: Any, draw: np.random.Generator) -> list[Any]:
    path: list[Any] = []
    while isinstance(value, (dict, list)) and value and (not path or draw.random() < 0.8):
        key = list(value)[draw.integers(len(value))] if isinstance(value, dict) else int(draw.integers(len(value)))
        path.append(key)
        value = value[key]
    return path


def _with(value: Any, path: list[Any], new: Any) -> Any:
    """Return a copy with something new at a place; MISSING: with nothing there."""
    value = deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    if new is MISSING:
        del place[path[-1]]
    return value


def _spoilt(value: Any, path: list[Any], draw: np.random.Generator) -> tuple[str, str]:
    if draw.random() < 0.15:
        return MISSING, json.dumps(_with(value, path, MISSING))
    names = [*WRONG, *RAW]
    what = names[draw.integers(len(names))]
    if what in RAW:
        return what, json.dumps(_with(value, path, "@@")).replace('"@@"', RAW[what])
    return what, json.dumps(_with(value, path, WRONG[what]))


def _command(made: Path, name: str, text: str, command: tuple[str, ...]) -> str:
    place = made / f"spoilt_{os.getpid()}"
    if not place.exists():
        for one in READERS:
            (place / one).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made / "run", place / "run", dirs_exist_ok=True)
        shutil.copytree(made / "films", place / "films")
        for one in ("closed.json", "run.json", "other.json", "audit.json", "compare.json", "films.csv"):
            shutil.copy(made / one, place / one)
    (place / name).write_text(text, encoding="utf-8")
    out = OUT.get(command[0])
    if out:
        (place / out).unlink(missing_ok=True)
    done = call(*command, *(["--out", out] if out else []), cwd=place)
    shutil.copy(made / name, place / name)
    return _named(done, name)


def _named(done: Finished, name: str) -> str:
    outcome = command_outcome(done)
    if outcome == REFUSED and Path(name).name not in done.error and Path(name).parent.name not in done.error:
        return f"{CRASH}: names no file: {done.error}"
    return outcome


def _load(made: Path, name: str, save: Callable[..., None], read: Callable[[Path], Any]) -> str:
    file = made / f"forged_{os.getpid()}_{Path(name).name}"
    try:
        save(file)
    except ValueError:
        return HARMLESS  # it cannot even be written
    try:
        read(file)
    except (ValueError, OSError) as error:
        return REFUSED if file.name in str(error) else f"{CRASH}: names no file: {error}"
    return HARMLESS


def _use_encoder(file: Path) -> None:
    net = load_encoder(file)
    net(torch.zeros(2, net.image_spec.n_channels, 32, 32))


def _use_classifier(file: Path) -> None:
    load_head(file)
    load_classifier(file)


def _use_episodes(films: Embeddings, file: Path) -> None:
    list(SavedEpisodes.load(file, films).blocks())


Spoilt = tuple[str, bytes, int | None]  # what was done, the file, rows that may be lost (None: all)


def _one_cell(rows: list[list[str]], draw: np.random.Generator) -> Spoilt:
    rows = deepcopy(rows)
    row, column = int(draw.integers(1, len(rows))), int(draw.integers(len(rows[0])))
    cell = CELLS[draw.integers(len(CELLS))]
    rows[row][column] = f'"{cell}"' if "\n" in cell else cell
    # An open quote takes all that follows; the text does not say where it should have ended.
    return f"cell {rows[0][column]} is {cell[:20]!r}", _text(rows).encode(), None if cell == '"' else 1


def _head(rows: list[list[str]], draw: np.random.Generator) -> Spoilt:
    rows = deepcopy(rows)
    what = ("missing", "twice", "empty", "hostile", "many")[draw.integers(5)]
    column = int(draw.integers(len(rows[0])))
    if what == "missing":
        rows = [row[:column] + row[column + 1 :] for row in rows]
    elif what == "twice":
        rows = [[*row, row[column]] for row in rows]
    elif what == "many":
        rows = [[*row, *["x"] * 20_000] for row in rows[:3]]
    else:
        rows[0][column] = "" if what == "empty" else CELLS[draw.integers(len(CELLS))].strip('"\n')
    return f"head {what}", _text(rows).encode(), None


def _encoding(rows: list[list[str]], draw: np.random.Generator) -> Spoilt:
    name = ("utf-16", "utf-32", "latin-1", "utf-8-sig", "cp037")[draw.integers(5)]
    rows = deepcopy(rows)
    rows[1][1] = "Pneumonie-é"
    return f"as {name}", _text(rows).encode(name), None


def _bytes(rows: list[list[str]], draw: np.random.Generator) -> Spoilt:
    content = bytearray(_text(rows).encode())
    what = ("cut", "zeros", "noise", "returns", "empty")[draw.integers(5)]
    place = int(draw.integers(len(content)))
    if what == "cut":
        del content[place:]
    elif what == "zeros":
        content[place:] = bytes(len(content) - place)
    elif what == "noise":
        content[place : place + 40] = draw.bytes(40)
    elif what == "returns":
        content = bytearray(bytes(content).replace(b"\n", b"\r"))
    else:
        content = bytearray()
    return f"{what} from {place}", bytes(content), None


def _text(rows: list[list[str]]) -> str:
    return "\n".join(",".join(row) for row in rows) + "\n"


def _read_table(made: Path, root: Path, content: bytes, n_spoilt: int | None, n_films: int) -> str:
    file = made / f"spoilt_{os.getpid()}.csv"
    file.write_bytes(content)
    try:
        found = read_dataset("manifest", file, root=root)
    except (ValueError, OSError) as error:
        return REFUSED if file.name in str(error) else f"{CRASH}: names no file: {error}"
    if n_spoilt is not None and len(found) < n_films - n_spoilt:
        return f"{LOST}: {n_films - len(found)} rows: {found.problems[:2]}"
    return HARMLESS


def _sheets() -> Iterator[tuple[str, bytes]]:
    """Yield sheets as covid19_radiography has them, in which something is out of all bounds."""
    book = openpyxl.Workbook()
    for number in range(8):
        book.active.append(["FILE NAME", "FORMAT"] if number == 0 else [f"COVID-{number - 1}", "PNG"])
    whole = io.BytesIO()
    book.save(whole)
    sheet = "xl/worksheets/sheet1.xml"
    yield (
        "row number 2e9",
        _edited(whole, sheet, rb'<row r="8"', b'<row r="2000000000"', rb'r="(.)8"', rb'r="\g<1>2000000000"'),
    )
    yield "row number negative", _edited(whole, sheet, rb'<row r="8"', b'<row r="-8"')
    yield "column ZZZZ", _edited(whole, sheet, rb'r="B8"', b'r="ZZZZ8"')
    yield "no row number", _edited(whole, sheet, rb'<row r="8"', b"<row")
    yield "not xml", _edited(whole, sheet, rb"<sheetData>", b"<sheetData")
    laughs = (
        b'<!DOCTYPE x [<!ENTITY a "'
        + b"ha" * 1000
        + b'">'
        + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 20) for n in range(8))
        + b"]>"
    )
    yield "billion laughs", _edited(whole, sheet, rb"<worksheet", laughs + b"<worksheet", rb"<v>0</v>", b"<v>&i;</v>")
    yield "bomb", _edited(whole, sheet, rb"</sheetData>", b" " * (200 << 20) + b"</sheetData>")
    yield (
        "million rows",
        _edited(
            whole,
            sheet,
            rb"</sheetData>",
            b"".join(b'<row r="%d"/>' % n for n in range(9, 1_000_009)) + b"</sheetData>",
        ),
    )
    for part in range(1, 20):
        yield f"cut at {part}/20", whole.getvalue()[: len(whole.getvalue()) * part // 20]


def _edited(whole: io.BytesIO, name: str, *changes: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            content = old.read(member)
            if member == name:
                for pattern, by in zip(changes[::2], changes[1::2], strict=True):
                    content = re.sub(pattern, by, content)
            new.writestr(member, content)
    return out.getvalue()


def _read_sheet(made: Path, content: bytes) -> str:
    root = made / f"radiography_{os.getpid()}"
    if not root.exists():
        lay_covid19_radiography(root)
    next(root.rglob("COVID.metadata.xlsx")).write_bytes(content)
    return command_outcome(call("data", "read", f"covid19_radiography:{root}", cwd=made, limit=30))
