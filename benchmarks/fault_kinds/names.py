"""Names that would steer a terminal, files that are no plain files, and surroundings that are not as usual."""

import os
import re
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from fault_kinds.attack import LOST, REFUSED, SILENT, Attack, Finished, call, command_outcome, fresh
from fault_kinds.made import CLASSIFIER, PROCESSOR, TEST

# Controls of both sets but tab and newline, marks that turn the direction of text, and halves of characters.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
HOSTILE = (
    "a\x1b]0;owned\x07",
    "a\x1b[2J\x1b[31m",
    "a\x9b31m",
    "a\rOK",
    "a\u202egnp",
    "a\x08\x08b",
    "a[red]x[bold]",
    "-rf",
    "a\nfscxr: error: b",
)
NOT_UTF8 = os.fsdecode(b"caf\xe9")
QUICKLY = ("--deletion", 0, "--overlays", 1)
COMMANDS = (
    ("data", "read", "image_folder:{}", "--out", "names.csv"),
    ("data", "audit", "{}"),
    ("data", "split", "{}", "--out", "s.csv"),
    ("data", "cache", "{}", "--image-size", 32),
    ("embed", "--checkpoint", "run", "--data", "{}", "--out", "e.csv"),
    ("predict", "{}", "--checkpoint", "run", "--support", "split.csv"),
    ("predict", "films/dark/0_0.png", "--checkpoint", "run", "--support", "{}"),
    ("evaluate", "--classifier", "classifier", "--data", "{}", "--allow-training-films"),
    ("train", "classifier", "--data", "{}", *CLASSIFIER, *PROCESSOR, "--epochs", 1, "--out", "r"),
    ("explain", "--classifier", "classifier", "--data", "{}", "--out", "x", *QUICKLY, *PROCESSOR),
    ("plot", "samples", "{}", "--out", "p.png"),
)


