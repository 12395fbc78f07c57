"""What an attack is, how the library is called under guards, and what may come of it."""

import os
import pickle
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot_cxr.cli import app
from fewshot_cxr.cli.signals import ENDING, leave_at_once, take_signals

REFUSED, HARMLESS = "refused", "harmless"  # as it should be: said in one line that names the file, or nothing differs
CRASH, HANG, SILENT, LOST = "crash", "hang", "silent", "lost"
SECONDS, MEGABYTES = 2.0, 500  # of one process, for any refused input
COMMAND_SECONDS = 60  # of a whole command, after which it hangs
UNFORESEEN = 70  # exit code of a command that met an error which nobody foresaw, where that has no other

Attack = tuple[str, Callable[[], str]]


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit code (negative: the signal), its two streams, processor seconds, peak MB."""

    code: int
    out: str
    err: str
    seconds: float
    megabytes: float

    @property
    def is_crash(self) -> bool:
        """Whether it ended by an error that nobody foresaw, or by a signal of its own."""
        is_unforeseen = self.code == UNFORESEEN or self.error.startswith("fscxr: error: unforeseen")
        return is_unforeseen or "Traceback" in self.err or -self.code in (signal.SIGSEGV, signal.SIGABRT)

    @property
    def error(self) -> str:
        """The line that says why it failed."""
        lines = [line for line in self.err.splitlines() if line.startswith("fscxr: error:")]
        return lines[-1] if lines else ""


def call(
    *arguments: object,
    cwd: Path,
    env: Mapping[str, str | None] | None = None,
    before: Callable[[], None] | None = None,
    kill: tuple[int, float] | None = None,
    limit: float = COMMAND_SECONDS,
) -> Finished:
    """Run a command of `fscxr` in a process of its own, forked from this one, which has loaded the libraries.

    Args:
        arguments: behind `fscxr`.
        cwd: folder that it runs in.
        env: variables to set, or to unset where None.
        before: called in that process first: it takes away rights, room, streams.
        kill: (signal, seconds from the start) to send.
        limit: seconds after which it is killed; then the code is -SIGKILL.
    """
    streams = [os.pipe(), os.pipe()]
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until the command answers them
    pid = os.fork()
    if pid == 0:
        _be_command(arguments, cwd, env or {}, before, [writer for _, writer in streams])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    texts = [bytearray(), bytearray()]
    for reader, writer in streams:
        os.close(writer)
        os.set_blocking(reader, False)
    started, ended = time.monotonic(), 0
    while not ended:
        ended, status, used = os.wait4(pid, os.WNOHANG)
        passed = time.monotonic() - started
        if kill is not None and passed >= kill[1] and not ended:
            os.kill(pid, kill[0])
            kill = None
        if passed > limit and not ended:
            os.kill(pid, signal.SIGKILL)
        for text, (reader, _) in zip(texts, streams, strict=True):
            text += _read(reader)
        time.sleep(0.003)
    for reader, _ in streams:
        os.close(reader)
    out, err = (bytes(text).decode("utf-8", "surrogateescape") for text in texts)
    # A forked process begins with the memory of this one.
    more = max(0.0, used.ru_maxrss / 1024 - _resident_megabytes())
    return Finished(os.waitstatus_to_exitcode(status), out, err, used.ru_utime + used.ru_stime, more)


def _read(reader: int) -> bytes:
    parts = []
    try:
        while part := os.read(reader, 1 << 16):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def _be_command(
    arguments: tuple[object, ...],
    cwd: Path,
    env: Mapping[str, str | None],
    before: Callable[[], None] | None,
    streams: list[int],
) -> None:
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        take_signals(leave_at_once)  # as cli/start.py does
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        os.chdir(cwd)
        for stream, pipe in zip((1, 2), streams, strict=True):
            os.dup2(pipe, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2))
        for name, value in env.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        sys.argv = ["fscxr", *map(str, arguments)]
        if before is not None:
            before()
        app.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
        finally:
            os._exit(code)


def fresh(made: Path, name: str) -> Path:
    """Return an empty folder of this process alone."""
    place = made / f"{name}_{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def in_process(work: Callable[[], Any]) -> Any:
    """Return what work() gives in a forked process; its error is raised here."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                answer = (True, work())
            except Exception as error:
                answer = (False, error)
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        content = pipe.read()
    os.waitpid(pid, 0)
    is_good, value = pickle.loads(content)
    if not is_good:
        raise value
    return value


def believed(read: Callable[[], Any], truth: bytes, file: Path) -> str:
    """Return what comes of reading a damaged file of which the whole one gives `truth`."""
    try:
        found = fingerprint(read())
    except (ValueError, OSError) as error:
        return REFUSED if file.name in str(error) else f"{CRASH}: names no file: {error}"
    return HARMLESS if found == truth else SILENT


def command_outcome(done: Finished, *, may_succeed: bool = True) -> str:
    """Return what came of a command on hostile input: its exit must be clean, its words one line, its cost small."""
    if done.code == -signal.SIGKILL:
        return HANG
    if done.is_crash or (done.code and not done.error and "Usage" not in done.err):
        return f"{CRASH}: {(done.err.strip().splitlines() or [str(done.code)])[-1]}"
    if done.code and (done.seconds > SECONDS or done.megabytes > MEGABYTES):
        return f"{HANG}: refused after {done.seconds:.1f} s and {done.megabytes:.0f} MB"
    if done.code:
        return REFUSED
    return HARMLESS if may_succeed else SILENT


def fingerprint(value: Any) -> bytes:
    """Return bytes that are equal for equal values of plain types, arrays and tensors."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}".encode() + (
            value.tobytes() if value.dtype != object else repr(value.tolist()).encode()
        )
    if isinstance(value, Mapping):
        return b"{" + b",".join(repr(key).encode() + fingerprint(value[key]) for key in sorted(value, key=repr)) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(map(fingerprint, value)) + b"]"
    return repr(value).encode()


def _resident_megabytes() -> float:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
