"""A support bank under attack: each byte changed, each length cut, killed while it is saved, no room, no rights."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fault_kinds.attack import CRASH, HARMLESS, LOST, REFUSED, SILENT, Attack, believed, fingerprint, fresh, in_process
from fault_kinds.disks import heed_modes, may_mount, small_disk
from fault_kinds.jobs import parts_in
from fewshot_cxr import storage
from fewshot_cxr.data import read_dataset
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.storage import load_tensors, save_tensors

N_KILLS, N_FULL, N_PAIRS = 50, 20, 20
NAME = "clinic.bank"
TOUCHING = ("whole_files.py", "_sole_writer.py")


def flips(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Change every byte once, to another one by chance."""
    content = _small(made).read_bytes()
    changed = draw.integers(1, 256, len(content))
    for place in _some(len(content), share):
        damaged = bytearray(content)
        damaged[place] ^= int(changed[place])
        yield f"byte {place} ^ {changed[place]}", partial(_believed, made, bytes(damaged))


def cuts(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Cut the file at every length, and end it with zeros from there on."""
    content = _small(made).read_bytes()
    for length in _some(len(content), share):
        yield f"the first {length} bytes", partial(_believed, made, content[:length])
        if content[length:].strip(b"\0"):
            zeros = content[:length] + bytes(len(content) - length)
            yield f"zeros from {length} on", partial(_believed, made, zeros)


def foreign(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Put a file of a later format or of another kind in its place, or a bank that lacks a part, its hash made anew."""
    tensors, header = load_tensors(_small(made), kind="bank")
    yield "of a later format", partial(_refused, made, partial(_save_as, tensors, header, format_version=99))
    for kind in ("embeddings", "encoder"):
        yield f"of the kind {kind}", partial(_refused, made, partial(_save_as, tensors, header, kind=kind))
    for name in sorted(tensors):
        fewer = {other: tensor for other, tensor in tensors.items() if other != name}
        if name != "features":  # without them the vectors are taken
            yield f"without {name}", partial(_refused, made, partial(_save_as, fewer, header))
        shorter = tensors | {name: tensors[name][:-1]}
        yield f"{name} a row shorter", partial(_refused, made, partial(_save_as, shorter, header))
    nan = tensors | {"vectors": torch.full_like(tensors["vectors"], torch.nan)}
    yield "vectors that are no numbers", partial(_refused, made, partial(_save_as, nan, header))
    for name in sorted(header):
        fewer = {other: value for other, value in header.items() if other != name}
        yield f"a header without {name}", partial(_refused, made, partial(_save_as, tensors, fewer))
        other = header | {name: "text" if isinstance(header[name], list) else []}
        yield f"a header whose {name} is of another type", partial(_refused, made, partial(_save_as, tensors, other))


def kills(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Kill a process at each line of what touches files while it saves, and at a random moment of the clock."""
    n_kills = max(1, round(N_KILLS * share))
    n_lines = in_process(partial(_lines_of_save, made))
    for line in list(range(1, n_lines + 1))[:: max(1, round(1 / share))]:
        yield f"at line {line:,} of {n_lines:,}", partial(_kill, made, line=line)
    begun = time.monotonic()
    in_process(partial(_save, made, 1, fresh(made, "timed") / NAME))
    took = time.monotonic() - begun
    for moment in (took * draw.random(n_kills)).tolist():
        yield f"after {moment * 1000:.1f} ms of {took * 1000:.0f}", partial(_kill, made, moment=moment)


def full(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Save over a bank, which has no encoder in it, on a disk that has no room for the new one, which has."""
    file = fresh(made, "roomy") / NAME
    _save(made, 1, file)
    sizes = [some.stat().st_size for some in (_small(made), file)]
    fill = _mounted if may_mount(made) else _limited
    for part in draw.random(max(1, round(N_FULL * share))).tolist():
        yield f"{part:.0%} of its room", partial(fill, made, sizes[0], int(part * sizes[1]))


def read_only(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Save over a bank that may not be replaced, or into a folder that may not be written."""
    yield "a folder of another user", partial(_protected, made, folder_mode=0o555, file_mode=0o644)
    yield "a protected file", partial(_protected, made, folder_mode=0o755, file_mode=0o444)


def two_writers(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Let two processes save two banks into one file again and again, while a third reads it."""
    for number in range(max(1, round(N_PAIRS * share))):
        yield f"pair {number}", partial(_two_writers, made)


@lru_cache
def _banks(made: Path) -> tuple[SupportBank, ...]:
    """Return a bank, and the one that is saved over it."""
    films = read_dataset("manifest", made / "films.csv")
    return tuple(SupportBank.build(made / "run", films, n_exemplars=n, device="cpu") for n in (2, 3))


def _save(made: Path, number: int, file: Path) -> None:
    """Save one of the two with its encoder, so that there is something to write."""
    _banks(made)[number].save(file, self_contained=True)


@lru_cache
def _print(made: Path, number: int) -> bytes:
    bank = _banks(made)[number]
    return fingerprint((bank.content_hash, bank.fitted.to_json()))


@lru_cache
def _small(made: Path) -> Path:
    """Return the file of a bank without its encoder; each process has its own."""
    file = fresh(made, "small") / NAME
    _banks(made)[0].save(file)
    return file


def _says(file: Path) -> tuple[str, Any]:
    bank = SupportBank.load(file)
    return bank.content_hash, bank.fitted.to_json()


def _some(n: int, share: float) -> range:
    return range(0, n, max(1, round(1 / share)))


def _believed(made: Path, damaged: bytes) -> str:
    file = fresh(made, "damaged") / NAME
    file.write_bytes(damaged)
    return believed(partial(_says, file), _print(made, 0), file)


def _save_as(
    tensors: dict[str, Any],
    header: dict[str, Any],
    file: Path,
    *,
    kind: str = "bank",
    format_version: int | None = None,
) -> None:
    storage.FORMAT_VERSION = format_version or storage.FORMAT_VERSION  # in a process of its own
    save_tensors(file, tensors, kind=kind, header=header)


def _refused(made: Path, write: Callable[[Path], None]) -> str:
    file = fresh(made, "foreign") / NAME
    in_process(partial(write, file))
    outcome = believed(partial(_says, file), b"", file)
    return REFUSED if outcome == REFUSED else f"{outcome}: it was read" if outcome == SILENT else outcome


def _lines_of_save(made: Path) -> int:
    file, lines = fresh(made, "counted") / NAME, [0]
    _save(made, 0, file)
    _at_each_line(lambda: lines.__setitem__(0, lines[0] + 1))
    _save(made, 1, file)
    sys.settrace(None)
    return lines[0]


def _die_at(line: int) -> None:
    lines = iter(range(1, line))
    _at_each_line(lambda: next(lines, 0) or os.kill(os.getpid(), signal.SIGKILL))


def _at_each_line(work: Callable[[], Any]) -> None:
    """Call work() before each line of the modules that write, lock and rename."""

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if Path(frame.f_code.co_filename).name not in TOUCHING:
            return None
        if event == "line":
            work()
        return trace

    sys.settrace(trace)


def _kill(made: Path, *, line: int = 0, moment: float = 0.0) -> str:
    file = fresh(made, "killed") / NAME
    _save(made, 0, file)
    pid = os.fork()
    if pid == 0:
        try:
            if line:
                _die_at(line)
            _save(made, 1, file)
        finally:
            os._exit(0)
    if moment:
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)  # one that has ended waits to be asked how
    os.waitpid(pid, 0)
    outcome = _old_or_new(made, file)
    if outcome != HARMLESS:
        return outcome
    try:
        in_process(partial(_save, made, 1, file))
    except Exception as error:
        return f"{LOST}: the next save fails: {error}"
    if fingerprint(_says(file)) != _print(made, 1):
        return f"{SILENT}: the next save is not what is read"
    return f"{LOST}: left behind: {parts_in(file.parent)[0]}" if parts_in(file.parent) else HARMLESS


def _old_or_new(made: Path, file: Path) -> str:
    try:
        is_whole = fingerprint(_says(file)) in {_print(made, 0), _print(made, 1)}
    except (OSError, ValueError) as error:
        return f"{LOST}: {error}"
    return HARMLESS if is_whole else f"{SILENT}: neither the old nor the new bank"


def _mounted(made: Path, n_old: int, n_bytes: int) -> str:
    place = fresh(made, "disk")
    with small_disk(place, n_old + n_bytes):
        return _told(made, place / NAME, lambda: None)


def _limited(made: Path, n_old: int, n_bytes: int) -> str:
    limit = (n_bytes, resource.RLIM_INFINITY)
    return _told(made, fresh(made, "limited") / NAME, partial(resource.setrlimit, resource.RLIMIT_FSIZE, limit))


def _protected(made: Path, *, folder_mode: int, file_mode: int) -> str:
    file = fresh(made, "protected") / NAME

    def protect() -> None:
        file.chmod(file_mode)
        file.parent.chmod(folder_mode)
        heed_modes()

    outcome = _told(made, file, protect)
    file.parent.chmod(0o755)
    return outcome


def _told(made: Path, file: Path, before: Callable[[], None]) -> str:
    """Return what comes of saving over a bank in a process for which something is taken away before."""
    _banks(made)[0].save(file)

    def save() -> None:
        before()
        _save(made, 1, file)

    try:
        in_process(save)
    except OSError as error:
        if str(file) not in str(error):
            return f"{CRASH}: names no file: {error}"
        if _old_or_new(made, file) != HARMLESS or fingerprint(_says(file)) != _print(made, 0):
            return f"{LOST}: the old bank"
        return f"{LOST}: left behind: {parts_in(file.parent)[0]}" if parts_in(file.parent) else REFUSED
    return HARMLESS if fingerprint(_says(file)) == _print(made, 1) else f"{SILENT}: no error, and another bank"


def _two_writers(made: Path) -> str:
    file = fresh(made, "shared") / NAME
    _save(made, 0, file)
    writers = []
    for number in (0, 1):
        pid = os.fork()
        if pid == 0:
            os._exit(_save_often(made, number, file))
        writers.append(pid)
    outcomes = [_old_or_new(made, file) for _ in range(10)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in writers]
    outcomes += [_old_or_new(made, file), *(f"{CRASH}: a writer ended with {code}" for code in codes if code)]
    outcomes += [f"{LOST}: left behind: {part}" for part in parts_in(file.parent)]
    return next((outcome for outcome in outcomes if outcome != HARMLESS), HARMLESS)


def _save_often(made: Path, number: int, file: Path) -> int:
    """Save ten times; a save that is refused since the other is writing counts as one."""
    try:
        for _ in range(10):
            with suppress(BlockingIOError):
                _save(made, number, file)
    except Exception:
        return 1
    return 0