def terminal(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Give films, findings and folders names with escapes, and look at what reaches the terminal."""
    for name in HOSTILE[: None if share == 1 else 2]:
        for command in COMMANDS if share == 1 else COMMANDS[:3]:
            yield f"{' '.join(map(str, command[:2]))}, {name!r}", partial(_named, made, name, command)


def odd_files(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Put one thing that is no film among films, and one name that is no text."""
    for what, make in islice(ODD.items(), None if share == 1 else 4):
        for command in COMMANDS if share == 1 else COMMANDS[:1]:
            yield f"{' '.join(map(str, command[:2]))}, {what}", partial(_among_films, made, make, command)
    for target in ("null", "full", "fifo", "folder", "dangling", "link", "film", "manifest", "private"):
        for command in OUTPUTS if share == 1 else OUTPUTS[:1]:
            yield f"{' '.join(map(str, command[:2]))} to {target}", partial(_write_to, made, target, command)


def surroundings(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Take away the home, the temporary folder, the language, a stream, the folder itself."""
    for what, (env, before) in islice(SURROUNDINGS.items(), None if share == 1 else 2):
        for command in WORKING if share == 1 else WORKING[:1]:
            yield f"{' '.join(map(str, command[:2]))}, {what}", partial(_surrounded, made, env, before, command)


def _named(made: Path, name: str, command: tuple[object, ...]) -> str:
    place = _copy(made)
    for film in sorted((place / "films" / "bright").iterdir()):
        target = place / "films" / f"{name}bright" / f"{name}{film.name}"
        target.parent.mkdir(exist_ok=True)
        film.rename(target)
    (place / "films" / f"{name}bright" / f"{name}bad.png").write_bytes(b"\x89PNG no film")
    return _shown(_call(command, "films", place))


def _shown(done: Finished) -> str:
    found = STEERING.search(done.out + done.err)
    if found:
        return f"{SILENT}: {(done.out + done.err)[max(0, found.start() - 60) : found.end() + 5]!r} reaches the terminal"
    forged = [line for line in done.err.splitlines() if line.startswith("fscxr: error: b")]
    return f"{SILENT}: a name forges an error" if forged else command_outcome(done)


def _fifo(place: Path) -> None:
    os.mkfifo(place)


def _socket(place: Path) -> None:
    os.chdir(place.parent)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(place.name)


ODD: dict[str, Callable[[Path], None]] = {
    "a FIFO": _fifo,
    "a link to /dev/zero": lambda place: place.symlink_to("/dev/zero"),
    "a socket": _socket,
    "a folder": lambda place: place.mkdir(),
    "a link to itself": lambda place: place.symlink_to(place.name),
    "a link out": lambda place: place.symlink_to("/etc/passwd"),
    "an empty file": lambda place: place.touch(),
    "a name of no text": lambda place: shutil.copy(place.parent / "0_0.png", place.with_name(f"{NOT_UTF8}.png")),
    "a file of no rights": lambda place: (place.touch(), place.chmod(0)),
    "the same name in another case": lambda place: shutil.copy(place.parent / "0_0.png", place.with_name("0_0.PNG")),
    "a huge hole": lambda place: (place.touch(), os.truncate(place, 1 << 42)),
    "a name of 255 bytes": lambda place: shutil.copy(place.parent / "0_0.png", place.with_name(f"{'x' * 251}.png")),
}


def _among_films(made: Path, make: Callable[[Path], object], command: tuple[object, ...]) -> str:
    place, here = _copy(made), os.getcwd()
    make(place / "films" / "bright" / "odd.png")
    os.chdir(here)
    done = _call(command, "films", place)
    if done.code and command_outcome(done) == REFUSED:
        return f"{LOST}: all films, for one: {done.error}"
    return _shown(done)


OUTPUTS = (
    ("data", "audit", "films.csv", "--json"),
    ("data", "read", "image_folder:films", "--out"),
    ("embed", "--checkpoint", "run", *TEST, "--out"),
    ("report", "closed.json", "--out"),
)
DEVICES = {"null": 3, "full": 7}
SUFFIXES = {"audit": ".json", "read": ".csv", "--checkpoint": ".csv", "closed.json": ".html"}


def _write_to(made: Path, target: str, command: tuple[object, ...]) -> str:
    place = _copy(made)
    suffix = SUFFIXES[str(command[1])]
    out, kept = place / f"{target}{suffix}", b""
    if target in DEVICES:
        out = _device(out, target)
    elif target == "fifo":
        os.mkfifo(out)
    elif target == "folder":
        out.mkdir()
    elif target in ("dangling", "link"):
        (place / f"target{suffix}").touch() if target == "link" else None
        out.symlink_to(f"target{suffix}")
    elif target in ("film", "manifest"):
        out = next((place / "films").rglob("*.png")) if target == "film" else place / "split.csv"
        kept = out.read_bytes()
    elif target == "private":
        out.touch(0o600)
        out.chmod(0o600)
    kind = out.lstat().st_mode if out.exists() or out.is_symlink() else None
    more = ["--overwrite"] if target in ("film", "manifest") else []
    done = call(*command, out, *more, cwd=place, limit=30, before=partial(_drain, out) if target == "fifo" else None)
    if kind is not None and (not os.path.lexists(out) or out.lstat().st_mode != kind):
        return f"{SILENT}: it is no longer what it was"
    if kept and out.read_bytes() != kept and not _is_own(command, target):
        return f"{SILENT}: a file of another kind was replaced"
    if done.code == 0 and target in ("link", "dangling") and not (place / f"target{suffix}").stat().st_size:
        return f"{SILENT}: nothing was written to what the link names"
    if done.code == 0 and target == "full":
        return f"{SILENT}: nothing tells that the disk is full"
    if target == "full" and not done.is_crash and str(out) in done.error:
        return REFUSED  # at the end of the work, whatever that cost
    return command_outcome(done)


def _device(place: Path, name: str) -> Path:
    """Return a device of our own, which may be lost: that of the machine where we may make none."""
    try:
        os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, DEVICES[name]))
    except OSError:
        return Path("/dev", name)
    return place


def _is_own(command: tuple[object, ...], target: str) -> bool:
    """Return whether the command writes manifests itself."""
    return command[:2] == ("data", "read") and target == "manifest"


def _drain(fifo: Path) -> None:
    if os.fork() == 0:
        fifo.read_bytes()
        os._exit(0)


def _close(stream: int) -> None:
    os.close(stream)
    setattr(sys, ("stdin", "stdout", "stderr")[stream], None)  # as Python finds it at its start


def _lose_folder() -> None:
    folder = Path("lost").resolve()
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    folder.rmdir()


def _reader_leaves() -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)
    os.close(writer)


def _in_ascii() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="ascii", errors="strict" if stream is sys.stdout else "backslashreplace")


Before = Callable[[], None] | None
SURROUNDINGS: dict[str, tuple[dict[str, str | None], Before]] = {
    "no HOME": ({"HOME": None, "FSCXR_CACHE": None, "XDG_STATE_HOME": None}, None),
    "a HOME that is not there": ({"HOME": "/nowhere", "XDG_STATE_HOME": None}, None),
    "no TMPDIR": ({"TMPDIR": "/nowhere"}, None),
    "a terminal of ASCII": ({"LANG": "C", "LC_ALL": "C"}, _in_ascii),
    "no COLUMNS": ({"COLUMNS": "0"}, None),
    "COLUMNS no number": ({"COLUMNS": "x"}, None),
    "standard output closed": ({}, partial(_close, 1)),
    "standard error closed": ({}, partial(_close, 2)),
    "standard input closed": ({}, partial(_close, 0)),
    "a reader that leaves": ({}, _reader_leaves),
    "a folder that is gone": ({}, _lose_folder),
}
WORKING = (
    ("data", "audit", "{}/films.csv"),
    ("predict", "{}/films/bright/0_0.png", "--checkpoint", "{}/run", "--support", "{}/split.csv"),
    ("evaluate", "--classifier", "{}/classifier", "--data", "{}/split.csv", "--split", "test", "--json", "{}/v.json"),
    ("embed", "--checkpoint", "{}/run", "--data", "{}/split.csv", "--out", "{}/e.csv"),
    ("plot", "samples", "{}/split.csv", "--out", "{}/p.png"),
)


def _surrounded(made: Path, env: dict[str, str | None], before: Before, command: tuple[str, ...]) -> str:
    place = _copy(made)
    done = call(*(part.format(place) for part in command), cwd=place, env=env, before=before)
    outcome = command_outcome(done)
    return f"{LOST}: {done.error}" if outcome == REFUSED else outcome


def _copy(made: Path) -> Path:
    place = fresh(made, "named")
    for name in ("films", "run", "classifier"):
        shutil.copytree(made / name, place / name)
    for name in ("split.csv", "films.csv", "closed.json"):
        shutil.copy(made / name, place / name)
    return place


def _call(command: tuple[object, ...], source: str, place: Path) -> Finished:
    words = [part.format(source) if isinstance(part, str) else part for part in command]
    return call(*words, cwd=place)
